"""Does view synthesis on held-out frames tell good runs from bad ones? Its error beside the true one, run by run.

    semdepth synthesise worlds/ablation/held --split test --first 60 --drives 120 --frames 3 --height 64 --width 192
    python benchmarks/without_truth.py runs/ablation/*/seed_* --root worlds/ablation/held

Every frame with both neighbours is judged both ways: photometric error (``semdepth.training.held_out``), and AbsRel by the
exact depth. Below the table: how well the two agree on the order of the runs (Spearman's rank correlation).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from semdepth.apps.recipes import load_experiment
from semdepth.data.catalog import open_dataset
from semdepth.evaluation.protocols import synthetic
from semdepth.training.held_out import HeldOutViews
from semdepth.training.objective import Learner
from semdepth.training.setup import start_from
from semdepth.training.validation import Validation


def judged(run: Path, root: Path) -> tuple[float, float, float]:
    """Return AbsRel, photometric error, and the explained share of a run's last weights."""
    experiment = load_experiment(run)
    learner = Learner(replace(experiment.network, pretrained=False), experiment.objective).eval()
    start_from(run / "weights.safetensors", learner)
    frames = open_dataset(replace(experiment.data, root=root, labels="none", cache=False, split=None, sequences=()))
    told = HeldOutViews(frames)(learner)
    return Validation(frames, synthetic)(learner)["abs_rel"], told["photometric"], told["explained"]


def rank_correlation(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> float:
    """Return Spearman's rank correlation of two rows of numbers without ties."""
    ranks = [np.argsort(np.argsort(row)) for row in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])


def main() -> None:
    """Print a line a run, best first, and the rank correlation."""
    parser = argparse.ArgumentParser(description="AbsRel and held-out photometric error, run by run.")
    parser.add_argument("runs", type=Path, nargs="+", help="run folders")
    parser.add_argument("--root", type=Path, required=True, help="rendered worlds that none of them has learnt from")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = {run: judged(run, given.root) for run in given.runs}
    print("| run | AbsRel | photometric | explained |\n|---|---:|---:|---:|")
    for run, (error, photometric, explained) in sorted(found.items(), key=lambda item: item[1]):
        print(f"| {run.parent.name} {run.name} | {error:.4f} | {photometric:.5f} | {explained:.3f} |")
    rows = np.array(list(found.values())).T
    print(f"rank correlation over {len(found)} runs: {rank_correlation(rows[0], rows[1]):.2f}")


if __name__ == "__main__":
    main()
