"""Maximum pooling on a CPU: torch's numbers, sooner, with less kept for the way back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_Window = tuple[int, int, int]
"""Size, stride, padding."""


def pool(pooler: nn.Module, x: Tensor) -> Tensor:
    """Return ``pooler(x)``.

    On a CPU torch finds a window's maximum several times as fast with channels last, but spreads gradients faster with
    channels first. So plain maximum pooling of (B, C, H, W) goes there one way and comes back the other: same values, same
    gradients, to the last bit. It can be differentiated once.
    """
    if (
        not isinstance(pooler, nn.MaxPool2d)
        or not all(isinstance(value, int) for value in (pooler.kernel_size, pooler.stride, pooler.padding))
        or (pooler.dilation, pooler.ceil_mode, pooler.return_indices) != (1, False, False)
        or x.device.type != "cpu"
        or not x.is_contiguous()
        or torch.compiler.is_compiling()
    ):
        pooled: Tensor = pooler(x)
        return pooled
    found: Tensor = _Pool.apply(x, (pooler.kernel_size, pooler.stride, pooler.padding))
    return found


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, window: _Window) -> Tensor:
        pooled, places = torch.ops.aten.max_pool2d_with_indices(_channels_last(x), *([n] for n in window))
        ctx.window, ctx.shape = window, x.shape
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(_channels_first(places, torch.int32))  # a plane has fewer than 2**31 pixels
        return _channels_first(pooled)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator,unused-ignore]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        shape_alone = grad.new_empty(()).expand(ctx.shape)  # of the pooled image torch asks no more here
        spread: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
            grad.contiguous(), shape_alone, *([n] for n in ctx.window), [1], False, places.long()
        )
        return spread, None


def _channels_last(x: Tensor) -> Tensor:
    """Return ``x``, (B, C, H, W), with channels last in memory; transposed image by image, which torch does in blocks."""
    batch, channels, height, width = x.shape
    turned = x.new_empty(batch, height * width, channels)
    for image, out in zip(x, turned, strict=True):
        out.copy_(image.view(channels, -1).t())
    return turned.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _channels_first(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return ``x``, (B, C, H, W) with channels last in memory, as it usually lies."""
    batch, channels, height, width = x.shape
    turned = x.new_empty(batch, channels, height * width, dtype=dtype)
    for image, out in zip(x, turned, strict=True):
        out.copy_(image.permute(1, 2, 0).reshape(-1, channels).t())
    return turned.view(batch, channels, height, width)
