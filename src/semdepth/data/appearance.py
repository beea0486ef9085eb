"""What another camera, another film and another sun would make of a frame: for networks that learn from rendered pictures."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from semdepth.processes import ALONE, Share
from semdepth.structures import FrameBatch

GREY = (0.299, 0.587, 0.114)
"""Weights of R, G, B in luma (ITU-R BT.601)."""
GREY_SHARE = 0.15
"""Share of the samples that lose their colours."""
GAMMA, EXPOSURE = 0.5, 0.4
"""The tone curve's exponent and the exposure are e to something in ± this."""
CONTRAST = (-0.2, 0.8)
"""Contrast is e to something in this range: renderings are flatter than photographs of a sunny street."""
SHADE = 1.4
"""The light varies over the picture by factors of e to something in ± half of this, at most."""
SHARPNESS = (-0.8, 0.8)
"""Share of the fine detail (what a 3×3 mean takes away) that is taken away or added."""
NOISE = 0.06
"""Largest standard deviation of the noise."""
_PATCHES = (4, 8)


def another_camera(batch: FrameBatch, generator: torch.Generator, chance: float, share: Share = ALONE) -> FrameBatch:
    """Change what the networks see of some samples as another camera would; what the loss sees stays.

    In this order: no colours (some), exposure, tone curve, contrast about the mean, uneven light, sharpness, noise. Tone and
    colour are one draw for all frames of a sample; light and noise are drawn for each frame.

    Args:
        batch: in unit range, with ``seen_target`` and ``seen_sources``.
        generator: on the CPU; row b of the batch takes the b-th draws.
        chance: probability for each sample, in [0, 1].
        share: of the global batch, where several processes train.
    """
    assert batch.seen_target is not None
    assert batch.seen_sources is not None
    frames = torch.cat([batch.seen_target[:, None], batch.seen_sources], dim=1)
    count, height, width = frames.shape[1], frames.shape[-2], frames.shape[-1]
    device = frames.device
    draws = share.draw(len(batch), 8, generator=generator).to(device)
    patches = share.draw(len(batch), count, *_PATCHES, generator=generator).to(device)
    grain = share.draw(len(batch), count, 3, height, width, generator=generator).to(device)
    chosen, no_colour, *strengths = (d[:, None, None, None, None] for d in draws.unbind(dim=1))
    exposure, gamma, contrast, uneven, sharpness, noise = strengths

    grey = (frames * frames.new_tensor(GREY)[:, None, None]).sum(dim=2, keepdim=True).expand_as(frames)
    seen = torch.where(no_colour < GREY_SHARE, grey, frames)
    seen = (seen * _power(exposure, -EXPOSURE, EXPOSURE)).clamp(1e-4, 1.0) ** _power(gamma, -GAMMA, GAMMA)
    mean = seen.mean(dim=(1, 2, 3, 4), keepdim=True)
    seen = mean + (seen - mean) * _power(contrast, *CONTRAST)
    light = F.interpolate(patches, (height, width), mode="bicubic", align_corners=False)[:, :, None]
    seen = seen * torch.exp(SHADE * uneven * (light - 0.5))
    blurred = F.avg_pool2d(F.pad(seen.flatten(0, 1), (1, 1, 1, 1), mode="replicate"), 3, 1).view_as(seen)
    seen = seen + (SHARPNESS[0] + (SHARPNESS[1] - SHARPNESS[0]) * sharpness) * (seen - blurred)
    # A uniform draw has a variance of 1/12.
    seen = (seen + NOISE * noise * 12**0.5 * (grain - 0.5)).clamp(0.0, 1.0)
    seen = torch.where(chosen < chance, seen, frames)
    return replace(batch, seen_target=seen[:, 0], seen_sources=seen[:, 1:])


def _power(draw: Tensor, low: float, high: float) -> Tensor:
    return torch.exp(low + (high - low) * draw)
