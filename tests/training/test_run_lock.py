"""A run's folder belongs to one training, and to nobody once that is dead."""

import multiprocessing
import sys
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from semdepth.runtime import InputError
from semdepth.training.run_lock import only_one


def read_on(started: Event) -> None:
    started.set()
    time.sleep(60)


def test_one_at_a_time(tmp_path: Path) -> None:
    with only_one(tmp_path / "run"):
        with pytest.raises(InputError, match="another process trains here"), only_one(tmp_path / "run"):
            pass
        with only_one(tmp_path / "other"):
            pass
    with only_one(tmp_path / "run"):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="NOTHING IS FORKED HERE: not tested")
def test_a_loader_that_outlives_its_run_holds_nothing(tmp_path: Path) -> None:
    """As after a SIGKILL: the loader processes notice it only seconds later."""
    context = multiprocessing.get_context("fork")
    started = context.Event()
    with only_one(tmp_path):
        loader = context.Process(target=read_on, args=(started,), daemon=True)
        loader.start()
    try:
        assert started.wait(30)
        with only_one(tmp_path):
            assert loader.is_alive()
    finally:
        loader.terminate()
        loader.join()


def test_a_place_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"), only_one(tmp_path / "file" / "run"):
        pass
