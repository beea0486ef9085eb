"""Two processes learn what one learns from the same global batch, agree on what to leave out, and hand over to one."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from .two_processes import STEPS, build, observe, spoil_second_step

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The run of two processes, and what its first step saw."""
    run = tmp_path_factory.mktemp("two") / "run"
    paths = [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-m", "training.two_processes", str(run)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1500, env=environment)
    assert done.returncode == 0, done.stderr
    return run, torch.load(run / "seen.pt", weights_only=True)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the first step of the same run sees in one process, with one thread, as each of the two has: more add up otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    trainer = build(tmp_path_factory.mktemp("one") / "run", devices=1)
    found = observe(trainer)
    spoil_second_step(trainer)
    trainer.fit()
    torch.set_num_threads(threads)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("what", ["gradients", "terms", "balance", "buffers"])
def test_one_step_of_two_is_one_step_of_one(seen: tuple[Path, dict], alone: dict, what: str) -> None:
    two, one = seen[1][what], alone[what]
    assert two.keys() == one.keys()
    assert what != "terms" or two["ranking"] > 0
    for name in one:
        scale = max(float(one[name].abs().max()), 1.0)
        assert float((two[name] - one[name]).abs().max()) <= TOLERANCE * scale, name
    if what == "gradients":
        size = torch.cat([g.flatten() for g in one.values()]).norm()
        difference = torch.cat([(two[name] - one[name]).flatten() for name in one]).norm()
        assert difference < 1e-4 * size, "not only absolutely small"


@pytest.mark.slow
def test_two_agree_to_leave_a_batch_out(seen: tuple[Path, dict]) -> None:
    assert seen[1]["skipped"]["mean"] == 1, "both, though only one of them met an infinite loss"


@pytest.mark.slow
def test_one_takes_up_what_two_began(seen: tuple[Path, dict]) -> None:
    trainer = build(seen[0], devices=1, steps=STEPS + 1)
    assert (trainer.step, trainer.skips.count) == (STEPS, 1)
    trainer.fit()
    assert trainer.step == STEPS + 1
