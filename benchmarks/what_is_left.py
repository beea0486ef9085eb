"""What a network's error is made of: what would be left of it with perfect borders, or with the right scale for every thing.

    python benchmarks/what_is_left.py worlds/ablation/val120 64x192 runs/a/weights.safetensors runs/b/weights.safetensors

AbsRel of all judged pixels, near borders (as ``semdepth evaluate`` counts them) and inside, mean over the images, each
median scaled. Several weights are seeds of one variant: their means are averaged. The mends know the exact labels and depth:

- sharp borders: within 1 px of its segment's border (a segment: one connected region of one class) a pixel gets the depth
  predicted at the nearest pixel farther inside it;
- segments scaled: every segment's depth is multiplied by the median of true / predicted in it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

import semdepth
from semdepth.apps.benchmark_pairs import open_judged
from semdepth.data.catalog import DataConfig
from semdepth.evaluation.borders import depth_edges, distance_within, label_borders
from semdepth.evaluation.strata import BORDER_REACH

MAX_DEPTH = 80.0
Map = npt.NDArray[Any]


def segments_of(labels: Map) -> Map:
    """Number the connected regions of one label from 1."""
    numbered, count = np.zeros(labels.shape, dtype=np.int64), 0
    for label in np.unique(labels):
        regions, found = ndimage.label(labels == label)
        numbered[regions > 0] = regions[regions > 0] + count
        count += found
    return numbered


def sharpened(depth: Map, true: Map, segments: Map) -> Map:
    """Spread each segment's inner depth to its border."""
    mended = depth.copy()
    for number in range(1, segments.max() + 1):
        own = segments == number
        inner = ndimage.distance_transform_edt(np.pad(own, 1, constant_values=True))[1:-1, 1:-1] > 1
        if inner.any():
            rows, columns = ndimage.distance_transform_edt(~inner, return_distances=False, return_indices=True)
            mended[own] = depth[rows[own], columns[own]]
    return mended


def scaled(depth: Map, true: Map, segments: Map) -> Map:
    """Give each segment the scale of its truth."""
    mended = depth.copy()
    for number in range(1, segments.max() + 1):
        judged = (segments == number) & (true > 0) & (true < MAX_DEPTH)
        if judged.any():
            mended[segments == number] *= np.median(true[judged] / depth[judged])
    return mended


MENDS: dict[str, Callable[[Map, Map, Map], Map]] = {
    "as it is": lambda depth, true, segments: depth,
    "sharp borders": sharpened,
    "segments scaled": scaled,
    "segments scaled, sharp borders": lambda depth, true, segments: scaled(
        sharpened(depth, true, segments), true, segments
    ),
}


def errors(root: Path, size: tuple[int, int], weights: Path) -> npt.NDArray[np.float64]:
    """Return (mends, 3): AbsRel of all judged pixels, of those near borders, of those inside."""
    frames = open_judged(
        DataConfig(name="kitti_raw", root=root, height=size[0], width=size[1], labels="exact", require_depth=True)
    )
    predictor = semdepth.load(weights, device="cpu")
    found = np.full((len(frames), len(MENDS), 3), np.nan)
    for i in range(len(frames)):
        frame, true = frames[i], frames.ground_truth(i)
        assert frame.labels is not None
        labels = frame.labels[0].numpy()
        depth = predictor.predict(frame.target[0].permute(1, 2, 0).numpy()).depth
        judged = (true > 0) & (true < MAX_DEPTH)
        depth = np.clip(depth * np.median(true[judged]) / np.median(depth[judged]), 1e-3, MAX_DEPTH)
        edges = label_borders(labels) | depth_edges(np.where(judged, true, MAX_DEPTH))
        near = np.isfinite(distance_within(edges, BORDER_REACH))
        segments = segments_of(labels)
        for row, mend in enumerate(MENDS.values()):
            relative = np.abs(mend(depth, true, segments) - true)[judged] / true[judged]
            for column, part in enumerate((np.ones_like(near), near, ~near)):
                if part[judged].any():
                    found[i, row, column] = relative[part[judged]].mean()
    return np.nanmean(found, axis=0)


def main() -> None:
    """Print a row a mend."""
    parser = argparse.ArgumentParser(description="What a network's error is made of.")
    parser.add_argument("root", type=Path, help="rendered drives with exact depth")
    parser.add_argument("size", help="HEIGHTxWIDTH that the networks see and the worlds have, e.g. 64x192")
    parser.add_argument("weights", type=Path, nargs="+", help=".safetensors")
    given = parser.parse_args()
    height, width = map(int, given.size.split("x"))
    found = np.mean([errors(given.root, (height, width), path) for path in given.weights], axis=0)
    print("| | AbsRel | near borders | inside |\n|---|---:|---:|---:|")
    for name, row in zip(MENDS, found, strict=True):
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in row) + " |")


if __name__ == "__main__":
    main()
