"""Several processes that train as one: each takes its share of the draws, and means are those of the global batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Share:
    """What one of ``world`` processes takes of a global batch: its rows ``rank``, ``rank + world``, …"""

    rank: int = 0
    """Number of this process, from 0."""
    world: int = 1
    """How many processes there are."""

    def draw(
        self, rows: int, *columns: int, generator: torch.Generator | None = None, device: torch.device | None = None
    ) -> Tensor:
        """Draw uniformly for the whole global batch, and return what belongs to this process's rows.

        Args:
            rows: of this process.
            columns: draws of a row.
            generator: equal in all processes.
            device: of the generator.

        Returns:
            (rows, *columns) float32 in [0, 1). The draws of a frame do not depend on the number of processes.
        """
        everything = torch.rand(rows * self.world, *columns, generator=generator, device=device)
        return everything[self.rank :: self.world]

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a tensor over the processes, detached; all of them must call this."""
        if self.world == 1:
            return value.detach()
        total = value.detach().clone()
        torch.distributed.all_reduce(total)
        return total / self.world

    def agree(self, flag: bool, device: torch.device) -> bool:
        """Return whether the flag is true in every process; all of them must call this."""
        if self.world == 1:
            return flag
        votes = torch.tensor(int(flag), device=device)
        torch.distributed.all_reduce(votes, torch.distributed.ReduceOp.MIN)
        return bool(votes)


ALONE = Share()
"""The only process."""
