"""How unsure a network is of its classes (METHOD 2.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def normalised_entropy(probabilities: Tensor, dim: int = 1) -> Tensor:
    """Return the uncertainty ``u = H(P) / log C``: 0 is certain, 1 is a uniform guess.

    Args:
        probabilities: of C classes, 2 or more, along ``dim``, each in [0, 1], float32 or better.
        dim: the classes' dimension.

    Returns:
        The shape without ``dim``, in [0, 1]. Detach it where it weights a loss: its slope is not finite at 0.
    """
    entropy = -torch.special.xlogy(probabilities, probabilities).sum(dim)
    normalised: Tensor = (entropy / math.log(probabilities.shape[dim])).clamp(0, 1)
    return normalised
