"""Point pairs with an order in depth, read off a semantic label map (METHOD 3.3, explicit guidance).

A label map says where depth may jump, and common sense says which way: a car hides what is behind it, nothing is behind
the sky. Both are wrong often enough to hurt (a car does not jump off the road it stands on; labels are noisy), so every
pair has to pass rules (``pair_rules``), each of which can be switched off (``pair_config``).

The geometry of a pair (four points along the normal of a border) follows structure-guided ranking (Xian et al., CVPR
2020); where they read the order from depth, here the classes give it, or else the network's own depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from semdepth.labels import IGNORE, OCCLUDER, THIN
from semdepth.losses.pair_config import PairConfig
from semdepth.losses.pair_rules import (
    Columns,
    among,
    columns_of,
    is_contact,
    is_out_of_order,
    is_uniform,
    is_upright,
    order_by_class,
)
from semdepth.losses.regions import (
    Borders,
    Points,
    border_edges,
    border_normals,
    connected_regions,
    onto_middle_lines,
    place_points,
    upright_partners,
)
from semdepth.processes import ALONE, Share

REFERENCE_WIDTH = 640
"""Lengths in ``PairConfig`` are pixels of an image this wide; they scale with the width."""
SIDE_SAMPLES = 6
"""Points on each side of a border whose median disparity stands for that side, where the network decides."""


@dataclass(frozen=True)
class PointPairs:
    """P pairs of pixels with the order of their depths; all tensors on the labels' device."""

    image: Tensor
    """(P,) int64, the image in the batch."""
    i: Tensor
    """(P, 2) int64, row and column of the first point."""
    j: Tensor
    """(P, 2) int64, row and column of the second point."""
    ordinal: Tensor
    """(P,) int8: +1 where i is nearer than j, −1 where it is farther, 0 where both are equally far."""
    from_prior: Tensor
    """(P,) bool: false where the network's own depth gave the order."""

    def __len__(self) -> int:
        return len(self.image)

    def at(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values of a (B, H, W) map at the points i and j, (P,) each; (P, C) from a (B, H, W, C) map."""
        return values[self.image, self.i[:, 0], self.i[:, 1]], values[self.image, self.j[:, 0], self.j[:, 1]]


def sample_pairs(
    labels: Tensor,
    disparity: Tensor,
    probabilities: Tensor | None = None,
    confidence: Tensor | None = None,
    *,
    config: PairConfig,
    generator: torch.Generator | None = None,
    share: Share = ALONE,
) -> PointPairs:
    """Draw point pairs at the borders of label maps, and keep those that pass the rules of ``config``.

    Args:
        labels: (B, H, W) uint8 trainIds, 255 = ignore.
        disparity: (B, 1, H, W) positive, proportional to 1 / depth; no gradient flows. It orders borders for which the
            classes have no prior.
        probabilities: (B, C, H, W) the network's class probabilities, for rule 4.
        confidence: (B, H, W) of the labels, in [0, 1], for rule 3.
        config: distances, numbers and rules.
        generator: source of the draws. An image's pairs depend on its place in the batch, never on other images.
        share: of the global batch, where several processes train.

    Returns:
        The pairs, images in order; none where no border passes.

    Raises:
        ValueError: if the maps differ in size.
    """
    check_sizes(labels, disparity, probabilities, confidence)
    scale = labels.shape[2] / REFERENCE_WIDTH
    region, area = connected_regions(labels)
    large = area[region] >= (config.least_area * scale**2 if config.minimum_area else 0)

    columns = columns_of(labels, large)
    borders, draws = _draw_borders(labels, columns, config, generator, share)
    near, far = max(config.tolerance * scale, 1.0), max(config.reach * scale, 2.0)
    # Sorted draws on each side put b and c nearer to the border than a and d.
    before, behind = draws[:, :2].sort(1).values, draws[:, 2:4].sort(1).values
    offsets = torch.cat([-near - (far - near) * before.flip(1), near + (far - near) * behind], 1)
    points = place_points(labels, borders, borders.side[:, [0, 0, 1, 1]], offsets)
    thin = torch.zeros_like(points.inside)
    if config.thin:
        points, thin = onto_middle_lines(points, borders, region, among(borders.side, THIN), 2 * near + 1)
    seen = _Seen(is_uniform(labels), is_upright(labels), probabilities, confidence)
    sound = points.inside & points.at(large) & _sound(points, thin, seen, config)

    prior = order_by_class(borders.side)
    order, has_prior = prior, prior != 0
    if config.prediction_decides:
        open_borders = borders.only(~has_prior)
        steps = torch.linspace(near, far, SIDE_SAMPLES, device=labels.device).expand(len(open_borders.image), -1)
        order = prior.masked_scatter(~has_prior, _predicted_order(disparity, labels, open_borders, steps, config.tau))
    across = sound[:, 1] & sound[:, 2] & (order != 0) & ~_is_contradicted(points.pick(1, 2), columns, config)

    regions = points.at(region)
    solid = among(borders.side, OCCLUDER)
    equal_by_prior = torch.zeros_like(order), torch.ones_like(has_prior)
    kept = [(1, 2, across, order, has_prior)]
    for k, (a, b) in enumerate(((0, 1), (2, 3))):
        equal = sound[:, a] & sound[:, b] & solid[:, k] & (regions[:, a] == regions[:, b])
        kept.append((a, b, equal, *equal_by_prior))
    if config.upright:
        partners = upright_partners(region, points.pick(1, 2), draws[:, 4:])
        equal = sound[:, 1:3] & _sound(partners, thin[:, 1:3], seen, config) & solid
        kept += [(k + 1, k + 4, equal[:, k], *equal_by_prior) for k in (0, 1)]
        points = points.beside(partners)
    return _collect(points, kept)


def check_sizes(labels: Tensor, disparity: Tensor, probabilities: Tensor | None, confidence: Tensor | None) -> None:
    """Refuse maps that do not lie pixel on pixel.

    Raises:
        ValueError: naming the shapes.
    """
    batch, height, width = labels.shape
    if disparity.shape != (batch, 1, height, width):
        raise ValueError(
            f"labels are {tuple(labels.shape)}, so disparity must be (B, 1, H, W), not {tuple(disparity.shape)}"
        )
    if probabilities is not None and probabilities.shape[::2] + probabilities.shape[3:] != (batch, height, width):
        raise ValueError(f"labels are {tuple(labels.shape)}, but probabilities {tuple(probabilities.shape)}")
    if confidence is not None and confidence.shape != labels.shape:
        raise ValueError(f"labels are {tuple(labels.shape)}, but confidence {tuple(confidence.shape)}")


def _draw_borders(
    labels: Tensor, columns: Columns, config: PairConfig, generator: torch.Generator | None, share: Share
) -> tuple[Borders, Tensor]:
    """Draw N border points uniformly, with replacement, from the borders that can give a pair.

    Returns:
        The border points, and six further draws from [0, 1) for each, (N, 6).
    """
    batch, _, width = labels.shape
    scale = width / REFERENCE_WIDTH
    image, first, second = border_edges(labels)
    side = torch.stack([labels[image, p[:, 0], p[:, 1]].long() for p in (first, second)], 1)
    useful = (side != IGNORE).all(1)
    if not config.prediction_decides:
        useful &= order_by_class(side) != 0
    # Draws at borders that contradict the rules by themselves (the foot of a car) would be wasted.
    row, column = (torch.stack([first[:, k], second[:, k]], 1) for k in (0, 1))
    ends = Points(image[:, None], row, column, side, torch.ones_like(side, dtype=torch.bool))
    useful &= ~_is_contradicted(ends, columns, config)
    image, first, second, side = (values[useful] for values in (image, first, second, side))
    counts = torch.bincount(image, minlength=batch)

    home = generator.device if generator is not None else labels.device
    count = max(1, round(config.samples * scale))
    draws = share.draw(batch, count, 7, generator=generator, device=home).to(labels.device)[counts > 0]
    start = (counts.cumsum(0) - counts)[counts > 0, None]
    # A float32 draw times a count may round up to the count itself.
    chosen = torch.minimum((draws[..., 0] * counts[counts > 0, None]).long(), counts[counts > 0, None] - 1)
    place = (start + chosen).flatten()
    edges = (image[place], first[place], second[place])
    normal = border_normals(labels, edges, radius=max(2, round(3 * scale)))
    return Borders(edges[0], torch.stack(edges[1:], 1), normal, side[place]), draws[..., 1:].flatten(0, 1)


@dataclass(frozen=True)
class _Seen:
    """What the rules about single points look at."""

    uniform: Tensor
    upright: Tensor
    probabilities: Tensor | None
    confidence: Tensor | None


def _sound(points: Points, thin: Tensor, seen: _Seen, config: PairConfig) -> Tensor:
    """Apply the rules that look at single points (1, 3 and 4), milder ones on middle lines (``thin``): (N, K) bool."""
    sound = torch.ones_like(points.inside)
    if config.uniform_neighbourhood:
        sound &= torch.where(thin, points.at(seen.upright), points.at(seen.uniform))
    if config.confidence and seen.confidence is not None:
        sound &= points.at(seen.confidence) >= config.least_confidence
    if config.agreement and seen.probabilities is not None:
        sound &= thin | (points.at(seen.probabilities.detach().movedim(1, 3)).argmax(2) == points.side)
    return sound


def _predicted_order(disparity: Tensor, labels: Tensor, borders: Borders, steps: Tensor, tau: float) -> Tensor:
    """Order the two sides by their median disparities, taken ``steps`` (N, K) away from the border; 0: no telling."""
    medians = []
    for k, sign in enumerate((-1, 1)):
        points = place_points(labels, borders, borders.side[:, k : k + 1], sign * steps)
        values = points.at(disparity.detach()[:, 0].float())
        medians.append(torch.where(points.inside, values, torch.nan).nanmedian(1).values)
    ratio = medians[0] / medians[1]
    return (ratio > 1 + tau).long() - (ratio < 1 / (1 + tau)).long()


def _is_contradicted(ends: Points, columns: Columns, config: PairConfig) -> Tensor:
    """Tell which pairs of points (K = 2), one on each side of a border, the rules 5 and 6 forbid: (N,) bool."""
    forbidden = torch.zeros(len(ends.row), dtype=torch.bool, device=ends.row.device)
    if config.contact:
        forbidden |= is_contact(ends)
    if config.standing:
        forbidden |= is_out_of_order(ends, columns)
    return forbidden


def _collect(points: Points, kept: list[tuple[int, int, Tensor, Tensor, Tensor]]) -> PointPairs:
    """Join pairs given as (first point, second point, which to keep, their order, whether by the prior)."""

    def point(k: int, keep: Tensor) -> Tensor:
        return torch.stack([points.row[keep, k], points.column[keep, k]], 1)

    image = torch.cat([points.image[keep, 0] for _, _, keep, _, _ in kept])
    sequence = image.argsort(stable=True)
    return PointPairs(
        image[sequence],
        torch.cat([point(a, keep) for a, _, keep, _, _ in kept])[sequence],
        torch.cat([point(b, keep) for _, b, keep, _, _ in kept])[sequence],
        torch.cat([order[keep] for _, _, keep, order, _ in kept]).to(torch.int8)[sequence],
        torch.cat([by_prior[keep] for _, _, keep, _, by_prior in kept])[sequence],
    )
