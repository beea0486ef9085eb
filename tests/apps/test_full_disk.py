"""A disk that is full: one line, exit code 2; what was complete stays, and is not done again once there is room."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tiny_segmenters
from PIL import Image
from safetensors.torch import load_file

from semdepth.apps.cli import main

from .conftest import SMALL
from .test_bad_input import complaint

SIZE = ["--data.height=64", "--data.width=128"]
KILOBYTES = 160_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 160 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={KILOBYTES}k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("MOUNTING A TMPFS IS NOT PERMITTED HERE: full disks NOT tested (run the tests as root)")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path, leave: int) -> Path:
    """Fill the disk but for so many kilobytes; return the file that takes the room."""
    filler = disk / "filler"
    filler.write_bytes(b"\0" * (shutil.disk_usage(disk).free - leave * 1024))
    return filler


def leftovers(folder: Path) -> list[str]:
    """Return half-written files and folders."""
    return [str(p) for p in folder.rglob("*") if p.name.endswith((".tmp", ".partial")) or p.name.startswith(".")]


def test_synthesise(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [str(disk / "world"), "--drives=3", "--frames=2", "--height=64", "--width=128"]
    filler = fill(disk, leave=250)
    assert "No space left" in complaint(["synthesise", *options], capsys)
    drives = sorted((disk / "world").glob("*/*_sync"))
    assert 1 <= len(drives) < 3
    assert not leftovers(disk)
    before = {p: p.stat().st_mtime_ns for p in drives[0].rglob("*.png")}
    filler.unlink()
    assert main(["synthesise", *options]) == 0
    assert len(list((disk / "world").glob("*/*_sync"))) == 3
    assert before == {p: p.stat().st_mtime_ns for p in drives[0].rglob("*.png")}


def test_train(world: Path, disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    due = ["--trainer.checkpoint_every=1", "--trainer.steps=3", "--network.decoder_channels=[4,4,8,8,8]"]
    options = [f"--run={disk / 'run'}", f"--data.root={world}", "--network.fusion=depth-only", *SIZE, *due, *SMALL]
    first = ["train", *options, "--trainer.steps=1"]
    assert main(first) == 0
    filler = fill(disk, leave=300)
    assert "No space left" in complaint(["train", *options], capsys)
    assert [p.name for p in (disk / "run" / "checkpoints").iterdir()] == ["step_00000001.ckpt"]
    load_file(disk / "run" / "weights.safetensors")
    assert not leftovers(disk)
    filler.unlink()
    shutil.rmtree(disk / "run" / "tensorboard")
    assert main(["train", *options]) == 0
    assert (disk / "run" / "checkpoints" / "step_00000003.ckpt").exists()


def test_predict_and_evaluate(run: Path, world: Path, disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = disk / "photos"
    photos.mkdir()
    for name in "abc":
        Image.radial_gradient("L").convert("RGB").save(photos / f"{name}.png")
    fill(disk, leave=500)
    line = complaint(["predict", str(photos), f"--weights={run}", f"--out={disk / 'out'}"], capsys)
    assert "No space left" in line
    assert not leftovers(disk)
    assert all(Image.open(p).load() is not None for p in (disk / "out").glob("*.png"))
    complete = {p: p.stat().st_mtime_ns for p in (disk / "out").glob("*") if p.name.startswith(("a_", "predict"))}
    assert len(complete) == 5
    (disk / "filler").unlink()
    assert main(["predict", str(photos), f"--weights={run}", f"--out={disk / 'out'}"]) == 0
    assert "were there already" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in complete} == complete
    assert len(list((disk / "out").glob("*_panel.png"))) == 3
    fill(disk, leave=0)
    line = complaint(["evaluate", str(run), f"--data.root={world}", f"--out={disk / 'judged'}"], capsys)
    assert str(disk / "judged") in line
    assert not leftovers(disk)


def test_cache(world: Path, disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(disk, leave=100)
    arguments = ["cache", str(disk / "cache"), f"--data.root={world}", *SIZE]
    complaint(arguments, capsys)
    (disk / "filler").unlink()
    assert main(arguments) == 0


def test_prepare(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = disk / "photos"
    photos.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (80, 160, 3), dtype=np.uint8)
    for k in range(12):
        Image.fromarray(np.roll(noise, 9 * k, axis=1)).save(photos / f"{k:02d}.png")
    arguments = ["prepare", str(photos), f"--out={disk / 'prepared'}", "--long_side=128", "--fov_deg=80"]
    fill(disk, leave=100)
    assert str(disk / "prepared") in complaint(arguments, capsys)
    assert not leftovers(disk)
    assert not list((disk / "prepared").glob("*"))
    (disk / "filler").unlink()
    assert main(arguments) == 0


def test_label(world: Path, disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    segmenter = tiny_segmenters.save_by_brightness(tmp_path)
    shutil.copytree(world, disk / "data", ignore=shutil.ignore_patterns("segmentation*"))
    arguments = ["label", f"--data.root={disk / 'data'}", f"--segmenter={segmenter}", "--device=cpu", "--batch=1"]
    arguments += ["--panels=0"]
    fill(disk, leave=48)
    assert "No space left" in complaint(arguments, capsys)
    assert not leftovers(disk)
    complete = {p: p.stat().st_mtime_ns for p in disk.rglob("segmentation*/data/*.png")}
    assert 0 < len(complete) < 8
    (disk / "filler").unlink()
    assert main(arguments) == 0
    assert {p: p.stat().st_mtime_ns for p in complete} == complete
    assert len(list(disk.rglob("segmentation*/data/*.png"))) == 8


def test_ablate(recipe: Path, disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = disk / "runs"
    arguments = ["ablate", str(recipe), "--variants=[depth-only]", f"--out={runs}"]
    assert main([*arguments, "--seeds=[0]"]) == 0
    complete = {p: p.read_bytes() for p in (runs / "depth-only/seed_0").rglob("*") if p.is_file()}
    filler = fill(disk, leave=300)
    assert "No space left" in complaint([*arguments, "--seeds=[0,1]"], capsys)
    assert not leftovers(disk)
    assert {p: p.read_bytes() for p in complete} == complete
    filler.unlink()
    assert main([*arguments, "--seeds=[0,1]"]) == 0
    assert {p: p.read_bytes() for p in complete} == complete
    assert (runs / "depth-only/seed_1/evaluation.json").exists()


def test_a_folder_that_is_read_only(
    run: Path, world: Path, recipe: Path, disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Mounted so: permission bits do not bind root."""
    photo = disk / "photo.png"
    Image.radial_gradient("L").convert("RGB").save(photo)
    shutil.copytree(world, disk / "data", ignore=shutil.ignore_patterns("segmentation*"))
    segmenter = tiny_segmenters.save_by_brightness(tmp_path)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    given = {
        "predict": [str(photo), f"--weights={run}"],
        "synthesise": [str(disk / "world"), "--drives=1", "--frames=2", "--height=64", "--width=128"],
        "train": [f"--run={disk / 'run'}", f"--data.root={world}", *SIZE, *SMALL],
        "prepare": [str(photo.parent), "--fov_deg=80"],
        "label": [f"--data.root={disk / 'data'}", f"--segmenter={segmenter}", "--device=cpu"],
        "evaluate": [str(run), f"--data.root={world}"],
        "cache": [str(disk / "cache"), f"--data.root={world}", *SIZE],
        "ablate": [str(recipe), "--variants=[depth-only]", "--seeds=[0]"],
    }
    for command, arguments in given.items():
        out = [f"--out={disk / 'out'}"] if command in ("predict", "prepare", "evaluate", "ablate") else []
        line = complaint([command, *arguments, *out], capsys)
        assert str(disk) in line
        assert "Read-only file system" in line, line


@contextmanager
def as_nobody() -> Iterator[None]:
    """Permission bits do not bind root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_without_permission(weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        folder = Path(name)
        folder.chmod(0o755)
        Image.radial_gradient("L").convert("RGB").save(folder / "photo.png")
        shutil.copy(weights.partition("=")[2], folder / "w.safetensors")
        given = ["predict", str(folder / "photo.png"), f"--weights={folder / 'w.safetensors'}"]
        assert main([*given, f"--out={folder / 'open'}"]) == 0  # all that is imported late is there now
        closed = folder / "closed"
        closed.mkdir(mode=0o500)
        with as_nobody():
            line = complaint([*given, f"--out={closed / 'out'}"], capsys)
        assert "Permission denied" in line
        assert str(closed) in line
        assert not any(closed.iterdir())
