"""Gradients worked out with a part of the loss, not after the whole: what only that part needs is given back at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Part = Callable[..., tuple[Tensor, ...]]
"""Tensors → a scalar, and whatever else is worth knowing, to which no gradient flows."""


def with_gradient(part: Part, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Return ``part(*inputs)``; the graph of its first result, a scalar, is walked back at once and dropped.

    The value and the gradient are those of a plain call. Autograd would keep every part's intermediates until the whole loss
    is there; this keeps the gradients of the inputs, so that several parts need the memory of one. It can be differentiated once.

    Args:
        part: a function of ``inputs`` alone: tensors that it takes from elsewhere get no gradient.
        inputs: tensors; those that require a gradient get one.

    Returns:
        What ``part`` returns; all but the scalar detached.
    """
    if not torch.is_grad_enabled() or not any(x.requires_grad for x in inputs):
        return part(*inputs)
    results: tuple[Tensor, ...] = _WithGradient.apply(part, *inputs)
    return results


class _WithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Part, *inputs: Tensor) -> tuple[Tensor, ...]:
        needed = ctx.needs_input_grad[1:]
        leaves = [x.detach().requires_grad_(need) for x, need in zip(inputs, needed, strict=True)]
        with torch.enable_grad():
            loss, *rest = part(*leaves)
        wanted = [leaf for leaf, need in zip(leaves, needed, strict=True) if need]
        with torch.autocast(loss.device.type, enabled=False):  # geometry's gradients, too, stay in float32
            found = iter(torch.autograd.grad(loss, wanted, materialize_grads=True))
        ctx.needed = needed
        ctx.save_for_backward(*found)
        rest = [value.detach() for value in rest]
        ctx.mark_non_differentiable(*rest)
        ctx.set_materialize_grads(False)  # for those, zeros as large as they are
        return loss.detach(), *rest

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator,unused-ignore]
    def backward(ctx: Any, grad: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        found = iter(ctx.saved_tensors)
        return None, *(next(found) * grad if need else None for need in ctx.needed)
