"""The photometric error between a target image and its synthesis, and its minimum over the sources.

SSIM: Wang et al. (2004). The mixture with L1, and the smallest error among the sources: Godard et al. (2017, 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

SSIM_SHARE = 0.85
C1, C2 = 0.01**2, 0.03**2
MIDDLE = 0.5


def _sum_of_three(x: Tensor, dim: int) -> Tensor:
    """Return every value plus its two neighbours along ``dim``; at the ends the one neighbour counts twice."""
    n = x.shape[dim]
    total = torch.empty_like(x)
    inner = total.narrow(dim, 1, n - 2)
    torch.add(x.narrow(dim, 0, n - 2), x.narrow(dim, 2, n - 2), out=inner)
    inner.add_(x.narrow(dim, 1, n - 2))
    torch.add(x.select(dim, 0), x.select(dim, 1), alpha=2, out=total.select(dim, 0))
    torch.add(x.select(dim, n - 1), x.select(dim, n - 2), alpha=2, out=total.select(dim, n - 1))
    return total


def _sum_of_three_transposed(x: Tensor, dim: int) -> Tensor:
    """Return the transpose of ``_sum_of_three`` applied to ``x``."""
    n = x.shape[dim]
    total = torch.empty_like(x)
    inner = total.narrow(dim, 1, n - 2)
    torch.add(x.narrow(dim, 0, n - 2), x.narrow(dim, 2, n - 2), out=inner)
    inner.add_(x.narrow(dim, 1, n - 2))
    torch.add(x.select(dim, 0), x.select(dim, 1), out=total.select(dim, 0))
    torch.add(x.select(dim, n - 1), x.select(dim, n - 2), out=total.select(dim, n - 1))
    total.select(dim, 1).add_(x.select(dim, 0))
    total.select(dim, n - 2).add_(x.select(dim, n - 1))
    return total


class _WindowMean(torch.autograd.Function):
    """Mean of the 3×3 window with reflected borders: ``avg_pool2d(pad(x, 1, "reflect"), 3, 1)``, but faster.

    The window is separable, and its own backward pass spares the padding and the copies that autograd would keep.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _sum_of_three(_sum_of_three(x, -2), -1).div_(9)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator,unused-ignore]
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _sum_of_three_transposed(_sum_of_three_transposed(grad, -1), -2).div_(9)


def _window_mean(x: Tensor) -> Tensor:
    mean: Tensor = _WindowMean.apply(x)
    return mean


def _require_image(name: str, image: Tensor) -> None:
    if image.ndim != 4 or image.shape[1] < 1 or min(image.shape[2:]) < 2:
        raise ValueError(f"{name}: expected (B, C, H, W) with H and W of 2 or more, got {tuple(image.shape)}")
    if not image.is_floating_point():
        raise ValueError(f"{name}: expected a floating point image in [0, 1], got {image.dtype}")


def _centred(image: Tensor) -> Tensor:
    """Return the image around the middle of its range, in float32 or better.

    Variances are small differences of squares, and SSIM divides them by little more than C2: the smaller the squares,
    the less is lost to rounding (and half precision would lose it all).
    """
    return image.to(torch.promote_types(image.dtype, torch.float32)) - MIDDLE


@dataclass(frozen=True)
class TargetMoments:
    """What the photometric error needs of a target, computed once for all sources and scales; see ``ssim_moments``.

    All fields are (B, C, H, W); means are those of the 3×3 window.
    """

    centred: Tensor
    """The image minus 0.5, in [-0.5, 0.5]."""
    centred_mean: Tensor
    """Mean of ``centred``."""
    mean: Tensor
    """Mean of the image."""
    squared_mean: Tensor
    """``mean²``."""
    variance: Tensor
    """Variance of the image."""


def ssim_moments(target: Tensor) -> TargetMoments:
    """Return the window moments of an image, to be given to ``ssim_distance`` or ``photometric_error`` in its place.

    Args:
        target: (B, C, H, W) in [0, 1].

    Raises:
        ValueError: if the shape is wrong, or it holds integers.
    """
    _require_image("target", target)
    centred = _centred(target)
    centred_mean = _window_mean(centred)
    mean = centred_mean + MIDDLE
    variance = _covariance(centred, centred, centred_mean, centred_mean)
    return TargetMoments(centred, centred_mean, mean, mean * mean, variance)


def ssim_distance(image: Tensor, target: Tensor | TargetMoments) -> Tensor:
    """Return the structural dissimilarity ``(1 - SSIM)/2``, from 3×3 mean windows with reflected borders.

    ``C1 = 0.01²``, ``C2 = 0.03²`` (Wang et al. 2004, for a range of 1); symmetric in its arguments. Computed in float32
    or better. It can be differentiated once.

    Args:
        image: (B, C, H, W) in [0, 1].
        target: the same, or its ``ssim_moments``, which spares its share of the work when several images are compared.

    Returns:
        (B, C, H, W) in [0, 1]; 0 where the windows are equal.

    Raises:
        ValueError: if the shapes are wrong or differ, or an image holds integers.
    """
    return _distance(*_operands(image, target))


def photometric_error(image: Tensor, target: Tensor | TargetMoments) -> Tensor:
    """Return the photometric error of every pixel, ``0.85·(1 - SSIM)/2 + 0.15·|a - b|``, each the mean over channels.

    Godard et al., "Unsupervised monocular depth estimation with left-right consistency" (2017), equation 2.

    Args:
        image: (B, C, H, W) in [0, 1], e.g. a warped source.
        target: the same, or its ``ssim_moments``.

    Returns:
        (B, 1, H, W) in [0, 1].

    Raises:
        ValueError: if the shapes are wrong or differ, or an image holds integers.
    """
    centred, moments = _operands(image, target)
    structure = _distance(centred, moments).mean(1, keepdim=True)
    difference = (centred - moments.centred).abs().mean(1, keepdim=True)
    return SSIM_SHARE * structure + (1 - SSIM_SHARE) * difference


def _operands(image: Tensor, target: Tensor | TargetMoments) -> tuple[Tensor, TargetMoments]:
    """Check both images and return the first centred, the second with its moments."""
    _require_image("image", image)
    moments = target if isinstance(target, TargetMoments) else ssim_moments(target)
    if image.shape != moments.centred.shape:
        raise ValueError(f"image and target differ in shape: {tuple(image.shape)} and {tuple(moments.centred.shape)}")
    return _centred(image), moments


def _distance(centred: Tensor, target: TargetMoments) -> Tensor:
    centred_mean = _window_mean(centred)
    variance = _covariance(centred, centred, centred_mean, centred_mean)
    covariance = _covariance(centred, target.centred, centred_mean, target.centred_mean)
    mean = centred_mean + MIDDLE
    numerator = (2 * (mean * target.mean) + C1) * (2 * covariance + C2)
    denominator = (mean * mean + target.squared_mean + C1) * (variance + target.variance + C2)
    return (0.5 - 0.5 * (numerator / denominator)).clamp(0, 1)


def _covariance(x: Tensor, y: Tensor, mean_x: Tensor, mean_y: Tensor) -> Tensor:
    """Return the covariance in the windows, by the operator that the fused pass takes: equal to its last bit."""
    return torch.addcmul(_window_mean(x * y), mean_x, mean_y, value=-1)


def minimum_reprojection(
    warped_errors: Tensor,
    identity_errors: Tensor | None = None,
    *,
    auto_mask: bool = True,
    per_pixel_minimum: bool = True,
) -> tuple[Tensor, Tensor]:
    """Join the errors of the sources to one error a pixel, and tell which pixels teach depth.

    Godard et al., "Digging into self-supervised monocular depth estimation" (2019), section 3: the smallest error among
    the sources ignores occluded ones; a pixel that the *unwarped* source already explains at least as well (a still
    camera, a car driving along, empty texture) is masked. Ties are masked, always: where warping brings nothing there
    is nothing to learn (the literature breaks ties by random noise). Each idea can be switched off, for those whom the
    patent on them concerns.

    Args:
        warped_errors: (B, S, H, W) photometric errors of the synthesised views.
        identity_errors: (B, S, H, W) photometric errors of the sources as they are; needed by ``auto_mask`` only.
        auto_mask: mask pixels that are not better explained by warping.
        per_pixel_minimum: the smallest error among the sources; False: their mean.

    Returns:
        (B, H, W) error, and (B, H, W) bool, true where it comes from warping. Where masked, the error is the unwarped
        one, a constant for depth and pose, so that the mean of the map is the published loss.

    Raises:
        ValueError: if a shape is wrong, or ``auto_mask`` lacks the unwarped errors.
    """
    if warped_errors.ndim != 4 or warped_errors.shape[1] < 1:
        raise ValueError(f"warped_errors: expected (B, S, H, W) with S of 1 or more, got {tuple(warped_errors.shape)}")
    warped = _over_sources(warped_errors, per_pixel_minimum)
    if not auto_mask:
        return warped, torch.ones_like(warped, dtype=torch.bool)
    if identity_errors is None or identity_errors.shape != warped_errors.shape:
        given = None if identity_errors is None else tuple(identity_errors.shape)
        raise ValueError(f"identity_errors: auto_mask needs the shape {tuple(warped_errors.shape)}, got {given}")
    identity = _over_sources(identity_errors, per_pixel_minimum)
    kept = warped < identity
    return torch.where(kept, warped, identity), kept


def _over_sources(errors: Tensor, per_pixel_minimum: bool) -> Tensor:
    if not per_pixel_minimum:
        return errors.mean(1)
    smallest: Tensor = _Smallest.apply(errors)
    return smallest


class _Smallest(torch.autograd.Function):
    """(B, S, H, W) → (B, H, W), the smallest of S; its gradient goes to the first that is."""

    @staticmethod
    def forward(ctx: Any, errors: Tensor) -> Tensor:
        first, *others = errors.unbind(1)
        smallest = first.clone()
        for other in others:
            torch.minimum(smallest, other, out=smallest)
        ctx.save_for_backward(errors, smallest)
        return smallest

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator,unused-ignore]
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        errors, smallest = ctx.saved_tensors
        result = torch.empty_like(errors)
        left = grad.clone()
        for s in range(errors.shape[1]):
            found = errors[:, s] <= smallest
            torch.mul(left, found, out=result[:, s])
            left.masked_fill_(found, 0.0)
        return result
