import shutil

import numpy as np
import pytest
from PIL import Image

from semdepth.data.kitti import kitti_raw, read_calibration, read_split
from semdepth.data.records import LidarDepth, PngDepth
from semdepth.data.video import FrameDataset
from semdepth.runtime import InputError


def test_real_drive(shared):
    records = kitti_raw(shared / "data" / "kitti_raw", labels="noisy")
    assert len(records) == 76
    first = records[0]
    assert first.name == "2011_09_26_drive_0000_sync/0000000001/l"
    assert [p.stem for p in first.sources] == ["0000000000", "0000000002"]
    assert first.image_size == (375, 1242)
    assert first.intrinsics[0, 2] == 609.5593
    item = FrameDataset(records[:1], 192, 640)[0]
    assert item.labels is not None
    assert item.confidence is not None
    assert item.labels.shape == item.confidence.shape == (1, 192, 640)
    judged = kitti_raw(shared / "data" / "kitti_raw", offsets=(), require_depth=True)
    assert len(judged) == 10
    assert all(isinstance(r.depth, LidarDepth) for r in judged)


@pytest.mark.parametrize(
    ("name", "frames"),
    [("eigen/test", 697), ("eigen_benchmark/test", 652), ("eigen_zhou/train", 39810), ("eigen_zhou/val", 4424)],
)
def test_published_splits_are_read(shared, name, frames):
    assert len(read_split(shared / "data" / "splits" / f"{name}_files.txt")) == frames


def test_frames_at_the_ends_have_no_neighbours(raw_drive):
    folder = raw_drive(frames=5)
    root = folder.parents[1]
    assert [r.image.stem[-1] for r in kitti_raw(root)] == ["1", "2", "3"]
    assert [r.image.stem[-1] for r in kitti_raw(root, offsets=(-2, -1))] == ["2", "3", "4"]
    assert len(kitti_raw(root, offsets=())) == 5
    (folder / "image_02" / "data" / "0000000002.png").unlink()
    with pytest.raises(InputError, match="neighbours"):
        kitti_raw(root)


def test_half_written_drives_are_left_alone(raw_drive):
    folder = raw_drive()
    shutil.copytree(folder, folder.parent / ".2011_09_26_drive_0002_sync.123.partial")
    assert {r.name.split("/")[0] for r in kitti_raw(folder.parents[1])} == {folder.name}


def test_png_is_preferred_to_a_jpeg_of_the_same_frame(raw_drive):
    folder = raw_drive()
    images = folder / "image_02" / "data"
    for path in sorted(images.iterdir()):
        Image.open(path).save(path.with_suffix(".jpg"))
    assert {p.suffix for r in kitti_raw(folder.parents[1]) for p in (r.image, *r.sources)} == {".png"}
    for path in images.glob("*.png"):
        path.unlink()
    assert {p.suffix for r in kitti_raw(folder.parents[1]) for p in (r.image, *r.sources)} == {".jpg"}


def test_split_gives_order_and_side(raw_drive, tmp_path):
    folder = raw_drive(frames=5)
    shutil.copytree(folder / "image_02", folder / "image_03")
    split = tmp_path / "split.txt"
    split.write_text(f"2011_09_26/{folder.name} 3 r\n\n2011_09_26/{folder.name} 0000000001 l\n")
    records = kitti_raw(tmp_path, split=split)
    assert [r.name for r in records] == [f"{folder.name}/0000000003/r", f"{folder.name}/0000000001/l"]
    assert "image_03" in str(records[0].image)
    assert [r.name[-1] for r in kitti_raw(tmp_path, split=split, cameras=(2,))] == ["l"]


def test_rendered_drive_brings_exact_truth(raw_drive):
    root = raw_drive(exact=True).parents[1]
    record = kitti_raw(root, labels="exact", require_depth=True)[0]
    assert isinstance(record.depth, PngDepth)
    assert record.labels is not None
    assert "labels_02" in str(record.labels)
    assert record.confidence is None
    assert record.moving is not None
    np.testing.assert_array_equal(record.world_from_camera[:, 2, 3], [2.0, 0.0, 4.0])
    assert kitti_raw(root, ground_truth="none")[0].depth is None


@pytest.mark.parametrize("inside", ["{date}/{drive}", "train/{drive}", "val/{drive}"])
def test_improved_ground_truth_is_found(raw_drive, tmp_path, inside):
    folder = raw_drive(exact=True)
    to = tmp_path / inside.format(date=folder.parent.name, drive=folder.name) / "proj_depth" / "groundtruth"
    shutil.copytree(folder / "depth_02" / "data", to / "image_02")
    record = kitti_raw(tmp_path, ground_truth="improved", require_depth=True)[0]
    assert record.depth == PngDepth(to / "image_02" / "0000000001.png")


def test_confidence_folder_stands_in_for_entropy(raw_drive):
    folder = raw_drive()
    (folder / "segmentation_02" / "entropy").rename(folder / "segmentation_02" / "confidence")
    record = kitti_raw(folder.parents[1], labels="noisy")[0]
    assert record.confidence is not None
    assert not record.confidence_is_entropy


def no_lidar(root, folder):
    return {"require_depth": True}


def no_labels(root, folder):
    shutil.rmtree(folder / "segmentation_02")
    return {"labels": "noisy"}


def one_label_missing(root, folder):
    (folder / "segmentation_02" / "data" / "0000000001.png").unlink()
    return {"labels": "noisy"}


def one_entropy_missing(root, folder):
    (folder / "segmentation_02" / "entropy" / "0000000001.png").unlink()
    return {"labels": "noisy"}


def no_calibration(root, folder):
    (folder.parent / "calib_cam_to_cam.txt").unlink()


def no_calibration_row(root, folder):
    (folder.parent / "calib_cam_to_cam.txt").write_text("S_rect_02: 80 24\n")


def short_calibration_row(root, folder):
    (folder.parent / "calib_cam_to_cam.txt").write_text("P_rect_02: 1 2 3\n")


def calibration_without_rows(root, folder):
    (folder.parent / "calib_cam_to_cam.txt").write_text("<html>404</html>\n")


def binary_calibration(root, folder):
    (folder.parent / "calib_cam_to_cam.txt").write_bytes(b"\xff\xfe\xfa\x00")


def no_pinhole(root, folder):
    (folder.parent / "calib_cam_to_cam.txt").write_text("P_rect_02: 0 0 0 0 0 0 0 0 0 0 0 0\n")


def short_poses(root, folder):
    (folder / "poses_02.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n")


def malformed_poses(root, folder):
    (folder / "poses_02.txt").write_text("1 0 0\n")


def empty_images(root, folder):
    for path in (folder / "image_02" / "data").iterdir():
        path.unlink()


def unknown_drive(root, folder):
    return {"drives": ["2011_09_26_drive_0099_sync"]}


def grey_camera(root, folder):
    return {"cameras": (0,)}


def unsorted_offsets(root, folder):
    return {"offsets": (1, -1)}


def _split(root, text):
    (root / "split.txt").write_text(text)
    return {"split": root / "split.txt"}


def malformed_split(root, folder):
    return _split(root, f"2011_09_26/{folder.name} 1 l\n2011_09_26/{folder.name} one l\n")


def split_without_side(root, folder):
    return _split(root, f"2011_09_26/{folder.name} 1\n")


def empty_split(root, folder):
    return _split(root, "\n")


def missing_split(root, folder):
    return {"split": root / "nowhere.txt"}


def split_of_missing_drive(root, folder):
    return _split(root, "2011_09_26/2011_09_26_drive_0002_sync 1 l\n")


def split_of_missing_frame(root, folder):
    return _split(root, f"2011_09_26/{folder.name} 99 l\n")


def split_of_other_camera(root, folder):
    return {**_split(root, f"2011_09_26/{folder.name} 1 l\n"), "cameras": (3,)}


def empty_root(root, folder):
    shutil.rmtree(folder.parent)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (no_lidar, "ground truth"),
        (no_labels, "semdepth label"),
        (one_label_missing, "0000000001.png: has no label"),
        (one_entropy_missing, "0000000001.png: its labels have no confidence"),
        (no_calibration, "calib_cam_to_cam.txt: calibration file not found"),
        (no_calibration_row, "no row P_rect_02"),
        (short_calibration_row, "row P_rect_02 must hold 12"),
        (calibration_without_rows, "no `key: numbers`"),
        (binary_calibration, "not a text file"),
        (no_pinhole, "pinhole"),
        (short_poses, "1 poses, but frames up to 3"),
        (malformed_poses, "line 1 must hold 12 numbers"),
        (empty_images, "no images"),
        (unknown_drive, "drive_0099"),
        (grey_camera, "2 (left) and 3 (right)"),
        (unsorted_offsets, "ascending"),
        (malformed_split, "line 2"),
        (split_without_side, "line 1"),
        (empty_split, "names no frame"),
        (missing_split, "split list not found"),
        (split_of_missing_drive, "drive_0002_sync/image_02 (1 frames, first 1)"),
        (split_of_missing_frame, "1 of its 1 frames are not under"),
        (split_of_other_camera, "names no frame of cameras"),
        (empty_root, "cvlibs.net"),
    ],
)
def test_bad_input_gives_one_clear_line(raw_drive, spoil, says):
    folder = raw_drive()
    root = folder.parents[1]
    options = spoil(root, folder) or {}
    with pytest.raises(InputError) as caught:
        kitti_raw(root, **options)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_root_says_what_to_download(tmp_path):
    with pytest.raises(InputError, match=r"nowhere: KITTI raw not found; .*cvlibs"):
        kitti_raw(tmp_path / "nowhere")


def test_calibration_leaves_out_what_is_no_number(raw_drive):
    rows = read_calibration(raw_drive().parent / "calib_cam_to_cam.txt")
    assert set(rows) == {"S_rect_02", "R_rect_00", "P_rect_02", "P_rect_03"}
