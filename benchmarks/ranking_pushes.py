"""Which pairs of the ranking loss still push a trained network, and which share of these pushes is right, by kind of pair.

    python benchmarks/ranking_pushes.py worlds/ablation/test 64x192 runs/a/weights.safetensors --tau 0.05

A pair pushes if the hinge is above 0 (margin 0.05, band 0.1); its push is right if it brings the pair's gap in log-depth nearer
to the true one. Noisy labels, all rules, the network's own probabilities for rule 4. The sky counts as very far.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt
import torch
from labelled_worlds import open_noisy_and_exact, parser

import semdepth
from semdepth.labels import GROUND, OCCLUDER, SKY, membership
from semdepth.losses.pair_config import PairConfig
from semdepth.losses.pairs import PointPairs, sample_pairs
from semdepth.losses.ranking import RankingConfig

GROUPS = {"thing": membership(OCCLUDER), "sky": membership(SKY), "ground": membership(GROUND)}
VERY_FAR = 1e4


def kind(first: int, second: int, ordinal: int, by_class: bool) -> str:
    """Name a pair after its classes and after who ordered it."""
    names = sorted(next((name for name, members in GROUPS.items() if members[c]), "stuff") for c in (first, second))
    if ordinal == 0:
        return f"equal, on a {names[0]}"
    return f"{' and '.join(names)}, ordered by {'class' if by_class else 'the network'}"


def pushes(
    pairs: PointPairs, log_depth: npt.NDArray[np.float64], true: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Return (3, P): true depth is known at both points; the pair pushes; its push is right. Depths are (H, W)."""
    i, j = pairs.i.numpy().T, pairs.j.numpy().T
    order = pairs.ordinal.numpy().astype(int)
    found = log_depth[j[0], j[1]] - log_depth[i[0], i[1]]
    exact = np.log(true[j[0], j[1]]) - np.log(true[i[0], i[1]])
    form = RankingConfig()
    pushing = np.where(order == 0, np.abs(found) > form.band, order * found < form.margin)
    right = np.where(order == 0, np.abs(exact) < np.abs(found), order * exact > order * found)
    return np.stack([np.isfinite(exact), pushing, right])


def main() -> None:
    """Print a row a kind of pair, those that push most often first."""
    arguments = parser("Pushes of the ranking loss, and how many are right.")
    arguments.add_argument("--tau", type=float, default=PairConfig().tau, help="see PairConfig")
    given = arguments.parse_args()
    frames, exact = open_noisy_and_exact(given.root, given.size)
    predictor = semdepth.load(given.weights, device="cpu")
    config, generator = PairConfig(samples=3000, tau=given.tau), torch.Generator().manual_seed(0)
    counts: dict[str, npt.NDArray[np.int64]] = defaultdict(lambda: np.zeros(3, np.int64))
    for k in range(len(frames)):
        seen, labels = frames[k], exact[k].labels
        assert seen.labels is not None
        assert labels is not None
        true = np.where(labels[0].numpy() == SKY[0], VERY_FAR, frames.ground_truth(k)).astype(np.float64)
        true[true <= 0] = np.nan
        with torch.inference_mode():
            logits = predictor.network(seen.target.float() / 255).logits
        assert logits is not None
        depth = predictor.predict(seen.target[0].permute(1, 2, 0).numpy()).depth.astype(np.float64)
        disparity = torch.from_numpy(1 / depth)[None, None].float()
        pairs = sample_pairs(
            seen.labels, disparity, logits[0].softmax(1), seen.confidence, config=config, generator=generator
        )
        known, pushing, right = pushes(pairs, np.log(depth), true)
        first, second = (label.tolist() for label in pairs.at(seen.labels))
        kinds = np.array(list(map(kind, first, second, pairs.ordinal.tolist(), pairs.from_prior.tolist())))
        for name in np.unique(kinds[known]):
            here = known & (kinds == name)
            counts[name] += [here.sum(), (here & pushing).sum(), (here & pushing & right).sum()]
    print("| pairs | an image | of these push | pushes that are right |\n|---|---:|---:|---:|")
    for name, (drawn, pushing, right) in sorted(counts.items(), key=lambda item: -item[1][1]):
        n = len(frames)
        print(f"| {name} | {drawn / n:.1f} | {pushing / n:.2f} | {f'{right / pushing:.0%}' if pushing else '–'} |")


if __name__ == "__main__":
    main()
