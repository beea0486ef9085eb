"""The optimiser and its schedule (METHOD 4)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from semdepth.runtime import InputError


@dataclass(frozen=True)
class OptimConfig:
    """Adam with a warm-up and one drop."""

    learning_rate: float = 1e-4
    """Adam's learning rate after the warm-up."""
    warm_up: int = 0
    """Steps over which the learning rate rises linearly from zero."""
    pose_first: int = 0
    """Steps in which only the pose network learns, against the depth that the depth network starts from (a camera above
    a ground); depth then joins, rising linearly over as many steps again."""
    decay_at: float = 0.75
    """Share of the schedule after which the learning rate drops."""
    decay: float = 0.1
    """Factor of that drop."""
    weight_decay: float = 0.0
    """Decoupled weight decay (AdamW); 0 is plain Adam."""
    clip: float = 0.0
    """Largest norm of the whole gradient; 0 does not clip."""

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"optim.learning_rate {self.learning_rate}: must be a positive number")
        if not 0 < self.decay_at <= 1:
            raise InputError("optim.decay_at: is a share of the schedule, in (0, 1]")
        if not 0 < self.decay <= 1:
            raise InputError("optim.decay: is a factor in (0, 1]")
        if not all(0 <= n < math.inf for n in (self.warm_up, self.pose_first, self.weight_decay, self.clip)):
            raise InputError("optim: warm_up, pose_first, weight_decay and clip must not be negative")


BALANCE_RATE = 10.0
"""The learnt weights of the tasks learn so many times as fast as the networks: a schedule's steps are few for them."""


def build_optimiser(
    depth: nn.Module, pose: nn.Module, config: OptimConfig, balance: nn.Module | None = None
) -> torch.optim.Optimizer:
    """Return Adam over both networks, a group each, and over the learnt weights of the tasks, where there are any.

    With weight decay 0, AdamW is Adam.
    """
    groups: list[dict[str, Any]] = [
        {"params": list(module.parameters()), "name": name} for name, module in (("depth", depth), ("pose", pose))
    ]
    if balance is not None and (learnt := list(balance.parameters())):
        groups.append({"params": learnt, "name": "balance", "weight_decay": 0.0})
    on_cpu = all(parameter.device.type == "cpu" for group in groups for parameter in group["params"])
    # Fused, a CPU walks through the parameters once; a GPU's default is about as good, and leaves clipping to Fabric.
    return torch.optim.AdamW(groups, config.learning_rate, weight_decay=config.weight_decay, fused=on_cpu or None)


def learning_rate(config: OptimConfig, step: int, steps: int) -> float:
    """Return the learning rate of ``step`` in a schedule of ``steps``: a pure function, so that resuming needs no state."""
    rate = config.learning_rate
    if step < config.warm_up:
        return rate * (step + 1) / config.warm_up
    return rate if step < config.decay_at * steps else rate * config.decay


def depth_share(config: OptimConfig, step: int) -> float:
    """Return the share of the learning rate that the depth network gets at ``step``, in [0, 1]."""
    if config.pose_first == 0:
        return 1.0
    return min(max((step - config.pose_first + 1) / config.pose_first, 0.0), 1.0)


def set_learning_rates(optimiser: torch.optim.Optimizer, config: OptimConfig, step: int, steps: int) -> None:
    """Give every group its learning rate of ``step``; the tasks' weights learn while the depth network does."""
    rate = learning_rate(config, step, steps)
    shares = {"depth": depth_share(config, step), "balance": BALANCE_RATE * depth_share(config, step)}
    for group in optimiser.param_groups:
        group["lr"] = rate * shares.get(group["name"], 1.0)


def follow_layout(optimiser: torch.optim.Optimizer) -> None:
    """Lay moments out as their parameters are: a fused step takes both element by element as they lie in memory.

    A checkpoint brings its own layout, which is another where ``trainer.channels_last`` has changed since.
    """
    for parameter, moments in optimiser.state.items():
        for name, values in moments.items():
            if isinstance(values, torch.Tensor) and values.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter, dtype=values.dtype).copy_(values)
