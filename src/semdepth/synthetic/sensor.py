"""What the camera does to the light: exposure, tone curve, noise."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from .world import World

_GRAIN = 1 << 20
_SHOT, _READ = 0.012, 0.004


@lru_cache(maxsize=4)
def _grain(device: str) -> Tensor:
    """Return a long strip of normal noise, the same on every machine."""
    return torch.from_numpy(np.random.default_rng(7).standard_normal(_GRAIN).astype(np.float32)).to(device)


def expose(world: World, light: Tensor, numbers: Tensor) -> Tensor:
    """Return the image that the sensor makes.

    Args:
        world: the drive's world (its exposure, noise and seed).
        light: (3, F, H, W) linear RGB.
        numbers: (F,) frame numbers.

    Returns:
        (F, 3, H, W) uint8.
    """
    _, count, height, width = light.shape
    p = world.phases
    drift = 1 + 0.03 * torch.sin(numbers / 23 + p[8]) + 0.015 * torch.sin(numbers / 9 + p[9])
    gain = (world.look.exposure * 1.15 * drift).to(torch.float32)
    exposed = light * gain[:, None, None]
    # A soft shoulder instead of hard clipping.
    exposed = exposed / (1 + 0.28 * exposed.square()).sqrt()
    value = exposed.clamp(0, 1) ** (1 / 2.2)
    if world.look.noise > 0:
        # Every frame reads the strip from its own place.
        start = (numbers.long() * 2_654_435_761 + world.seed * 40_503) % _GRAIN
        index = (start[:, None] + torch.arange(3 * height * width, device=light.device)) % _GRAIN
        grain = _grain(str(light.device))[index].reshape(count, 3, height, width).transpose(0, 1)
        value = value + world.look.noise * grain * (_READ + _SHOT * (1 - value) * value.sqrt())
    return (value * 255).round().clamp(0, 255).to(torch.uint8).transpose(0, 1).contiguous()
