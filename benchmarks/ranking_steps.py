"""What one step down the ranking loss does to whole classes, through the weights that all pixels share.

    python benchmarks/ranking_steps.py worlds/ablation/test 64x192 runs/a/weights.safetensors

For each kind of pair its part of the loss is summed over the frames, and a step of length 1 taken down the whole gradient.
A cell is what that kind of pair does to a class's mean log-disparity, less the mean of all judged pixels (which median
scaling takes off), times 1000: above 0 it comes nearer. ``bias`` is where the class stands: mean log of predicted over true
depth, after median scaling; above 0 it is too far. Noisy labels, the network's own probabilities, batch norms as in prediction.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from labelled_worlds import open_noisy_and_exact, parser
from ranking_pushes import kind
from torch import Tensor

from semdepth.geometry.camera import disparity_to_depth
from semdepth.labels import CLASSES
from semdepth.losses.pair_config import PairConfig
from semdepth.losses.ranking import RankingConfig, rank_pairs
from semdepth.models.weights import load_depth_network

JUDGED = 80.0
"""Metres."""


def parts(
    disparity: Tensor, labels: Tensor, probabilities: Tensor | None, confidence: Tensor | None, seed: int
) -> dict[str, Tensor]:
    """Return the loss's parts by kind of pair; their sum is the loss."""
    config = RankingConfig(pairs=PairConfig(samples=3000))
    generator = torch.Generator().manual_seed(seed)
    pairs, penalty, weight = rank_pairs(
        disparity, labels, probabilities, confidence, config=config, generator=generator
    )
    at_i, at_j = (label.tolist() for label in pairs.at(labels))
    facts = zip(at_i, at_j, pairs.ordinal.tolist(), pairs.from_prior.tolist(), strict=True)
    found: dict[str, list[int]] = defaultdict(list)
    for k, (first, second, ordinal, by_class) in enumerate(facts):
        found[kind(first, second, ordinal, by_class)].append(k)
    share = weight * penalty / weight.sum().clamp(min=1e-12)
    return {name: share[rows].sum() for name, rows in found.items()}


def main() -> None:
    """Print a row a kind of pair, and the bias, for the classes asked for."""
    arguments = parser("What the ranking loss does to classes.")
    arguments.add_argument(
        "--classes", nargs="+", default=["pole", "road", "sidewalk", "car", "bus", "building", "vegetation"]
    )
    given = arguments.parse_args()
    names = [c.name for c in CLASSES]
    chosen = [names.index(name) for name in given.classes]
    frames, exact = open_noisy_and_exact(given.root, given.size)
    network, _ = load_depth_network(given.weights)
    parameters = [p for p in network.parameters() if p.requires_grad]
    limits = network.config.min_depth, network.config.max_depth
    steps: dict[str, Tensor] = {}
    pulls, biases = {c: torch.zeros(sum(p.numel() for p in parameters)) for c in chosen}, defaultdict(list)

    def gradient(value: Tensor) -> Tensor:
        found = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
        return torch.cat(
            [
                torch.zeros_like(p).flatten() if g is None else g.flatten()
                for p, g in zip(parameters, found, strict=True)
            ]
        )

    for k in range(len(frames)):
        seen, labels = frames[k], exact[k].labels
        assert seen.labels is not None
        assert labels is not None
        output = network(seen.target.float() / 255)
        disparity = disparity_to_depth(output.disparity[0], *limits)[0]
        probabilities = None if output.logits is None else output.logits[0].detach().softmax(1)
        for name, part in parts(disparity, seen.labels, probabilities, seen.confidence, seed=k).items():
            if part.requires_grad:
                steps[name] = steps.get(name, 0) + gradient(part) / len(frames)
        true = torch.from_numpy(frames.ground_truth(k))
        judged = (true > 0) & (true < JUDGED)
        log_disparity = disparity[0, 0].log()
        error = -log_disparity.detach()[judged] - true[judged].log()
        for c in chosen:
            of_class = judged & (labels[0] == c)
            if of_class.sum() >= 10:
                biases[c].append(
                    float((-log_disparity.detach()[of_class] - true[of_class].log() - error.median()).mean())
                )
                pulls[c] += gradient(log_disparity[of_class].mean() - log_disparity[judged].mean()) / len(frames)
    length = sum(steps.values()).norm()
    print(f"| pairs | {' | '.join(given.classes)} |\n|---|{'---:|' * len(chosen)}")
    print(f"| *bias* | {' | '.join(f'{np.mean(biases[c]):+.3f}' for c in chosen)} |")
    for name, step in sorted(steps.items(), key=lambda item: -float(item[1].norm())):
        print(f"| {name} | {' | '.join(f'{-1000 * float(step @ pulls[c] / length):+.2f}' for c in chosen)} |")


if __name__ == "__main__":
    main()
