"""Target and sources beside each other at one size, and what comparing them gives (METHOD 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from semdepth.geometry.camera import resize_intrinsics
from semdepth.geometry.warp import synthesise
from semdepth.losses.fused import photometric_errors
from semdepth.losses.photometric import TargetMoments, ssim_moments


@dataclass(frozen=True)
class Views:
    """What view synthesis gives: the two scalars of METHOD 3.1 and the finest scale's images."""

    photometric: Tensor
    smooth: Tensor
    warped: Tensor
    error: Tensor
    kept: Tensor


class Reference:
    """Target and sources at one size; what does not depend on depth is worked out once, when first asked for."""

    def __init__(self, target: Tensor, sources: Tensor, intrinsics: Tensor, auto_mask: bool) -> None:
        """Take (B, 3, H, W), (B, S, 3, H, W), (B, 3, 3); identity errors are needed by the auto-mask only."""
        self.target, self.sources, self.intrinsics, self.auto_mask = target, sources, intrinsics, auto_mask
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
        return photometric_errors(images, self.moments)

    def compare(self, depth: Tensor, source_from_target: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
        """Return the warped sources (B, S, 3, H, W) and their errors (B, S, H, W)."""
        warped = [
            synthesise(self.sources[:, s], depth, intrinsics, source_from_target[:, s])
            for s in range(self.sources.shape[1])
        ]
        stacked = torch.stack(warped, dim=1)
        return stacked, self.errors(stacked)

    def resized(self, size: tuple[int, int]) -> Reference:
        """Return the same views, area-resized to (H', W')."""
        target = F.interpolate(self.target, size, mode="area")
        sources = F.interpolate(self.sources.flatten(0, 1), size, mode="area").unflatten(0, self.sources.shape[:2])
        return Reference(target, sources, resize_intrinsics(self.intrinsics, self.size, size), self.auto_mask)
