import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from semdepth.data.lens import choose_framing, choose_lens
from semdepth.data.opencv import Straightener
from semdepth.images import focal_35mm
from semdepth.runtime import InputError

SIZE = (1080, 1920)


def with_exif(path, size, focal):
    image = Image.new("RGB", size[::-1])
    exif = Image.Exif()
    if focal is not None:
        exif.get_ifd(0x8769)[0xA405] = focal
    image.save(path, exif=exif)
    return path


def test_the_best_that_is_known_is_taken(tmp_path):
    photo = with_exif(tmp_path / "a.jpg", SIZE, 26)
    exact = choose_lens(SIZE, intrinsics="1400,1410,955.5,541", first_image=photo)
    assert (exact.origin, exact.learnt, exact.distortion) == ("given", False, ())
    np.testing.assert_array_equal(exact.intrinsics, [[1400, 0, 955.5], [0, 1410, 541], [0, 0, 1]])
    seen = choose_lens(SIZE, fov_deg=90.0, first_image=photo)
    assert (seen.origin, seen.learnt) == ("field of view", False)
    np.testing.assert_allclose(seen.intrinsics, [[960, 0, 959.5], [0, 960, 539.5], [0, 0, 1]], rtol=1e-6)
    told = choose_lens(SIZE, first_image=photo)
    assert (told.origin, told.learnt) == ("EXIF", False)
    # 26 mm across a diagonal of 43.27 mm is an angle of 79.5°; the frames' diagonal is 2202.9 pixels.
    angle = 2 * math.degrees(math.atan(math.hypot(*SIZE) / 2 / told.intrinsics[0, 0]))
    assert angle == pytest.approx(79.5, abs=0.1)
    guess = choose_lens(SIZE, first_image=with_exif(tmp_path / "b.jpg", SIZE, None))
    assert (guess.origin, guess.learnt) == ("guess", True)


def test_a_known_camera_may_be_a_first_guess(tmp_path):
    assert choose_lens(SIZE, intrinsics="learnt", fov_deg=70.0).learnt
    told = choose_lens(SIZE, intrinsics="learnt", first_image=with_exif(tmp_path / "a.jpg", SIZE, 26))
    assert (told.origin, told.learnt) == ("EXIF", True)


def test_a_guess_does_not_depend_on_how_the_phone_is_held():
    upright, lying = choose_lens(SIZE[::-1]).intrinsics, choose_lens(SIZE).intrinsics
    assert upright[0, 0] == lying[0, 0]
    assert (upright[0, 2], upright[1, 2]) == (539.5, 959.5)


@pytest.mark.parametrize(("value", "found"), [(26, 26.0), (0, None), (None, None)])
def test_exif(tmp_path, value, found):
    assert focal_35mm(with_exif(tmp_path / "a.jpg", (20, 30), value)) == found


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"intrinsics": "1,2,3"}, "fx,fy,cx,cy"),
        ({"intrinsics": "a,b,c,d"}, "fx,fy,cx,cy"),
        ({"intrinsics": "1,nan,3,4"}, "fx,fy,cx,cy"),
        ({"intrinsics": "-1,2,3,4"}, "above 0"),
        ({"intrinsics": "1400,1400,2000,500"}, "outside the upright frames of 1920×1080"),
        ({"intrinsics": "1400,1400,960,540", "fov_deg": 60.0}, "not both"),
        ({"fov_deg": 180.0}, "between 0 and 180"),
        ({"distortion": "0.1,0,0,0"}, "as intrinsics too"),
        ({"intrinsics": "1400,1400,960,540", "distortion": "0.1"}, "k1,k2,p1,p2"),
    ],
)
def test_what_cannot_be_is_refused(options, says):
    with pytest.raises(InputError, match=says) as caught:
        choose_lens(SIZE, **options)
    assert "\n" not in str(caught.value)


@given(st.integers(64, 4000), st.integers(64, 4000), st.integers(2, 40))
def test_training_sizes(height, width, multiple):
    frame, long_side = (height, width), 32 * multiple
    try:
        framing = choose_framing(frame, long_side)
    except InputError as error:
        assert "too small" in str(error)  # noqa: PT017 - both outcomes are right
        assert min(frame) / max(frame) * min(long_side, max(frame) // 32 * 32) < 64.5
        return
    assert framing.size[0] % 32 == framing.size[1] % 32 == 0
    assert min(framing.size) >= 64
    assert max(framing.size) == min(long_side, max(frame) // 32 * 32)
    lost = [framing.resized[i] - framing.size[i] for i in (0, 1)]
    assert 0 <= min(lost) <= max(lost) < 32
    # Aspect is kept to the rounding of a pixel, and the middle of the frame is the middle of the image.
    scale = [framing.resized[i] / frame[i] for i in (0, 1)]
    assert abs(scale[0] / scale[1] - 1) <= 0.5 / min(framing.resized) + 1e-9
    matrix = np.array([[800.0, 0, (width - 1) / 2], [0, 800.0, (height - 1) / 2], [0, 0, 1]])
    found = framing.intrinsics(matrix, frame)
    assert found[0, 0] == pytest.approx(800 * scale[1])
    assert abs(found[0, 2] - (framing.size[1] - 1) / 2) <= 0.5 + 1e-9  # half a pixel, up to rounding of the arithmetic
    assert abs(found[1, 2] - (framing.size[0] - 1) / 2) <= 0.5 + 1e-9  # half a pixel, up to rounding of the arithmetic


@pytest.mark.parametrize("long_side", [0, 32, 100])
def test_other_training_sizes_are_refused(long_side):
    with pytest.raises(InputError, match="multiple of 32"):
        choose_framing(SIZE, long_side)


def grid(x, y):
    """A smooth grid on the plane at distance 1, in grey levels."""
    return 128 + 60 * np.sin(16 * x) + 60 * np.sin(16 * y)


@pytest.mark.parametrize("bent", [(-0.28, 0.08, 0.0, 0.0), (0.15, -0.05, 0.002, -0.003, 0.01)])
def test_distortion_is_undone(bent):
    """A grid taken through a Brown–Conrady lens, pixel by pixel; straightened it is the grid through a pinhole."""
    height, width = 240, 320
    camera = np.array([[260.0, 0, 165], [0, 255.0, 118], [0, 0, 1]])
    v, u = np.mgrid[:height, :width].astype(float)
    xd, yd = (u - 165) / 260, (v - 118) / 255
    k1, k2, p1, p2, k3 = (*bent, 0.0)[:5]
    x, y = xd.copy(), yd.copy()
    for _ in range(60):  # the model goes from straight to bent; its inverse by fixed point
        r2 = x * x + y * y
        radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
        x = (xd - 2 * p1 * x * y - p2 * (r2 + 2 * x * x)) / radial
        y = (yd - p1 * (r2 + 2 * y * y) - 2 * p2 * x * y) / radial
    taken = np.round(grid(x, y)).astype(np.uint8)
    straighten = Straightener(camera, bent, (height, width))
    fx, fy, cx, cy = straighten.intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]]
    wanted = grid((u - cx) / fx, (v - cy) / fy)
    inner = (slice(4, -4), slice(4, -4))
    error = np.abs(straighten(taken)[inner] - wanted[inner])
    assert error.mean() < 1.0
    assert error.max() < 6.0
    unmended = np.abs(taken[inner] - grid((u - 165) / 260, (v - 118) / 255)[inner])
    assert unmended.mean() > 4 * error.mean()


def test_no_distortion_changes_nothing():
    camera = np.array([[260.0, 0, 159.5], [0, 260.0, 119.5], [0, 0, 1]])
    straighten = Straightener(camera, (0.0, 0.0, 0.0, 0.0), (240, 320))
    pixels = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    np.testing.assert_allclose(straighten.intrinsics, camera, atol=1.0)
    assert np.abs(straighten.intrinsics[:2, 2] - camera[:2, 2]).max() < 0.5
    assert straighten(pixels).shape == pixels.shape
