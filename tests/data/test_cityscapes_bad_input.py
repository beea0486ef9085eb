"""Trees in Cityscapes' layout with one thing wrong: refused in one line that names the file."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from made_datasets import HEIGHT, WIDTH
from PIL import Image

from semdepth.data.cityscapes import cityscapes
from semdepth.data.records import StereoDepth
from semdepth.data.video import read_ground_truth, read_judged_labels
from semdepth.runtime import InputError


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


def test_label_ids_that_do_not_exist_are_refused(city_tree, tmp_path):
    record = cityscapes(city_tree, offsets=(), labels="exact", require_depth=True)[0]
    Image.fromarray(np.full((HEIGHT, WIDTH), 40, np.uint8)).save(tmp_path / "a_gtFine_labelIds.png")
    with pytest.raises(InputError, match=r"holds label values 40; only label ids 0–33"):
        read_judged_labels(replace(record, labels=tmp_path / "a_gtFine_labelIds.png"))
