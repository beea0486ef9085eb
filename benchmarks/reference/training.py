"""How the field's research code usually takes a training step: eager float32, scale by scale, source by source.

Written for this comparison from the papers' equations (Zhou et al. 2017, Godard et al. 2019); no code of theirs is in it. What
makes it plain: a pass of the pose network for every source, homogeneous points for every scale and source, five pools of padded
images for every SSIM, and the unwarped sources compared anew at every scale. The loss is the one that semdepth minimises
without labels, so that both can be compared number by number. Two details of the literature are therefore left out or taken
from the method: no random noise breaks the ties of the auto-mask, and smoothness is that of disparity, not of the sigmoid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SCALES = 4
Depth = Callable[[Tensor], Sequence[Tensor]]
"""(B, 3, H, W) → four sigmoid outputs, finest first."""
Pose = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Earlier and later image → axis-angle and translation, (B, 3) each."""


def training_loss(
    depth: Depth,
    pose: Pose,
    target: Tensor,
    sources: Sequence[Tensor],
    offsets: Sequence[int],
    intrinsics: Tensor,
    *,
    smoothness_weight: float = 1e-3,
    depth_range: tuple[float, float] = (0.1, 100.0),
) -> Tensor:
    """Return the loss of a batch.

    Args:
        depth: the depth network.
        pose: the pose network.
        target: (B, 3, H, W) in [0, 1].
        sources: as many such batches as there are offsets.
        offsets: of the sources against the target; negative: before it.
        intrinsics: (B, 3, 3), pixels.
        smoothness_weight: λ_smooth.
        depth_range: depths at sigmoid 1 and 0.
    """
    sigmas = depth(target)
    motions = []
    for source, offset in zip(sources, offsets, strict=True):
        first, second = (source, target) if offset < 0 else (target, source)
        axis_angle, translation = pose(first, second)
        motions.append(motion_matrix(axis_angle, translation, invert=offset < 0))
    return synthesis_loss(sigmas, motions, target, sources, intrinsics, smoothness_weight, depth_range)


def synthesis_loss(
    sigmas: Sequence[Tensor],
    motions: Sequence[Tensor],
    target: Tensor,
    sources: Sequence[Tensor],
    intrinsics: Tensor,
    smoothness_weight: float = 1e-3,
    depth_range: tuple[float, float] = (0.1, 100.0),
) -> Tensor:
    """Return the loss of given sigmoid outputs and (B, 4, 4) motions; otherwise as ``training_loss``."""
    ssim = SSIM().to(target.device)
    camera = torch.eye(4, device=target.device).repeat(len(target), 1, 1)
    camera[:, :3, :3] = intrinsics
    inverse = torch.linalg.inv(camera)
    height, width = target.shape[2:]
    total = torch.zeros((), device=target.device)
    for scale in range(SCALES):
        sigma = sigmas[scale]
        disparity = sigma_to_disparity(sigma, depth_range)
        whole = F.interpolate(sigma, (height, width), mode="bilinear", align_corners=False)
        depth = 1 / sigma_to_disparity(whole, depth_range)
        points = backproject(depth, inverse)
        errors = []
        for source, motion in zip(sources, motions, strict=True):
            grid = project(points, camera, motion, (height, width))
            warped = F.grid_sample(source, grid, padding_mode="border", align_corners=True)
            errors.append(reprojection_error(warped, target, ssim))
        unwarped = [reprojection_error(source, target, ssim) for source in sources]
        standing = torch.cat(unwarped, 1).min(dim=1, keepdim=True)[0]
        combined = torch.cat((standing, *errors), dim=1)
        smallest, _ = torch.min(combined, dim=1)
        image = F.interpolate(target, sigma.shape[2:], mode="area")
        normalised = disparity / (disparity.mean(2, True).mean(3, True) + 1e-7)
        loss = smallest.mean() + smoothness_weight * smooth_loss(normalised, image) / 2**scale
        total = total + loss / SCALES
    return total


def sigma_to_disparity(sigma: Tensor, depth_range: tuple[float, float]) -> Tensor:
    """Return ``1/d_max + (1/d_min − 1/d_max)·σ``."""
    nearest, farthest = depth_range
    return 1 / farthest + (1 / nearest - 1 / farthest) * sigma


def motion_matrix(axis_angle: Tensor, translation: Tensor, invert: bool) -> Tensor:
    """Return (B, 4, 4): rotate and translate, or the inverse."""
    rotation = rotation_matrix(axis_angle)
    moved = translation.clone()
    if invert:
        rotation = rotation.transpose(1, 2)
        moved = -moved
    shift = torch.eye(4, device=rotation.device).repeat(len(rotation), 1, 1)
    shift[:, :3, 3] = moved
    return torch.matmul(rotation, shift) if invert else torch.matmul(shift, rotation)


def rotation_matrix(axis_angle: Tensor) -> Tensor:
    """Return (B, 4, 4) by Rodrigues' formula."""
    angle = torch.norm(axis_angle, dim=1, keepdim=True)
    x, y, z = (axis_angle / (angle + 1e-12)).unbind(1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).view(-1, 3, 3)
    angle = angle[:, :, None]
    small = torch.eye(3, device=x.device) + angle.sin() * cross + (1 - angle.cos()) * torch.matmul(cross, cross)
    rotation = torch.eye(4, device=x.device).repeat(len(x), 1, 1)
    rotation[:, :3, :3] = small
    return rotation


def backproject(depth: Tensor, inverse_camera: Tensor) -> Tensor:
    """Return the (B, 4, H·W) homogeneous points of a depth map."""
    batch, _, height, width = depth.shape
    ys, xs = torch.meshgrid(
        torch.arange(height, device=depth.device), torch.arange(width, device=depth.device), indexing="ij"
    )
    pixels = torch.stack([xs.flatten(), ys.flatten(), torch.ones_like(xs.flatten())]).float()
    rays = torch.matmul(inverse_camera[:, :3, :3], pixels[None].repeat(batch, 1, 1))
    points = depth.view(batch, 1, -1) * rays
    return torch.cat([points, torch.ones_like(points[:, :1])], 1)


def project(points: Tensor, camera: Tensor, motion: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the (B, H, W, 2) grid, in [-1, 1], where the points are seen."""
    height, width = size
    seen = torch.matmul(torch.matmul(camera, motion)[:, :3], points)
    pixels = (seen[:, :2] / (seen[:, 2:3] + 1e-7)).view(-1, 2, height, width).permute(0, 2, 3, 1).clone()
    pixels = torch.stack([pixels[..., 0] / (width - 1), pixels[..., 1] / (height - 1)], dim=-1)
    return (pixels - 0.5) * 2


def reprojection_error(image: Tensor, target: Tensor, ssim: nn.Module) -> Tensor:
    """Return the (B, 1, H, W) mixture of SSIM and L1."""
    difference = torch.abs(target - image).mean(1, True)
    return 0.85 * ssim(image, target).mean(1, True) + 0.15 * difference


class SSIM(nn.Module):
    """Structural dissimilarity, by pools of padded images."""

    def __init__(self) -> None:
        """Build the pools."""
        super().__init__()
        self.pool, self.pad = nn.AvgPool2d(3, 1), nn.ReflectionPad2d(1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return (B, C, H, W) in [0, 1]."""
        x, y = self.pad(x), self.pad(y)
        mean_x, mean_y = self.pool(x), self.pool(y)
        variance_x = self.pool(x**2) - mean_x**2
        variance_y = self.pool(y**2) - mean_y**2
        covariance = self.pool(x * y) - mean_x * mean_y
        numerator = (2 * mean_x * mean_y + 0.01**2) * (2 * covariance + 0.03**2)
        denominator = (mean_x**2 + mean_y**2 + 0.01**2) * (variance_x + variance_y + 0.03**2)
        return torch.clamp((1 - numerator / denominator) / 2, 0, 1)


def smooth_loss(disparity: Tensor, image: Tensor) -> Tensor:
    """Return the edge-aware smoothness."""
    along_x = torch.abs(disparity[:, :, :, :-1] - disparity[:, :, :, 1:])
    along_y = torch.abs(disparity[:, :, :-1, :] - disparity[:, :, 1:, :])
    edge_x = torch.mean(torch.abs(image[:, :, :, :-1] - image[:, :, :, 1:]), 1, keepdim=True)
    edge_y = torch.mean(torch.abs(image[:, :, :-1, :] - image[:, :, 1:, :]), 1, keepdim=True)
    return (along_x * torch.exp(-edge_x)).mean() + (along_y * torch.exp(-edge_y)).mean()
