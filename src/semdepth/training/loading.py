"""The batches of a schedule, read ahead by loader processes; an error in one of them comes out as its one line."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset

from semdepth.data.shards import ShardFrames
from semdepth.hub import first_line
from semdepth.runtime import InputError
from semdepth.structures import FrameBatch, stack_frames
from semdepth.training.sampling import StepSampler


def read_batches(
    dataset: Dataset[FrameBatch], sampler: StepSampler, workers: int, pinned: bool = False
) -> Iterator[FrameBatch]:
    """Yield this process's part of the batches of the steps ``sampler.start`` … ``sampler.steps``−1, as read (uint8).

    Args:
        dataset: items are batches of one frame.
        sampler: which frames, in which order.
        workers: loader processes; 0: read in this one.
        pinned: into page-locked memory, for a GPU.

    Raises:
        InputError: if a frame cannot be read.
    """
    loader: DataLoader[FrameBatch] = DataLoader(
        **_read_by(dataset, sampler),
        num_workers=workers,
        pin_memory=pinned,
        persistent_workers=workers > 0,
        worker_init_fn=_leave_signals_to_the_parent,
    )
    try:
        yield from loader
    except InputError as error:  # from a loader process it arrives as a whole traceback: keep the line that matters
        line = str(error).strip().splitlines()[-1]
        raise InputError(line.removeprefix(f"{InputError.__module__}.{InputError.__name__}: ")) from None
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker (pid"):  # else it is what one of them raised
            raise
        raise InputError(
            f"a loader process has died ({first_line(error)}); if memory or /dev/shm is short, lower trainer.workers (0: none)"
        ) from None


def _leave_signals_to_the_parent(_: int) -> None:
    """Go on reading when the whole process group is told to end: the parent ends its step first, and then its loaders.

    Only the first SIGTERM is passed over: the parent's own, should it have to force the end, still works.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _: signal.signal(number, signal.SIG_DFL))


def _read_by(dataset: Dataset[FrameBatch], sampler: StepSampler) -> dict[str, Any]:
    """Return what a loader reads: batches that the sampler names, or those of a stream, which orders itself."""
    if isinstance(dataset, ShardFrames):
        rank, world = sampler.rank, sampler.world
        place = {"steps": sampler.steps, "start": sampler.start, "seed": sampler.seed, "rank": rank, "world": world}
        return {"dataset": dataset.stream(sampler.batch // world, **place), "batch_size": None}
    return {"dataset": dataset, "batch_sampler": sampler, "collate_fn": stack_frames}
