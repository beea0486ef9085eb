"""Two processes learn what one learns from the same global batch, agree on what to leave out, and hand over to another number."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from .two_processes import JOBS

FLOAT, DOUBLE = 1e-5, 1e-10
Seen = dict[str, dict[str, dict[str, torch.Tensor]]]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """What every job saw. One thread each: more add up otherwise."""
    folder = tmp_path_factory.mktemp("runs")
    paths = [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-m", "training.two_processes", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1500, env=environment)
    assert done.returncode == 0, done.stderr
    return {job.name: torch.load(folder / f"{job.name}.pt", weights_only=True) for job in JOBS}


def differences(one: dict[str, Any], two: dict[str, Any], least: float) -> dict[str, float]:
    """Return each tensor's largest difference, against its largest value or ``least``."""
    assert one.keys() == two.keys()
    scale = {name: max(float(torch.as_tensor(one[name]).abs().max()), least) for name in one}
    return {name: float(torch.as_tensor(one[name] - two[name]).abs().max()) / scale[name] for name in one}


@pytest.mark.slow
@pytest.mark.parametrize("what", ["gradients", "terms", "balance", "buffers"])
def test_one_step_of_two_is_one_step_of_one(seen: Seen, what: str) -> None:
    """In single precision with the kernels that train; in double, where rounding cannot hide a difference."""
    assert seen["two"]["terms"]["ranking"] > 0
    found = differences(seen["one-float"][what], seen["two-float"][what], least=1)
    assert max(found.values()) <= FLOAT, found
    found = differences(seen["one"][what], seen["two"][what], least=1e-9)
    assert max(found.values()) <= DOUBLE, found


@pytest.mark.slow
def test_gradients_differ_by_rounding_alone(seen: Seen) -> None:
    one, two = (
        torch.cat([g.flatten() for g in seen[name]["gradients"].values()]) for name in ("one-float", "two-float")
    )
    assert (one - two).norm() < 1e-4 * one.norm(), "not only absolutely small"


@pytest.mark.slow
def test_two_agree_to_leave_a_batch_out(seen: Seen) -> None:
    assert seen["two"]["steps"]["skipped"] == 1, "both, though only one of them met an infinite loss"


@pytest.mark.slow
def test_another_number_takes_up_what_was_begun(seen: Seen) -> None:
    """Two what one began, and one what two began: they end alike."""
    ends = seen["one-then-two"], seen["two-then-one"]
    for end in ends:
        assert {name: int(count) for name, count in end["steps"].items()} == {"from": 2, "to": 3, "skipped": 1}
    found = differences(ends[0]["weights"], ends[1]["weights"], least=1e-6)
    assert max(found.values()) <= DOUBLE, found
    moved = differences(ends[0]["weights"], seen["one"]["weights"], least=1e-6)
    assert min(moved.values()) > 1e-6
