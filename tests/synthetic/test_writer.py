from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from semdepth.runtime import InputError
from semdepth.synthetic import writer
from semdepth.synthetic.drive import render_drive
from semdepth.synthetic.label_noise import LabelNoiseConfig
from semdepth.synthetic.style import WorldConfig
from semdepth.synthetic.writer import synthesise, write_drive


def _read(folder: Path, layer: str, index: int) -> np.ndarray:
    return np.asarray(Image.open(folder / layer / f"{index:010d}.png"))


def test_what_is_written_is_what_was_rendered(small_drive, tmp_path):
    folder = write_drive(small_drive, tmp_path, number=7)
    assert folder == tmp_path / "2026_01_01" / "2026_01_01_drive_0007_sync"
    for index in range(3):
        np.testing.assert_array_equal(_read(folder, "image_02/data", index), small_drive.images[index].permute(1, 2, 0))
        np.testing.assert_array_equal(_read(folder, "labels_02/data", index), small_drive.labels[index])
        np.testing.assert_array_equal(_read(folder, "moving_02/data", index) > 0, small_drive.moving[index])
        depth = _read(folder, "depth_02/data", index)
        assert depth.max() > 256
        np.testing.assert_allclose(depth / 256, small_drive.depth[index, 0], atol=0.5 / 256 + 1e-6)
        assert _read(folder, "segmentation_02/data", index).shape == (64, 192)
        assert _read(folder, "segmentation_02/entropy", index).dtype == np.uint8
    poses = np.loadtxt(folder / "poses_02.txt").reshape(-1, 3, 4)
    np.testing.assert_allclose(poses, small_drive.world_from_camera[:, :3], rtol=1e-6, atol=1e-6)


def test_calibration_reads_like_kittis(small_drive, tmp_path, shared):
    write_drive(small_drive, tmp_path)
    ours = _calibration(tmp_path / "2026_01_01" / "calib_cam_to_cam.txt")
    kittis = _calibration(shared / "data/kitti_raw/2011_09_26/calib_cam_to_cam.txt")
    for name in ("S_rect_02", "R_rect_00", "P_rect_00", "P_rect_02"):
        assert ours[name].shape == kittis[name].shape
    np.testing.assert_allclose(ours["P_rect_02"].reshape(3, 4)[:, :3], small_drive.intrinsics, rtol=1e-6)
    np.testing.assert_array_equal(ours["S_rect_02"], [192, 64])


def _calibration(path: Path) -> dict[str, np.ndarray]:
    pairs = (line.split(": ", 1) for line in path.read_text().splitlines() if not line.startswith("calib_time"))
    return {name: np.array(values.split(), dtype=float) for name, values in pairs}


def test_a_drive_that_was_cut_short_leaves_nothing(small_drive, tmp_path, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savetxt", fail)
    with pytest.raises(KeyboardInterrupt):
        write_drive(small_drive, tmp_path)
    assert [p.name for p in (tmp_path / "2026_01_01").iterdir()] == ["calib_cam_to_cam.txt"]


def test_complete_drives_are_not_rendered_again(tmp_path, monkeypatch):
    first = synthesise(tmp_path, "val", 2, 2, height=16, width=48)
    written = first[0] / "image_02/data/0000000001.png"
    before = written.stat().st_mtime_ns
    monkeypatch.setattr(writer, "render_drive", None)
    assert synthesise(tmp_path, "val", 2, 2, height=16, width=48) == first
    assert written.stat().st_mtime_ns == before
    monkeypatch.undo()
    third = synthesise(tmp_path, "val", 3, 2, height=16, width=48)
    assert len(third) == 3
    assert third[2].is_dir()


def test_a_drive_is_the_same_world_wherever_it_is_rendered(tmp_path):
    together = synthesise(tmp_path / "one", "test", 3, 2, height=16, width=48)
    alone = synthesise(tmp_path / "two", "test", 1, 2, height=16, width=48, first=2)
    assert [folder.name for folder in alone] == [together[2].name]
    for path in (file for file in together[2].rglob("*") if file.is_file()):
        assert (alone[0] / path.relative_to(together[2])).read_bytes() == path.read_bytes(), path.name
    with pytest.raises(InputError, match="drive -1: must lie between 0 and"):
        synthesise(tmp_path / "three", "test", 1, 2, height=16, width=48, first=-1)
    with pytest.raises(InputError, match="drives 0: must be at least 1"):
        synthesise(tmp_path / "three", "test", 0, 2, height=16, width=48)
    with pytest.raises(InputError, match="drives 9999 to 10000: a split has 10000"):
        synthesise(tmp_path / "three", "test", 2, 2, height=16, width=48, first=9999)


def test_drives_of_other_settings_are_refused(tmp_path, monkeypatch):
    synthesise(tmp_path, "val", 1, 2, height=16, width=48)
    monkeypatch.setattr(writer, "render_drive", None)
    for options, says in (
        ({"frames": 3}, "frames 2, not 3"),
        ({"height": 32, "width": 96}, "height 16, not 32; width 48, not 96"),
        ({"config": WorldConfig(traffic=0.5)}, "world.traffic"),
        ({"config": WorldConfig(style="foreign")}, "world.style default, not foreign"),
        ({"noise": LabelNoiseConfig(border=0.0)}, "noise.border 1.6, not 0.0"),
    ):
        asked = {"frames": 2, "height": 16, "width": 48} | options
        for drives in (1, 2):
            with pytest.raises(InputError, match="delete the folder or give another") as caught:
                synthesise(tmp_path, "val", drives, **asked)
            assert says in str(caught.value)
    monkeypatch.undo()
    assert len(synthesise(tmp_path, "train", 1, 1, height=16, width=48)) == 1, "another split has another folder"


def test_drives_of_unknown_settings_are_refused(tmp_path):
    folder = synthesise(tmp_path, "val", 1, 1, height=16, width=48)[0]
    settings = folder.parent / writer.SETTINGS
    for damage in ("{", "[]"):
        settings.write_text(damage)
        with pytest.raises(InputError, match=r"synthesise\.json"):
            synthesise(tmp_path, "val", 1, 1, height=16, width=48)
    settings.unlink()
    with pytest.raises(InputError, match=r"without synthesise\.json"):
        synthesise(tmp_path, "val", 1, 1, height=16, width=48)


def test_settings_that_render_nothing_bind_nobody(tmp_path):
    with pytest.raises(InputError):
        synthesise(tmp_path, "val", 1, 0, height=16, width=48)
    assert len(synthesise(tmp_path, "val", 1, 1, height=16, width=48)) == 1


def test_foreign_split_has_its_own_camera_and_date(tmp_path):
    folder = synthesise(tmp_path, "foreign", 1, 1, height=16, width=48)[0]
    assert folder.parent.name == "2026_01_04"
    values = _calibration(folder.parent / "calib_cam_to_cam.txt")["P_rect_02"]
    assert values[0] == pytest.approx(0.68 * 48)


def test_two_cameras_in_one_date_are_refused(small_drive, tmp_path):
    write_drive(small_drive, tmp_path)
    other = render_drive(3, 1, 32, 96)
    with pytest.raises(InputError, match="another camera"):
        write_drive(other, tmp_path, number=1)


def test_folder_that_cannot_be_written_is_named(small_drive, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="file"):
        write_drive(small_drive, tmp_path / "file")


def test_depth_survives_sixteen_bits(small_drive, tmp_path):
    folder = write_drive(small_drive, tmp_path)
    stored = torch.from_numpy(_read(folder, "depth_02/data", 0).astype(np.float32))
    assert torch.equal(stored == 0, small_drive.depth[0, 0] == 0)
