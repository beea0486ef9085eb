"""What can come between the start and the end of ``semdepth train``: a signal to its whole group, a second start, bad data."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from semdepth.apps.cli import main
from semdepth.training.checkpoint import checkpoints, load_checkpoint
from semdepth.training.run_lock import only_one

from .conftest import SMALL
from .test_bad_input import complaint

CaptureText = pytest.CaptureFixture[str]
SIZE = ["--data.height=64", "--data.width=128"]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="PROCESS GROUPS ARE NOT TESTED: the system has none")
def test_a_signal_to_the_whole_group_ends_it_properly(world: Path, tmp_path: Path) -> None:
    """As ``timeout``, systemd and SLURM send it: the loader processes get it too, and must not take the run with them."""
    run = tmp_path / "run"
    given = [f"--run={run}", f"--data.root={world}", *SIZE, *SMALL, "--trainer.workers=2", "--trainer.steps=100000"]
    with subprocess.Popen(
        [sys.executable, "-m", "semdepth.apps.cli", "train", *given, "--trainer.log_every=1"],
        start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            until = time.monotonic() + 120
            while not (run / "curves.csv").exists() or "train/loss" not in (run / "curves.csv").read_text():
                assert process.poll() is None, process.stderr.read() if process.stderr else ""
                assert time.monotonic() < until
                time.sleep(0.2)
            os.killpg(process.pid, signal.SIGTERM)
            _, said = process.communicate(timeout=60)
            assert process.returncode == 130, said
            assert "Traceback" not in said
            found = load_checkpoint(run / "checkpoints")
            assert found is not None
            assert found["step"] > 0
            with pytest.raises(ProcessLookupError):  # nobody of the group is left
                os.killpg(process.pid, 0)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def test_a_second_start_is_refused(world: Path, tmp_path: Path, capsys: CaptureText) -> None:
    given = ["train", f"--run={tmp_path / 'run'}", f"--data.root={world}", *SIZE, *SMALL, "--trainer.steps=1"]
    with only_one(tmp_path / "run"):
        assert "another process trains here" in complaint(given, capsys)
    assert main(given) == 0


def test_what_cannot_be_judged_is_found_before_the_first_step(world: Path, tmp_path: Path, capsys: CaptureText) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(world, bare, ignore=shutil.ignore_patterns("*depth*", "velodyne_points"))
    judged = [f"--validation.root={bare}", "--validation.labels=none", "--validation.ground_truth=lidar"]
    given = ["train", f"--run={tmp_path / 'run'}", f"--data.root={world}", *SIZE, *judged, *SMALL, "--trainer.steps=1"]
    assert "ground truth" in complaint(given, capsys)
    assert not (tmp_path / "run").exists()


def test_a_video_without_ground_truth_is_judged_by_its_own_end(
    world: Path, tmp_path: Path, capsys: CaptureText
) -> None:
    clip, run = tmp_path / "clip", tmp_path / "run"
    clip.mkdir()
    images = sorted(world.rglob("image_02/data/*.png"))
    images = [image for image in images if image.parent == images[0].parent]
    for image in images:
        shutil.copy(image, clip)
    (clip / "intrinsics.txt").write_text("100 0 63.5\n0 100 31.5\n0 0 1\n")
    inner = len(images) - 2
    folder = ["name=folder", f"root={clip}", "labels=none"]
    given = ["train", f"--run={run}", *(f"--{of}.{option}" for of in ("data", "validation") for option in folder)]
    given += [*SIZE, *SMALL, "--trainer.steps=2", "--trainer.batch=1", f"--data.frames=[0,{inner - 1}]"]
    said = complaint([*given, f"--validation.frames=[{inner - 2},{inner}]"], capsys)
    assert "1 of the 2 frames judged on are also learnt from" in said
    assert "validation.frames" in said
    assert not run.exists()
    assert main([*given, f"--validation.frames=[{inner - 1},{inner}]"]) == 0
    rows = {line.split(",")[1] for line in (run / "curves.csv").read_text().splitlines()}
    assert {"validation/photometric", "validation/explained"} <= rows
    assert (run / "weights.safetensors").exists()
    assert not (run / "best.safetensors").exists(), "such an error does not tell which weights are the best"


def test_a_run_is_judged_at_the_size_it_learns_at(world: Path, tmp_path: Path) -> None:
    """Another size is not the network's, which may not even take it."""
    judged = [f"--validation.root={world}", "--validation.labels=exact", "--validation.height=100"]
    given = [f"--run={tmp_path / 'run'}", f"--data.root={world}", *SIZE, *judged, *SMALL, "--allow_leak=true"]
    assert main(["train", *given, "--trainer.steps=1"]) == 0
    assert (tmp_path / "run" / "best.safetensors").exists()


def test_checkpoints_of_other_networks_are_one_line(
    run: Path, world: Path, tmp_path: Path, capsys: CaptureText
) -> None:
    """Its recipe is lost, and the options are others."""
    copy = tmp_path / "run"
    shutil.copytree(run / "checkpoints", copy / "checkpoints")
    assert checkpoints(copy / "checkpoints")
    given = ["train", f"--run={copy}", f"--data.root={world}", *SIZE, *SMALL, "--trainer.steps=5"]
    assert "other networks" in complaint([*given, "--network.decoder_channels=[8,8,8,8,8]"], capsys)
