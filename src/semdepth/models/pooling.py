"""Maximum pooling on a CPU: torch's numbers, sooner, with less kept for the way back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from semdepth.compiled import has_numba, run, spans

_WINDOW = 3, 2, 1
"""Size, stride and padding of a ResNet's pooling."""
_FEWEST_ROWS, _FEWEST_PLANES = 64, 2
"""For which it is worth waking a thread."""


def pool(pooler: nn.Module, x: Tensor) -> Tensor:
    """Return ``pooler(x)``.

    Where a ResNet's pooling of float32 (B, C, H, W) learns on a CPU, a program of our own (``pooling_programs``) finds the maxima
    in one pass, and keeps a byte a maximum: same values, same gradients, to the last bit. It can be differentiated once.
    """
    if (
        not isinstance(pooler, nn.MaxPool2d)
        or (pooler.kernel_size, pooler.stride, pooler.padding) != _WINDOW
        or (pooler.dilation, pooler.ceil_mode, pooler.return_indices) != (1, False, False)
        or (x.device.type, x.dtype) != ("cpu", torch.float32)
        or not x.is_contiguous()
        or not x.requires_grad
        or torch.compiler.is_compiling()
        or not has_numba()
    ):
        pooled: Tensor = pooler(x)
        return pooled
    found: Tensor = _Pool.apply(x)
    return found


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        from semdepth.models.pooling_programs import largest

        *planes, height, width = x.shape
        pooled = x.new_empty(*planes, (height + 1) // 2, (width + 1) // 2)
        places = torch.empty_like(pooled, dtype=torch.uint8)
        arrays = tuple(values.detach().flatten(0, 1).numpy() for values in (x, pooled, places))
        rows = arrays[1].shape[0] * arrays[1].shape[1]
        run(largest, [(*arrays, *span) for span in spans(rows, _FEWEST_ROWS)])
        ctx.save_for_backward(places)
        ctx.shape = x.shape
        return pooled

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator,unused-ignore]
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        from semdepth.models.pooling_programs import spread

        (places,) = ctx.saved_tensors
        out = grad.new_empty(ctx.shape)
        arrays = tuple(values.flatten(0, 1).numpy() for values in (grad.contiguous(), places, out))
        run(spread, [(*arrays, *span) for span in spans(len(arrays[0]), _FEWEST_PLANES)])
        return out
