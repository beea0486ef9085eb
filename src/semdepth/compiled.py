"""Programs for a CPU that Numba compiles: how they are compiled and kept, and how torch's threads share their rows.

For what torch's operators do in many passes over memory. The programs stand in modules of their own (``*_programs``), which are
imported where they are used. Numba belongs to the extra ``train``: whoever uses a program asks ``has_numba`` first.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeVar

import torch

_Function = TypeVar("_Function", bound=Callable[..., Any])


def has_numba() -> bool:
    """Return whether programs can be compiled here."""
    return importlib.util.find_spec("numba") is not None


def program(function: _Function) -> _Function:
    """Compile a function of arrays and numbers when it is first called; while it runs, other threads do, too.

    What is compiled is kept beside the function's file, or among the user's caches, where either can be written. The file's date
    tells when to compile anew, so constants of other files must be arguments: a changed one would not be noticed.
    """
    import numba

    options = {"nogil": True, "error_model": "numpy"}  # NumPy's: a division by 0 gives an infinity, not an exception
    try:
        compiled: _Function = numba.njit(function, cache=True, **options)
    except RuntimeError:  # nowhere to keep it
        compiled = numba.njit(function, **options)
    return compiled


def part(function: _Function) -> _Function:
    """Compile a function that programs of the same file call."""
    import numba

    compiled: _Function = numba.njit(function, error_model="numpy")
    return compiled


def spans(rows: int, fewest: int) -> list[tuple[int, int]]:
    """Return the first row and the one after the last of every thread, as many as torch has.

    Args:
        rows: to be shared.
        fewest: for which it is worth waking a thread.
    """
    pieces = max(1, min(torch.get_num_threads(), rows // fewest))
    return list(pairwise(rows * i // pieces for i in range(pieces + 1)))


def run(program: Callable[..., None], tasks: list[tuple[Any, ...]]) -> None:
    """Run a program on the arguments of every task, side by side; this thread takes the first."""
    others = [_threads(torch.get_num_threads()).submit(_call, program, task) for task in tasks[1:]]
    _call(program, tasks[0])
    for other in others:
        other.result()


def _call(program: Callable[..., None], task: tuple[Any, ...]) -> None:
    try:
        program(*task)
    except OSError:  # compiled for the first time, and the disk would not take a copy: it is in memory now
        program(*task)


@lru_cache(maxsize=1)
def _threads(number: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(number, thread_name_prefix="compiled")
