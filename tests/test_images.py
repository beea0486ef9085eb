import os

import numpy as np
import pytest
from PIL import Image

from semdepth import images
from semdepth.images import as_rgb, read_confidence, read_depth_png, read_image, read_labels
from semdepth.runtime import InputError

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def test_rgb_png_is_read_exactly(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB)


def test_grey_becomes_three_equal_channels(tmp_path):
    Image.fromarray(RGB[..., 0]).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB[..., :1].repeat(3, axis=2))


def test_sixteen_bit_grey_keeps_its_high_byte(tmp_path):
    Image.fromarray(RGB[..., 0].astype(np.uint16) * 256 + 3).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB[..., :1].repeat(3, axis=2))


def test_palette_gives_its_colours(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), mode="P")
    image.putpalette([255, 0, 0, 0, 0, 255])
    for transparency in (None, 0):
        options = {} if transparency is None else {"transparency": transparency}
        image.save(tmp_path / "a.png", **options)
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), [[[255, 0, 0], [0, 0, 255]]])


def test_transparency_is_dropped(tmp_path):
    alpha = np.full((6, 9, 1), 7, dtype=np.uint8)
    Image.fromarray(np.concatenate([RGB, alpha], axis=2)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB)


def test_cmyk_jpeg_becomes_rgb(tmp_path):
    Image.new("RGB", (16, 16), (200, 40, 90)).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    read = read_image(tmp_path / "a.jpg")
    assert np.abs(read.astype(int) - (200, 40, 90)).max() < 12


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the stored rows are columns
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.rot90(RGB, -1))


def write_bad(kind, path):
    if kind == "zero-byte":
        path.touch()
    elif kind == "truncated":
        Image.fromarray(RGB.repeat(9, 0)).save(path)
        path.write_bytes(path.read_bytes()[:-200])
    elif kind == "text":
        path.write_text("not an image\n")
    elif kind == "folder":
        path.mkdir()
    elif kind == "broken header":
        Image.fromarray(RGB).save(path)
        data = bytearray(path.read_bytes())
        data[12:16] = b"XXXX"
        path.write_bytes(bytes(data))


@pytest.mark.parametrize("kind", ["missing", "zero-byte", "truncated", "text", "folder", "broken header"])
@pytest.mark.parametrize("reader", [read_image, read_labels, read_depth_png, lambda p: read_confidence(p, True)])
def test_bad_files_give_one_line_that_names_them(tmp_path, kind, reader):
    path = tmp_path / "a.png"
    write_bad(kind, path)
    with pytest.raises(InputError) as caught:
        reader(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert ";" in str(caught.value), "the message must say how to mend it"


def test_truncated_jpeg_is_refused(tmp_path):
    Image.fromarray(RGB.repeat(20, 0).repeat(20, 1)).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="cannot be decoded"):
        read_image(tmp_path / "a.jpg")
    with pytest.raises(InputError, match="cannot be decoded"):
        as_rgb(Image.open(tmp_path / "a.jpg"))  # decoded only when it is used


def test_huge_image_is_refused_before_decoding(tmp_path, monkeypatch):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    monkeypatch.setattr(images, "MAX_PIXELS", RGB[..., 0].size - 1)
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("decoded"))
    with pytest.raises(InputError, match="megapixels"):
        read_image(tmp_path / "a.png")


def test_decompression_bomb_is_refused(tmp_path, monkeypatch):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    with pytest.raises(InputError, match="megapixels"):
        read_image(tmp_path / "a.png")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_is_refused(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(InputError, match="permissions"):
        read_image(tmp_path / "a.png")


def test_labels_are_read_exactly_and_palette_labels_as_indices(tmp_path):
    labels = np.array([[0, 18, 255]], dtype=np.uint8)
    Image.fromarray(labels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), labels)
    image = Image.fromarray(labels, mode="P")
    image.putpalette([9] * 768)
    image.save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "b.png"), labels)


@pytest.mark.parametrize("value", [19, 33, 37, 254])
def test_label_ids_are_refused_by_value(tmp_path, value):
    Image.fromarray(np.array([[0, 18, 255, value]], dtype=np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=rf"a\.png: holds label values {value};.*trainIds"):
        read_labels(tmp_path / "a.png")


def test_colour_labels_are_refused(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="one channel"):
        read_labels(tmp_path / "a.png")


def test_entropy_is_turned_into_confidence(tmp_path):
    values = np.array([[0, 17, 255]], dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_confidence(tmp_path / "a.png", is_entropy=True), [[255, 238, 0]])
    np.testing.assert_array_equal(read_confidence(tmp_path / "a.png", is_entropy=False), values)


def test_depth_png_is_scaled(tmp_path):
    Image.fromarray(np.array([[0, 256, 65535]], dtype=np.uint16)).save(tmp_path / "a.png")
    depth = read_depth_png(tmp_path / "a.png")
    assert depth.dtype == np.float32
    np.testing.assert_array_equal(depth, np.array([[0.0, 1.0, 65535 / 256]], dtype=np.float32))


def test_eight_bit_depth_is_refused(tmp_path):
    Image.fromarray(RGB[..., 0]).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="16-bit"):
        read_depth_png(tmp_path / "a.png")
