"""How far one picture is shifted against another, by phase correlation: what a turn of the camera does to first order.

Kuglin and Hines, "The phase correlation image alignment method" (1975). Nothing is learnt, and the scene's depth is not needed.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from semdepth.geometry.camera import require_shape

WEAK = 1e-2
"""Frequencies much weaker than this share of the strongest hold noise only, and count less."""
REACH = 0.25
"""Shifts beyond this share of the picture's height or width are not looked for: too little would overlap."""


@torch.no_grad()
def picture_shift(first: Tensor, second: Tensor) -> Tensor:
    """Return how far the middle of the picture moved from ``first`` to ``second``.

    The cross spectrum of both pictures is reduced to its phases; its inverse transform peaks at the shift. Hann windows fade
    the borders, where a camera that drives sees parallax and what enters and leaves. A parabola through the peak and its
    neighbours gives fractions of a pixel. Pictures without texture are not shifted.

    Args:
        first: (B, C, H, W), floating point, H and W of 4 or more.
        second: the same.

    Returns:
        (B, 2) float32 shift in pixels, x and y: positive where ``second`` shows things further right and further down.

    Raises:
        ValueError: if the shapes are wrong or differ.
    """
    require_shape("first", first, "B", "C", "H", "W")
    require_shape("second", second, *first.shape)
    height, width = first.shape[-2:]
    spectra = [torch.fft.rfft2(_faded(picture.float().mean(1))) for picture in (second, first)]
    cross = spectra[0] * spectra[1].conj()
    strength = cross.abs()
    phases = cross / (strength + WEAK * strength.amax((1, 2), keepdim=True)).clamp(min=1e-12)
    reach_y, reach_x = max(int(REACH * height), 1), max(int(REACH * width), 1)
    surface = torch.fft.irfft2(phases, s=(height, width)).roll((height // 2, width // 2), (1, 2))
    top, left = height // 2 - reach_y, width // 2 - reach_x
    near = surface[:, top : top + 2 * reach_y + 1, left : left + 2 * reach_x + 1]
    at = near.flatten(1).argmax(1)
    y, x = at // near.shape[2], at % near.shape[2]
    batch, padded = torch.arange(len(near), device=near.device), F.pad(near, (1, 1, 1, 1))
    peak = padded[batch, y + 1, x + 1]
    fine_x = _vertex(padded[batch, y + 1, x], peak, padded[batch, y + 1, x + 2])
    fine_y = _vertex(padded[batch, y, x + 1], peak, padded[batch, y + 2, x + 1])
    shift = torch.stack((x - reach_x + fine_x, y - reach_y + fine_y), dim=1)
    return torch.where(peak[:, None] > 0, shift, torch.zeros_like(shift))


def _faded(grey: Tensor) -> Tensor:
    """Return (B, H, W) without its mean, faded out towards all four borders."""
    rows, columns = (torch.hann_window(n, periodic=False, device=grey.device) for n in grey.shape[1:])
    return (grey - grey.mean((1, 2), keepdim=True)) * rows[:, None] * columns


def _vertex(before: Tensor, peak: Tensor, after: Tensor) -> Tensor:
    """Return where the parabola through three neighbours has its vertex, in [-0.5, 0.5] about the middle one."""
    bend = (before - 2 * peak + after).clamp(max=-1e-12)
    return (0.5 * (before - after) / bend).clamp(-0.5, 0.5)
