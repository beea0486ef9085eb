"""How much the photometric error tells of depth: a run's depth and motion beside the exact ones, on the worlds it learnt from.

    python benchmarks/faint_signal.py runs/ablation/depth-only/seed_0

Mean over every twelfth training frame of the photometric error (mean of the scales). Exact depth is put into the run's unit,
image by image; where the truth is unknown (the sky) it is as far as the network can say.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from semdepth.apps.recipes import load_experiment
from semdepth.data.catalog import open_dataset
from semdepth.data.transforms import to_unit_range
from semdepth.geometry.camera import disparity_to_depth
from semdepth.structures import FrameBatch
from semdepth.training.objective import Learner
from semdepth.training.setup import start_from
from semdepth.training.view_synthesis import view_synthesis

MAX_DEPTH = 80.0


def exact_sigmas(depth: Tensor, scales: int, depth_range: tuple[float, float]) -> tuple[Tensor, ...]:
    """Return the network's outputs that mean (1, 1, H, W) ``depth``, finest first."""
    near, far = (1 / limit for limit in depth_range)
    sigma = ((1 / depth - far) / (near - far)).clamp(0, 1)
    return tuple(sigma if k == 0 else F.interpolate(sigma, scale_factor=0.5**k, mode="area") for k in range(scales))


@torch.no_grad()
def errors(learner: Learner, batch: FrameBatch) -> list[float]:
    """Return the photometric errors of both depths with both motions."""
    assert batch.depth is not None
    assert batch.source_from_target is not None
    output, motion = learner.depth(batch.target), learner.motion(batch)
    _, depth = disparity_to_depth(output.disparity[0], *learner.depth_range)
    known = (batch.depth > 0) & (batch.depth < MAX_DEPTH)
    unit = float(np.median((batch.depth / depth)[known].numpy()))
    exact_depth = torch.where(batch.depth > 0, batch.depth / unit, learner.depth_range[1]).clamp(*learner.depth_range)
    exact_motion = batch.source_from_target.clone()
    exact_motion[..., :3, 3] /= unit
    depths = output.disparity, exact_sigmas(exact_depth, len(output.disparity), learner.depth_range)
    return [
        float(view_synthesis(batch, sigmas, moved, learner.config, learner.depth_range).photometric)
        for sigmas in depths
        for moved in (motion, exact_motion)
    ]


def main() -> None:
    """Print the four errors."""
    parser = argparse.ArgumentParser(
        description="Photometric error of a run's depth and motion, and of the exact ones."
    )
    parser.add_argument("run", type=Path, help="run folder, learnt on rendered worlds")
    given = parser.parse_args()
    experiment = load_experiment(given.run)
    frames = open_dataset(replace(experiment.data, with_depth=True))
    learner = Learner(experiment.network, experiment.objective).eval()
    start_from(given.run / "weights.safetensors", learner)
    found = np.mean([errors(learner, to_unit_range(frames[i])) for i in range(0, len(frames), 12)], axis=0)
    print("| depth | motion | photometric error |\n|---|---|---:|")
    names = [(depth, motion) for depth in ("predicted", "exact") for motion in ("predicted", "exact")]
    for (depth, motion), error in zip(names, found, strict=True):
        print(f"| {depth} | {motion} | {error:.4f} |")


if __name__ == "__main__":
    main()
