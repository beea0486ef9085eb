"""One training at a time in a run's folder: two would overwrite each other's checkpoints and curves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from semdepth.runtime import InputError

fcntl: Any = import_module("fcntl") if find_spec("fcntl") else None
"""Windows has none: there, nothing is locked."""
_HELD: set[int] = set()
"""Handles of the folders that this process holds."""


def _let_go() -> None:
    """In a forked process: a loader that outlives a killed run by seconds must not hold its folder."""
    while _HELD:
        os.close(_HELD.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


@contextmanager
def only_one(run: Path) -> Iterator[None]:
    """Hold a run's folder, which is made if need be; the system lets go of it, however this process ends.

    Raises:
        InputError: if another process trains there, or the folder cannot be made.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
        handle = os.open(run, os.O_RDONLY) if fcntl else None
    except OSError as error:
        raise InputError(f"{run}: cannot be written ({error.strerror}); give another --run") from None
    if handle is None:
        yield
        return
    try:
        if not _take(handle):
            raise InputError(f"{run}: another process trains here; wait for it, stop it, or give another --run")
        _HELD.add(handle)
        yield
    finally:
        _HELD.discard(handle)
        os.close(handle)


def _take(handle: int) -> bool:
    """Return whether nobody else holds it; True also where a network's file system knows no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
