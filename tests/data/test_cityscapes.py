import json
import logging
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_datasets import BASELINE, HEIGHT, SMALLER, WIDTH, camera_file
from PIL import Image

from semdepth.data.cityscapes import cityscapes, read_camera
from semdepth.data.records import StereoDepth, kept_rows
from semdepth.data.transforms import to_unit_range
from semdepth.data.video import FrameDataset, read_ground_truth, read_judged_labels
from semdepth.geometry.camera import resize_intrinsics
from semdepth.geometry.rigid import relative_pose
from semdepth.geometry.warp import synthesise

KEPT = HEIGHT * 3 // 4
TWO_A_SNIPPET = ["aachen/000000_000018/l", "aachen/000000_000019/l", "aachen/000000_000020/l"]


def test_frames_with_neighbours_by_number_within_a_recording(city_tree, caplog):
    with caplog.at_level(logging.INFO):
        records = cityscapes(city_tree)
    names = [r.name for r in records]
    assert names[:3] == TWO_A_SNIPPET
    assert names[6:] == [f"hamburg/000000_{n:06d}/l" for n in (4082, 4083, 4084)]
    assert [p.stem[:20] for p in records[6].sources] == ["hamburg_000000_00408"] * 2
    assert "9 of 16 frames of train have neighbours at (-1, 1)" in caplog.text
    wide = cityscapes(city_tree, offsets=(-2, 2))
    assert [r.name for r in wide] == ["aachen/000000_000019/l", "aachen/000001_000019/l", "hamburg/000000_004083/l"]
    assert len(cityscapes(city_tree, offsets=())) == 16
    assert {r.name.split("/")[0] for r in cityscapes(city_tree, cities=["hamburg"])} == {"hamburg"}
    assert [r.name for r in cityscapes(city_tree, split="val", offsets=(), require_depth=True)] == [
        "frankfurt/000001_000042/l"
    ]


def test_depth_from_disparity_and_baseline_is_the_true_depth_above_the_bonnet(city_tree, city_drive):
    (record,) = cityscapes(city_tree, split="test", offsets=(), require_depth=True)
    found, true = read_ground_truth(record), city_drive.depth[2, 0, :KEPT].numpy()
    assert found.shape == (KEPT, WIDTH)
    np.testing.assert_array_equal(found == 0, true == 0)
    known = true > 0
    focal_baseline = BASELINE * camera_file(city_drive)["intrinsic"]["fx"]
    half_a_step = true[known] ** 2 / focal_baseline / 512  # of a disparity in 256ths of a pixel
    assert (np.abs(found[known] - true[known]) <= 1.1 * half_a_step + 1e-4).all()
    assert half_a_step.max() < 0.3  # metres, at 200 m


def test_images_and_intrinsics_are_cut_alike(city_tree, city_drive):
    records = cityscapes(city_tree, offsets=(-2, 2), labels="exact", cities=["aachen"])
    item = FrameDataset(records, KEPT, WIDTH, with_depth=True)[0]
    np.testing.assert_array_equal(item.target[0], city_drive.images[2, :, :KEPT])
    np.testing.assert_array_equal(item.sources[0], city_drive.images[[0, 4], :, :KEPT])
    np.testing.assert_array_equal(item.labels[0], city_drive.labels[2, :KEPT])
    np.testing.assert_allclose(item.intrinsics[0], city_drive.intrinsics, rtol=1e-5)
    np.testing.assert_array_equal(item.depth[0, 0], read_ground_truth(records[0]))
    smaller = FrameDataset(records, 24, 64)[0].intrinsics[0]
    np.testing.assert_allclose(smaller, resize_intrinsics(city_drive.intrinsics, (KEPT, WIDTH), (24, 64)), rtol=1e-5)


def test_rows_cut_above_move_the_principal_point(city_tree, city_drive):
    (record,) = cityscapes(city_tree, split="test", offsets=(), require_depth=True)
    item = FrameDataset([replace(record, rows=(0.25, 0.5))], HEIGHT // 4, WIDTH)[0]
    np.testing.assert_array_equal(item.target[0], city_drive.images[2, :, HEIGHT // 4 : HEIGHT // 2])
    expected = city_drive.intrinsics.clone()
    expected[1, 2] -= HEIGHT // 4
    np.testing.assert_allclose(item.intrinsics[0], expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("rows", [(0.0, 0.75), (0.25, 1.0)])
def test_stereo_depth_and_true_motion_explain_the_neighbours(city_tree, city_drive, rows):
    """Images, depth and intrinsics are cut alike: else the warped neighbours would not fit."""
    records = cityscapes(city_tree, offsets=(-1, 1), require_depth=True, cities=["aachen"])
    item = to_unit_range(FrameDataset([replace(records[0], rows=rows)], KEPT, WIDTH, with_depth=True)[0])
    poses = city_drive.world_from_camera
    still = ~city_drive.moving[2, kept_rows(rows, HEIGHT)] & (item.depth[0, 0] > 0)
    for s, source in enumerate((1, 3)):
        motion = relative_pose(poses[source], poses[2]).float()[None]
        depth, seen = item.depth.clamp(min=1.0), item.sources[:, s]
        off = item.intrinsics + torch.tensor([[0, 0, 0], [0, 0, 0.2 * HEIGHT], [0, 0, 0]])
        images = [synthesise(seen, depth, item.intrinsics, motion), seen, synthesise(seen, depth, off, motion)]
        right, unwarped, wrong = ((image - item.target)[0].abs().mean(0)[still].mean() for image in images)
        assert right < 0.75 * wrong
        assert right < 0.5 * unwarped


@given(height=st.integers(1, 3000), cut=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted))
def test_kept_rows_are_in_the_map_and_at_least_one(height, cut):
    rows = kept_rows(tuple(cut), height)
    assert 0 <= rows.start < rows.stop <= height
    assert abs(rows.start - cut[0] * height) <= 1
    assert kept_rows((0.0, 1.0), height) == slice(0, height)


def test_label_ids_and_train_ids_give_the_same_labels(city_tree, city_drive):
    records = cityscapes(city_tree, offsets=(), labels="exact", require_depth=True)
    assert [r.labels_are_ids for r in records] == [True, True, False]  # hamburg has labelTrainIds
    for record in records:
        np.testing.assert_array_equal(read_judged_labels(record), city_drive.labels[2, :KEPT])
    unlabelled = cityscapes(city_tree, labels="exact")[0]
    assert unlabelled.labels is None


def test_frames_without_annotation_are_ignored_beside_annotated_ones(city_tree):
    dataset = FrameDataset(cityscapes(city_tree, labels="exact"), KEPT, WIDTH)
    assert (dataset[0].labels == 255).all()
    assert (dataset[1].labels < 19).any()


def test_pseudo_labels_lie_beside_the_images(city_tree, city_drive):
    records = cityscapes(city_tree, labels="noisy")
    item = FrameDataset(records, KEPT, WIDTH)[0]
    np.testing.assert_array_equal(item.labels[0], city_drive.labels[1, :KEPT])
    assert (item.confidence == 204).all()


def test_folders_named_like_the_archives_and_single_images_are_found(city_tree, tmp_path):
    for kind in ("camera", "disparity", "gtFine"):
        shutil.copytree(city_tree / kind, tmp_path / f"{kind}_trainvaltest" / kind)
    shutil.copytree(city_tree / "leftImg8bit_sequence", tmp_path / "leftImg8bit_trainvaltest" / "leftImg8bit")
    records = cityscapes(tmp_path, split="val", offsets=(), labels="exact", require_depth=True)
    assert isinstance(records[0].depth, StereoDepth)
    assert records[0].image.parts[-4:-2] == ("leftImg8bit", "val")


def test_the_camera_of_the_nearest_labelled_frame_counts(city_tree, tmp_path):
    shutil.copytree(city_tree, tmp_path / "copy")
    folder = tmp_path / "copy" / "camera" / "train" / "hamburg"
    content = json.loads((folder / "hamburg_000000_004083_camera.json").read_text())
    content["intrinsic"]["fx"] = 1000.0
    (folder / "hamburg_000000_004100_camera.json").write_text(json.dumps(content))
    records = cityscapes(tmp_path / "copy", offsets=(), cities=["hamburg"])
    assert [r.intrinsics[0, 0] == 1000.0 for r in records] == [False] * 5 + [True]


def test_read_camera(city_tree, city_drive):
    path = next((city_tree / "camera").rglob("*.json"))
    intrinsics, baseline = read_camera(path)
    assert baseline == BASELINE
    small = resize_intrinsics(torch.from_numpy(intrinsics), (1024, 2048), (HEIGHT, WIDTH))
    np.testing.assert_allclose(small, city_drive.intrinsics, rtol=1e-6)
    assert intrinsics[0, 0] == pytest.approx(SMALLER * float(city_drive.intrinsics[0, 0]))


def test_disparity_of_zero_or_unknown_is_no_depth(city_tree, tmp_path):
    (record,) = cityscapes(city_tree, split="val", offsets=(), require_depth=True)
    values = np.full((4, 8), 257, np.uint16)
    values[0, :3] = 0, 1, 513
    Image.fromarray(values).save(tmp_path / "a.png")
    found = read_ground_truth(replace(record, depth=StereoDepth(tmp_path / "a.png", 40.0)))
    assert found.shape == (3, 8)
    np.testing.assert_array_equal(found[0, :4], [0.0, 0.0, 20.0, 40.0])
