"""``semdepth benchmark pairs``: how often the ranking loss's point pairs are right."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from semdepth.apps.benchmark_record import made_by
from semdepth.data.catalog import DataConfig, open_dataset
from semdepth.data.records import LidarDepth
from semdepth.data.synthetic_frames import SyntheticFrames
from semdepth.data.transforms import to_unit_range
from semdepth.data.video import FrameDataset
from semdepth.evaluation.pair_quality import (
    PairQuality,
    class_table,
    judge_pairs,
    pair_table,
    visible_returns,
)
from semdepth.evaluation.report import write_text
from semdepth.inference.opening import find_weights, trained_size
from semdepth.labels import CLASSES, SKY
from semdepth.losses.pair_config import PairConfig
from semdepth.losses.pairs import sample_pairs
from semdepth.models.weights import load_depth_network
from semdepth.runtime import InputError
from semdepth.training.validation import protocol_for

SKY_DEPTH = 1e4
"""Metres that stand for the sky of a rendered world, which has no depth; other pixels without depth are not judged."""
SEARCH_RADIUS = 2.0
"""Pixels of the labels within which a sparse return speaks for a point."""
Frames = FrameDataset | SyntheticFrames
Classify = Callable[[Tensor], Tensor]
"""(1, 3, H, W) image in [0, 1] → (1, C, H, W) class probabilities."""
Tables = dict[str, dict[str, PairQuality]]
"""Truth → rule set → counts."""


@dataclass(frozen=True)
class Judged:
    """One image: what pairs are drawn from, and what judges them."""

    labels: Tensor
    """(1, H, W) uint8."""
    confidence: Tensor | None
    """(1, H, W) in [0, 1]."""
    truths: dict[str, Tensor]
    """(1, 1, h, w) metres by the name of the ground truth."""
    truth_labels: Tensor
    """(1, h, w) the same labels at the size of the truth."""
    search_radius: float
    probabilities: Tensor | None = None
    """(1, C, H, W) of a network's classes, for rule 4."""


def open_judged(data: DataConfig) -> Frames:
    """Open the frames that have labels and ground truth.

    Raises:
        InputError: if the options choose none.
    """
    if data.name not in ("kitti_raw", "synthetic"):
        raise InputError(f"data.name {data.name}: has no ground truth to judge by; use kitti_raw or synthetic")
    if data.labels == "none":
        raise InputError("data.labels none: labels are needed; set noisy or exact")
    frames = open_dataset(replace(data, offsets=(), require_depth=True))
    assert isinstance(frames, FrameDataset | SyntheticFrames)
    return frames


def open_exact(frames: Frames, data: DataConfig) -> Frames | None:
    """Open the same frames with exact labels, which say where a rendered world's sky is; None: they are no rendered ones.

    Raises:
        InputError: if rendered frames lack them.
    """
    if isinstance(frames, SyntheticFrames):
        return frames  # its labels() are exact, whatever its batches carry
    return open_judged(replace(data, labels="exact")) if protocol_for(frames, data).dense else None


def classifier(weights: Path) -> Classify:
    """Return what gives a network's class probabilities of an image, at the size that it was trained at.

    Raises:
        InputError: if there are no such weights, or the network has no segmentation branch.
    """
    path = find_weights(weights)
    network, header = load_depth_network(path)
    if header.config.fusion == "depth-only":
        raise InputError(f"{path}: has no segmentation branch to agree with the labels; give weights of another run")
    size = trained_size(path, network, header)

    @torch.no_grad()
    def classify(image: Tensor) -> Tensor:
        seen = F.interpolate(image, size, mode="bilinear", antialias=True)
        logits = network(seen).logits
        assert logits is not None
        return F.interpolate(logits[0].softmax(1), image.shape[2:], mode="bilinear")

    return classify


def measure_pairs(
    frames: Frames,
    exact: Frames | None,
    chosen: list[int],
    rules: dict[str, PairConfig],
    seeds: int,
    classify: Classify | None = None,
) -> Tables:
    """Draw and judge pairs: for every kind of truth and every set of rules, the counts over images and seeds.

    Raises:
        InputError: if files cannot be used.
    """
    tables: Tables = {}
    for index in track(chosen, "judging pairs", disable=len(chosen) < 3):
        image = _read(frames, exact, index, classify)
        for name, config in rules.items():
            for seed in range(seeds):
                for truth, quality in _judge(image, config, seed * len(frames) + index).items():
                    rows = tables.setdefault(truth, {})
                    rows[name] = rows[name] + quality if name in rows else quality
    return tables


def _judge(image: Judged, config: PairConfig, seed: int) -> dict[str, PairQuality]:
    disparity = torch.ones(image.labels.shape).unsqueeze(1)  # decides nothing: prediction_decides is off
    generator = torch.Generator().manual_seed(seed)
    drawn = sample_pairs(
        image.labels, disparity, image.probabilities, image.confidence, config=config, generator=generator
    )
    return {
        name: judge_pairs(
            drawn, image.labels, truth, depth_labels=image.truth_labels, search_radius=image.search_radius
        )
        for name, truth in image.truths.items()
    }


def _read(frames: Frames, exact: Frames | None, index: int, classify: Classify | None) -> Judged:
    batch = frames[index]
    assert batch.labels is not None
    depth = torch.from_numpy(frames.ground_truth(index))[None, None]
    truth_labels = batch.labels
    if depth.shape[2:] != batch.labels.shape[1:]:
        native = frames.labels(index)
        assert native is not None
        truth_labels = torch.from_numpy(native)[None]
    if truth_labels.shape[1:] != depth.shape[2:]:
        raise InputError(
            f"{batch.names[0]}: labels {tuple(truth_labels.shape[1:])} and depth {tuple(depth.shape[2:])} "
            "differ; both must have the image's size"
        )
    if exact is not None:
        sky = torch.from_numpy(np.asarray(exact.labels(index)) == SKY[0])
        truths = {"exact depth": torch.where(sky, SKY_DEPTH, depth)}
    elif isinstance(frames, FrameDataset) and isinstance(frames.records[index].depth, LidarDepth):
        focal = float(batch.intrinsics[0, 0, 0]) * depth.shape[3] / batch.labels.shape[2]
        truths = {"lidar, all returns": depth, "lidar, visible returns": visible_returns(depth, focal)}
    else:
        truths = {"accumulated lidar": depth}
    confidence = None if batch.confidence is None else batch.confidence.float() / 255.0
    probabilities = None if classify is None else classify(to_unit_range(batch).target)
    radius = SEARCH_RADIUS if exact is None else 0.0
    return Judged(batch.labels, confidence, truths, truth_labels, radius, probabilities)


def write_tables(tables: Tables, out: Path, data: DataConfig, images: int, seeds: int) -> None:
    """Write ``pairs.md`` and ``pairs.json``.

    Raises:
        InputError: if the folder cannot be written.
    """
    facts = about(data, images) | {"seeds": seeds} | made_by()
    sections = ["# Point pairs of the ranking loss", "\n".join(f"- {key}: {value}" for key, value in facts.items())]
    for truth, rows in tables.items():
        everything = rows[list(rows)[-1]]
        sections += [f"## Against {truth}", pair_table(rows), "### By class, all rules", class_table(everything)]
    numbers = {t: {name: _counts(quality, seeds) for name, quality in rows.items()} for t, rows in tables.items()}
    try:
        write_text(out / "pairs.md", "\n\n".join(sections) + "\n")
        write_text(out / "pairs.json", json.dumps({"about": facts, "truths": numbers}, indent=1) + "\n")
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); give another --out") from None


def about(data: DataConfig, images: int) -> dict[str, Any]:
    """Return what numbers were measured on."""
    return {"data": data.name, "labels": data.labels, "size": f"{data.width}×{data.height}", "images": images}


def _counts(quality: PairQuality, seeds: int) -> dict[str, Any]:
    cells = [(int(near), int(far)) for near, far in zip(*np.nonzero(quality.pairs), strict=True)]
    classes = {
        f"{CLASSES[near].name} > {CLASSES[far].name}": {
            kind: int(getattr(quality, kind)[near, far]) for kind in ("pairs", "judged", "right", "tied")
        }
        for near, far in sorted(cells, key=lambda cell: -int(quality.pairs[cell]))
    }
    whole = {kind: int(getattr(quality, kind).sum()) for kind in ("pairs", "judged", "right", "tied")}
    equal = {name: value for name, value in asdict(quality).items() if name.startswith("equal")}
    shares = {
        "precision": quality.precision if whole["judged"] else None,
        "pairs_per_image": quality.pairs_per_image,
    }
    return {"images": quality.images // seeds, **shares, **whole, **equal, "classes": classes}
