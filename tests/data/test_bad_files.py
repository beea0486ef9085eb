"""Every kind of bad file, through the reader that meets it: read right, or refused in one line that names the file and the mend.

Single files are decoded in tests/test_images.py, and what a folder lacks is in test_kitti_raw.py; here the files are bad in ways
that a whole record meets, from the list to the item that training gets.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semdepth.data.catalog import DataConfig, open_dataset
from semdepth.data.depth_cache import unique_depths, write_depth
from semdepth.runtime import InputError

SIZE = (80, 24)  # width, height of conftest's drives
RUNS_AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture
def drive(raw_drive, write_scan) -> Path:
    """A drive of three frames with labels, entropy and a scan of the middle frame, the one that has neighbours."""
    folder = raw_drive(frames=3)
    write_scan(folder / "velodyne_points" / "data" / "0000000001.bin", [[8.0, 1.0, 0.5, 0.1], [20.0, -3.0, 0.0, 0.1]])
    return folder


def read_all(drive: Path, **options):
    """Do what training and judging do with the one record."""
    config = {"labels": "noisy", "height": 12, "width": 40, "with_depth": True, **options}
    dataset = open_dataset(DataConfig(root=drive.parents[1], **config))
    dataset.labels(0)
    return dataset[0], dataset.ground_truth(0)


IMAGE, SOURCE = "image_02/data/0000000001.png", "image_02/data/0000000002.png"
LABELS, ENTROPY = "segmentation_02/data/0000000001.png", "segmentation_02/entropy/0000000001.png"
SCAN = "velodyne_points/data/0000000001.bin"
CAM, VELO = "../calib_cam_to_cam.txt", "../calib_velo_to_cam.txt"


def missing(path):
    path.unlink()


def truncated(path):
    path.write_bytes(path.read_bytes()[:100])


def zero_byte(path):
    path.write_bytes(b"")


def folder(path):
    path.unlink()
    path.mkdir()


def web_page(path):
    path.write_text("<html>404 Not Found</html>")


def half_size(path):
    image = Image.open(path)
    image.resize((SIZE[0] // 2, SIZE[1] // 2)).save(path)


def cropped(path):
    Image.open(path).crop((0, 0, 50, 24)).save(path)


def floats(path):
    tiff = path.with_suffix(".tif")
    Image.fromarray(np.ones((24, 80), np.float32)).save(tiff)
    tiff.replace(path)


def rgb(path):
    Image.new("RGB", SIZE).save(path)


def sixteen_bit(path):
    Image.fromarray(np.zeros((24, 80), np.uint16)).save(path)


def value(number):
    def write(path):
        Image.new("L", SIZE, number).save(path)

    write.__name__ = f"value {number}"
    return write


def partial_record(path):
    path.write_bytes(path.read_bytes() + b"\0" * 7)


def not_a_number(path):
    np.array([[1.0, np.nan, 0.0, 0.0]], dtype="<f4").tofile(path)


def infinity(path):
    np.array([[np.inf, 1.0, 0.0, 0.0]], dtype="<f4").tofile(path)


def rows(old, new):
    def rewrite(path):
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    rewrite.__name__ = f"{old} → {new}"
    return rewrite


CASES = [
    (IMAGE, missing, "neighbours"),
    (SOURCE, missing, "neighbours"),
    *((file, truncated, "cannot be decoded") for file in (IMAGE, SOURCE, LABELS, ENTROPY)),
    *((file, zero_byte, "is empty; copy or write it again") for file in (IMAGE, SOURCE, LABELS, ENTROPY)),
    *((file, web_page, "in no image format known") for file in (IMAGE, SOURCE, LABELS, ENTROPY)),
    *((file, folder, "is a folder") for file in (IMAGE, LABELS, ENTROPY, SCAN)),
    *((file, half_size, "must have its size") for file in (SOURCE, LABELS, ENTROPY)),
    (IMAGE, cropped, "0000000001.png beside it is 50×24; what belongs to a frame must have its size"),
    (IMAGE, floats, "floating-point"),
    *((file, rgb, "mode RGB; write an 8-bit PNG of one channel") for file in (LABELS, ENTROPY)),
    *((file, sixteen_bit, "write an 8-bit PNG of one channel") for file in (LABELS, ENTROPY)),
    *((LABELS, value(n), f"holds label values {n}; only trainIds") for n in (19, 26, 33, 37, 254)),
    (SCAN, zero_byte, "lidar scan is empty"),
    (SCAN, partial_record, "ends within a point"),
    (SCAN, not_a_number, "not finite"),
    (SCAN, infinity, "not finite"),
    (SCAN, missing, "has no ground truth depth"),
    *((file, missing, "calibration file not found") for file in (CAM, VELO)),
    *((file, zero_byte, "is empty") for file in (CAM, VELO)),
    *((file, web_page, "no `key: numbers` line") for file in (CAM, VELO)),
    (CAM, rows("P_rect_02", "P2"), "no row P_rect_02; copy the calibration file"),
    (CAM, rows("R_rect_00", "R0"), "no row R_rect_00"),
    (CAM, rows("S_rect_02", "S2"), "no row S_rect_02"),
    (CAM, rows("S_rect_02: 80 24", "S_rect_02: 80"), "row S_rect_02 must hold 2"),
    (CAM, rows("P_rect_02: 50", "P_rect_02: nan"), "row P_rect_02 must hold 12 finite"),
    (CAM, rows("P_rect_02: 50", "P_rect_02: -50"), "pinhole"),
    (VELO, rows("R:", "Tr:"), "no row R;"),
    (VELO, rows("T: 0 0 0", "T: 0 0"), "row T must hold 3"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("file", "spoil", "says"),
    CASES,
    ids=[f"{f.split('/')[0].strip('.') or Path(f).stem}-{s.__name__}" for f, s, _ in CASES],
)
def test_bad_files_are_refused_in_one_line(drive, file, spoil, says):
    spoil(drive / file)
    with pytest.raises(InputError) as caught:
        read_all(drive)
    message = str(caught.value)
    assert says in message
    assert "\n" not in message
    assert Path(file).name in message or spoil is missing
    assert str(drive.parents[1]) in message, "says where"


def palette_image(image):
    return image.quantize(200)


KINDS = {
    "RGBA": lambda image: image.convert("RGBA"),
    "palette": palette_image,
    "grey": lambda image: image.convert("L"),
    "grey with alpha": lambda image: image.convert("LA"),
    "16-bit grey": lambda image: Image.fromarray(np.array(image.convert("L")).astype(np.uint16) * 257),
    "one bit": lambda image: image.convert("1"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_other_kinds_are_read_right(drive, kind):
    changed = KINDS[kind](Image.open(drive / IMAGE))
    changed.save(drive / IMAGE)
    item, _ = read_all(drive, height=24, width=80)
    grey = changed if kind == "16-bit grey" else changed.convert("RGB")
    wanted = np.array(grey) // 257 if kind == "16-bit grey" else np.array(grey)
    wanted = np.broadcast_to(wanted[..., None], (24, 80, 3)) if wanted.ndim == 2 else wanted
    np.testing.assert_array_equal(item.target[0].permute(1, 2, 0), wanted)


def test_a_cmyk_jpeg_is_read_right(drive):
    (drive / IMAGE).unlink()
    Image.new("RGB", SIZE, (200, 40, 90)).convert("CMYK").save((drive / IMAGE).with_suffix(".jpg"), quality=95)
    item, _ = read_all(drive)
    assert np.abs(item.target[0].float().mean(dim=(1, 2)).numpy() - (200, 40, 90)).max() < 8


def test_an_image_half_as_large_as_its_calibration_is_read_right(drive):
    """Half-size copies of a dataset keep its calibration: a resize, not an error."""
    for file in (IMAGE, SOURCE, "image_02/data/0000000000.png", LABELS, ENTROPY):
        half_size(drive / file)
    item, truth = read_all(drive)
    assert item.intrinsics[0, 0, 0] == 25.0
    assert truth.shape == (24, 80)


def test_palette_labels_are_read_as_indices(drive):
    labels = Image.open(drive / LABELS)
    wanted = np.array(labels)
    coloured = Image.fromarray(wanted, mode="P")
    coloured.putpalette([i for _ in range(256) for i in (9, 8, 7)])
    coloured.save(drive / LABELS)
    item, _ = read_all(drive, height=24, width=80)
    np.testing.assert_array_equal(item.labels[0], wanted)


@pytest.mark.parametrize(
    "line",
    [
        "2011_09_26/{} one l",
        "2011_09_26/{} 1",
        "2011_09_26/{} 1 m",
        "2011_09_26/{} -1 l",
        "{}/image_02/data/1.png",
        "a b c d",
        "\0",
    ],
)
def test_malformed_lines_of_a_list_are_named(drive, tmp_path, line):
    split = tmp_path / "list.txt"
    split.write_text(f"2011_09_26/{drive.name} 1 l\n{line.format(drive.name)}\n")
    with pytest.raises(InputError, match=r"list\.txt: line 2 is .*; write `drive frame side`"):
        read_all(drive, split=split)


def test_windows_line_ends_and_blank_lines_of_a_list_are_fine(drive, tmp_path):
    split = tmp_path / "list.txt"
    split.write_bytes(f"\r\n2011_09_26/{drive.name} 0000000001 l\r\n\r\n".encode())
    item, _ = read_all(drive, split=split)
    assert item.names == (f"{drive.name}/0000000001/l",)


def test_a_bad_scan_among_many_is_skipped_and_counted(drive, write_scan):
    """Where one file must not cost the others: projecting lidar once."""
    bad = drive / "velodyne_points" / "data" / "0000000002.bin"
    bad.write_bytes(b"\0" * 17)
    depths = unique_depths(open_dataset(DataConfig(root=drive.parents[1], offsets=(), labels="none")).records)
    done = write_depth(depths)
    assert (done.written, len(done.unusable)) == (1, 1)
    assert str(bad) in done.unusable[0]


@pytest.mark.skipif(RUNS_AS_ROOT, reason="root may read everything: run the tests as another user to check permissions")
@pytest.mark.parametrize("file", [IMAGE, LABELS, ENTROPY, SCAN, CAM])
def test_files_without_permission_are_named(drive, file):
    (drive / file).chmod(0)
    with pytest.raises(InputError, match=r"cannot be read \(.*\); check its permissions"):
        read_all(drive)


@pytest.mark.parametrize("file", [IMAGE, LABELS, ENTROPY, SCAN, CAM])
def test_permission_errors_are_named_whoever_runs_this(drive, file, monkeypatch):
    """The same with an ``open`` that refuses, since root is never refused."""
    opened, victim = Path.open, (drive / file).resolve()

    def refuse(self, *args, **kwargs):
        if self.resolve() == victim:
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"cannot be read \(Permission denied\); check its permissions"):
        read_all(drive)
