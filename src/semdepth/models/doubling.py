"""Double a feature's size and convolve it, without ever making the doubled feature."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def double_and_convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return what a 3×3 convolution, reflection padded, makes of ``x`` doubled by repeating its pixels.

    A doubled feature holds every pixel four times, so of the nine products at each place of the result five are of pixels
    that another one has read already. Rows 2r and 2r + 1 of the result see two rows of ``x`` each, columns alike: four 2×2
    convolutions (one for each phase) of ``x`` with sums of the weights give the same, with 4/9 of the products. Reflecting
    the doubled feature at its border is repeating the border of ``x``.

    Args:
        x: (B, C, h, w).
        weight: (O, C, 3, 3).
        bias: (O,).

    Returns:
        (B, O, 2h, 2w), equal to the plain way up to rounding.
    """
    height, width = x.shape[2], x.shape[3]
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    phases = [
        F.conv2d(padded[:, :, row : row + height + 1, column : column + width + 1], kernel, bias)
        for row, rows in enumerate(_halves(weight, dim=2))
        for column, kernel in enumerate(_halves(rows, dim=3))
    ]
    return F.pixel_shuffle(torch.stack(phases, dim=2).flatten(1, 2), 2)


def _halves(weight: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Return what the even and the odd places of the result see along ``dim``: two sums of weights each."""
    first, middle, last = weight.unbind(dim)
    return torch.stack((first, middle + last), dim), torch.stack((first + middle, last), dim)


def convolve_doubled(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the same, the plain way."""
    doubled = F.interpolate(x, scale_factor=2.0, mode="nearest")
    return F.conv2d(F.pad(doubled, (1, 1, 1, 1), mode="reflect"), weight, bias)
