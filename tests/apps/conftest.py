"""A world small enough to go through every command in a test."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from semdepth.apps import benchmark_apart
from semdepth.apps.cli import main

SMALL = [
    "--network.encoder=resnet10-small", "--network.pose_encoder=resnet10-small", "--trainer.batch=2",
    "--trainer.workers=0", "--trainer.accelerator=cpu",
]  # fmt: skip


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rendered drives of four frames at 64×128, written by the command itself."""
    out = tmp_path_factory.mktemp("world")
    assert main(["synthesise", str(out), "--drives=2", "--frames=4", "--height=64", "--width=128"]) == 0
    return out


@pytest.fixture(scope="session")
def run(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three steps on that world."""
    out = tmp_path_factory.mktemp("runs") / "run"
    arguments = [f"--run={out}", f"--data.root={world}", "--data.height=64", "--data.width=128", "--trainer.steps=3"]
    judged = [
        f"--validation.root={world}",
        "--validation.height=64",
        "--validation.width=128",
        "--validation.labels=exact",
    ]
    assert main(["train", *arguments, *judged, "--validation.require_depth=true", "--allow_leak=true", *SMALL]) == 0
    return out


@pytest.fixture
def recipe(world: Path, tmp_path: Path) -> Path:
    """An ablation's recipe of one step on that world."""
    path = tmp_path / "tiny.yaml"
    size = "height: 64, width: 128"
    path.write_text(
        "allow_leak: true\n"
        f"data: {{root: {world}, {size}}}\n"
        f"validation: {{root: {world}, {size}, labels: exact, frames: [0, 2]}}\n"
        "network: {encoder: resnet10-small, pose_encoder: resnet10-small, decoder_channels: [8, 8, 16, 16, 32]}\n"
        "objective: {ranking: 0.02}\n"
        "trainer: {batch: 2, steps: 1, workers: 0, accelerator: cpu}\n"
    )
    return path


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a benchmark's contestants in threads of this process: one of their own takes seconds to start."""

    class Here(ThreadPoolExecutor):
        def __init__(self, workers: int, mp_context: object) -> None:
            super().__init__(workers)

    monkeypatch.setattr(benchmark_apart, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(benchmark_apart, "_HERE", {})
