"""Contestants of a benchmark in processes of their own: each one's memory, and how it allocates, are its own affair."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from itertools import count
from typing import Any

import torch

from semdepth.apps.benchmark_roofline import Ceilings, Work, count_work
from semdepth.apps.benchmark_turns import Spent, measure, peak_memory
from semdepth.runtime import InputError, keep_freed_memory

Jobs = dict[str, Callable[[], Any]]
"""What a contestant can do, by name."""
_numbers = count()
_HERE: dict[int, tuple[Jobs, torch.device]] = {}
"""The contestant of this process, by its number."""


class Apart(AbstractContextManager["Apart"]):
    """A contestant in a process of its own, with as many threads as here; the process ends with the context."""

    def __init__(
        self, prepare: Callable[..., Jobs], *given: Any, plain: bool, device: torch.device | None = None
    ) -> None:
        """Start the process and prepare the contestant there.

        Args:
            prepare: a function of a module.
            given: what it is called with.
            plain: leave the allocator as it is, as research code does; else as semdepth's commands set it.
            device: where it works; None: the CPU.
        """
        self._number = next(_numbers)
        self._pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        self._ask(_begin, prepare, given, plain, str(device or "cpu"), torch.get_num_threads())

    def turn(self, what: str) -> Spent:
        """Do something there, and return what it took."""
        spent: Spent = self._ask(_turn, what)
        return spent

    def result(self, what: str) -> Any:
        """Do something there, and return its result."""
        return self._ask(_result, what)

    def work(self, what: str, ceilings: Ceilings) -> Work:
        """Do something there twice, and return what the operators of the cheaper time do."""
        work: Work = self._ask(_work, what, ceilings)
        return work

    def peak_gb(self) -> float:
        """Return its largest memory so far: resident on a CPU, allocated on a GPU."""
        peak: float = self._ask(_peak)
        return peak

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def _ask(self, job: Callable[..., Any], *more: Any) -> Any:
        try:
            return self._pool.submit(job, self._number, *more).result()
        except BrokenProcessPool:
            raise InputError("a contestant's process was killed, for want of memory? give a smaller --batch") from None


def _begin(
    number: int, prepare: Callable[..., Jobs], given: tuple[Any, ...], plain: bool, device: str, threads: int
) -> None:
    torch.set_num_threads(threads)
    if not plain:
        keep_freed_memory()
    _HERE[number] = prepare(*given), torch.device(device)


def _turn(number: int, what: str) -> Spent:
    jobs, device = _HERE[number]
    return measure(jobs[what], device)


def _result(number: int, what: str) -> Any:
    return _HERE[number][0][what]()


def _work(number: int, what: str, ceilings: Ceilings) -> Work:
    counted = [count_work(_HERE[number][0][what], ceilings) for _ in range(2)]
    return min(counted, key=lambda work: work.flops)  # every tenth training step also measures the tasks' balance


def _peak(number: int) -> float:
    cuda = _HERE[number][1].type == "cuda"
    return torch.cuda.max_memory_allocated() / 1e9 if cuda else peak_memory()
