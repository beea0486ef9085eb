"""The photometric error of many images against one target, and its gradient, worked out by hand.

The same numbers as ``losses.photometric.photometric_error``, which is the plain path and the test of this one. Here a pass
writes in place and leaves three maps a channel for the backward pass, where autograd would keep a dozen. On a CPU it goes over
one image at a time, so that what it holds stays in the processor's cache; a GPU, which would wait for the next, gets all at once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from semdepth.losses.photometric import C1, C2, MIDDLE, SSIM_SHARE, TargetMoments


def photometric_errors(images: Tensor, target: TargetMoments) -> Tensor:
    """Return the photometric errors of several images a target: ``photometric_error`` for each.

    Args:
        images: (B, S, C, H, W) in [0, 1]; the gradient flows to them alone.
        target: ``ssim_moments`` of the (B, C, H, W) targets, in float32 or float64; no gradient flows.

    Returns:
        (B, S, H, W) in [0, 1], in the moments' type.

    Raises:
        ValueError: if the shapes do not fit, or the images hold integers.
    """
    batch, *rest = target.centred.shape
    if images.ndim != 5 or images.shape[0] != batch or list(images.shape[2:]) != rest:
        raise ValueError(f"images: expected ({batch}, S, {', '.join(map(str, rest))}), got {tuple(images.shape)}")
    if not images.is_floating_point():
        raise ValueError(f"images: expected floating point images in [0, 1], got {images.dtype}")
    exact = images.to(target.centred.dtype)
    errors: Tensor = _Errors.apply(
        exact, target.centred, target.centred_mean, target.mean, target.squared_mean, target.variance
    )
    return errors


class _Errors(torch.autograd.Function):
    """``0.85·(1 − SSIM)/2 + 0.15·|x − y|``, mean over channels, of (B, S, C, H, W) against moments of (B, C, H, W).

    With window means μ of the image x and ν of the target y, ``SSIM = A·B / (D·E)``, ``A = 2μν + C1``,
    ``B = 2cov(x, y) + C2``, ``D = μ² + ν² + C1``, ``E = var(x) + var(y) + C2``. Its derivatives by the window means
    of x, x² and xy (through μ, var and cov) are what the backward pass needs, one map each: it multiplies them by the
    gradient and spreads them over the windows. (Where rounding puts SSIM beyond ±1, the error is clamped and the gradient,
    there zero but for rounding, is not.)
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, *moments: Tensor) -> Tensor:
        batch, sources, _, height, width = images.shape
        errors = images.new_empty(batch, sources, height, width)
        slopes = images.new_empty(3, *images.shape) if ctx.needs_input_grad[0] else None
        portions = _portions(images)
        room = images.new_empty(2, 3, *images[portions[0]].shape)
        for portion in portions:
            of_target = [values[:, None].expand_as(images)[portion] for values in moments]
            kept = None if slopes is None else slopes[(slice(None), *portion)]
            _write_errors(images[portion], of_target, room, errors[portion], kept)
        if slopes is not None:
            ctx.save_for_backward(images, moments[0], slopes)
        return errors

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator,unused-ignore]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        images, targets, slopes = ctx.saved_tensors
        channels = images.shape[2]
        result = torch.empty_like(images)
        portions = _portions(images)
        room = images.new_empty(2, 3, *images[portions[0]].shape)
        for portion in portions:
            of_error = grad[portion].unsqueeze(-3)
            spread, passing = room.unbind()
            torch.mul(slopes[(slice(None), *portion)], of_error * (-SSIM_SHARE / channels / 9), out=spread)
            _spread_of_three(spread, passing, -1)
            _spread_of_three(passing, spread, -2)
            target, out = targets[:, None].expand_as(images)[portion], result[portion]
            centred = torch.sub(images[portion], MIDDLE, out=passing[0])
            torch.sub(centred, target, out=out).sign_().mul_(of_error * ((1 - SSIM_SHARE) / channels))
            out.add_(spread[0]).addcmul_(centred, spread[1], value=-1).addcmul_(target, spread[2])
        return result, None, None, None, None, None


def _portions(images: Tensor) -> list[tuple[int | slice, ...]]:
    """Return how (B, S, C, H, W) images are indexed in portions that are worked off one after the other."""
    if images.device.type != "cpu":
        return [(slice(None), slice(None))]
    return [(b, s) for b in range(images.shape[0]) for s in range(images.shape[1])]


def _write_errors(image: Tensor, moments: list[Tensor], room: Tensor, error: Tensor, slopes: Tensor | None) -> None:
    """Write the (..., H, W) error of (..., C, H, W) images; with ``slopes`` (3, ..., C, H, W), what the gradient needs, too.

    ``room`` is (2, 3, ..., C, H, W) of space to work in. For the slopes see ``_fill_slopes``.
    """
    target, target_centred_mean, target_mean, target_square, target_variance = moments
    maps, passing = room.unbind()
    channels = image.shape[-3]
    centred = torch.sub(image, MIDDLE, out=maps[0])
    torch.mul(centred, centred, out=maps[1])
    torch.mul(centred, target, out=maps[2])
    difference = torch.sub(centred, target, out=passing[0]).abs_()
    torch.mean(difference, -3, out=error)
    error.mul_(1 - SSIM_SHARE)
    _sum_of_three(maps, passing, -2)
    _sum_of_three(passing, maps, -1)
    centred_mean, variance, covariance = maps.div_(9).unbind()
    variance.addcmul_(centred_mean, centred_mean, value=-1)
    covariance.addcmul_(centred_mean, target_centred_mean, value=-1)

    # Where image and target are equal, A and D, and B and E, are equal to the last bit: no error but 0, where rounding would
    # decide what the auto-mask drops. (So nothing here that is rounded once in place of twice, as addcmul is.)
    c1, c2 = image.new_tensor(C1), image.new_tensor(C2)
    mean, a, d = passing.unbind()
    torch.add(centred_mean, MIDDLE, out=mean)
    torch.add(c1, torch.mul(mean, target_mean, out=a), alpha=2, out=a)
    torch.mul(mean, mean, out=d).add_(target_square).add_(C1)
    e = variance.add_(target_variance).add_(C2)
    b = torch.add(c2, covariance, alpha=2, out=covariance)
    if slopes is None:
        ssim = a.mul_(b).div_(d.mul_(e))
    else:
        ssim = _fill_slopes(slopes, centred_mean, (mean, a, b, d, e), target_centred_mean, target_mean)
    dissimilar = ssim.clamp_(-1, 1).sum(-3).neg_().add_(channels)
    error.add_(dissimilar, alpha=SSIM_SHARE / channels / 2)


def _fill_slopes(
    slopes: Tensor,
    centred_mean: Tensor,
    parts: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    target_centred_mean: Tensor,
    target_mean: Tensor,
) -> Tensor:
    """Fill ``slopes`` and return SSIM; ``parts`` (mean, A, B, D, E) are used up.

    The slopes are half of SSIM's derivatives by the window means of x and of xy, and its negative one by that of x².
    """
    mean, a, b, d, e = parts
    by_mean, by_square, by_product = slopes.unbind()
    denominator = torch.mul(d, e, out=by_square)
    torch.div(a, denominator, out=by_product)  # half of ∂SSIM/∂cov
    # By the mean: ν·B/(D·E) − SSIM·μ/D, then what the variance and the covariance hold of the mean.
    torch.div(b, denominator, out=by_mean).mul_(target_mean)
    ssim = a.mul_(b).div_(denominator)
    by_mean.addcdiv_(mean.mul_(ssim), d, value=-1)
    torch.div(ssim, e, out=by_square)  # −∂SSIM/∂var; half of it, but x² brings 2x
    by_mean.addcmul_(centred_mean, by_square).addcmul_(target_centred_mean, by_product, value=-1)
    return ssim


def _sum_of_three(x: Tensor, total: Tensor, dim: int) -> None:
    """Write every value plus its two neighbours along ``dim``; at the ends the one neighbour counts twice."""
    n = x.shape[dim]
    inner = total.narrow(dim, 1, n - 2)
    torch.add(x.narrow(dim, 0, n - 2), x.narrow(dim, 2, n - 2), out=inner)
    inner.add_(x.narrow(dim, 1, n - 2))
    torch.add(x.select(dim, 0), x.select(dim, 1), alpha=2, out=total.select(dim, 0))
    torch.add(x.select(dim, n - 1), x.select(dim, n - 2), alpha=2, out=total.select(dim, n - 1))


def _spread_of_three(x: Tensor, total: Tensor, dim: int) -> None:
    """Write the transpose of ``_sum_of_three``."""
    n = x.shape[dim]
    inner = total.narrow(dim, 1, n - 2)
    torch.add(x.narrow(dim, 0, n - 2), x.narrow(dim, 2, n - 2), out=inner)
    inner.add_(x.narrow(dim, 1, n - 2))
    torch.add(x.select(dim, 0), x.select(dim, 1), out=total.select(dim, 0))
    torch.add(x.select(dim, n - 1), x.select(dim, n - 2), out=total.select(dim, n - 1))
    total.select(dim, 1).add_(x.select(dim, 0))
    total.select(dim, n - 2).add_(x.select(dim, n - 1))
