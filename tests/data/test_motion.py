import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from semdepth.data.motion import SIZE, moving_share, read_grey


def scene(seed=0, margin=20):
    """Return a textured grey image larger than the frames by ``margin`` on every side."""
    noise = np.random.default_rng(seed).integers(0, 256, (SIZE[0] + 2 * margin, SIZE[1] + 2 * margin), dtype=np.uint8)
    smooth = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(2))
    values = np.asarray(smooth, dtype=np.float32)
    return (values - values.mean()) * 5 + 128


def view(image, dx=0, dy=0, margin=20):
    return np.ascontiguousarray(image[margin + dy : margin + dy + SIZE[0], margin + dx : margin + dx + SIZE[1]])


@settings(max_examples=15, deadline=None)
@given(st.integers(-12, 12), st.integers(-12, 12))
def test_a_shift_moves_everything_and_none_nothing(dx, dy):
    image = scene()
    share = moving_share(view(image), view(image, dx, dy))
    assert share == 0 if dx == dy == 0 else share > 0.9


def test_noise_brightness_and_a_passing_car_are_no_motion_of_the_camera():
    image = scene()
    rng = np.random.default_rng(1)
    later = view(image) * 0.9 + 5 + rng.normal(0, 3, SIZE).astype(np.float32)
    assert moving_share(view(image), later) == 0
    later[64:128, 128:256] = view(scene(7))[64:128, 128:256]
    assert 0 < moving_share(view(image), later) < 0.1


def test_nothing_to_compare_is_unknown():
    assert math.isnan(moving_share(np.zeros(SIZE, np.float32), np.zeros(SIZE, np.float32)))


def test_real_drive_stands_at_its_end(shared):
    folder = shared / "data" / "kitti_raw" / "2011_09_26" / "2011_09_26_drive_0000_sync" / "image_02" / "data"

    def share(number):
        return moving_share(*(read_grey(folder / f"{n:010d}.jpg") for n in (number, number + 1)))

    assert share(5) > 0.5
    assert share(74) < 0.1
