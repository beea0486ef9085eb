"""How depth and segmentation share one encoder: what weighs how much, and how strongly each pulls.

Two tasks on one encoder can starve each other. How strongly each pulls is the norm of its gradient at the features that both
decoders read; ``gradient_norms`` measures it, whatever the balance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from semdepth.processes import ALONE, Share
from semdepth.runtime import InputError

MEMORY = 0.8
"""Share that the segmentation's weight keeps, in its logarithm, when it is measured anew."""
SEGMENTATION = "segmentation"
"""The term that is the segmentation's task; all others are depth's."""


@dataclass(frozen=True)
class BalanceConfig:
    """How depth and segmentation are weighed against each other."""

    method: Literal["fixed", "gradient", "learnt"] = "gradient"
    """gradient: objective.segmentation is only where the segmentation's weight starts; it follows the gradients at the shared
    features. fixed: the weights of objective.*. learnt: both tasks' weights are learnt (Kendall et al. 2018)."""
    share: float = 0.3
    """gradient: the norm of the segmentation's gradient at the shared features, over depth's."""
    every: int = 10
    """gradient: steps between measurements."""

    def __post_init__(self) -> None:
        if not 0 < self.share < math.inf:
            raise InputError(f"objective.balance.share {self.share}: must be a positive number")
        if self.every < 1:
            raise InputError("objective.balance.every: must be at least 1")


class TaskBalance(nn.Module):
    """Joins the terms of an objective to one loss."""

    segmentation_weight: Tensor

    def __init__(self, config: BalanceConfig, segmentation: float) -> None:
        """Start from the weight ``segmentation`` against depth's 1."""
        super().__init__()
        self.config = config
        if config.method == "gradient":
            self.register_buffer("segmentation_weight", torch.tensor(segmentation))
        elif config.method == "learnt":
            self.log_weights = nn.Parameter(torch.tensor([0.0, math.log(segmentation)]))

    def is_due(self, step: int) -> bool:
        """Return whether the balance itself needs the gradients measured at ``step``."""
        return self.config.method == "gradient" and step % self.config.every == 0

    def follow(self, norms: Mapping[str, Tensor]) -> None:
        """Move the segmentation's weight towards where its gradient has its share of depth's (gradient only).

        Args:
            norms: of ``gradient_norms``; nothing happens where one of them is 0 or not finite.
        """
        if self.config.method != "gradient":
            return
        aim = self.config.share * norms["depth"] / norms[SEGMENTATION]
        moved = self.segmentation_weight**MEMORY * aim ** (1 - MEMORY)
        sound = torch.isfinite(moved) & (moved > 0)
        self.segmentation_weight.copy_(torch.where(sound, moved, self.segmentation_weight))

    def forward(self, terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
        """Return the loss: ``Σ w·L`` over the terms, the two tasks balanced.

        Learnt weights follow Kendall et al., "Multi-task learning using uncertainty to weigh losses" (CVPR 2018), equation
        7: for a task of variance σ², ``w·L − ½·log w`` with ``w = 1/(2σ²)`` or ``1/σ²``, up to a constant.

        Args:
            terms: scalars by name.
            weights: those of ``objective.*``, of every term.
        """
        if self.config.method == "fixed" or SEGMENTATION not in terms:
            return total(terms, weights)
        depth = total({name: value for name, value in terms.items() if name != SEGMENTATION}, weights)
        if self.config.method == "gradient":
            return depth + self.segmentation_weight * terms[SEGMENTATION]
        factors = self.log_weights.exp()
        return factors[0] * depth + factors[1] * terms[SEGMENTATION] - self.log_weights.sum() / 2

    def current(self, segmentation: float) -> dict[str, Tensor]:
        """Return both tasks' weights; ``segmentation`` is the fixed one."""
        if self.config.method == "learnt":
            depth, other = self.log_weights.detach().exp()
        else:
            depth, other = torch.tensor(1.0), torch.tensor(segmentation)
            if self.config.method == "gradient":
                other = self.segmentation_weight.clone()
        return {"depth": depth, SEGMENTATION: other}


def total(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Return ``Σ w·L``, in the order of ``terms``."""
    first, *others = terms
    loss = weights[first] * terms[first]
    for name in others:
        loss = loss + weights[name] * terms[name]
    return loss


@contextmanager
def captured(encoder: nn.Module, wanted: bool) -> Iterator[list[Tensor]]:
    """Give a list that receives the features of the encoder's next run; it stays empty where they are not wanted."""
    features: list[Tensor] = []

    def keep(module: nn.Module, given: Any, output: list[Tensor]) -> None:
        features.extend(output)

    hook = encoder.register_forward_hook(keep) if wanted else None
    try:
        yield features
    finally:
        if hook is not None:
            hook.remove()


HALF_SCALE = 2.0**14
"""What losses are multiplied with where gradients are float16."""


def gradient_norms(
    terms: Mapping[str, Tensor], weights: Mapping[str, float], features: list[Tensor], share: Share = ALONE
) -> dict[str, Tensor]:
    """Return how strongly each task pulls at the shared features: the norms of their gradients, over all features.

    Costs one backward pass through the decoders and view synthesis for each task (not through the encoder), so it is for
    every tenth step or so. The graph stays; parameters get no gradient.

    Args:
        terms: scalars by name, the segmentation's among them.
        weights: of depth's terms among themselves.
        features: what ``captured`` caught.
        share: where several processes train, the norms are those of the global batch, equal in all of them.

    Returns:
        ``{"depth": …, "segmentation": …}``: of depth's weighted sum, and of the unweighted segmentation term.
    """
    depth = total({name: value for name, value in terms.items() if name != SEGMENTATION}, weights)
    norms = {}
    # What is left of a gradient at half-precision features is below what they can hold; a step's own loss is scaled likewise.
    scale = HALF_SCALE if any(feature.dtype == torch.float16 for feature in features) else 1.0
    for name, loss in (("depth", depth), (SEGMENTATION, terms[SEGMENTATION])):
        gradients = torch.autograd.grad(scale * loss, features, retain_graph=True, allow_unused=True)
        own = torch.stack([g.float().norm() for g in gradients if g is not None]).norm() / scale
        # The global loss is the mean of the processes' losses, its gradient at their features one long vector.
        norms[name] = own if share.world == 1 else (share.mean(own**2) / share.world).sqrt()
    return norms
