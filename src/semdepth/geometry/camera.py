"""The pinhole camera: intrinsics under resize, crop and flip; points from depth and back; depth from sigmoid outputs.

Pixel centres are at integer coordinates, so an image of width W covers [-0.5, W - 0.5]. Camera axes: x right, y down,
z forward along the optical axis. Sizes are always ``(height, width)``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

NEAREST_DEPTH = 1e-3
"""Depth below which a point is projected as if it were this deep: no division by zero, no mirrored points behind."""


def require_shape(name: str, tensor: Tensor, *axes: str | int) -> None:
    """Refuse a tensor of another shape than ``axes``; a letter stands for any size, ``"..."`` first for any batch axes.

    Raises:
        ValueError: with the argument's name, the shape wanted and the shape given.
    """
    wanted = axes[1:] if axes[0] == "..." else axes
    given = tuple(tensor.shape)
    counts = len(given) >= len(wanted) if axes[0] == "..." else len(given) == len(wanted)
    tail = given[len(given) - len(wanted) :] if counts else ()
    if not counts or any(isinstance(axis, int) and axis != size for axis, size in zip(wanted, tail, strict=True)):
        raise ValueError(f"{name}: expected shape ({', '.join(map(str, axes))}), got {given}")


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return ``tensor`` in float32, or in float64 if it is already: half precision moves points by whole pixels."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def disparity_to_depth(sigmoid: Tensor, min_depth: float, max_depth: float) -> tuple[Tensor, Tensor]:
    """Turn a network's sigmoid output into disparity and depth: ``1/d = 1/d_max + (1/d_min - 1/d_max)·σ``.

    The parametrisation of Godard et al., "Digging into self-supervised monocular depth estimation" (2019), section 3.

    Args:
        sigmoid: any shape, in [0, 1].
        min_depth: depth at σ = 1, above 0.
        max_depth: depth at σ = 0, above ``min_depth``.

    Returns:
        Disparity (1/m) and depth (m), or both up to scale, each of the shape of ``sigmoid``.

    Raises:
        ValueError: unless ``0 < min_depth < max_depth``.
    """
    if not 0 < min_depth < max_depth:
        raise ValueError(f"expected 0 < min_depth < max_depth, got {min_depth} and {max_depth}")
    farthest, nearest = 1 / max_depth, 1 / min_depth
    disparity = farthest + (nearest - farthest) * at_least_float32(sigmoid)
    return disparity, 1 / disparity


def intrinsics_from_fov(fov_deg: float, size: tuple[int, int]) -> Tensor:
    """Return the intrinsics of an ideal camera: square pixels, principal point at the image's centre.

    Args:
        fov_deg: horizontal field of view between the outer edges of the image, in degrees, in (0, 180).
        size: (height, width) in pixels.

    Returns:
        (3, 3) float32 intrinsics in pixels.

    Raises:
        ValueError: if the field of view is not in (0, 180).
    """
    if not 0 < fov_deg < 180:
        raise ValueError(f"fov_deg: expected a value between 0 and 180 degrees, got {fov_deg}")
    height, width = size
    focal = width / 2 / math.tan(math.radians(fov_deg) / 2)
    return torch.tensor([[focal, 0.0, (width - 1) / 2], [0.0, focal, (height - 1) / 2], [0.0, 0.0, 1.0]])


def resize_intrinsics(intrinsics: Tensor, from_size: tuple[int, int], to_size: tuple[int, int]) -> Tensor:
    """Return the intrinsics after the image was resized.

    Image libraries (Pillow, OpenCV, ``interpolate(align_corners=False)``) keep the image's outer *edges* in place, so
    the pixel centre x moves to ``(x + 0.5)·s - 0.5``; the principal point moves with it. Plain scaling of ``cx``,
    common in this field, is off by ``(s - 1)/2`` pixels. (``align_corners=True`` in view synthesis is another matter:
    it only says that the normalised coordinates -1 and 1 are the *centres* of the first and last pixel.)

    Args:
        intrinsics: (..., 3, 3) in pixels of ``from_size``.
        from_size: (height, width) before.
        to_size: (height, width) after.

    Returns:
        (..., 3, 3) in pixels of ``to_size``.

    Raises:
        ValueError: if ``intrinsics`` has another shape or a size is not positive.
    """
    require_shape("intrinsics", intrinsics, "...", 3, 3)
    if min(*from_size, *to_size) <= 0:
        raise ValueError(f"sizes must be positive, got {from_size} and {to_size}")
    scale_y, scale_x = to_size[0] / from_size[0], to_size[1] / from_size[1]
    resized = intrinsics.clone()
    resized[..., 0, :2] *= scale_x
    resized[..., 1, 1] *= scale_y
    resized[..., 0, 2] = (intrinsics[..., 0, 2] + 0.5) * scale_x - 0.5
    resized[..., 1, 2] = (intrinsics[..., 1, 2] + 0.5) * scale_y - 0.5
    return resized


def crop_intrinsics(intrinsics: Tensor, top: float, left: float) -> Tensor:
    """Return the intrinsics after ``image[top:, left:]``; cutting at the bottom or right changes nothing.

    Args:
        intrinsics: (..., 3, 3) in pixels of the whole image.
        top: rows cut off above (negative: rows added).
        left: columns cut off at the left (negative: columns added).

    Returns:
        (..., 3, 3) in pixels of the crop.

    Raises:
        ValueError: if ``intrinsics`` has another shape.
    """
    require_shape("intrinsics", intrinsics, "...", 3, 3)
    cropped = intrinsics.clone()
    cropped[..., 0, 2] -= left
    cropped[..., 1, 2] -= top
    return cropped


def flip_intrinsics(intrinsics: Tensor, width: int) -> Tensor:
    """Return the intrinsics after the image was mirrored left to right: ``cx' = W - 1 - cx``.

    The mirrored image shows the mirrored world: a point (X, Y, Z) is seen at (-X, Y, Z), so a motion T between two
    mirrored frames is ``M T M`` with ``M = diag(-1, 1, 1, 1)``.

    Args:
        intrinsics: (..., 3, 3) in pixels.
        width: of the image, in pixels.

    Returns:
        (..., 3, 3) in pixels of the mirrored image.

    Raises:
        ValueError: if ``intrinsics`` has another shape.
    """
    require_shape("intrinsics", intrinsics, "...", 3, 3)
    flipped = intrinsics.clone()
    flipped[..., 0, 1] *= -1
    flipped[..., 0, 2] = width - 1 - intrinsics[..., 0, 2]
    return flipped


def pixel_grid(
    size: tuple[int, int], device: torch.device | str | None = None, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return the (2, H, W) coordinates of the pixel centres of an image of ``size``: x, then y, both from 0."""
    y, x = torch.meshgrid(*(torch.arange(n, device=device, dtype=dtype) for n in size), indexing="ij")
    return torch.stack((x, y))


def map_pixels(matrix: Tensor, size: tuple[int, int]) -> Tensor:
    """Apply a 3×3 matrix to the homogeneous coordinates (x, y, 1) of every pixel.

    The image is a lattice, so this is a sum of one row and one column per matrix row: no matrix product per pixel.

    Args:
        matrix: (B, 3, 3).
        size: (H, W).

    Returns:
        (B, 3, H, W).
    """
    y, x = (torch.arange(n, device=matrix.device, dtype=matrix.dtype) for n in size)
    along_rows = matrix[:, :, 0, None] * x + matrix[:, :, 2, None]
    along_columns = matrix[:, :, 1, None] * y
    return along_rows[:, :, None, :] + along_columns[:, :, :, None]


def invert_intrinsics(intrinsics: Tensor) -> Tensor:
    """Return the (B, 3, 3) inverse of the intrinsics, without the wait for the device that a check would cost."""
    inverse: Tensor = torch.linalg.inv_ex(at_least_float32(intrinsics)).inverse
    return inverse


def back_project(depth: Tensor, intrinsics: Tensor) -> Tensor:
    """Return the 3-D point of every pixel in camera axes: ``P = d·K⁻¹·(x, y, 1)``.

    Args:
        depth: (B, 1, H, W) along the optical axis.
        intrinsics: (B, 3, 3) in pixels of (H, W).

    Returns:
        (B, 3, H, W) points, in the unit of ``depth``.

    Raises:
        ValueError: if a shape is wrong.
    """
    require_shape("depth", depth, "B", 1, "H", "W")
    require_shape("intrinsics", intrinsics, len(depth), 3, 3)
    return map_pixels(invert_intrinsics(intrinsics), (depth.shape[2], depth.shape[3])) * depth


def project(points: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
    """Return where points are seen, and how deep they are.

    A point nearer than ``NEAREST_DEPTH``, or behind the camera, is projected as if it were that deep: it lands far
    outside the image on its own side (unless it is on the axis), and everything stays finite. Judge by the depth.

    Args:
        points: (B, 3, H, W) in camera axes.
        intrinsics: (B, 3, 3).

    Returns:
        (B, 2, H, W) pixel coordinates x, y, and (B, 1, H, W) depth, which is not above 0 behind the camera.

    Raises:
        ValueError: if a shape is wrong.
    """
    require_shape("points", points, "B", 3, "H", "W")
    require_shape("intrinsics", intrinsics, len(points), 3, 3)
    depth = at_least_float32(points[:, 2:])
    normalised = points[:, :2] / depth.clamp(min=NEAREST_DEPTH)
    row_x, row_y = at_least_float32(intrinsics)[:, :2, :, None, None].unbind(1)
    x, y = normalised.unbind(1)
    pixels = [row[:, 0] * x + row[:, 1] * y + row[:, 2] for row in (row_x, row_y)]
    return torch.stack(pixels, dim=1), depth
