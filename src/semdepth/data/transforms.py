"""Batched transforms of frame batches, on the batch's device; their random draws are made on the CPU."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semdepth.data.appearance import GREY, another_camera
from semdepth.geometry.camera import flip_intrinsics
from semdepth.geometry.zoom import resample, zoom_intrinsics, zoom_matrix
from semdepth.labels import IGNORE
from semdepth.processes import ALONE, Share
from semdepth.runtime import InputError
from semdepth.structures import FrameBatch

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
    camera: float = 0.0
    """Probability of showing the networks a sample as another camera would: tone, contrast, light, sharpness, noise, no colours.
    For networks that learn from rendered pictures and are to see photographs."""
    zoom: float = 0.0
    """Probability of zooming into a sample: a random crop, enlarged, with its intrinsics, labels and sources."""
    second_view: bool = False
    """Give each sample a second view of the target at another zoom, nearer or farther, for objective.zoom_consistency."""
    zoom_factor: float = 1.5
    """Largest zoom: into a sample by a factor in [1, this]; of the second view in [1/this, this]."""

    def __post_init__(self) -> None:
        for name in ("flip", "jitter", "brightness", "contrast", "saturation", "camera", "zoom"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"{name} {getattr(self, name)}: must lie in [0, 1]")
        if not 0.0 <= self.hue <= 0.5:
            raise InputError(f"hue {self.hue}: must lie in [0, 0.5] turns")
        if not 1.0 < self.zoom_factor <= 2.0:
            raise InputError(f"zoom_factor {self.zoom_factor}: must be above 1, at most 2")


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


def zoom(batch: FrameBatch, zoomed_from_plain: Tensor, chosen: Tensor) -> FrameBatch:
    """Show samples at another zoom: pixels and intrinsics change, depth and motion do not.

    Images are read bilinearly, reflected beyond their borders; labels, confidence and depth are read at the nearest
    pixel, and unknown (255, 0, 0) beyond the borders.

    Args:
        batch: in unit range, without a second view.
        zoomed_from_plain: (B, 3, 3) of ``geometry.zoom.zoom_matrix``.
        chosen: (B,) bool, which samples.

    Returns:
        A new batch; samples that are not chosen are untouched, bit for bit.
    """
    device = batch.target.device
    matrix, chosen = zoomed_from_plain.to(device), chosen.to(device)

    def choose(zoomed: Tensor, values: Tensor) -> Tensor:
        return torch.where(chosen.view(-1, *[1] * (values.dim() - 1)), zoomed, values)

    zoomed: dict[str, Any] = {
        name: choose(_zoomed_images(images, matrix), images)
        for name in ("target", "sources", "seen_target", "seen_sources")
        if (images := getattr(batch, name)) is not None
    }
    zoomed |= {
        name: choose(_zoomed_map(values, matrix, unknown), values)
        for name, unknown in (("labels", IGNORE), ("confidence", 0), ("depth", 0))
        if (values := getattr(batch, name)) is not None
    }
    intrinsics = choose(zoom_intrinsics(batch.intrinsics, matrix), batch.intrinsics)
    return replace(batch, **zoomed, intrinsics=intrinsics)


def _zoomed_images(images: Tensor, matrix: Tensor) -> Tensor:
    """Zoom (B, …, 3, H, W) images by (B, 3, 3) matrices."""
    stacked = images.flatten(1, -3)
    return resample(stacked, matrix)[0].view_as(images)


def _zoomed_map(values: Tensor, matrix: Tensor, unknown: int) -> Tensor:
    """Zoom a (B, H, W) or (B, 1, H, W) map of any type."""
    plane = values if values.dim() == 4 else values[:, None]
    zoomed, inside = resample(plane.float(), matrix, mode="nearest")
    return zoomed.masked_fill(~inside, unknown).to(values.dtype).view_as(values)


def random_zoom(draws: Tensor, nearest: float, farthest: float, size: tuple[int, int]) -> Tensor:
    """Return zooms by factors in [``farthest``, ``nearest``], uniform in their logarithm, placed uniformly.

    Args:
        draws: (B, 3) uniform in [0, 1): factor, row, column.
        nearest: largest factor.
        farthest: smallest factor; below 1, the whole image lies somewhere in the zoomed frame.
        size: (H, W) of the images.

    Returns:
        (B, 3, 3), zoomed pixel from pixel.
    """
    low, high = math.log(farthest), math.log(nearest)
    factor = torch.exp(low + (high - low) * draws[:, 0])
    height, width = size
    return zoom_matrix(factor, draws[:, 1] * (factor - 1) * height, draws[:, 2] * (factor - 1) * width)


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


def augment(batch: FrameBatch, generator: torch.Generator, config: AugmentConfig, share: Share = ALONE) -> FrameBatch:
    """Mirror samples, zoom into them and change the colours that the networks see, at random; add a second view.

    One colour change a sample, the same for its target, its sources and its second view; ``target`` and ``sources`` keep the
    true colours.

    Args:
        batch: in unit range (``to_unit_range``), on any device.
        generator: on the CPU, so that a seed means the same on every device; row b of the batch takes the b-th draws.
        config: probabilities and strengths.
        share: of the global batch, where several processes train.

    Returns:
        A new batch; ``seen_target`` and ``seen_sources`` are set if any colour change is possible, ``zoomed_target`` and
        ``zoomed_from_target`` if a second view is wanted.
    """
    draws = share.draw(len(batch), 6, generator=generator)
    batch = flip(batch, draws[:, 0] < config.flip)
    size = (batch.target.shape[-2], batch.target.shape[-1])
    if config.zoom:
        zooms = share.draw(len(batch), 4, generator=generator)
        batch = zoom(batch, random_zoom(zooms[:, 1:], config.zoom_factor, 1.0, size), zooms[:, 0] < config.zoom)
    if config.jitter:
        batch = _jitter(batch, draws[:, 1:], config)
    if config.camera:
        if batch.seen_target is None:
            batch = replace(batch, seen_target=batch.target, seen_sources=batch.sources)
        batch = another_camera(batch, generator, config.camera, share)
    if config.second_view:
        views = share.draw(len(batch), 3, generator=generator)
        matrix = random_zoom(views, config.zoom_factor, 1 / config.zoom_factor, size).to(batch.target.device)
        seen = batch.target if batch.seen_target is None else batch.seen_target
        batch = replace(batch, zoomed_target=_zoomed_images(seen, matrix), zoomed_from_target=matrix)
    return batch


def _jitter(batch: FrameBatch, draws: Tensor, config: AugmentConfig) -> FrameBatch:
    """Change what the networks see of a batch by its (B, 5) draws."""
    chosen = draws[:, 0] < config.jitter
    spread = torch.tensor([config.brightness, config.contrast, config.saturation, config.hue])
    changes = (2.0 * draws[:, 1:] - 1.0) * spread
    device = batch.target.device
    brightness, contrast, saturation, hue = changes.to(device).unbind(dim=-1)
    grey = (batch.target.mean(dim=(-2, -1)) * batch.target.new_tensor(GREY)).sum(dim=-1)
    matrix = colour_matrix(1.0 + brightness, 1.0 + contrast, 1.0 + saturation, hue, grey)
    same = torch.eye(3, 4, device=device)
    matrix = torch.where(chosen.to(device)[:, None, None], matrix, same)
    return replace(batch, seen_target=_recolour(batch.target, matrix), seen_sources=_recolour(batch.sources, matrix))
