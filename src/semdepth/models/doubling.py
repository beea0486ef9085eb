"""Double a feature's size and convolve it, without ever making the doubled feature."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from semdepth.models.padding import convolve_padded


def double_and_convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return what a 3×3 convolution, reflection padded, makes of ``x`` doubled by repeating its pixels.

    A doubled feature holds every pixel four times, so of the nine products at each place of the result five are of pixels
    that another one has read already. Seen from ``x``, each of its pixels is spread over 4×4 places of the result, by sums of
    the weights: a transposed convolution of stride 2, with 4/9 of the products. Reflecting the doubled feature at its border
    is repeating the border of ``x``.

    Args:
        x: (B, C, h, w).
        weight: (O, C, 3, 3).
        bias: (O,).

    Returns:
        (B, O, 2h, 2w), equal to the plain way up to rounding.
    """
    spread = _spread(_spread(weight, 2), 3).transpose(0, 1).contiguous()
    return convolve_padded(x, "replicate", spread, bias, spread=True)


def _spread(weight: Tensor, dim: int) -> Tensor:
    """Return the weights by which a pixel reaches four places along ``dim``; it fills the two in the middle."""
    first, middle, last = weight.unbind(dim)
    return torch.stack((last, middle + last, first + middle, first), dim)


def convolve_doubled(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the same, the plain way."""
    doubled = F.interpolate(x, scale_factor=2.0, mode="nearest")
    return F.conv2d(F.pad(doubled, (1, 1, 1, 1), mode="reflect"), weight, bias)
