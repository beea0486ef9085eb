"""Padding by one pixel, as convolutions want it, with a way back that touches the border alone."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Mode = Literal["reflect", "replicate"]
_SEEN_TWICE: dict[Mode, int] = {"reflect": 2, "replicate": 1}
"""Which row or column of the padded map, counted from its edge, the outermost one repeats."""


def pad_by_one(x: Tensor, mode: Mode) -> Tensor:
    """Return ``F.pad(x, (1, 1, 1, 1), mode)``, for a convolution and for nothing else.

    torch's own way back goes over the whole map twice. Here the gradient of the padded map, which a convolution has written
    and nobody else holds, takes its border in, and what lies inside of it is handed on, as a view.

    Args:
        x: (B, C, H, W), H and W of 2 or more to be reflected.
        mode: reflect: without repeating the border itself; replicate: repeat it.

    Returns:
        (B, C, H + 2, W + 2). It can be differentiated once.
    """
    if not torch.is_grad_enabled() or not x.requires_grad or torch.compiler.is_compiling():
        return F.pad(x, (1, 1, 1, 1), mode=mode)
    padded: Tensor = _Padded.apply(x, mode)
    return padded


class ReflectedConv(nn.Conv2d):
    """A 3×3 convolution of a map that is reflected at its border: ``nn.Conv2d(…, padding=1, padding_mode="reflect")``."""

    plain: bool = False
    """Pad as torch does."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) → (B, out, H, W)."""
        padded = F.pad(x, (1, 1, 1, 1), mode="reflect") if self.plain else pad_by_one(x, "reflect")
        return F.conv2d(padded, self.weight, self.bias)


class _Padded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, mode: Mode) -> Tensor:
        ctx.inner = _SEEN_TWICE[mode]
        # Autocast on a CPU would take the map to float32 and pad, keep and take back that.
        with torch.autocast(x.device.type, enabled=False):
            return F.pad(x, (1, 1, 1, 1), mode=mode)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator,unused-ignore]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        for dim in (2, 3):
            last = grad.shape[dim] - 1
            grad.select(dim, ctx.inner).add_(grad.select(dim, 0))
            grad.select(dim, last - ctx.inner).add_(grad.select(dim, last))
        return grad[:, :, 1:-1, 1:-1], None
