"""View synthesis: the target image as the source camera saw it, through the target's depth and the motion between.

Zhou et al., "Unsupervised learning of depth and ego-motion from video" (2017), equation 2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from semdepth.geometry.camera import (
    NEAREST_DEPTH,
    at_least_float32,
    invert_intrinsics,
    map_pixels,
    require_shape,
)
from semdepth.geometry.rigid import multiply


def sampling_grid(depth: Tensor, intrinsics: Tensor, source_from_target: Tensor) -> Tensor:
    """Return where every target pixel is seen in the source image, ``p_s ~ K·(R·K⁻¹·p_t·d + t)``.

    The matrices are joined first: with ``N`` the normalisation to [-1, 1], a pixel goes through the single homography
    ``N·K·R·K⁻¹``, times depth, plus the vector ``N·K·t``. Points nearer to the source camera than ``NEAREST_DEPTH``, or
    behind it, are divided by that in place of their own depth: finite, and far outside.

    Args:
        depth: (B, 1, H, W) of the target, along the optical axis.
        intrinsics: (B, 3, 3) of both cameras, in pixels of (H, W).
        source_from_target: (B, 4, 4), translation in the unit of ``depth``.

    Returns:
        (B, H, W, 2) x, y for ``grid_sample(align_corners=True)``: inside [-1, 1] where the source image covers the
        point; -1 and 1 are the centres of the first and last pixel.

    Raises:
        ValueError: if a shape is wrong.
    """
    require_shape("depth", depth, "B", 1, "H", "W")
    require_shape("intrinsics", intrinsics, len(depth), 3, 3)
    require_shape("source_from_target", source_from_target, len(depth), 4, 4)
    size = depth.shape[2], depth.shape[3]
    matrix = projection(size, intrinsics, source_from_target)
    points = torch.addcmul(matrix[:, :, 3, None, None], map_pixels(matrix[:, :, :3], size), at_least_float32(depth))
    # A view with the axes permuted, not a copy: grid_sample reads the planes of x and y as they lie.
    return (points[:, :2] / points[:, 2:].clamp(min=NEAREST_DEPTH)).permute(0, 2, 3, 1)


def projection(size: tuple[int, int], intrinsics: Tensor, source_from_target: Tensor) -> Tensor:
    """Return the (..., 3, 4) matrix from ``depth·(x, y, 1)`` of a target pixel, and 1, to where the source sees it.

    ``[N·K·R·K⁻¹ | N·K·t]``: its first two results, divided by the third, lie in [-1, 1] inside the image (see ``sampling_grid``).

    Args:
        size: (H, W) of the images.
        intrinsics: (..., 3, 3) of both cameras, in pixels of (H, W).
        source_from_target: (..., 4, 4).
    """
    camera, motion = at_least_float32(intrinsics), at_least_float32(source_from_target)
    to_source = multiply(_normalisation(size, camera), multiply(camera, motion[..., :3, :]))
    return torch.cat([multiply(to_source[..., :3], invert_intrinsics(camera)), to_source[..., 3:]], dim=-1)


def _normalisation(size: tuple[int, int], like: Tensor) -> Tensor:
    """Return the (3, 3) matrix that takes pixel coordinates to [-1, 1] between the outer pixel centres."""
    height, width = (max(n - 1, 1) for n in size)
    return like.new_tensor([[2 / width, 0.0, -1.0], [0.0, 2 / height, -1.0], [0.0, 0.0, 1.0]])


def synthesise(source: Tensor, depth: Tensor, intrinsics: Tensor, source_from_target: Tensor) -> Tensor:
    """Return the target view made of the source's pixels: bilinear, the border repeated outside the source image.

    Args:
        source: (B, C, H, W), floating point; usually an RGB image in [0, 1].
        depth: (B, 1, H, W) of the target.
        intrinsics: (B, 3, 3) of both cameras, in pixels of (H, W).
        source_from_target: (B, 4, 4), translation in the unit of ``depth``.

    Returns:
        (B, C, H, W) in the range of ``source``, float32 or float64; NaN throughout an image whose depth, intrinsics or
        motion holds a NaN or an infinity.

    Raises:
        ValueError: if a shape is wrong, or ``source`` holds integers.
    """
    require_shape("depth", depth, "B", 1, "H", "W")
    require_shape("source", source, len(depth), "C", depth.shape[2], depth.shape[3])
    if not source.is_floating_point():
        raise ValueError(f"source: expected a floating point image, got {source.dtype}")
    grid = sampling_grid(depth, intrinsics, source_from_target)
    # On the CPU, grid_sample crashes the process in its backward pass where some coordinates are NaN, and hides them in
    # its output. So NaN is taken out on the way in and put back on the way out, over the whole image.
    not_a_number = 0 * grid.detach().sum((1, 2, 3))
    source = source.to(grid.dtype)
    if grid.device.type == "cpu" and not bool(not_a_number.any()):  # (NaN counts as true); elsewhere asking would wait
        return F.grid_sample(source, grid, mode="bilinear", padding_mode="border", align_corners=True)
    view = F.grid_sample(source, grid.nan_to_num(nan=0.0), mode="bilinear", padding_mode="border", align_corners=True)
    return view + not_a_number[:, None, None, None]
