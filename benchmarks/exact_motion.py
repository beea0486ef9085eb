"""Train with the camera's true motion in place of the pose network's, on rendered worlds: what does the pose network cost?

    python benchmarks/exact_motion.py --config recipes/ablation_cpu.yaml --run runs/exact_motion --network.fusion depth-only \\
      --objective.ranking 0 --objective.balance.method fixed

The arguments are those of ``semdepth train``.
"""

from __future__ import annotations

import sys

from torch import Tensor

from semdepth.apps.cli import main
from semdepth.structures import FrameBatch
from semdepth.training.objective import Learner

UNIT = 40.0
"""Metres: some that runs with a pose network arrive at."""


def exact_motion(learner: Learner, batch: FrameBatch) -> Tensor:
    """Return (B, S, 4, 4) ``source_from_target`` as rendered, in units."""
    assert batch.source_from_target is not None
    motion = batch.source_from_target.clone()
    motion[..., :3, 3] /= UNIT
    return motion


if __name__ == "__main__":
    Learner.motion = exact_motion  # type: ignore[method-assign]
    sys.exit(main(["train", *sys.argv[1:]]))
