"""What is seen where nothing is hit: sky, sun, clouds, and trees at the horizon."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from . import texture
from .texture import SIZE, sample_near
from .world import World


def paint_sky(world: World, direction: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the sky's colour, and where distant trees stand before it."""
    look = world.look
    x, y, z = direction
    device = x.device
    flat = torch.hypot(x, z).clamp(min=1e-6)
    rise = (-y / flat).clamp(min=0)
    zenith, horizon = (torch.tensor(c, device=device)[:, None] for c in (look.zenith, look.horizon))
    colour = horizon + (1 - (-3.2 * rise).exp()) * (zenith - horizon)
    # Clouds on a plane far above, thinning out towards the horizon.
    tile = torch.full_like(x, texture.CLOUD, dtype=torch.int64)
    u, v = x / flat / (rise + 0.12) * 0.16, z / flat / (rise + 0.12) * 0.16
    cloud = sample_near(tile, u + 0.3, v, torch.full_like(x, 1 / SIZE))[0]
    cover = ((cloud - 1.28 + 0.55 * look.clouds) * 4).clamp(0, 1) * (rise * 12).clamp(max=1)
    colour = colour + cover * (torch.full_like(colour, 0.86) - 0.10 * cover - colour)
    sun = torch.tensor(look.sun_direction, device=device)
    towards = (x * sun[0] + y * sun[1] + z * sun[2]) / (flat.square() + y * y).sqrt()
    colour = colour + 0.35 * (towards.clamp(min=0) ** 60) * (1 - 0.8 * look.clouds)
    around = torch.atan2(x, z) / (2 * math.pi)
    tall = 0.035 * (
        sample_near(tile, around * 3, torch.full_like(x, 0.5), torch.full_like(x, 1 / SIZE))[0] - 0.55
    ).clamp(min=0)
    trees = rise < tall
    leaves = torch.tensor(world.style.leaves, device=device)[:, None] * 0.9
    hazy = leaves + 0.45 * (horizon - leaves)
    shade_of = sample_near(torch.full_like(tile, texture.FOLIAGE), around * 12, rise * 2, torch.full_like(x, 2 / SIZE))
    return torch.where(trees, hazy * (0.6 + 0.4 * shade_of), colour), trees
