"""What shows the focal length on drives with known truth: is it the loss, or what the pose network makes of turns?

python benchmarks/focal_diagnosis.py worlds/swing --factor 1.3                    # the loss, and the shift of the pictures
python benchmarks/focal_diagnosis.py worlds/swing --factor 1.3 --run runs/focal   # a run's networks

For drives of ``benchmarks/swinging_drives.py``, whose calibration is wrong by ``--factor``.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from semdepth.data.catalog import DataConfig, open_dataset
from semdepth.data.transforms import to_unit_range
from semdepth.geometry.camera import disparity_to_depth
from semdepth.geometry.rigid import axis_angle_to_matrix
from semdepth.geometry.shift import picture_shift
from semdepth.inference.opening import find_weights, trained_intrinsics
from semdepth.models.network import NetworkConfig
from semdepth.models.weights import load_depth_network, load_pose_network
from semdepth.structures import FrameBatch, stack_frames
from semdepth.training.objective import Learner
from semdepth.training.objective_config import ObjectiveConfig
from semdepth.training.view_synthesis import view_synthesis

RANGE = (0.1, 100.0)
SMALL = NetworkConfig(encoder="resnet10-small", pose_encoder="resnet10-small", fusion="depth-only")
FACTORS = (0.8, 0.9, 0.95, 0.98, 1.0, 1.02, 1.05, 1.1, 1.2, 1.3)


def true_frames(world: Path, factor: float, count: int) -> FrameBatch:
    """Return ``count`` frames, evenly over the drives, with exact depth, motion and camera."""
    dataset = open_dataset(DataConfig("kitti_raw", root=world, height=64, width=192, labels="none", with_depth=True))
    chosen = np.linspace(0, len(dataset) - 1, count).round().astype(int)
    batch = to_unit_range(stack_frames([dataset[int(i)] for i in chosen]))
    camera = batch.intrinsics.clone()
    camera[:, :2, :2] /= factor
    return replace(batch, intrinsics=camera)


def axis_angles(motion: Tensor) -> Tensor:
    """Return the (..., 3) axis-angle in radians of small turns (..., 4, 4)."""
    r = motion[..., :3, :3]
    sines = torch.stack((r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] - r[..., 0, 1]), -1) / 2
    length = sines.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    angles: Tensor = sines * torch.asin(length.clamp(max=1)) / length
    return angles


def loss_at(batch: FrameBatch, factor: float) -> float:
    """Return the photometric loss of exact depth, were the focal length ``factor`` times the true one.

    Angles and sideways ways are divided by the factor, so that they shift the picture's middle as the true ones do.
    """
    assert batch.depth is not None
    assert batch.source_from_target is not None
    disparity = torch.where(batch.depth > 0, 1 / batch.depth.clamp(min=RANGE[0]), 1 / RANGE[1])
    sigma = ((disparity - 1 / RANGE[1]) / (1 / RANGE[0] - 1 / RANGE[1])).clamp(1e-4, 1 - 1e-4)
    scales = tuple(F.interpolate(sigma, (64 >> k, 192 >> k), mode="area") for k in range(4))
    motion, camera = batch.source_from_target.clone(), batch.intrinsics.clone()
    motion[..., :3, :3] = axis_angle_to_matrix(axis_angles(motion) / factor)
    motion[..., :2, 3] /= factor
    camera[:, :2, :2] *= factor
    config, believed = ObjectiveConfig(full_resolution=False), replace(batch, intrinsics=camera)
    return float(view_synthesis(believed, scales, motion, config, RANGE).photometric)


def against(name: str, found: Tensor, true: Tensor, unit: str) -> None:
    """Print how ``found`` follows ``true``."""
    x, y = (t.flatten().double().numpy() for t in (true, found))
    slope = float((x * y).sum() / (x * x).sum())
    rest = float((y - slope * x).std())
    print(f"| {name} | {slope:.3f} | {np.corrcoef(x, y)[0, 1]:.3f} | {rest:.2f} {unit} | {x.std():.2f} {unit} |")


def judge_run(batch: FrameBatch, run: Path) -> None:
    """Print what the networks of a run make of the frames."""
    assert batch.depth is not None
    weights = find_weights(run)
    depth_network, header = load_depth_network(weights)
    camera: npt.NDArray[np.float64] | None = trained_intrinsics(weights, header)
    assert camera is not None
    learner = Learner(SMALL, ObjectiveConfig())
    learner.pose = load_pose_network(weights)
    learnt = replace(batch, intrinsics=torch.from_numpy(camera).float().expand(len(batch), 3, 3))
    turns = axis_angles(learner.motion(learnt)) * 180 / np.pi
    true = axis_angles(batch.source_from_target) * 180 / np.pi if batch.source_from_target is not None else turns
    against("the pose network's pitch", turns[..., 0], true[..., 0], "°")
    against("the pose network's yaw", turns[..., 1], true[..., 1], "°")
    _, depth = disparity_to_depth(depth_network(batch.target).disparity[0], *RANGE)
    errors = []
    for found, real in zip(depth, batch.depth, strict=True):
        seen = (real > 0) & (real < 80)
        scaled = found[seen] * (real[seen].median() / found[seen].median())
        errors.append(float(((scaled - real[seen]).abs() / real[seen]).mean()))
    focal = float(camera[0, 0] / batch.intrinsics[0, 0, 0])
    print(
        f"\nFocal length {camera[0, 0]:.2f} px, {focal - 1:+.1%}; AbsRel {np.mean(errors):.3f} on these training frames"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", type=Path)
    parser.add_argument("--factor", type=float, default=1.3, help="what the calibration's focal lengths are wrong by")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--frames", type=int, default=60)
    options = parser.parse_args()
    batch = true_frames(options.world, options.factor, options.frames)
    head = "| | slope | correlation | what is left (std) | truth (std) |\n|---|---:|---:|---:|---:|"
    with torch.no_grad():
        if options.run is not None:
            print(head)
            return judge_run(batch, options.run)
        print("| factor on the true focal length | loss |\n|---:|---:|")
        for factor in FACTORS:
            print(f"| {factor:.2f} | {loss_at(batch, factor):.5f} |")
        assert batch.source_from_target is not None
        shifts = torch.stack([picture_shift(batch.target, batch.sources[:, s]) for s in range(2)], dim=1)
        focal, turns = batch.intrinsics[0], axis_angles(batch.source_from_target)
        print("\n" + head)
        against("shift in x against f·yaw", shifts[..., 0], focal[0, 0] * turns[..., 1], "px")
        against("shift in y against −f·pitch", shifts[..., 1], -focal[1, 1] * turns[..., 0], "px")


if __name__ == "__main__":
    main()
