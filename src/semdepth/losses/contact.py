"""What stands on the ground is as far away as the ground at its foot: depth for what moves, and for what hides its own cues."""

from __future__ import annotations

import torch
from torch import Tensor

from semdepth.labels import GROUND, STANDING, membership
from semdepth.processes import ALONE, Share

BAND = 0.15
"""Differences of log-depth this small are free: a bonnet is nearer than its bumper, ragged labels end beside the foot."""
LEAST_CONFIDENCE = 0.5
"""A label less sure than this says nothing about what stands where."""


def ground_contact_loss(
    disparity: Tensor, labels: Tensor, confidence: Tensor | None = None, share: Share = ALONE
) -> Tensor:
    """Return how far standing pixels are, in log-depth beyond ``BAND``, from the ground at the foot of their column.

    For a level camera all that is upright above one point of the ground has that point's depth. View synthesis learns the
    ground well, and is wrong on what moves (infinitely far where it keeps our speed) and on walls without texture. The
    ground contact prior of Moon et al. (CVPR 2024) lays the depth of moving objects on the ground below them; here it is
    laid on everything upright (``labels.STANDING``), column by column of a run of one label that ends on ground, only
    where it is off by more than a band, and the ground's own depth is not changed by it.

    Args:
        disparity: (B, 1, H, W) above 0, 1/m or up to scale.
        labels: (B, H, W) uint8 trainIds, 255 = ignore.
        confidence: (B, H, W) of the labels in [0, 1]; below ``LEAST_CONFIDENCE`` a label is not believed.
        share: where several processes train, the mean is over what all of them see.

    Returns:
        Scalar: the mean of ``max(0, |log z − log z_foot| − BAND)`` over the pixels with a foot; 0 with a gradient of 0 where
        there are none.

    Raises:
        ValueError: if the maps differ in size.
    """
    if disparity.shape != (len(labels), 1, *labels.shape[1:]):
        raise ValueError(
            f"labels are {tuple(labels.shape)}, so disparity must be (B, 1, H, W), not {tuple(disparity.shape)}"
        )
    believed = labels if confidence is None else labels.masked_fill(confidence < LEAST_CONFIDENCE, 255)
    below, stands = ground_below(believed)
    score = disparity[:, 0].log()
    excess = ((score - score.detach().gather(1, below)).abs() - BAND).clamp(min=0)
    return (excess * stands).sum() / share.mean(stands.sum()).clamp(min=1)


def ground_below(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Find the ground at the foot of each pixel's run of equal labels down its column.

    Args:
        labels: (B, H, W) uint8 trainIds, 255 = ignore.

    Returns:
        (B, H, W) int64, the row of the first pixel below the run; and (B, H, W) bool, whether the pixel is of a class that
        stands and two pixels of ground follow below (one alone may be a stray label).
    """
    batch, height, width = labels.shape
    ground, standing = (
        torch.from_numpy(membership(group)).to(labels.device)[labels.long()] for group in (GROUND, STANDING)
    )
    ends = torch.ones_like(ground)
    ends[:, :-1] = labels[:, :-1] != labels[:, 1:]
    rows = torch.arange(height, device=labels.device)[None, :, None].expand(batch, height, width)
    foot = torch.where(ends, rows, height).flip(1).cummin(1).values.flip(1)
    below = (foot + 1).clamp(max=height - 1)
    two_of_ground = ground.gather(1, below) & ground.gather(1, (foot + 2).clamp(max=height - 1)) & (foot < height - 2)
    return below, standing & two_of_ground
