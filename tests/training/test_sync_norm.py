"""Batch norms of two processes are those of one with both halves of the batch: outputs, gradients, running statistics."""

import os
import subprocess
import sys
from pathlib import Path


def test_two_halves_are_one_whole() -> None:
    script = Path(__file__).with_name("synced_norm.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=600, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
