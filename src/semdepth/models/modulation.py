"""The modulation of normalised features, SSFA's core, and its gradient, worked out by hand for a CPU.

The same numbers as ``modulate_plainly``, which is the test of it. Over channels, programs of our own do it in one pass each way;
over an image, a pass goes over one image at a time. Both keep the features and the modulation at the size that it came in;
autograd would keep both resized and normalised, four times as much.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from semdepth.compiled import has_numba, run, spans

Norm = Literal["channels", "instance"]
EPSILON = 1e-5
"""Added to the variance, as by torch's instance norm."""
_OVER = [2, 3]
"""Dimensions of (branch, C, H, W) that an instance's mean and variance are taken over."""
_FEWEST_ROWS = 16
"""For which it is worth waking a thread."""


def modulate(features: Tensor, modulation: Tensor, norm: Norm) -> Tensor:
    """Return ``(1 + γ) ⊙ norm(features) + β`` (Park et al. 2019, eq. 1).

    Args:
        features: (B, 2C, H, W), those of two branches side by side; each is normalised by itself.
        modulation: (B, 4C, h, w), γ over β; at another size it is resized bilinearly.
        norm: what mean and variance are taken over.

    Returns:
        (B, 2C, H, W). On a CPU it can be differentiated once.
    """
    if features.dtype == torch.bfloat16 and not torch.is_grad_enabled():  # rounded here, depth would lean one way
        return modulate_plainly(features.float(), modulation.float(), norm).to(features.dtype)
    by_hand = features.device.type == "cpu" and features.is_contiguous() and modulation.is_contiguous()
    if not by_hand or not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return modulate_plainly(features, modulation, norm)
    way = _OverImage if norm == "instance" else _OverChannels
    if norm == "channels" and not _has_program(features, modulation):
        return modulate_plainly(features, modulation, norm)
    modulated: Tensor = way.apply(features, modulation)
    return modulated


def _has_program(features: Tensor, modulation: Tensor) -> bool:
    times = features.shape[2] / modulation.shape[2], features.shape[3] / modulation.shape[3]
    alike = features.dtype == modulation.dtype and features.dtype in (torch.float32, torch.float64)
    return alike and times in ((1.0, 1.0), (2.0, 2.0)) and has_numba()


def modulate_plainly(features: Tensor, modulation: Tensor, norm: Norm) -> Tensor:
    """Return the same, as autograd takes it."""
    gamma, beta = _resized(modulation, features).chunk(2, dim=1)
    if norm == "instance":
        normal = F.instance_norm(features, eps=EPSILON)
    elif features.is_contiguous(memory_format=torch.channels_last) and not torch.compiler.is_compiling():
        pixels = features.movedim(1, -1).unflatten(-1, (2, -1))
        normal = F.layer_norm(pixels, pixels.shape[-1:], eps=EPSILON).flatten(-2).movedim(-1, 1)
    else:
        normal = torch.cat([_over_channels(branch) for branch in features.chunk(2, dim=1)], dim=1)
    return torch.addcmul(normal + beta, gamma, normal)


def _over_channels(feature: Tensor) -> Tensor:
    centred = feature - feature.mean(1, keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(1, keepdim=True) + EPSILON)


class _OverChannels(torch.autograd.Function):
    """See ``modulation_programs``."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, modulation: Tensor) -> Tensor:
        from semdepth.models import modulation_programs as programs

        modulated = torch.empty_like(features)
        means, scales = features.new_empty(2, 2 * len(features), *features.shape[2:])
        epsilon = features.new_tensor(EPSILON).numpy()[()]
        arrays = (
            _branches(features), _halves_of(modulation), epsilon, _branches(modulated), means.numpy(), scales.numpy()
        )  # fmt: skip
        rows = 2 * len(features) * features.shape[2]
        run(programs.modulate, [(*arrays, *span) for span in spans(rows, _FEWEST_ROWS)])
        ctx.save_for_backward(features, modulation, means, scales)
        return modulated

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator,unused-ignore]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        from semdepth.models import modulation_programs as programs

        features, modulation, means, scales = ctx.saved_tensors
        to_features, to_modulation = torch.empty_like(features), torch.zeros_like(modulation)
        arrays = (
            _branches(grad.contiguous()), _branches(features), _halves_of(modulation), means.numpy(), scales.numpy(),
            _branches(to_features), _halves_of(to_modulation),
        )  # fmt: skip
        run(programs.gradients, [(*arrays, *span) for span in spans(2 * len(features), 1)])
        return to_features, to_modulation


def _branches(features: Tensor) -> np.ndarray:
    """Return (B, 2C, H, W) as an array (2B, C, H, W) of the same memory."""
    array: np.ndarray = features.detach().unflatten(1, (2, -1)).flatten(0, 1).numpy()
    return array


def _halves_of(modulation: Tensor) -> np.ndarray:
    """Return (B, 4C, h, w) as an array (B, 2, 2, C, h, w) of the same memory: γ, β, of both branches."""
    array: np.ndarray = modulation.detach().unflatten(1, (2, 2, -1)).numpy()
    return array


class _OverImage(torch.autograd.Function):
    """With x normalised to ``n = (x − μ)·r`` and the gradient g of ``n + γ·n + β``: γ gets ``g·n``, β gets g.

    ``q = g + γ·g`` reaches n, and ``r·(q − mean(q) − n·mean(q·n))`` reaches x. An image is taken as (branch, C, H, W).
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, modulation: Tensor) -> Tensor:
        width = features.shape[1]
        branches = features.unflatten(1, (2, -1))
        mean = branches.mean([1 + dim for dim in _OVER], keepdim=True)
        scale = torch.empty_like(mean)
        modulated = torch.empty_like(branches)
        room = torch.empty_like(branches[0])
        for b, out in enumerate(modulated):
            normal = torch.sub(branches[b], mean[b], out=room)
            variance = torch.mul(normal, normal, out=out).mean(_OVER, keepdim=True)
            normal.mul_(torch.rsqrt(variance.add_(EPSILON), out=scale[b]))
            # γ and β as two images: of one with many channels torch makes copies to resize it.
            gamma, beta = _resized(modulation[b].unflatten(0, (2, width)), features).unflatten(1, normal.shape[:2])
            torch.add(normal, beta, out=out).addcmul_(gamma, normal)
        ctx.save_for_backward(features, modulation, mean, scale)
        return modulated.flatten(1, 2)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator,unused-ignore]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        features, modulation, mean, scale = ctx.saved_tensors
        branches, of_branches = (x.unflatten(1, (2, -1)) for x in (features, grad))
        to_features, to_modulation = torch.empty_like(branches), torch.empty_like(modulation)
        room, product = torch.empty_like(branches[0]), torch.empty_like(branches[0])
        width = features.shape[1]
        for b, out in enumerate(to_features):
            normal = torch.sub(branches[b], mean[b], out=room).mul_(scale[b])
            of_modulated = of_branches[b]
            to_gamma, to_beta = to_modulation[b].split(width)
            torch.mul(of_modulated, normal, out=product)
            to_gamma.copy_(_resized_back(product.flatten(0, 1), to_gamma))
            to_beta.copy_(_resized_back(grad[b], to_beta))
            gamma = _resized(modulation[b, :width].unflatten(0, (2, -1)), features)
            torch.addcmul(of_modulated, gamma, of_modulated, out=out)
            slope = torch.mul(out, normal, out=product).mean(_OVER, keepdim=True)
            out.sub_(out.mean(_OVER, keepdim=True)).addcmul_(normal, slope, value=-1).mul_(scale[b])
        return to_features.flatten(1, 2), to_modulation


def _resized(modulation: Tensor, features: Tensor) -> Tensor:
    """Return the (B, C, h, w) modulation at the features' size."""
    size = features.shape[2:]
    if modulation.shape[2:] == size:
        return modulation
    return F.interpolate(modulation, size, mode="bilinear", align_corners=False)


def _resized_back(grad: Tensor, like: Tensor) -> Tensor:
    """Return the gradient that (C, H, W) resized values hand to the (C, h, w) ones that they came from."""
    if grad.shape == like.shape:
        return grad
    if grad.shape[1] == 2 * like.shape[1] and grad.shape[2] == 2 * like.shape[2]:
        return _halved(_halved(grad, 1), 2)
    sizes = list(grad.shape[1:]), [1, *like.shape]
    back: Tensor = torch.ops.aten.upsample_bilinear2d_backward(grad[None].contiguous(), *sizes, False)[0]
    return back


def _halved(grad: Tensor, dim: int) -> Tensor:
    """Return the transpose of doubling bilinearly along ``dim``: ¼, ¾, ¾, ¼ of four neighbours; the edge keeps its own."""
    n = grad.shape[dim] // 2
    first, second = grad.unflatten(dim, (n, 2)).unbind(dim + 1)
    total = torch.add(first, second).mul_(3)
    total.narrow(dim, 1, n - 1).add_(second.narrow(dim, 0, n - 1))
    total.narrow(dim, 0, n - 1).add_(first.narrow(dim, 1, n - 1))
    total.select(dim, 0).add_(first.select(dim, 0))
    total.select(dim, n - 1).add_(second.select(dim, n - 1))
    return total.mul_(0.25)
