"""What goes wrong in a loader process: its own faults keep their words, its death is one line."""

import os
import signal

import pytest

from semdepth.runtime import InputError
from semdepth.structures import FrameBatch
from semdepth.training.loading import read_batches
from semdepth.training.sampling import StepSampler

from .conftest import Wall


class Faulty(Wall):
    def __getitem__(self, index: int) -> FrameBatch:
        raise RuntimeError("a fault of the program's own")


class Dying(Wall):
    def __getitem__(self, index: int) -> FrameBatch:
        os.kill(os.getpid(), signal.SIGKILL)  # as the system does when memory is short
        return super().__getitem__(index)


def read(wall: Wall) -> None:
    list(read_batches(wall, StepSampler(len(wall), 2, steps=2), workers=1))


def test_batches_come_from_a_loader_process() -> None:
    found = list(read_batches(Wall(), StepSampler(8, 2, steps=3), workers=1))
    assert [len(batch) for batch in found] == [2, 2, 2]


def test_a_fault_in_a_loader_is_not_taken_for_its_death() -> None:
    with pytest.raises(RuntimeError, match="a fault of the program's own"):
        read(Faulty())


def test_a_loader_that_is_killed_is_one_line() -> None:
    with pytest.raises(InputError, match=r"a loader process has died .*lower trainer.workers"):
        read(Dying())
