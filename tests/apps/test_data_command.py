"""``semdepth data`` on a rendered world in KITTI raw's layout, and training that refuses leaks and halves."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from semdepth.apps.cli import main

from .conftest import SMALL
from .test_bad_input import complaint


@pytest.fixture
def kitti(world: Path, tmp_path: Path) -> Path:
    """The rendered world as if it were KITTI's: its drives under KITTI names, with a scan a frame in place of exact depth."""
    root = tmp_path / "kitti"
    shutil.copytree(world / "2026_01_01", root / "2011_09_26")
    date = root / "2011_09_26"
    (date / "synthesise.json").unlink()
    (date / "calib_velo_to_cam.txt").write_text("R: 0 -1 0 0 0 -1 1 0 0\nT: 0 0 0\n")
    rng = np.random.default_rng(0)
    for drive in sorted(date.glob("*_sync")):
        renamed = drive.rename(date / drive.name.replace("2026_01_01", "2011_09_26"))
        shutil.rmtree(renamed / "depth_02")
        scans = renamed / "velodyne_points" / "data"
        scans.mkdir(parents=True)
        for number in range(4):
            points = np.stack([rng.uniform(2, 40, 500), *rng.uniform(-3, 3, (3, 500))], axis=1)
            points.astype("<f4").tofile(scans / f"{number:010d}.bin")
    return root


def listed(path: Path, *drives: int) -> Path:
    lines = [f"2011_09_26/2011_09_26_drive_{d:04d}_sync {frame} l" for d in drives for frame in (1, 2)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_check_says_ready_or_what_to_mend(
    kitti: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    assert main(["data", "check", str(kitti)]) == 0
    said = capsys.readouterr().out
    for row in ("4 frames of 2 sequences", "8 read, 128×64", "trainIds of", "are known"):
        assert row in said
    assert f"{kitti}: ready" in said
    shutil.rmtree(next(kitti.glob("*/*_sync")) / "segmentation_02")
    test = listed(tmp_path / "test.txt", 1)
    assert main(["data", "check", str(kitti), f"--against={test}", "--full=true"]) == 2
    said = capsys.readouterr()
    assert "not ready (labels, leak)" in said.err
    assert "→ write them with `semdepth label`, or set labels: none" in said.out
    assert "2011_09_26_drive_0001" in said.out


def test_depth_is_written_once_and_then_used(
    kitti: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    out = tmp_path / "depth"
    for expected in ("8 depth maps written, 0 were there", "0 depth maps written, 8 were there"):
        assert main(["data", "depth", str(kitti), f"--out={out}"]) == 0
        assert expected in capsys.readouterr().out
    assert len(list(out.glob("2011_09_26/*_sync/velodyne_depth_02/data/*.png"))) == 8
    assert main(["data", "check", str(kitti), f"--data.depth_cache={out}"]) == 0
    assert "4 from PNGs made of lidar" in capsys.readouterr().out
    split = listed(tmp_path / "list.txt", 0)
    assert main(["data", "depth", str(kitti), f"--data.split={split}"]) == 0
    assert len(list(kitti.rglob("velodyne_depth_02/data/*.png"))) == 2


def test_bad_options(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no meaning for data depth" in complaint(["data", "depth", str(world), "--full=true"], capsys)
    assert "no meaning for data check" in complaint(["data", "check", str(world), "--out=x"], capsys)
    assert "given already" in complaint(["data", "check", str(world), "--data.root=elsewhere"], capsys)
    assert "not found" in complaint(["data", "check", str(tmp_path / "nowhere")], capsys)
    assert "ground truth" in complaint(["data", "depth", str(world)], capsys)
    assert "only kitti_raw has" in complaint(["data", "depth", str(world), "--data.name=folder"], capsys)
    assert "not ready (frames)" in complaint(["data", "check", str(tmp_path)], capsys)


def test_training_refuses_leaks_and_halves_before_it_starts(
    kitti: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = ["height=64", "width=128", "labels=none", f"root={kitti}"]
    judged = listed(tmp_path / "val.txt", 1)
    base = ["train", f"--run={tmp_path / 'run'}", "--trainer.steps=1", *SMALL]
    base += [f"--{part}.{option}" for part in ("data", "validation") for option in size]
    base += ["--validation.require_depth=true", f"--validation.split={judged}"]
    both = listed(tmp_path / "both.txt", 0, 1)
    line = complaint([*base, f"--data.split={both}"], capsys)
    assert "1 of the 1 drives judged on is also learnt from (2 frames): 2011_09_26_drive_0001; " in line
    half = listed(tmp_path / "half.txt", 0, 7, 8)
    line = complaint([*base, f"--data.split={half}"], capsys)
    assert "4 of its 6 frames are not under" in line
    assert "2011_09_26_drive_0007/2011_09_26_drive_0007_sync.zip" in line
    assert not (tmp_path / "run").exists()
    assert main([*base, f"--run={tmp_path / 'leaky'}", f"--data.split={both}", "--allow_leak=true"]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "leaky"), "--baselines=false"]) == 0
    assert "These numbers are better than they should be" in "".join(capsys.readouterr().out.split("\n")).replace(
        "  ", " "
    )
