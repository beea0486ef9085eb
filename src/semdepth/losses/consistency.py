"""Depth that does not depend on the zoom at which the network sees a scene."""

from __future__ import annotations

import torch
from torch import Tensor

from semdepth.geometry.zoom import resample
from semdepth.processes import ALONE, Share


def zoom_consistency(
    disparity: Tensor, zoomed_disparity: Tensor, zoomed_from_plain: Tensor, share: Share = ALONE
) -> Tensor:
    """Return the mean difference of log-depth between two views of one image, over what both show.

    Cross-scale depth consistency (He et al., "RA-Depth", ECCV 2022): depth is a property of the scene, so it is *equal*
    at corresponding pixels, though the zoomed view shows everything larger. Our form: L1 of the logarithms, so that near
    and far count alike, and the plain view is detached: it teaches the zoomed one, and learns from view synthesis; if both
    were pulled, two flat depth maps would agree best.

    Args:
        disparity: (B, 1, H, W) above 0, of the plain view, 1/m or up to scale; no gradient flows.
        zoomed_disparity: (B, 1, H, W) above 0, of the zoomed view, in the same unit.
        zoomed_from_plain: (B, 3, 3) of ``geometry.zoom.zoom_matrix``.
        share: where several processes train, the mean is over what all of them see.

    Returns:
        Scalar, 0 or above; 0 with a gradient of 0 where the views share nothing. Exactly 0 for a plane seen twice:
        disparity is linear on a plane, and read bilinearly.

    Raises:
        ValueError: if the shapes differ or are wrong.
    """
    if disparity.shape != zoomed_disparity.shape:
        raise ValueError(f"the views differ in shape: {tuple(disparity.shape)} and {tuple(zoomed_disparity.shape)}")
    expected, shared = resample(disparity.detach(), zoomed_from_plain, padding="border")
    difference = (torch.log(zoomed_disparity) - torch.log(expected)).abs()
    return (difference * shared).sum() / share.mean(shared.sum()).clamp(min=1)
