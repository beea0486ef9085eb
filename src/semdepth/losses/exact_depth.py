"""Learning from known depth: what rendered worlds have and cameras do not. Beside the method, not part of it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FARTHEST = 80.0
"""Metres; what lies farther is not learnt from, as it is not judged (KITTI's cap)."""


def exact_depth_loss(disparity: Tensor, depth: Tensor) -> Tensor:
    """Return the mean difference of log-depth to the truth, after the median difference of each image is taken out.

    Free of scale, as all that is judged with median scaling is: a network that learns from view synthesis at the same time
    keeps the scale that this gives it. L1 of the logarithms, so that near and far count alike, and borders stay sharp.

    Args:
        disparity: (B, 1, h, w) above 0, 1/m or up to scale.
        depth: (B, 1, H, W) metres, 0 = unknown; read at the nearest pixel where it is of another size.

    Returns:
        Scalar, 0 or above: the mean over images of the mean over known pixels up to ``FARTHEST``; 0 with a gradient of 0
        where nothing is known.

    Raises:
        ValueError: if the shapes are no (B, 1, H, W) of one batch.
    """
    if disparity.ndim != 4 or depth.ndim != 4 or disparity.shape[:2] != depth.shape[:2] or disparity.shape[1] != 1:
        raise ValueError(f"expected two (B, 1, H, W), got {tuple(disparity.shape)} and {tuple(depth.shape)}")
    truth = F.interpolate(depth, disparity.shape[-2:], mode="nearest-exact").flatten(1)
    known = (truth > 0) & (truth <= FARTHEST)
    # log(z / truth) = -log(disparity · truth); unknown pixels are given a truth of 1 and left out.
    error = torch.log(disparity.flatten(1) * torch.where(known, truth, 1.0))
    middle = torch.nanmedian(error.detach().masked_fill(~known, torch.nan), dim=1, keepdim=True).values
    difference = (error - middle.nan_to_num()).abs() * known
    return (difference.sum(dim=1) / known.sum(dim=1).clamp(min=1)).mean()
