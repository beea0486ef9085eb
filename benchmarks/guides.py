"""What the guide of SSFA is worth once a network has learnt: depth with another guide put in its place.

    python benchmarks/guides.py worlds/ablation/foreign 64x192 runs/a/weights.safetensors runs/b/weights.safetensors

AbsRel of all judged pixels and near borders, mean over the images, each median scaled. Several weights are seeds of one variant:
their means are averaged. The guides: what the network itself predicts; noisy and exact labels; every class as likely as any
other, which says nothing. (``semdepth evaluate --guide`` judges one network under labels, with all the rest.)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from labelled_worlds import open_noisy_and_exact, parser

import semdepth
from semdepth.evaluation.evaluator import DepthEvaluator
from semdepth.evaluation.protocols import synthetic

GUIDES = ("its own", "noisy labels", "exact labels", "nothing")


def judge(root: Path, size: str, weights: Path, guide: str) -> tuple[float, float]:
    """Return AbsRel, of all judged pixels and near borders."""
    noisy, exact = open_noisy_and_exact(root, size)
    predictor, evaluator = semdepth.load(weights, device="cpu"), DepthEvaluator(synthetic)
    if guide == "nothing":
        classes = predictor.network.config.num_classes
        alike = torch.full((1, classes, *predictor.image_size), 1 / classes)
        predictor._guide = lambda labels, images: alike  # type: ignore[method-assign]
    for i in range(len(exact)):
        frame = (noisy if guide == "noisy labels" else exact)[i]
        assert frame.labels is not None
        given = None if guide == "its own" else frame.labels[0].numpy()
        depth = predictor.predict(frame.target[0].permute(1, 2, 0).numpy(), labels=given).depth
        evaluator.update(exact.name(i), exact.ground_truth(i), depth=depth, labels=exact.labels(i))
    result = evaluator.result()
    return result.mean.abs_rel, result.measures["border_abs_rel"]


def main() -> None:
    """Print a row a guide."""
    given = parser("What the guide of SSFA is worth.", several=True).parse_args()
    print("| guide | AbsRel | near borders |\n|---|---:|---:|")
    for guide in GUIDES:
        found = np.mean([judge(given.root, given.size, path, guide) for path in given.weights], axis=0)
        print(f"| {guide} | " + " | ".join(f"{value:.3f}" for value in found) + " |")


if __name__ == "__main__":
    main()
