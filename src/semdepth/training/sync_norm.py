"""Batch normalisation over the global batch, on any device, so that N processes learn what one would."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class _Sum(torch.autograd.Function):
    """Sum over all processes, differentiable: what a process adds reaches the losses of all of them."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """``BatchNorm2d`` whose statistics, while it trains, are those of all processes together.

    torch's own ``SyncBatchNorm`` knows GPUs only; this one is for the CPU (gloo). Processes have equally large batches.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C, H, W) over B, H, W of all processes."""
        if not self.training:
            return super().forward(input)
        world = dist.get_world_size()
        values = input.float()
        mean = _sum(values.mean((0, 2, 3))) / world
        centred = values - mean[:, None, None]
        variance = _sum(centred.square().mean((0, 2, 3))) / world
        self._follow(mean.detach(), variance.detach(), values.numel() // values.shape[1] * world)
        scale = torch.rsqrt(variance + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        result = centred * scale[:, None, None]
        if self.bias is not None:
            result = result + self.bias[:, None, None]
        return result.to(input.dtype)

    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running statistics; the variance is kept unbiased, as torch does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        momentum = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        with torch.no_grad():
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * (count / max(count - 1, 1)), momentum)


def _sum(value: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(value)
    return total


def synchronise_norms(module: nn.Module, device: torch.device) -> None:
    """Give every batch norm in ``module`` the statistics of all processes; parameters and state stay what they are.

    Args:
        module: changed in place, before it is wrapped for several processes.
        device: where it will run.
    """
    for name, child in list(module.named_children()):
        if not isinstance(child, nn.BatchNorm2d):
            synchronise_norms(child, device)
        elif device.type == "cpu":
            child.__class__ = SyncedBatchNorm2d
        else:
            setattr(module, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))
