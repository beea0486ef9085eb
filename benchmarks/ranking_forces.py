"""Where the ranking loss pulls: what one descent step would do to log-disparity, by true depth, and where the sky is predicted.

    python benchmarks/ranking_forces.py worlds/ablation/test 64x192 runs/a/weights.safetensors

The force on a bin is −∂L_rank/∂log(disparity), summed over its pixels, mean over the images, times 1000: above 0 it brings what
is there nearer. Noisy labels, without the network's own probabilities (no rule 4, no uncertainty weights).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from labelled_worlds import open_noisy_and_exact, parser
from torch import Tensor

import semdepth
from semdepth.labels import IGNORE, SKY
from semdepth.losses.pair_config import PairConfig
from semdepth.losses.ranking import RankingConfig, semantic_ranking_loss

EDGES = (0, 5, 10, 20, 40, 80)
"""Metres."""
ALIKE = RankingConfig(sky_yields=False, pairs=PairConfig(samples=3000))
FORMS = {"both pushed": ALIKE, "the sky yields": replace(ALIKE, sky_yields=True), "no pairs with the sky": ALIKE}


def force(log_disparity: Tensor, labels: Tensor, confidence: Tensor | None, config: RankingConfig, seed: int) -> Tensor:
    """Return −∂L/∂log(disparity), (H, W)."""
    leaf = log_disparity.clone().requires_grad_()
    generator = torch.Generator().manual_seed(seed)
    loss = semantic_ranking_loss(leaf.exp()[None, None], labels, None, confidence, config=config, generator=generator)
    return -torch.autograd.grad(loss, leaf)[0]


def main() -> None:
    """Print a row a bin, and the median depth that is predicted for the sky."""
    arguments = parser("Forces of the ranking loss by true depth.")
    given = arguments.parse_args()
    frames, exact = open_noisy_and_exact(given.root, given.size)
    predictor = semdepth.load(given.weights, device="cpu")
    sums, sky_depths = np.zeros((len(EDGES), len(FORMS))), []
    for i in range(len(frames)):
        seen, true, labels = frames[i], frames.ground_truth(i), exact[i].labels
        assert seen.labels is not None
        assert labels is not None
        depth = predictor.predict(seen.target[0].permute(1, 2, 0).numpy()).depth
        judged, is_sky = (true > 0) & (true < EDGES[-1]), (labels[0] == SKY[0]).numpy()
        depth = depth * np.median(true[judged]) / np.median(depth[judged])
        sky_depths.extend(depth[is_sky])
        bins = np.digitize(true, EDGES) - 1
        bins[is_sky] = len(EDGES) - 1
        log_disparity = torch.from_numpy(-np.log(depth))
        without_sky = seen.labels.masked_fill(seen.labels == SKY[0], IGNORE)
        for column, (name, config) in enumerate(FORMS.items()):
            given_labels = without_sky if name.startswith("no ") else seen.labels
            pull = force(log_disparity, given_labels, seen.confidence, config, seed=i).numpy()
            np.add.at(sums[:, column], bins[judged | is_sky], 1000 * pull[judged | is_sky] / len(frames))
    print(f"| metres | {' | '.join(FORMS)} |\n|---|{'---:|' * len(FORMS)}")
    for name, row in zip([f"{a} – {b}" for a, b in pairwise(EDGES)] + ["sky"], sums, strict=True):
        print(f"| {name} | {' | '.join(f'{value:+.1f}' for value in row)} |")
    print(f"\nThe sky is predicted at {np.median(sky_depths):.0f} m (median).")


if __name__ == "__main__":
    main()
