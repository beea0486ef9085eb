"""View synthesis and its photometric error in three Triton kernels, for a GPU: warp, SSIM and L1, and the gradient of it all.

The same numbers as ``geometry.warp.synthesise`` followed by ``losses.photometric.photometric_error``, which are the plain path
and the test of this one. Only the warped images, their errors, three slopes a channel and the gradient by depth reach memory,
and nothing is added up in an order that changes from run to run.

Triton comes with the CUDA builds of torch; this module is imported where it is used. ``TRITON_INTERPRET=1`` runs it on a CPU.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from semdepth.geometry.camera import require_shape
from semdepth.losses.gpu_programs import error_kernel, gradient_kernel, warp_kernel

BLOCK = 256
"""Pixels a program."""
EXACT: dict[str, Any] = {"enable_fp_fusion": False}
"""No products joined with sums: with and without a gradient, the same bits, so that equal images tie."""


def errors_of(images: Tensor, target: Tensor) -> Tensor:
    """Return the (B, S, H, W) photometric errors of (B, S, C, H, W) images against (B, C, H, W); no gradient flows.

    Of the same images to the last bit what ``WarpedErrors`` gives: equal images must tie.
    """
    return _errors(images.float().contiguous(), target.float().contiguous(), None)


def _launch(kernel: Any, images: Tensor, *arguments: Any) -> None:
    """Run a program for every block of pixels of every one of (B, S, C, H, W) images."""
    batch, sources, _, height, width = images.shape
    with torch.cuda.device_of(images):  # Triton launches on the current device; of a CPU this asks nothing
        kernel[triton.cdiv(height * width, BLOCK), batch * sources](*arguments, BLOCK, **EXACT)


def _errors(images: Tensor, target: Tensor, slopes: Tensor | None) -> Tensor:
    batch, sources, channels, height, width = images.shape
    require_shape("target", target, batch, channels, height, width)
    errors = images.new_empty(batch, sources, height, width)
    room = errors if slopes is None else slopes  # without slopes nothing is written there
    _launch(error_kernel, images, images, target, errors, room, height, width, sources, channels, slopes is not None)
    return errors


class WarpedErrors(torch.autograd.Function):
    """See ``kernels.warped_errors``; takes what ``kernels.checked`` gives."""

    @staticmethod
    def forward(ctx: Any, sources: Tensor, depth: Tensor, rows: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return warped images and errors."""
        batch, count, channels, height, width = sources.shape
        warped = torch.empty_like(sources)
        _launch(warp_kernel, sources, sources, depth, rows, warped, height, width, count, channels)
        needed = ctx.needs_input_grad[1] or ctx.needs_input_grad[2]
        slopes = sources.new_empty(batch, count, 3, channels, height, width) if needed else None
        errors = _errors(warped, target, slopes)
        if slopes is not None:
            ctx.save_for_backward(sources, depth, rows, target, warped, slopes)
        ctx.mark_non_differentiable(warped)
        ctx.set_materialize_grads(False)  # of ``warped`` none is asked for
        return warped, errors

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator,unused-ignore]
    def backward(ctx: Any, _: None, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient by depth and matrices."""
        sources, depth, rows, target, warped, slopes = ctx.saved_tensors
        batch, count, channels, height, width = sources.shape
        blocks = triton.cdiv(height * width, BLOCK)
        by_depth = sources.new_empty(batch, count, height, width)
        by_rows = sources.new_empty(batch, count, blocks, 12)
        _launch(
            gradient_kernel, sources, grad.contiguous(), slopes, warped, target, sources, depth, rows, by_depth, by_rows,
            height, width, count, channels,
        )  # fmt: skip
        return None, by_depth.sum(1, keepdim=True), by_rows.sum(2).unflatten(2, (3, 4)), None
