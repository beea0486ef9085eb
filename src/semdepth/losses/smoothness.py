"""Edge-aware smoothness of disparity."""

from __future__ import annotations

import torch
from torch import Tensor


def smoothness(disparity: Tensor, image: Tensor) -> Tensor:
    """Return the edge-aware first-order smoothness of the mean-normalised disparity.

    ``mean(|∂x d*|·exp(-|∂x I|)) + mean(|∂y d*|·exp(-|∂y I|))`` with ``d* = d / mean(d)`` for each image, so that
    shrinking the disparity does not lower the loss; image differences are the mean over channels. Godard et al. (2019),
    equation 3.

    Args:
        disparity: (B, 1, H, W), above 0, in any unit; H and W of 2 or more.
        image: (B, C, H, W) in [0, 1], of the same size.

    Returns:
        Scalar, 0 or above.

    Raises:
        ValueError: if the shapes are wrong or differ, or the image holds integers.
    """
    if disparity.ndim != 4 or disparity.shape[1] != 1 or min(disparity.shape[2:]) < 2:
        raise ValueError(f"disparity: expected (B, 1, H, W) with H and W of 2 or more, got {tuple(disparity.shape)}")
    if image.ndim != 4 or image.shape[0] != disparity.shape[0] or image.shape[2:] != disparity.shape[2:]:
        expected = f"({disparity.shape[0]}, C, {disparity.shape[2]}, {disparity.shape[3]}), as the disparity"
        raise ValueError(f"image: expected {expected}, got {tuple(image.shape)}")
    if not image.is_floating_point():
        raise ValueError(f"image: expected a floating point image in [0, 1], got {image.dtype}")
    disparity = disparity.to(torch.promote_types(disparity.dtype, torch.float32))
    normalised = disparity / (disparity.mean((2, 3), keepdim=True) + 1e-7)
    return _along(normalised, image, 3) + _along(normalised, image, 2)


def _along(disparity: Tensor, image: Tensor, dim: int) -> Tensor:
    weight = torch.exp(-image.diff(dim=dim).abs().mean(1, keepdim=True))
    return (disparity.diff(dim=dim).abs() * weight).mean()
