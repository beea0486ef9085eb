"""Convolutions of maps padded by one pixel: on the way back the padded map is made anew, and its border alone touched."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Mode = Literal["reflect", "replicate"]
_SEEN_TWICE: dict[Mode, int] = {"reflect": 2, "replicate": 1}
"""Which row or column of the padded map, counted from its edge, the outermost one repeats."""
_Options = tuple[list[int], list[int], list[int], bool, list[int], int]
"""Of ``aten::convolution``: stride, padding, dilation, transposed, output padding, groups."""
_PLAIN: _Options = ([1, 1], [0, 0], [1, 1], False, [0, 0], 1)
_SPREADING: _Options = ([2, 2], [3, 3], [1, 1], True, [0, 0], 1)


def convolve_padded(
    x: Tensor, mode: Mode, weight: Tensor, bias: Tensor | None = None, *, spread: bool = False
) -> Tensor:
    """Return the convolution of ``x`` padded by one pixel on all sides.

    Autograd would keep the padded map, a copy of one that others keep anyhow, and on the way back go over it twice more than is
    needed. Here ``x`` is kept and padded anew, and the gradient of the padded map, which a convolution has written and nobody
    else holds, takes its border in; what lies inside of it is handed on, as a view.

    Args:
        x: (B, C, H, W), H and W of 2 or more to be reflected.
        mode: reflect: without repeating the border itself; replicate: repeat it.
        weight: (O, C, h, w), or (C, O, h, w) to spread.
        bias: (O,).
        spread: convolve transposed, with stride 2, and leave out 3 pixels on all sides (see ``doubling``).

    Returns:
        (B, O, ·, ·), under autocast in its type. It can be differentiated once.
    """
    learns = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    known = x.device.type in ("cpu", "cuda")  # not every torch knows autocast of other devices
    if not learns or not known or torch.compiler.is_compiling():
        padded = F.pad(x, (1, 1, 1, 1), mode=mode)
        return F.conv_transpose2d(padded, weight, bias, 2, 3) if spread else F.conv2d(padded, weight, bias)
    convolved: Tensor = _ConvolvedPadded.apply(x, weight, bias, mode, _SPREADING if spread else _PLAIN)
    return convolved


class ReflectedConv(nn.Conv2d):
    """A 3×3 convolution of a map that is reflected at its border: ``nn.Conv2d(…, padding=1, padding_mode="reflect")``."""

    plain: bool = False
    """Pad and convolve as torch does."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) → (B, out, H, W)."""
        if self.plain:
            return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), self.weight, self.bias)
        return convolve_padded(x, "reflect", self.weight, self.bias)


class _ConvolvedPadded(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, mode: Mode, options: _Options
    ) -> Tensor:  # fmt: skip
        device = x.device.type
        kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        ctx.mode, ctx.options, ctx.kinds = mode, options, (x.dtype, weight.dtype, None if bias is None else bias.dtype)
        x = x.to(kind)
        ctx.save_for_backward(x, weight)
        # (Autocast on a CPU would take the map to float32 and pad, keep and take back that.)
        with torch.autocast(device, enabled=False):
            padded = F.pad(x, (1, 1, 1, 1), mode=mode)
            convolved: Tensor = torch.ops.aten.convolution(
                padded, weight.to(kind), None if bias is None else bias.to(kind), *options
            )
        return convolved

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator,unused-ignore]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.kinds
        biases = None if of_bias is None else [grad.shape[1]]
        wanted = [ctx.needs_input_grad[0], ctx.needs_input_grad[1], ctx.needs_input_grad[2] and of_bias is not None]
        with torch.autocast(x.device.type, enabled=False):  # where gradients are measured on the way, it is still on
            padded = F.pad(x, (1, 1, 1, 1), mode=ctx.mode)
            to_padded, to_weight, to_bias = torch.ops.aten.convolution_backward(
                grad, padded, weight.to(x.dtype), biases, *ctx.options, wanted
            )
        to_x = None if to_padded is None else _folded(to_padded, _SEEN_TWICE[ctx.mode]).to(of_x)
        to_weight = None if to_weight is None else to_weight.to(of_weight)
        return to_x, to_weight, None if to_bias is None else to_bias.to(of_bias), None, None


def _folded(grad: Tensor, inner: int) -> Tensor:
    """Add the border of a padded map's gradient to the row or column that it repeats, in place, and return what lies inside."""
    for dim in (2, 3):
        last = grad.shape[dim] - 1
        grad.select(dim, inner).add_(grad.select(dim, 0))
        grad.select(dim, last - inner).add_(grad.select(dim, last))
    return grad[:, :, 1:-1, 1:-1]
