"""What keeps a sigmoid output from running to 0, from where no gradient leads back."""

from __future__ import annotations

import torch
from torch import Tensor

EDGE = 8.0
"""Logits below −EDGE are pulled back. With the usual range of 0.1 to 100 only depths between 75 and 100 lie there."""


def saturation(sigma: Tensor) -> Tensor:
    """Return how far sigmoid outputs lie beyond the far edge: the mean of ``½·max(0, −log σ − 8)²``.

    Infinitely far is the one depth that does not mind a wrong motion, so a run in trouble sends its logits there; the
    sigmoid's slope, σ·(1 − σ), then ends all learning. The slope of this in the logit grows instead, like a spring's.
    Nearer than the edge it is exactly 0, and so is its gradient. Ours.

    Args:
        sigma: sigmoid outputs in [0, 1], any shape but empty.

    Returns:
        Scalar, 0 or above. Outputs of exactly 0 (logits below −87) count as the smallest number there is, without a
        gradient: too late for them.
    """
    sigma = sigma.float()
    far = torch.relu(-torch.log(sigma.clamp(min=torch.finfo(sigma.dtype).tiny)) - EDGE)
    return (far**2).mean() / 2
