"""View synthesis: the target image as the source camera saw it, through the target's depth and the motion between.

Zhou et al., "Unsupervised learning of depth and ego-motion from video" (2017), equation 2.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

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
    matrix = projection((depth.shape[2], depth.shape[3]), intrinsics, source_from_target)
    planes: Tensor = _Projected.apply(at_least_float32(depth), matrix)
    # A view with the axes permuted, not a copy: grid_sample reads the planes of x and y as they lie.
    return planes.permute(0, 2, 3, 1)


class _Projected(torch.autograd.Function):
    """(B, 2, H, W) x, y of ``p = d·M·(u, v, 1) + m``, divided by its third: (B, 1, H, W) d, (B, 3, 4) ``[M | m]``.

    The gradient by hand, in a third of the passes: with ``q`` what reaches p, d gets ``q·(M·(u, v, 1))`` and the matrix gets
    the sums over the pixels of ``q`` times (d·u, d·v, d, 1). The lattice of u, v is a row and a column.
    """

    @staticmethod
    def forward(ctx: Any, depth: Tensor, matrix: Tensor) -> Tensor:
        rays = map_pixels(matrix[:, :, :3], (depth.shape[2], depth.shape[3]))
        points = torch.addcmul(matrix[:, :, 3, None, None], rays, depth)
        far = points[:, 2:].clamp(min=NEAREST_DEPTH)
        planes = points[:, :2] / far
        ctx.save_for_backward(depth, rays, far, planes)
        return planes

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator,unused-ignore]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        depth, rays, far, planes = ctx.saved_tensors
        of_points = torch.empty_like(rays)
        of_x, of_y, of_z = of_points.unbind(1)
        torch.div(grad, far, out=of_points[:, :2])
        torch.mul(of_x, planes[:, 0], out=of_z).addcmul_(of_y, planes[:, 1]).neg_()
        of_z.masked_fill_(far[:, 0] <= NEAREST_DEPTH, 0.0)
        to_depth = None
        if ctx.needs_input_grad[0]:  # (a sum over the second dimension takes twice as long)
            x, y, z = rays.unbind(1)
            to_depth = (of_x * x).addcmul_(of_y, y).addcmul_(of_z, z)[:, None]
        if not ctx.needs_input_grad[1]:
            return to_depth, None
        scaled = of_points * depth
        v, u = (torch.arange(n, device=rays.device, dtype=rays.dtype) for n in rays.shape[2:])
        down = scaled.sum(2)
        sums = (down @ u, scaled.sum(3) @ v, down.sum(2), of_points.sum((2, 3)))
        return to_depth, torch.stack(sums, dim=-1)


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
