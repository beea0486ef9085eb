import json
import logging
import os
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
from semdepth.runtime import InputError

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


def change_camera(root, change):
    path = next((root / "camera" / "train").rglob("*.json"))
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def no_focal_length(root):
    change_camera(root, lambda camera: camera["intrinsic"].pop("fx"))


def no_extrinsics(root):
    change_camera(root, lambda camera: camera.pop("extrinsic"))


def word_for_baseline(root):
    change_camera(root, lambda camera: camera["extrinsic"].update(baseline="wide"))


def zero_baseline(root):
    change_camera(root, lambda camera: camera["extrinsic"].update(baseline=0))


def infinite_centre(root):
    change_camera(root, lambda camera: camera["intrinsic"].update(u0=float("inf")))


def camera_list(root):
    next((root / "camera" / "train").rglob("*.json")).write_text("[1, 2]")


def broken_camera(root):
    path = next((root / "camera" / "train").rglob("*.json"))
    path.write_text(path.read_text()[:50])


def binary_camera(root):
    next((root / "camera" / "train").rglob("*.json")).write_bytes(b"\xff\xfe\x00")


def empty_camera(root):
    next((root / "camera" / "train").rglob("*.json")).write_text("")


def no_cameras(root):
    shutil.rmtree(root / "camera")


def no_disparity(root):
    shutil.rmtree(root / "disparity")
    return {"require_depth": True, "offsets": ()}


def no_fine(root):
    shutil.rmtree(root / "gtFine")
    return {"labels": "exact"}


def no_noisy(root):
    shutil.rmtree(root / "leftImg8bit_sequence" / "train" / "aachen" / "segmentation")
    return {"labels": "noisy"}


def one_noisy_missing(root):
    folder = root / "leftImg8bit_sequence" / "train" / "aachen" / "segmentation" / "data"
    (folder / "aachen_000000_000018_leftImg8bit.png").unlink()
    return {"labels": "noisy"}


def no_frames(root):
    shutil.rmtree(root / "leftImg8bit_sequence")


def unknown_city(root):
    return {"cities": ["atlantis"]}


def unknown_split(root):
    return {"split": "everything"}


def far_neighbours(root):
    return {"offsets": (-9, 9)}


def no_root(root):
    shutil.rmtree(root)


def copy(source, target):
    """Link what tests only ever delete; copy what they write to."""
    (shutil.copyfile if source.endswith(".json") else os.link)(source, target)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (no_focal_length, "_camera.json: camera file has no number intrinsic.fx"),
        (no_extrinsics, "no number extrinsic.baseline"),
        (word_for_baseline, "no number extrinsic.baseline"),
        (zero_baseline, "extrinsic.baseline is 0"),
        (infinite_centre, "intrinsic.u0 is inf"),
        (camera_list, "no number intrinsic.fx"),
        (broken_camera, "_camera.json: camera file is no JSON"),
        (binary_camera, "_camera.json: camera file is no JSON"),
        (empty_camera, "_camera.json: camera file is empty"),
        (no_cameras, "aachen_000000_*_camera.json: no camera file"),
        (no_disparity, "disparity_trainvaltest.zip"),
        (no_fine, "gtFine_trainvaltest.zip"),
        (no_noisy, "semdepth label"),
        (one_noisy_missing, "aachen_000000_000018_leftImg8bit.png: has no label PNG"),
        (no_frames, "leftImg8bit_sequence/train: not found"),
        (unknown_city, "train/atlantis: no *_leftImg8bit.png"),
        (unknown_split, "split everything: Cityscapes has train, val, test"),
        (far_neighbours, "none of 16 frames of train has neighbours at (-9, 9)"),
        (no_root, "Cityscapes not found"),
    ],
)
def test_bad_input_gives_one_clear_line(city_tree, tmp_path, spoil, says):
    root = tmp_path / "cityscapes"
    shutil.copytree(city_tree, root, copy_function=copy)
    options = spoil(root) or {}
    with pytest.raises(InputError) as caught:
        cityscapes(root, **options)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "dtype", "says"),
    [
        ((HEIGHT, WIDTH), np.uint8, "disparity PNG has mode L, not 16-bit grey"),
        ((HEIGHT, WIDTH - 20), np.uint16, f"is {WIDTH - 20}×{HEIGHT}, its calibration speaks of 2048×1024"),
    ],
)
def test_a_disparity_map_of_another_kind_is_refused(city_tree, tmp_path, shape, dtype, says):
    (record,) = cityscapes(city_tree, split="val", offsets=(), require_depth=True)
    path = tmp_path / "frankfurt_disparity.png"
    Image.fromarray(np.full(shape, 9, dtype)).save(path)
    with pytest.raises(InputError, match=r"frankfurt_disparity\.png: ") as caught:
        read_ground_truth(replace(record, depth=StereoDepth(path, 473.0)))
    assert says in str(caught.value)


def test_disparity_of_zero_or_unknown_is_no_depth(city_tree, tmp_path):
    (record,) = cityscapes(city_tree, split="val", offsets=(), require_depth=True)
    values = np.full((4, 8), 257, np.uint16)
    values[0, :3] = 0, 1, 513
    Image.fromarray(values).save(tmp_path / "a.png")
    found = read_ground_truth(replace(record, depth=StereoDepth(tmp_path / "a.png", 40.0)))
    assert found.shape == (3, 8)
    np.testing.assert_array_equal(found[0, :4], [0.0, 0.0, 20.0, 40.0])


def test_label_ids_that_do_not_exist_are_refused(city_tree, tmp_path):
    record = cityscapes(city_tree, offsets=(), labels="exact", require_depth=True)[0]
    Image.fromarray(np.full((HEIGHT, WIDTH), 40, np.uint8)).save(tmp_path / "a_gtFine_labelIds.png")
    with pytest.raises(InputError, match=r"holds label values 40; only label ids 0–33"):
        read_judged_labels(replace(record, labels=tmp_path / "a_gtFine_labelIds.png"))
