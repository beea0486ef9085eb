"""How often the ranking loss's point pairs are right, judged by ground-truth depth, exact or sparse.

A ranking loss is only as good as its pairs: this counts, per set of rules and per pair of classes, how many pairs an
image yields and which share of them the measured depth confirms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from semdepth.labels import CLASSES
from semdepth.losses.pair_config import PairConfig
from semdepth.losses.pairs import PointPairs

_VALUES = 256
"""Possible label values."""


@dataclass(frozen=True)
class PairQuality:
    """Counts over some images; ``a + b`` joins two counts."""

    images: int
    """Images counted."""
    pairs: npt.NDArray[np.int64]
    """(256, 256) ordered pairs (ℓ = ±1) by label of the point said to be nearer, and of the other."""
    judged: npt.NDArray[np.int64]
    """(256, 256) of these, pairs with ground truth at both points."""
    right: npt.NDArray[np.int64]
    """(256, 256) of these, pairs whose depths differ by more than the tie width, the right way."""
    tied: npt.NDArray[np.int64]
    """(256, 256) of the judged, pairs whose depths differ by no more than the tie width."""
    equal: int
    """Pairs said to be equally far (ℓ = 0)."""
    equal_judged: int
    """Of these, pairs with ground truth at both points."""
    equal_within_5: int
    """Of the judged, pairs whose depths differ by at most 5 %."""
    equal_within_10: int
    """Of the judged, pairs whose depths differ by at most 10 %."""

    def __add__(self, other: PairQuality) -> PairQuality:
        return PairQuality(**{name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__})

    @property
    def pairs_per_image(self) -> float:
        """Yield: ordered pairs per image."""
        return float(self.pairs.sum()) / self.images

    @property
    def precision(self) -> float:
        """Share of the judged ordered pairs that are right; a tie counts as wrong. NaN where none was judged."""
        return _share(int(self.right.sum()), int(self.judged.sum()))

    @property
    def tie_share(self) -> float:
        """Share of the judged ordered pairs whose two depths are tied. NaN where none was judged."""
        return _share(int(self.tied.sum()), int(self.judged.sum()))

    @property
    def equality_precision(self) -> tuple[float, float]:
        """Shares of the judged equal pairs within 5 % and within 10 % of each other. NaN where none was judged."""
        return _share(self.equal_within_5, self.equal_judged), _share(self.equal_within_10, self.equal_judged)


def rule_sets(config: PairConfig, agreement: bool = False) -> dict[str, PairConfig]:
    """Return ``config`` with its rules switched on one after the other, for a table: from none to all.

    Only the occlusion prior orders pairs in all of them: no network's depth decides.

    Args:
        config: distances, numbers and thresholds.
        agreement: end with rule 4, for which there are class probabilities of a network.
    """
    rules = ("contact", "uniform_neighbourhood", "minimum_area", "confidence", "standing", "thin")
    names = ("prior alone", "+ contact", "+ neighbourhood", "+ area", "+ confidence", "+ standing", "+ thin (all)")
    base = replace(config, prediction_decides=False, agreement=False)
    sets = {name: replace(base, **{rule: k < n for k, rule in enumerate(rules)}) for n, name in enumerate(names)}
    return sets | ({"+ agreement": replace(sets[names[-1]], agreement=True)} if agreement else {})


def judge_pairs(
    pairs: PointPairs,
    labels: Tensor,
    depth: Tensor,
    *,
    depth_labels: Tensor | None = None,
    search_radius: float = 2.0,
    tie: float = 0.01,
) -> PairQuality:
    """Hold point pairs against ground-truth depth.

    The ground truth of a point is the nearest known depth within ``search_radius`` that carries the point's label (so
    that a sparse return across the border does not speak for it). A pair counts only where both points have one.
    It is right where ``|log(z_j / z_i)| > tie`` and the sign is ℓ.

    Args:
        pairs: what ``sample_pairs`` returned for ``labels``.
        labels: (B, H, W) trainIds that the pairs were drawn from.
        depth: (B, 1, h, w) metres, 0 = unknown; may be larger than the labels (lidar is judged at its own size).
        depth_labels: (B, h, w) the same labels at the size of ``depth``; may be left out if sizes are equal.
        search_radius: pixels of ``labels``; 0 for dense depth.
        tie: width of a tie in log-depth; 0.01 is 1 %.

    Raises:
        ValueError: if ``depth_labels`` does not fit ``depth``.
    """
    depth_labels = labels if depth_labels is None else depth_labels
    if depth_labels.shape != depth[:, 0].shape:
        raise ValueError(f"labels {tuple(depth_labels.shape)} do not fit depth {tuple(depth.shape)}: pass depth_labels")
    label_i, label_j = (values.long() for values in pairs.at(labels))
    scale = (depth.shape[2] / labels.shape[1], depth.shape[3] / labels.shape[2])
    depths = [
        _nearest_depth(depth[:, 0], depth_labels, pairs.image, point, label, scale=scale, radius=search_radius)
        for point, label in ((pairs.i, label_i), (pairs.j, label_j))
    ]
    known = (depths[0] > 0) & (depths[1] > 0)
    ratio = (depths[1].clamp(min=1e-6) / depths[0].clamp(min=1e-6)).log()
    ordered, equal = pairs.ordinal != 0, (pairs.ordinal == 0) & known
    tied = ordered & known & (ratio.abs() <= tie)
    right = ordered & known & ~tied & (ratio.sign() == pairs.ordinal)
    nearer, other = torch.where(pairs.ordinal > 0, label_i, label_j), torch.where(pairs.ordinal > 0, label_j, label_i)
    cell = nearer * _VALUES + other

    def table(chosen: Tensor) -> npt.NDArray[np.int64]:
        return torch.bincount(cell[chosen], minlength=_VALUES**2).view(_VALUES, _VALUES).cpu().numpy()

    return PairQuality(
        images=len(labels),
        pairs=table(ordered),
        judged=table(ordered & known),
        right=table(right),
        tied=table(tied),
        equal=int((pairs.ordinal == 0).sum()),
        equal_judged=int(equal.sum()),
        equal_within_5=int((equal & (ratio.abs() <= np.log(1.05))).sum()),
        equal_within_10=int((equal & (ratio.abs() <= np.log(1.10))).sum()),
    )


def visible_returns(depth: Tensor, focal_px: float, *, baseline: float = 0.1, ratio: float = 1.15) -> Tensor:
    """Remove lidar returns that the camera cannot have seen: far ones next to near ones.

    The lidar looks over the edges that the camera sees, so returns from behind an object land on it, the farther down
    the nearer it is; and polished roofs and panes send nothing back that would give them away. A return is removed
    where another, nearer by ``ratio``, lies below it within twice that one's parallax ``focal · baseline / depth`` (a
    quarter of it above), and within five pixels to the sides. It knows no labels, so it cannot favour them.

    Args:
        depth: (B, 1, H, W) metres, 0 = no return.
        focal_px: focal length in pixels.
        baseline: metres between lidar and camera across the view; KITTI: 0.08 up, 0.06 aside.
        ratio: how much nearer the other return is.

    Returns:
        ``depth`` with those returns set to 0.
    """
    inverse = torch.where(depth > 0, 1 / depth.clamp(min=1e-3), 0)
    beside = F.max_pool2d(inverse, (1, 11), 1, (0, 5))
    hidden = torch.zeros_like(depth, dtype=torch.bool)
    parallax = focal_px * baseline
    height = depth.shape[2]
    reach = min(height - 1, round(2 * parallax * float(inverse.max()))) if depth.numel() else 0
    for down in range(-reach // 4, reach + 1):
        nearer = torch.zeros_like(beside)
        if down >= 0:
            nearer[:, :, : height - down] = beside[:, :, down:]
        else:
            nearer[:, :, -down:] = beside[:, :, :down]
        window = 2 * parallax * nearer if down >= 0 else parallax * nearer / 2
        hidden |= (nearer * depth > ratio) & (abs(down) <= window)
    return depth.masked_fill(hidden, 0)


def pair_table(rows: Mapping[str, PairQuality]) -> str:
    """Return a Markdown table, one row per entry: yield, judged, precision, ties, equality."""
    lines = [
        "| rules | pairs/image | judged | right | tied | equal/image | within 5 % | within 10 % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, q in rows.items():
        within_5, within_10 = q.equality_precision
        lines.append(
            f"| {name} | {q.pairs_per_image:.0f} | {q.judged.sum()} | {q.precision:.1%} | {q.tie_share:.1%} "
            f"| {q.equal / q.images:.0f} | {within_5:.1%} | {within_10:.1%} |"
        )
    return "\n".join(lines)


def class_table(quality: PairQuality, at_least: int = 1) -> str:
    """Return a Markdown table of the class pairs with ``at_least`` ordered pairs, most frequent first."""
    lines = ["| nearer | farther | pairs/image | judged | right |", "|---|---|---|---|---|"]
    order: Sequence[int] = np.argsort(-quality.pairs, axis=None, kind="stable").tolist()
    for cell in order:
        near, far = divmod(cell, _VALUES)
        if (count := int(quality.pairs[near, far])) < at_least:
            break
        judged = int(quality.judged[near, far])
        share = f"{quality.right[near, far] / judged:.1%}" if judged else "–"
        names = f"{CLASSES[near].name} | {CLASSES[far].name}"
        lines.append(f"| {names} | {count / quality.images:.1f} | {judged} | {share} |")
    return "\n".join(lines)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _nearest_depth(
    depth: Tensor,
    labels: Tensor,
    image: Tensor,
    point: Tensor,
    label: Tensor,
    *,
    scale: tuple[float, float],
    radius: float,
) -> Tensor:
    """Look up (B, h, w) depth at ``point`` (P, 2) of maps ``scale`` times smaller: (P,), 0 where none is near."""
    height, width = depth.shape[1:]
    factor = torch.tensor(scale, device=depth.device)
    centre = ((point + 0.5) * factor - 0.5).round().long()  # resizing keeps pixel edges, not centres
    reach = round(radius * max(scale))
    offset = torch.cartesian_prod(*[torch.arange(-reach, reach + 1, device=depth.device)] * 2)
    squared = (offset**2).sum(1)
    offset = offset[squared.argsort(stable=True)][: int((squared <= reach**2).sum())]
    found = torch.zeros(len(point), dtype=depth.dtype, device=depth.device)
    for step in offset:
        row, column = (centre + step).unbind(1)
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        row, column = row.clamp(0, height - 1), column.clamp(0, width - 1)
        usable = inside & (labels[image, row, column] == label) & (found == 0)
        found = torch.where(usable, depth[image, row, column], found)
    return found
