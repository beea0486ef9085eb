from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semdepth.data.sequences import open_sequences
from semdepth.runtime import InputError

LINE = "1 0 0 {} 0 1 0 0 0 0 1 0\n"


def images(folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        Image.new("RGB", (20, 8)).save(folder / name)
    return folder


@pytest.fixture
def kitti(tmp_path: Path) -> Path:
    for name in ("07", "12"):
        folder = images(tmp_path / "sequences" / name / "image_2", [f"{i:06d}.png" for i in range(3)]).parent
        (folder / "calib.txt").write_text("P0: 10 0 5 0 0 10 4 0 0 0 1 0\nP2: 10 0 5 0 0 10 4 0 0 0 1 0\n")
    (tmp_path / "sequences" / "07" / "times.txt").write_text("0.0\n1.0e-1\n2.0e-1\n")
    (tmp_path / "poses").mkdir()
    (tmp_path / "poses" / "07.txt").write_text("".join(LINE.format(i) for i in range(3)))
    return tmp_path


def test_kitti_odometry(kitti: Path) -> None:
    first, second = open_sequences(kitti)
    assert (first.name, second.name) == ("07", "12")
    assert [p.name for p in first.images] == ["000000.png", "000001.png", "000002.png"]
    assert first.world_from_camera is not None
    np.testing.assert_allclose(first.world_from_camera[:, 0, 3], [0, 1, 2])
    np.testing.assert_allclose(first.times, [0, 0.1, 0.2])
    assert second.world_from_camera is None
    assert second.times is None
    assert [s.name for s in open_sequences(kitti, sequences=["12"])] == ["12"]


def test_a_folder(tmp_path: Path) -> None:
    folder = images(tmp_path / "drive", ["f10.png", "f9.png", "f8.png"])
    plain = open_sequences(folder)[0]
    assert (plain.name, plain.world_from_camera, plain.times) == ("drive", None, None)
    assert [p.name for p in plain.images] == ["f8.png", "f9.png", "f10.png"]
    (tmp_path / "poses.txt").write_text("".join(LINE.format(i) for i in range(3)))
    (folder / "times.txt").write_text("0 0.1 0.2")
    known = open_sequences(folder, poses=tmp_path / "poses.txt")[0]
    assert known.world_from_camera is not None
    assert known.world_from_camera.shape == (3, 4, 4)
    assert known.times is not None


def test_bad_input(kitti: Path, tmp_path: Path) -> None:
    folder = images(tmp_path / "drive", ["0.png", "1.png"])
    poses = kitti / "poses" / "07.txt"
    with pytest.raises(InputError, match="3 poses for 2 images"):
        open_sequences(folder, poses=poses)
    with pytest.raises(InputError, match="leave out --poses"):
        open_sequences(kitti, poses=poses)
    with pytest.raises(InputError, match="holds no folder sequences"):
        open_sequences(folder, sequences=["07"])
    with pytest.raises(InputError, match="not found"):
        open_sequences(tmp_path / "nowhere")
    with pytest.raises(InputError, match="image_3"):
        open_sequences(kitti, camera=3)
    for times, says in (("0 x", "one number a line"), ("0 0.1 0.2", "3 times for 2 images"), ("0.1 0", "ascending")):
        (folder / "times.txt").write_text(times)
        with pytest.raises(InputError, match=says):
            open_sequences(folder)
    (kitti / "sequences" / "07" / "times.txt").write_text("0 1")
    with pytest.raises(InputError, match="frames up to 2"):
        open_sequences(kitti, sequences=["07"])


def test_folders_of_frames_are_a_sequence_each(tmp_path):
    for name in ("sequence_0000", "sequence_0001"):
        (tmp_path / name).mkdir()
        for number in range(3):
            (tmp_path / name / f"{number:06d}.jpg").touch()
    found = open_sequences(tmp_path)
    assert [(s.name, len(s.images)) for s in found] == [("sequence_0000", 3), ("sequence_0001", 3)]
    with pytest.raises(InputError, match="holds 2 sequences; give one of them"):
        open_sequences(tmp_path, poses=tmp_path / "poses.txt")
    assert [s.name for s in open_sequences(tmp_path / "sequence_0001")] == ["sequence_0001"]
