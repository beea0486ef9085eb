"""Where along the distance a network errs: mean log(predicted / true) and AbsRel by true depth, each image median scaled.

    python benchmarks/by_distance.py worlds/ablation/test 64x192 runs/a/weights.safetensors runs/b/weights.safetensors

Several weights are seeds of one variant: their means are averaged.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from labelled_worlds import open_exact, parser

import semdepth

EDGES = (0, 5, 10, 20, 40, 80)
"""Metres."""


def errors(root: Path, size: str, weights: Path) -> npt.NDArray[np.float64]:
    """Return (bins, 2): the mean over the pixels of each bin of log(predicted / true), and of |predicted − true| / true."""
    frames = open_exact(root, size)
    predictor = semdepth.load(weights, device="cpu")
    sums, counts = np.zeros((len(EDGES) - 1, 2)), np.zeros((len(EDGES) - 1, 1))
    for i in range(len(frames)):
        true = frames.ground_truth(i)
        depth = predictor.predict(frames[i].target[0].permute(1, 2, 0).numpy()).depth
        judged = (true > 0) & (true < EDGES[-1])
        true, depth = true[judged], depth[judged]
        depth = np.clip(depth * np.median(true) / np.median(depth), 0.1, EDGES[-1])
        bins = np.digitize(true, EDGES) - 1
        values = np.stack([np.log(depth / true), np.abs(depth - true) / true], axis=1)
        np.add.at(sums, bins, values)
        np.add.at(counts, bins, 1.0)
    return sums / counts


def main() -> None:
    """Print a row a bin."""
    given = parser("Errors by true depth.", several=True).parse_args()
    found = np.mean([errors(given.root, given.size, path) for path in given.weights], axis=0)
    print("| metres | mean log(predicted / true) | AbsRel |\n|---|---:|---:|")
    for low, high, (bias, relative) in zip(EDGES, EDGES[1:], found, strict=False):
        print(f"| {low} – {high} | {bias:+.2f} | {relative:.3f} |")


if __name__ == "__main__":
    main()
