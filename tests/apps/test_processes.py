"""Two processes, joined by DDP, as a user starts them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from semdepth.training.recorder import read_curves
from semdepth.training.run_lock import only_one

from .conftest import SMALL


@pytest.mark.slow
def test_two_processes_train_and_resume(world: Path, tmp_path: Path) -> None:
    options = [f"--run={tmp_path / 'run'}", f"--data.root={world}", "--data.height=64", "--data.width=128", *SMALL]
    two = ["--trainer.devices=2", "--network.fusion=ssfa", "--objective.ranking=0.1"]

    def train(steps: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "semdepth.apps.cli", "train", *options, *two, f"--trainer.steps={steps}"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)

    for steps in (2, 3):
        done = train(steps)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("Weights:") == 1
    losses = [step for step, name, _ in read_curves(tmp_path / "run") if name == "train/loss"]
    assert losses == [2, 3]
    assert (tmp_path / "run" / "weights.safetensors").exists()
    with only_one(tmp_path / "run"):
        done = train(4)
    assert done.returncode == 2, "both end, though only the first process looks"
    assert "another process trains here" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    script = "import sys; from semdepth.apps.cli import main; sys.exit(main(['--help']))"
    shell = f'"{sys.executable}" -c "{script}" | true; echo ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
    assert "Traceback" not in done.stderr
