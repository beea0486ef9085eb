"""A disk that is full: one line, exit code 2; what was complete stays, and is not done again once there is room."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
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
    line = complaint(["predict", str(run), str(photos), f"--out={disk / 'out'}"], capsys)
    assert "No space left" in line
    assert not leftovers(disk)
    assert all(Image.open(p).load() is not None for p in (disk / "out").glob("*.png"))
    (disk / "filler").unlink()
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
