"""The same picture at another zoom: a crop enlarged, or the whole made smaller within the frame.

A zoom Z takes pixels to pixels, ``p' = Z·p``. It changes the image and the intrinsics (``K' = Z·K``), nothing of the scene:
depth along the optical axis and the motion between two frames stay as they are.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from semdepth.geometry.camera import at_least_float32, require_shape
from semdepth.geometry.rigid import multiply


def zoom_matrix(factor: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """Return the zoom that resizes by ``factor`` and then cuts off rows and columns: ``x' = (x + 0.5)·s − 0.5 − left``.

    The same as ``resize_intrinsics`` followed by ``crop_intrinsics`` (pixel areas correspond), for real factors.

    Args:
        factor: (B,) above 0; above 1 enlarges.
        top: (B,) rows cut off above after resizing (negative: rows added), in pixels of the result.
        left: (B,) columns cut off at the left likewise.

    Returns:
        (B, 3, 3), zoomed pixel from pixel.
    """
    zero, one, half = torch.zeros_like(factor), torch.ones_like(factor), (factor - 1) / 2
    rows = (factor, zero, half - left, zero, factor, half - top, zero, zero, one)
    matrix: Tensor = torch.stack(rows, dim=-1).unflatten(-1, (3, 3))
    return matrix


def zoom_intrinsics(intrinsics: Tensor, zoom: Tensor) -> Tensor:
    """Return the intrinsics of the zoomed image, ``Z·K``.

    Args:
        intrinsics: (B, 3, 3) in pixels.
        zoom: (B, 3, 3) of ``zoom_matrix``.

    Raises:
        ValueError: if a shape is wrong.
    """
    require_shape("intrinsics", intrinsics, "B", 3, 3)
    require_shape("zoom", zoom, len(intrinsics), 3, 3)
    return multiply(zoom.to(intrinsics.dtype), intrinsics)


def resample(
    images: Tensor,
    zoom: Tensor,
    mode: Literal["bilinear", "nearest"] = "bilinear",
    padding: Literal["reflection", "border"] = "reflection",
) -> tuple[Tensor, Tensor]:
    """Return images at another zoom, at their own size.

    Making an image smaller is not low-passed first: meant for factors of a half or more.

    Args:
        images: (B, C, H, W) floating point.
        zoom: (B, 3, 3) of ``zoom_matrix``.
        mode: how values between pixels are read.
        padding: what is put where the zoomed frame sees more than the image.

    Returns:
        (B, C, H, W), and (B, 1, H, W) bool: true where the image says what is there: bilinear, between the centres of its
        outermost pixels; nearest, anywhere on them.

    Raises:
        ValueError: if a shape is wrong.
    """
    require_shape("images", images, "B", "C", "H", "W")
    require_shape("zoom", zoom, len(images), 3, 3)
    images, zoom = at_least_float32(images), at_least_float32(zoom)
    places, covered = [], []
    margin = 0.5 if mode == "nearest" else 1e-4  # of a pixel: rounding must not lose the outermost centres
    for axis, size in ((0, images.shape[3]), (1, images.shape[2])):
        there = torch.arange(size, device=zoom.device, dtype=zoom.dtype)
        here = (there - zoom[:, axis, 2, None]) / zoom[:, axis, axis, None]
        covered.append((here > -margin) & (here < size - 1 + margin))
        places.append((2 * here + 1) / size - 1)  # -1 and 1 are the image's outer edges (align_corners=False)
    shape = (len(images), images.shape[2], images.shape[3])
    grid = torch.stack((places[0][:, None, :].expand(shape), places[1][:, :, None].expand(shape)), dim=-1)
    inside = covered[1][:, None, :, None] & covered[0][:, None, None, :]
    zoomed = F.grid_sample(images, grid.to(images.dtype), mode=mode, padding_mode=padding, align_corners=False)
    return zoomed, inside
