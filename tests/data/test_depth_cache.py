import dataclasses
import os

import numpy as np
import pytest
from PIL import Image

from semdepth.data.catalog import DataConfig, list_records, open_dataset
from semdepth.data.depth_cache import is_current, read_lidar_depth, unique_depths, write_depth
from semdepth.data.video import read_ground_truth
from semdepth.evaluation.metrics import depth_errors
from semdepth.runtime import InputError

STEP = 1 / 256


@pytest.fixture
def scanned(raw_drive, write_scan, tmp_path):
    """A drive of four frames with scans of some points each; returns its options."""
    folder = raw_drive()
    rng = np.random.default_rng(3)
    for i in range(4):
        depth = rng.uniform(2, 70, 200)
        columns, rows = rng.uniform(0, 79, 200), rng.uniform(0, 23, 200)
        points = [
            [d, -(x - 39.5) * d / 50, -(y - 11.5) * d / 50, 0.1] for d, x, y in zip(depth, columns, rows, strict=True)
        ]
        write_scan(folder / "velodyne_points" / "data" / f"{i:010d}.bin", points)
    return DataConfig(root=tmp_path, offsets=(), labels="none", require_depth=True, height=12, width=40)


@pytest.mark.parametrize("beside", [True, False])
def test_cached_depth_is_read_in_place_of_the_scan(scanned, tmp_path, beside):
    out = None if beside else tmp_path / "elsewhere"
    direct = [read_ground_truth(record) for record in list_records(scanned)]
    done = write_depth(unique_depths(list_records(scanned)), out)
    assert (done.written, done.kept, done.unusable) == (4, 0, ())
    records = list_records(dataclasses.replace(scanned, depth_cache=out))
    assert all(record.depth.cached is not None for record in records)
    for record, depth in zip(records, direct, strict=True):
        cached = read_ground_truth(record)
        np.testing.assert_array_equal(cached > 0, depth > 0)
        assert np.abs(cached - depth).max() <= STEP / 2 + 1e-5
    assert write_depth(unique_depths(records), out).kept == 4


def test_scans_need_not_be_there_any_more(scanned, tmp_path):
    write_depth(unique_depths(list_records(scanned)))
    before = [read_ground_truth(record) for record in list_records(scanned)]
    for scan in tmp_path.rglob("*.bin"):
        scan.unlink()
    records = list_records(scanned)
    np.testing.assert_array_equal([read_ground_truth(record) for record in records], before)
    assert unique_depths(records) == []


def test_depth_of_another_calibration_or_scan_is_refused_and_made_again(scanned, tmp_path):
    depths = unique_depths(list_records(scanned))
    write_depth(depths)
    scan = depths[0].scan
    scan.write_bytes(scan.read_bytes() + b"\0" * 16)
    stale = list_records(scanned)[0].depth
    with pytest.raises(
        InputError, match=r"0000000000\.png: was not made from this scan.*; run `semdepth data depth` again"
    ):
        read_lidar_depth(stale)
    assert write_depth(depths).written == 1
    read_lidar_depth(stale)
    calibration = tmp_path / "2011_09_26" / "calib_velo_to_cam.txt"
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "calib_velo_to_cam.txt").write_text(calibration.read_text().replace("T: 0 0 0", "T: 0 0 1"))
    (moved / "calib_cam_to_cam.txt").write_text((calibration.parent / "calib_cam_to_cam.txt").read_text())
    assert is_current(stale)
    assert not is_current(dataclasses.replace(stale, calib_dir=moved))


def test_an_interrupted_write_leaves_nothing_and_is_taken_up_again(scanned, tmp_path, monkeypatch):
    depths = unique_depths(list_records(scanned))

    def interrupt(source, target):
        if source.name.startswith(".0000000002"):
            raise KeyboardInterrupt
        rename(source, target)

    rename = os.replace
    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_depth(depths)
    assert {p.name for p in tmp_path.rglob("velodyne_depth_02/data/*")} == {"0000000000.png", "0000000001.png"}
    monkeypatch.undo()
    done = write_depth(depths)
    assert (done.written, done.kept) == (2, 2)


def test_a_truncated_png_is_made_again(scanned, tmp_path):
    depths = unique_depths(list_records(scanned))
    write_depth(depths)
    victim = next(tmp_path.rglob("velodyne_depth_02/data/0000000001.png"))
    whole = victim.read_bytes()
    victim.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"0000000001\.png"):
        read_ground_truth(list_records(scanned)[1])
    assert write_depth(depths).written == 1
    assert victim.read_bytes() == whole


def test_a_scan_that_cannot_be_used_is_counted(scanned):
    depths = unique_depths(list_records(scanned))
    depths[2].scan.write_bytes(b"\0" * 40)
    done = write_depth(depths)
    assert done.written == 3
    assert len(done.unusable) == 1
    assert "0000000002.bin: lidar scan ends within a point" in done.unusable[0]


def test_points_nearer_than_a_step_stay_known(scanned, write_scan):
    depth = unique_depths(list_records(scanned))[0]
    write_scan(depth.scan, [[0.001, 0.0, 0.0, 0.0], [300.0, -100.0, 0.0, 0.0]])
    write_depth([depth])
    values = np.unique(read_ground_truth(list_records(scanned)[0]))
    np.testing.assert_allclose(values, [0.0, STEP, 65535 / 256])


def test_a_folder_that_cannot_be_written_is_named(scanned, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written .*--out"):
        write_depth(unique_depths(list_records(scanned)), tmp_path / "file")


def test_real_scans_are_judged_alike(shared, tmp_path):
    config = DataConfig(
        root=shared / "data" / "kitti_raw", offsets=(), labels="none", require_depth=True, frames=(0, 2)
    )
    plain = open_dataset(config)
    write_depth(unique_depths(plain.records), tmp_path)
    cached = open_dataset(dataclasses.replace(config, depth_cache=tmp_path))
    for index in range(2):
        truth, kept = plain.ground_truth(index), cached.ground_truth(index)
        known = truth > 0
        np.testing.assert_array_equal(kept > 0, known)
        assert np.abs(kept - truth).max() <= STEP / 2
        guess = np.linspace(5, 40, known.sum())
        a, b = depth_errors(truth[known], guess), depth_errors(kept[known], guess)
        for name, value in dataclasses.asdict(a).items():
            assert getattr(b, name) == pytest.approx(value, rel=1e-3, abs=2e-4), name
    with Image.open(cached.records[0].depth.cached) as image:
        assert "calibration" in image.info["semdepth lidar"]
