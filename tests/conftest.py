"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest
import torch

if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    # Processes that each take all cores only get in each other's way.
    threads = max(1, (os.cpu_count() or 1) // int(workers))
    os.environ["OMP_NUM_THREADS"] = str(threads)  # of the commands that tests start
    torch.set_num_threads(threads)
os.environ.setdefault("TRITON_INTERPRET", "1")  # tests have no GPU; Triton asks for this when it is imported first

pytest_plugins = ["made_datasets"]
REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data and reference numbers; its licences keep it out of the repository."""
    folder = Path(os.environ.get("SEMDEPTH_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "reference").is_dir():
        pytest.skip(
            f"REFERENCE DATA MISSING: {folder} (set SEMDEPTH_SHARED); agreement with published numbers NOT tested"
        )
    return folder


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
