"""``semdepth benchmark scale``: the metric scale that the road's plane gives, against the true one."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import track

from semdepth.data.synthetic_frames import SyntheticFrames
from semdepth.data.video import FrameDataset
from semdepth.evaluation.protocols import Protocol, depth_from_disparity
from semdepth.evaluation.report import markdown_table, plain, write_text
from semdepth.geometry.camera import resize_intrinsics
from semdepth.geometry.ground import WINDOW, GroundPlane, GroundPlaneConfig, ScaleFilter, fit_ground_plane
from semdepth.models.network import DepthNetwork
from semdepth.runtime import InputError
from semdepth.structures import FrameBatch
from semdepth.training.validation import group_of, predict

TRUTH, NETWORK = "true depth × unknown factor", "network's depth"
FACTORS = (-2.0, 2.0)
"""Powers of ten between which the unknown factor is drawn."""
Frames = FrameDataset | SyntheticFrames


@dataclass(frozen=True)
class ScaleRow:
    """One image: the scale that the plane gives, and the true one."""

    name: str
    scale: float
    """From the plane; NaN where none was found."""
    filtered: float
    """Median of the drive's last scales; NaN before the first."""
    true_scale: float
    """1 / factor, or median(truth) / median(prediction)."""
    inliers: float
    pitch_deg: float
    roll_deg: float
    reason: str | None
    abs_rel_metric: float = math.nan
    """AbsRel of the network's depth in metres, without median scaling."""
    abs_rel_median: float = math.nan
    """AbsRel with median scaling."""

    @property
    def error(self) -> float:
        """Relative error of the scale; above 0: too large."""
        return self.scale / self.true_scale - 1

    @property
    def filtered_error(self) -> float:
        """Relative error of the filtered scale."""
        return self.filtered / self.true_scale - 1


def judge_scale(
    frames: Frames,
    chosen: Sequence[int],
    camera_height: float,
    config: GroundPlaneConfig,
    network: DepthNetwork | None,
    rules: Protocol,
) -> dict[str, list[ScaleRow]]:
    """Fit the road's plane in every image.

    Args:
        frames: with labels and ground truth.
        chosen: numbers of the images, ascending.
        camera_height: metres above the road.
        config: how the plane is found.
        network: in eval mode, whose depth is judged too; None: only the true depth.
        rules: how a network's depth is judged.

    Returns:
        Rows by the source of the depth.

    Raises:
        InputError: if files cannot be used or do not fit.
    """
    rows: dict[str, list[ScaleRow]] = {TRUTH: []} if network is None else {TRUTH: [], NETWORK: []}
    filters: dict[tuple[str, str], ScaleFilter] = {}
    generator = np.random.default_rng(config.seed)

    def row(source: str, name: str, plane: GroundPlane, true_scale: float, unit: float) -> ScaleRow:
        scale = plane.scale(camera_height)
        # The unknown factor is another in every image, a network's is not: the filter sees the scale without it.
        kept = filters.setdefault((source, group_of(name)), ScaleFilter())(scale / unit) * unit
        return ScaleRow(
            name, scale, kept, true_scale, plane.inliers, plane.pitch_deg, plane.roll_deg, plane.reason
        )  # fmt: skip

    for index in track(chosen, "fitting planes", disable=len(chosen) < 3):
        batch, truth = frames[index], frames.ground_truth(index)
        name, labels = frames.name(index), _labels(frames, batch, index)
        if labels.shape != truth.shape:
            raise InputError(f"{name}: labels {labels.shape} and depth {truth.shape} differ; both must have one size")
        camera = resize_intrinsics(batch.intrinsics[0], _size(batch.target.numpy()), _size(truth))
        known = torch.from_numpy(labels)
        factor = float(10 ** generator.uniform(*FACTORS))
        plane = fit_ground_plane(torch.from_numpy(truth) * factor, known, camera, config)
        rows[TRUTH].append(row(TRUTH, name, plane, 1 / factor, 1 / factor))
        if network is not None:
            depth = depth_from_disparity(predict(network, batch).disparity[0][0, 0], *_size(truth))
            plane = fit_ground_plane(torch.from_numpy(depth), known, camera, config)
            found = row(NETWORK, name, plane, rules.align(truth, depth).ratio, 1.0)
            rows[NETWORK].append(_with_errors(found, truth, depth, rules))
    return rows


def _labels(frames: Frames, batch: FrameBatch, index: int) -> npt.NDArray[np.uint8]:
    """Return (H, W) labels of the kind that was asked for; a rendered world's own ``labels`` are always exact."""
    native = batch.labels[0].numpy() if isinstance(frames, SyntheticFrames) and batch.labels is not None else None
    found = frames.labels(index) if native is None else native
    if found is None:
        raise InputError(f"{frames.name(index)}: has no labels; write them with `semdepth label`")
    return found


def _size(array: npt.NDArray[Any]) -> tuple[int, int]:
    return array.shape[-2], array.shape[-1]


def _with_errors(
    row: ScaleRow, truth: npt.NDArray[np.float32], depth: npt.NDArray[np.float32], rules: Protocol
) -> ScaleRow:
    median = rules(truth, depth).errors.abs_rel
    metric = math.nan
    if math.isfinite(row.filtered):
        metric = replace(rules, median_scaling=False)(truth, depth * row.filtered).errors.abs_rel
    return replace(row, abs_rel_metric=metric, abs_rel_median=median)


def write_scale(rows: Mapping[str, list[ScaleRow]], out: Path, facts: Mapping[str, Any]) -> None:
    """Write ``scale.md`` and ``scale.json``, and print the table.

    Raises:
        InputError: if the folder cannot be written.
    """
    table, notes = _table(rows), _reasons(rows)
    head = "# Metric scale from the road's plane\n\n" + "\n".join(f"- {key}: {value}" for key, value in facts.items())
    numbers = {source: [plain(asdict(r) | {"error": r.error}) for r in found] for source, found in rows.items()}
    try:
        write_text(out / "scale.md", f"{head}\n\n{table}\n{notes}")
        text = json.dumps({"about": dict(facts), "rows": numbers}, indent=1, allow_nan=False)
        write_text(out / "scale.json", text + "\n")
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); give another --out") from None
    console = Console()
    console.print(f"{table}\n{notes}By image: {out / 'scale.json'}", highlight=False, soft_wrap=True)


def _table(rows: Mapping[str, list[ScaleRow]]) -> str:
    headings = ["depth", "images", "with a plane", "median error", "90th percentile", "median signed"]
    headings += [f"median error, median of {WINDOW}", "AbsRel in metres", "AbsRel, median scaling"]
    lines = []
    for source, found in rows.items():
        errors = np.array([r.error for r in found if math.isfinite(r.scale)])
        filtered = np.array([r.filtered_error for r in found if math.isfinite(r.filtered)])
        cells = [_percent(np.abs(errors), 50), _percent(np.abs(errors), 90), _percent(errors, 50, sign=True)]
        judged = [r for r in found if math.isfinite(r.abs_rel_metric)]
        means = [float(np.mean([getattr(r, k) for r in judged])) for k in ABS_REL] if judged else [math.nan, math.nan]
        lines.append(
            [source, str(len(found)), str(len(errors)), *cells, _percent(np.abs(filtered), 50)]
            + ["–" if math.isnan(value) else f"{value:.3f}" for value in means]
        )
    return markdown_table(headings, lines)


ABS_REL = ("abs_rel_metric", "abs_rel_median")


def _percent(values: npt.NDArray[np.float64], percentile: float, sign: bool = False) -> str:
    if not len(values):
        return "–"
    value = 100 * float(np.percentile(values, percentile))
    return f"{value:+.1f} %" if sign else f"{value:.1f} %"


def _reasons(rows: Mapping[str, list[ScaleRow]]) -> str:
    """Say why there are images without a plane, one line a source and reason."""
    lines = []
    for source, found in rows.items():
        counts = Counter(r.reason.partition(",")[0] for r in found if r.reason is not None)
        lines += [f"{source}: {count} without a plane, e.g. {reason}.\n" for reason, count in counts.most_common(3)]
    return "".join(lines)
