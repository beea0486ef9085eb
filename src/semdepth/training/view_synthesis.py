"""View synthesis (METHOD 3.1): ``Σ_k (1/4)·L_photo`` and ``Σ_k (1/4)·L_smooth / 2^k``, the sources warped into the target."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial

import torch
import torch.nn.functional as F
from torch import Tensor

from semdepth.geometry.camera import disparity_to_depth, resize_intrinsics
from semdepth.geometry.warp import synthesise
from semdepth.losses.fused import photometric_errors
from semdepth.losses.kernels import Kernels, kernels_for, warped_errors
from semdepth.losses.motion import movable, moving_with_camera
from semdepth.losses.photometric import TargetMoments, minimum_reprojection, ssim_moments
from semdepth.losses.smoothness import smoothness
from semdepth.structures import FrameBatch
from semdepth.training.eager import with_gradient
from semdepth.training.objective_config import ObjectiveConfig


@dataclass(frozen=True)
class Views:
    """What view synthesis gives: the two scalars of METHOD 3.1 and the finest scale's images."""

    photometric: Tensor
    """Scalar: L_photo, the mean over the scales."""
    smooth: Tensor
    """Scalar: L_smooth / 2^k, the mean over the scales."""
    warped: Tensor
    """(B, S, 3, H, W) sources seen from the target."""
    error: Tensor
    """(B, H, W) photometric error that counts."""
    kept: Tensor
    """(B, H, W) bool, pixels that the masks keep."""


def view_synthesis(
    batch: FrameBatch,
    sigmas: tuple[Tensor, ...],
    source_from_target: Tensor,
    config: ObjectiveConfig,
    depth_range: tuple[float, float],
) -> Views:
    """Warp the sources into the target at every scale and compare.

    Args:
        batch: float images, at least one source.
        sigmas: (B, 1, H/2^k, W/2^k) the depth network's σ, finest first.
        source_from_target: (B, S, 4, 4).
        config: masks, the minimum over the sources, the size to compare at.
        depth_range: depths at σ = 1 and 0.
    """
    scales = len(sigmas)
    photometric = smooth = torch.zeros((), device=batch.target.device)
    finest: tuple[Tensor, Tensor, Tensor] | None = None
    moving: Tensor | None = None
    full = Reference(batch.target, batch.sources, batch.intrinsics, config.auto_mask, config.kernels)
    for k, predicted in enumerate(sigmas):
        sigma = predicted.float()
        size = (sigma.shape[-2], sigma.shape[-1])
        reference = full.resized(size) if k and not config.full_resolution else full
        part = partial(photometric_at_scale, batch, reference, moving, config, depth_range)
        error_mean, warped, error, kept, *masks = with_gradient(part, sigma, source_from_target, reference.intrinsics)
        moving = masks[0] if masks else None
        photometric = photometric + error_mean / scales
        disparity, _ = disparity_to_depth(sigma, *depth_range)
        smooth = smooth + smoothness(disparity, area_resized(reference.target, size)) / 2**k / scales
        finest = finest or (warped, error, kept)
    assert finest is not None
    return Views(photometric, smooth, *finest)


def photometric_at_scale(
    batch: FrameBatch,
    reference: Reference,
    moving: Tensor | None,
    config: ObjectiveConfig,
    depth_range: tuple[float, float],
    sigma: Tensor,
    motion: Tensor,
    camera: Tensor,
) -> tuple[Tensor, ...]:
    """Return one scale's mean error; (B, S, 3, H, W) warped, (B, H, W) error, (B, H, W) kept; the mask, if there is one.

    Args:
        batch: whose labels say what may move.
        reference: the images at the size to compare at.
        moving: (B, 1, H, W) mask of the finest scale; None there, and where there is none.
        config: masks, and the minimum over the sources.
        depth_range: depths at σ = 1 and 0.
        sigma: (B, 1, h, w), upsampled to the size of ``reference``.
        motion: (B, S, 4, 4) ``source_from_target``.
        camera: (B, 3, 3) intrinsics at the size of ``reference``.
    """
    if (sigma.shape[-2], sigma.shape[-1]) != reference.size:
        sigma = F.interpolate(sigma, reference.size, mode="bilinear", align_corners=False)
    _, depth = disparity_to_depth(sigma, *depth_range)
    warped, errors = reference.compare(depth, motion, camera)
    error, kept = minimum_reprojection(
        errors,
        reference.identity_errors,
        auto_mask=config.auto_mask,
        per_pixel_minimum=config.per_pixel_minimum,
    )
    if moving is None and config.motion_mask != "none":
        moving = moving_objects(batch, errors, reference, config)
    if moving is None:
        return error.mean(), warped, error, kept
    left_out = F.interpolate(moving, error.shape[-2:], mode="nearest")[:, 0] > 0
    error, kept = error.masked_fill(left_out, 0.0), kept & ~left_out
    return error.mean(), warped, error, kept, moving


def moving_objects(batch: FrameBatch, errors: Tensor, reference: Reference, config: ObjectiveConfig) -> Tensor | None:
    """Return (B, 1, H, W), 1 on the objects that view synthesis leaves out; None without labels."""
    if batch.labels is None:
        return None
    if config.motion_mask == "movable" or reference.identity_errors is None:
        return movable(batch.labels, batch.confidence)[:, None].float()
    identity = reference.identity_errors
    return moving_with_camera(batch.labels, errors, identity, batch.confidence)[:, None].float()


class Reference:
    """Target and sources at one size; what does not depend on depth is worked out once, when first asked for."""

    def __init__(
        self, target: Tensor, sources: Tensor, intrinsics: Tensor, auto_mask: bool, kernels: Kernels = "auto"
    ) -> None:
        """Take (B, 3, H, W), (B, S, 3, H, W), (B, 3, 3); identity errors are needed by the auto-mask only."""
        self.target, self.sources, self.intrinsics = target, sources, intrinsics
        self.auto_mask, self.kernels = auto_mask, kernels
        self.programs = kernels_for(kernels, target)
        self.size = (target.shape[-2], target.shape[-1])

    @cached_property
    def moments(self) -> TargetMoments:
        """The target's SSIM moments, which every comparison needs."""
        return ssim_moments(self.target)

    @cached_property
    def identity_errors(self) -> Tensor | None:
        """(B, S, H, W) errors of the sources as they are: what standing still would explain."""
        return self.errors(self.sources) if self.auto_mask else None

    def errors(self, images: Tensor) -> Tensor:
        """Return (B, S, H, W) photometric errors of (B, S, 3, H, W) against the target."""
        if self.programs is not None:
            found: Tensor = self.programs.errors_of(images, self.target)
            return found
        return photometric_errors(images, self.moments)

    def compare(self, depth: Tensor, source_from_target: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
        """Return the warped sources (B, S, 3, H, W) and their errors (B, S, H, W)."""
        if self.programs is not None:
            return warped_errors(self.programs, self.sources, depth, intrinsics, source_from_target, self.target)
        warped = [
            synthesise(self.sources[:, s], depth, intrinsics, source_from_target[:, s])
            for s in range(self.sources.shape[1])
        ]
        stacked = torch.stack(warped, dim=1)
        return stacked, self.errors(stacked)

    def resized(self, size: tuple[int, int]) -> Reference:
        """Return the same views, area-resized to (H', W')."""
        target = area_resized(self.target, size)
        sources = area_resized(self.sources.flatten(0, 1), size).unflatten(0, self.sources.shape[:2])
        intrinsics = resize_intrinsics(self.intrinsics, self.size, size)
        return Reference(target, sources, intrinsics, self.auto_mask, self.kernels)


def area_resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return (B, C, H, W) images at another size, every pixel the mean of what it covers."""
    if (images.shape[-2], images.shape[-1]) == size:
        return images
    return F.interpolate(images, size, mode="area")
