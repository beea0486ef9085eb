"""What a network's error is made of: what would be left of it with perfect borders, or with the right scale for every thing.

    python benchmarks/what_is_left.py worlds/ablation/val120 64x192 runs/a/weights.safetensors runs/b/weights.safetensors

AbsRel of all judged pixels, near borders (as ``semdepth evaluate`` counts them) and inside, mean over the images, each
median scaled. Several weights are seeds of one variant: their means are averaged. The mends know the exact labels and depth:

- sharp borders: within 1 px of its segment's border (a segment: one connected region of one class) a pixel gets the depth
  predicted at the nearest pixel farther inside it;
- segments scaled: every segment's depth is multiplied by the median of true / predicted in it;
- only the too near: all is right but what is nearer than the nearest depth that the network can give, which gets that.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from labelled_worlds import open_exact, parser
from scipy import ndimage

import semdepth
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


def errors(root: Path, size: str, weights: Path, every: int) -> npt.NDArray[np.float64]:
    """Return (mends + 1, 3): AbsRel of all judged pixels, of those near borders, of those inside; last the too near."""
    frames, predictor = open_exact(root, size), semdepth.load(weights, device="cpu")
    chosen = range(0, len(frames), every)
    found = np.full((len(chosen), len(MENDS) + 1, 3), np.nan)
    for number, i in enumerate(chosen):
        frame, true = frames[i], frames.ground_truth(i)
        assert frame.labels is not None
        labels = frame.labels[0].numpy()
        depth = predictor.predict(frame.target[0].permute(1, 2, 0).numpy()).depth
        judged = (true > 0) & (true < MAX_DEPTH)
        unit = np.median(true[judged]) / np.median(depth[judged])
        depth = np.clip(depth * unit, 1e-3, MAX_DEPTH)
        edges = label_borders(labels) | depth_edges(np.where(judged, true, MAX_DEPTH))
        near = np.isfinite(distance_within(edges, BORDER_REACH))
        segments = segments_of(labels)
        mended = [mend(depth, true, segments) for mend in MENDS.values()]
        mended.append(np.maximum(true, unit * predictor.network.config.min_depth))
        for row, values in enumerate(mended):
            relative = np.abs(values - true)[judged] / true[judged]
            for column, part in enumerate((np.ones_like(near), near, ~near)):
                if part[judged].any():
                    found[number, row, column] = relative[part[judged]].mean()
    return np.nanmean(found, axis=0)


def main() -> None:
    """Print a row a mend."""
    arguments = parser("What a network's error is made of.", several=True)
    arguments.add_argument("--every", type=int, default=1, help="take every so-many-th frame")
    given = arguments.parse_args()
    found = np.mean([errors(given.root, given.size, path, given.every) for path in given.weights], axis=0)
    print("| | AbsRel | near borders | inside |\n|---|---:|---:|---:|")
    for name, row in zip([*MENDS, "only the too near"], found, strict=True):
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in row) + " |")


if __name__ == "__main__":
    main()
