"""A short form of benchmarks/kill_training.py: two kills, one of them inside the writing of a checkpoint if it can be caught."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "kill_training.py"


@pytest.mark.slow
@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="KILLING NEEDS fork: resuming after SIGKILL NOT tested here"
)
def test_killed_training_ends_in_the_same_bits(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(tmp_path / "out"), "--kills", "2", "--steps", "12", "--seed", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert len(result["kills"]) == 2
    assert all(result["checks"].values())
