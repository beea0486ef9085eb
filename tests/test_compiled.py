"""How programs are compiled and shared by threads; what the programs do is tested where they belong."""

import threading

import numba
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semdepth import compiled


@given(st.integers(1, 500), st.integers(1, 70), st.integers(1, 70))
def test_spans_hold_every_row_once(rows, fewest, threads):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: threads)
        found = compiled.spans(rows, fewest)
    assert [row for start, stop in found for row in range(start, stop)] == list(range(rows))
    assert len(found) <= threads
    assert len(found) == 1 or min(stop - start for start, stop in found) >= fewest


def test_tasks_run_side_by_side_and_their_errors_are_raised(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    meeting = threading.Barrier(3, timeout=30)
    compiled.run(lambda task: meeting.wait(), [(0,), (1,), (2,)])  # one alone would wait for ever

    def fail(task):
        if task == 1:
            raise ValueError("the second")

    with pytest.raises(ValueError, match="the second"):
        compiled.run(fail, [(0,), (1,)])


def test_without_a_place_to_keep_it_a_program_is_compiled_all_the_same(monkeypatch):
    def njit(function, *, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return function

    monkeypatch.setattr(numba, "njit", njit)
    assert compiled.program(test_spans_hold_every_row_once) is test_spans_hold_every_row_once
