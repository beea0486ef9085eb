"""Warp, SSIM, L1 and their gradient in three kernels for a CPU, compiled by Numba.

The same numbers as the plain path (``geometry.warp``, ``losses.photometric``), in a fraction of the passes over memory: what
lies between a source and its error stays in the cache, and of it only the warped image is kept for the way back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from semdepth.compiled import run, spans
from semdepth.geometry.camera import NEAREST_DEPTH, require_shape
from semdepth.losses import cpu_programs as programs
from semdepth.losses.kernels import require_image_size
from semdepth.losses.photometric import C1, C2, SSIM_SHARE

_NEAREST = np.float32(NEAREST_DEPTH)
_OF_SSIM = tuple(np.float32(value) for value in (C1, C2, SSIM_SHARE))
_FEWEST_ROWS = 64
"""Rows for which it is worth waking a thread."""


def errors_of(images: Tensor, target: Tensor) -> Tensor:
    """Return the (B, S, H, W) photometric errors of (B, S, C, H, W) images against (B, C, H, W); no gradient flows.

    Of the same images to the last bit what ``WarpedErrors`` gives: equal images must tie.

    Raises:
        ValueError: if the shapes do not fit, or are of fewer than 2 × 2 pixels.
    """
    batch, _, channels, height, width = images.shape
    require_shape("target", target, batch, channels, height, width)
    require_image_size(height, width)
    images, target = images.detach().float().contiguous(), target.detach().float().contiguous()
    errors = images.new_empty(*images.shape[:2], *images.shape[3:])
    arrays = _flat(images), target.numpy(), _flat(errors)
    rows = len(arrays[0]) * images.shape[3]
    run(programs.errors, [(*arrays, *_OF_SSIM, *span) for span in spans(rows, _FEWEST_ROWS)])
    return errors


class WarpedErrors(torch.autograd.Function):
    """See ``kernels.warped_errors``; takes what ``kernels.checked`` gives."""

    @staticmethod
    def forward(ctx: Any, sources: Tensor, depth: Tensor, matrices: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return warped images and errors."""
        warped, errors = torch.empty_like(sources), sources.new_empty(*sources.shape[:2], *sources.shape[3:])
        arrays = (
            _flat(sources), depth.detach().numpy()[:, 0], _flat(matrices).reshape(-1, 12), target.numpy(),
            _flat(warped), _flat(errors),
        )  # fmt: skip
        rows = len(arrays[0]) * depth.shape[2]
        run(programs.warp_and_compare, [(*arrays, _NEAREST, *_OF_SSIM, *span) for span in spans(rows, _FEWEST_ROWS)])
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            ctx.save_for_backward(sources, depth, matrices, target, warped)
        ctx.mark_non_differentiable(warped)
        ctx.set_materialize_grads(False)  # of ``warped`` none is asked for
        return warped, errors

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator,unused-ignore]
    def backward(ctx: Any, _: None, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient by depth and matrices."""
        sources, depth, matrices, target, warped = ctx.saved_tensors
        batch, count, _, height, width = sources.shape
        by_depth = sources.new_empty(batch, count, height, width)
        shares = spans(batch * count * height, _FEWEST_ROWS)
        by_matrix = np.zeros((len(shares), batch * count, 3, 4))  # each thread's own sums, in float64
        arrays = (
            _flat(grad.contiguous()), _flat(warped), target.numpy(), _flat(sources), depth.numpy()[:, 0],
            _flat(matrices).reshape(-1, 12), _flat(by_depth),
        )  # fmt: skip
        tasks = [(*arrays, sums, _NEAREST, *_OF_SSIM, *span) for sums, span in zip(by_matrix, shares, strict=True)]
        run(programs.gradients, tasks)
        to_matrices = torch.from_numpy(by_matrix.sum(0)).view(batch, count, 3, 4).to(matrices.dtype)
        first, *others = by_depth.unbind(1)  # (sum over them takes ten times as long)
        for other in others:
            first.add_(other)
        return None, first[:, None], to_matrices, None


def _flat(x: Tensor) -> np.ndarray:
    """Return (B, S, ...) as an array (B·S, ...) of the same memory."""
    return x.detach().flatten(0, 1).numpy()
