"""Batched transforms of frame batches, on the batch's device; their random draws are made on the CPU."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semdepth.geometry.camera import flip_intrinsics
from semdepth.runtime import InputError
from semdepth.structures import FrameBatch

GREY = (0.299, 0.587, 0.114)
"""Weights of R, G, B in luma (ITU-R BT.601)."""
_YIQ_FROM_RGB = np.array([GREY, (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135)])


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes of training frames."""

    flip: float = 0.5
    """Probability of mirroring a sample left to right."""
    jitter: float = 0.5
    """Probability of changing the colours that the networks see; the loss sees the true ones."""
    brightness: float = 0.2
    """Brightness is multiplied by a factor in [1 − this, 1 + this]."""
    contrast: float = 0.2
    """Contrast is multiplied by a factor in [1 − this, 1 + this]."""
    saturation: float = 0.2
    """Saturation is multiplied by a factor in [1 − this, 1 + this]."""
    hue: float = 0.1
    """Hue is turned by an angle in [−this, this], in turns."""

    def __post_init__(self) -> None:
        for name in ("flip", "jitter", "brightness", "contrast", "saturation"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"{name} {getattr(self, name)}: must lie in [0, 1]")
        if not 0.0 <= self.hue <= 0.5:
            raise InputError(f"hue {self.hue}: must lie in [0, 0.5] turns")


def to_unit_range(batch: FrameBatch) -> FrameBatch:
    """Return the loader's batch with images and confidence as float32 in [0, 1]; what is float already stays."""

    def scaled(values: Tensor) -> Tensor:
        return values.float() / 255.0 if values.dtype == torch.uint8 else values

    return replace(
        batch,
        target=scaled(batch.target),
        sources=scaled(batch.sources),
        confidence=None if batch.confidence is None else scaled(batch.confidence),
    )


def flip(batch: FrameBatch, chosen: Tensor) -> FrameBatch:
    """Mirror samples left to right: pixels, intrinsics and true motion.

    Args:
        batch: any batch.
        chosen: (B,) bool, which samples.

    Returns:
        The batch; flipping it again gives the first one back.
    """
    chosen = chosen.to(batch.target.device)

    def choose(flipped: Tensor, values: Tensor) -> Tensor:
        return torch.where(chosen.view(-1, *[1] * (values.dim() - 1)), flipped, values)

    mirrored: dict[str, Any] = {
        name: choose(values.flip(-1), values)
        for name in ("target", "sources", "labels", "confidence", "depth", "seen_target", "seen_sources")
        if (values := getattr(batch, name)) is not None
    }
    intrinsics = choose(flip_intrinsics(batch.intrinsics, batch.target.shape[-1]), batch.intrinsics)
    motion = batch.source_from_target
    if motion is not None:
        mirror = motion.new_tensor([-1.0, 1.0, 1.0, 1.0])
        motion = choose(mirror[:, None] * motion * mirror, motion)
    return replace(batch, **mirrored, intrinsics=intrinsics, source_from_target=motion)


def colour_matrix(brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor, grey: Tensor) -> Tensor:
    """Return the affine colour change that turns hue, then scales saturation, contrast and brightness.

    Hue turns in the plane of chroma, at constant luma (YIQ); contrast scales about ``grey``, saturation about each
    pixel's luma. All four are affine in RGB, so one product a pixel does them all.

    Args:
        brightness: (B,) factor.
        contrast: (B,) factor.
        saturation: (B,) factor.
        hue: (B,) turns.
        grey: (B,) mean luma.

    Returns:
        (B, 3, 4): new RGB = matrix · (R, G, B, 1).
    """
    yiq_from_rgb = brightness.new_tensor(_YIQ_FROM_RGB)
    rgb_from_yiq = brightness.new_tensor(np.linalg.inv(_YIQ_FROM_RGB))
    angle = 2.0 * math.pi * hue
    cos, sin, zero, one = (
        angle.cos() * saturation,
        angle.sin() * saturation,
        torch.zeros_like(hue),
        torch.ones_like(hue),
    )
    turn = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], dim=-1).view(-1, 3, 3)
    linear = rgb_from_yiq @ turn @ yiq_from_rgb
    offset = ((1.0 - contrast) * grey)[:, None, None].expand(-1, 3, 1)
    return brightness[:, None, None] * torch.cat([contrast[:, None, None] * linear, offset], dim=-1)


def _recolour(images: Tensor, matrix: Tensor) -> Tensor:
    """Apply (B, 3, 4) colour matrices to (B, …, 3, H, W) images and clamp to [0, 1]."""
    middle = [1] * (images.dim() - 4)
    linear = matrix[:, :, :3].reshape(-1, *middle, 3, 3)
    offset = matrix[:, :, 3].reshape(-1, *middle, 3, 1)
    with torch.autocast(images.device.type, enabled=False):  # mixed precision would round colours to half
        return (linear @ images.flatten(-2) + offset).clamp(0.0, 1.0).view_as(images)


def augment(batch: FrameBatch, generator: torch.Generator, config: AugmentConfig) -> FrameBatch:
    """Mirror samples and change the colours that the networks see, at random.

    One colour change a sample, the same for its target and sources; ``target`` and ``sources`` keep the true colours.

    Args:
        batch: in unit range (``to_unit_range``), on any device.
        generator: on the CPU, so that a seed means the same on every device; row b of the batch takes the b-th draws.
        config: probabilities and strengths.

    Returns:
        A new batch; ``seen_target`` and ``seen_sources`` are set if any colour change is possible.
    """
    draws = torch.rand(len(batch), 6, generator=generator)
    batch = flip(batch, draws[:, 0] < config.flip)
    if config.jitter == 0.0:
        return batch
    chosen = draws[:, 1] < config.jitter
    spread = torch.tensor([config.brightness, config.contrast, config.saturation, config.hue])
    changes = (2.0 * draws[:, 2:] - 1.0) * spread
    device = batch.target.device
    brightness, contrast, saturation, hue = changes.to(device).unbind(dim=-1)
    grey = (batch.target.mean(dim=(-2, -1)) * batch.target.new_tensor(GREY)).sum(dim=-1)
    matrix = colour_matrix(1.0 + brightness, 1.0 + contrast, 1.0 + saturation, hue, grey)
    same = torch.eye(3, 4, device=device)
    matrix = torch.where(chosen.to(device)[:, None, None], matrix, same)
    return replace(batch, seen_target=_recolour(batch.target, matrix), seen_sources=_recolour(batch.sources, matrix))
