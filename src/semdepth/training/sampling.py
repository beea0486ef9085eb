"""Which frames make up the batch of a step: a pure function of seed and step, so that resuming needs no state."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from semdepth.runtime import InputError


class StepSampler(Sampler[list[int]]):
    """Index lists of the batches of steps ``start`` … ``steps``−1, for one of ``world`` processes.

    Every epoch is a fresh permutation drawn from (seed, epoch); the incomplete last batch of an epoch is left out. The
    *global* batch of a step does not depend on the number of processes: rank r takes every ``world``-th of its frames.
    """

    def __init__(
        self, length: int, batch: int, *, steps: int, start: int = 0, seed: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        """Sample from ``length`` frames, ``batch`` of them a step over all processes together.

        Raises:
            InputError: if the data holds fewer frames than a batch.
        """
        if length < batch:
            raise InputError(
                f"the training data has {length} frames, fewer than a batch of {batch}; lower trainer.batch"
            )
        if batch % world:
            raise InputError(f"trainer.batch: {batch} does not divide among {world} processes")
        self.length, self.batch, self.steps, self.start = length, batch, steps, start
        self.seed, self.rank, self.world = seed, rank, world

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return self.length // self.batch

    def __len__(self) -> int:
        return max(self.steps - self.start, 0)

    def __iter__(self) -> Iterator[list[int]]:
        epoch, order = -1, torch.empty(0)
        for step in range(self.start, self.steps):
            if step // self.steps_per_epoch != epoch:
                epoch = step // self.steps_per_epoch
                order = torch.randperm(self.length, generator=step_generator(self.seed, epoch))
            first = (step % self.steps_per_epoch) * self.batch
            yield order[first : first + self.batch][self.rank :: self.world].tolist()


def step_generator(seed: int, step: int, rank: int = 0) -> torch.Generator:
    """Return a CPU generator for the draws of one step: augmentation, point pairs."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) * 4_099 + rank)
