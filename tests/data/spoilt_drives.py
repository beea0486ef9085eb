"""Ways to spoil a drive of KITTI raw's layout (``raw_drive(frames=6, exact=True)``), each of which an audit has to name."""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from semdepth.labels import CLASSES, palette

SHAPE = (24, 80)


def change_labels(drive: Path, change) -> None:
    for path in sorted((drive / "segmentation_02" / "data").iterdir()):
        Image.fromarray(change(np.array(Image.open(path)))).save(path)


def raw_ids(drive):
    ids = np.array([c.label_id for c in CLASSES], dtype=np.uint8)
    change_labels(drive, lambda values: ids[values])


def colours(drive):
    change_labels(drive, lambda values: palette()[values])


def other_colours(drive):
    change_labels(drive, lambda values: np.repeat(values[..., None] * 3 + 1, 3, axis=2))


def value_37(drive):
    change_labels(drive, lambda values: np.where(values == 3, 37, values).astype(np.uint8))


def all_ignored(drive):
    change_labels(drive, lambda values: np.full_like(values, 255))


def two_classes(drive):
    change_labels(drive, lambda values: (values > 9).astype(np.uint8))


def small_labels(drive):
    change_labels(drive, lambda values: values[::2, ::2])


def no_labels(drive):
    shutil.rmtree(drive / "segmentation_02")


def swapped_entropy(drive):
    for path in (drive / "segmentation_02" / "entropy").iterdir():
        Image.fromarray(255 - np.array(Image.open(path))).save(path)


def constant_entropy(drive):
    for path in (drive / "segmentation_02" / "entropy").iterdir():
        Image.new("L", SHAPE[::-1], 0).save(path)


def small_entropy(drive):
    for path in (drive / "segmentation_02" / "entropy").iterdir():
        Image.new("L", (40, 12)).save(path)


def truncated_image(drive):
    path = drive / "image_02" / "data" / "0000000002.png"
    path.write_bytes(path.read_bytes()[:200])


def image_of_another_size(drive):
    Image.new("RGB", (40, 12)).save(drive / "image_02" / "data" / "0000000002.png")


def calibration_of_another_size(drive):
    file = drive.parent / "calib_cam_to_cam.txt"
    file.write_text(
        file.read_text().replace("S_rect_02: 80 24", "").replace("50 0 39.5 0 0 50 11.5", "100 0 80 0 0 100 23")
    )


def focal_length_in_millimetres(drive):
    file = drive.parent / "calib_cam_to_cam.txt"
    file.write_text(file.read_text().replace("50 0 39.5 0 0 50", "4 0 39.5 0 0 4"))


def oblong_pixels(drive):
    file = drive.parent / "calib_cam_to_cam.txt"
    file.write_text(file.read_text().replace("50 0 39.5 0 0 50", "50 0 39.5 0 0 70"))


def cropped_images(drive):
    for path in (drive / "image_02" / "data").iterdir():
        Image.open(path).crop((0, 0, 60, 24)).save(path)


def standing_camera(drive):
    for i in range(1, 6):
        shutil.copy(drive / "image_02/data/0000000000.png", drive / f"image_02/data/{i:010d}.png")


def stopping_camera(drive):
    for i in range(2, 6):
        shutil.copy(drive / "image_02/data/0000000001.png", drive / f"image_02/data/{i:010d}.png")


def blank_images(drive):
    for path in (drive / "image_02" / "data").iterdir():
        Image.new("RGB", SHAPE[::-1]).save(path)


def empty_truth(drive):
    for path in (drive / "depth_02" / "data").iterdir():
        Image.fromarray(np.zeros(SHAPE, np.uint16)).save(path)


def truth_in_centimetres(drive):
    for path in (drive / "depth_02" / "data").iterdir():
        Image.fromarray(np.full(SHAPE, 65000, np.uint16)).save(path)


def eight_bit_truth(drive):
    for path in (drive / "depth_02" / "data").iterdir():
        Image.new("L", SHAPE[::-1], 9).save(path)
