"""How much predicted depth flickers, where the truth and the camera's motion are known (rendered drives)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from semdepth.geometry.camera import back_project, project
from semdepth.geometry.rigid import multiply

SAME_POINT = 0.02
"""Relative difference of true depth up to which both frames see the same point; else it is hidden, or moves."""
Depth = npt.NDArray[np.floating]


def flicker(
    depth: Depth, earlier: Depth, truth: Depth, earlier_truth: Depth, intrinsics: Depth, earlier_from_later: Depth
) -> float:
    """Return the mean |change of log depth| of the same points from one frame to the next, beyond the true change.

    ``|log d_t(x) − log d_{t−1}(x′) − log(z_t(x) / z_{t−1}(x′))|``, where x′ is where the point at pixel x was seen before:
    the change of a point's error. A prediction that is wrong, but equally wrong in both frames, does not flicker; one
    that is right up to a scale of its own in every frame does.

    Args:
        depth: (H, W) predicted of the later frame.
        earlier: (H, W) predicted of the earlier frame, in the same unit.
        truth: (H, W) metres of the later frame, 0 = unknown (sky).
        earlier_truth: (H, W) metres of the earlier frame.
        intrinsics: (3, 3) of both.
        earlier_from_later: (4, 4) the camera's motion, in metres.

    Returns:
        The mean over points that both frames see and that stand still; NaN if there are none.
    """
    size = truth.shape
    later, before, z, z_before, camera, motion = (
        torch.as_tensor(np.ascontiguousarray(a), dtype=torch.float64)
        for a in (depth, earlier, truth, earlier_truth, intrinsics, earlier_from_later)
    )
    points = back_project(z[None, None], camera[None])
    moved = multiply(motion[None, :3, :3], points.flatten(2)) + motion[None, :3, 3:]
    seen, moved_depth = project(moved.view(1, 3, *size), camera[None])
    limits = torch.tensor((size[1] - 1, size[0] - 1), dtype=torch.float64).view(1, 2, 1, 1)
    inside = ((seen >= 0) & (seen <= limits)).all(1)[0]
    grid = (2 * seen / limits - 1).permute(0, 2, 3, 1)
    expected = moved_depth[0, 0]
    found = _sample(1 / z_before.clamp(min=1e-6), grid).reciprocal()
    same = inside & (z > 0) & (expected > 0) & ((found / expected - 1).abs() < SAME_POINT)
    change = later.log() - _sample(before.log(), grid) - (z / expected).log()
    return float(change[same].abs().mean())


def _sample(values: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(values[None, None], grid, align_corners=True)[0, 0]
