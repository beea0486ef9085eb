import math

import numpy as np
import pytest
from PIL import Image

from semdepth.data.folder import frame_folder
from semdepth.data.video import FrameDataset
from semdepth.runtime import InputError

INTRINSICS = (50.0, 51.0, 19.5, 9.5)


@pytest.fixture
def root(tmp_path):
    for i in (1, 2, 9, 10, 11):
        Image.new("RGB", (40, 20), (i, 0, 0)).save(tmp_path / f"clip_{i}.png")
    return tmp_path


def test_frames_are_ordered_by_the_numbers_in_their_names(root):
    records = frame_folder(root, intrinsics=INTRINSICS)
    assert [r.image.stem for r in records] == ["clip_2", "clip_9", "clip_10"]
    assert [p.stem for p in records[1].sources] == ["clip_2", "clip_10"]
    item = FrameDataset(records, 20, 40)[1]
    assert (item.sources[0, :, 0, 0, 0].tolist(), item.target[0, 0, 0, 0].item()) == ([2, 10], 9)
    assert item.labels is None
    assert item.source_from_target is None


def test_intrinsics_from_argument_file_or_field_of_view(root):
    given = frame_folder(root, intrinsics=INTRINSICS)[0].intrinsics
    np.testing.assert_array_equal(given, [[50, 0, 19.5], [0, 51, 9.5], [0, 0, 1]])
    (root / "intrinsics.txt").write_text("50 51 19.5 9.5\n")
    np.testing.assert_array_equal(frame_folder(root)[0].intrinsics, given)
    (root / "intrinsics.txt").write_text("50 0 19.5\n0 51 9.5\n0 0 1\n")
    np.testing.assert_array_equal(frame_folder(root)[0].intrinsics, given)
    wide = frame_folder(root, fov_deg=90.0)[0].intrinsics
    np.testing.assert_allclose(wide, [[20, 0, 19.5], [0, 20, 9.5], [0, 0, 1]], rtol=1e-6)
    assert math.isclose(2 * math.degrees(math.atan(20 / wide[0, 0])), 90.0, rel_tol=1e-6)


def test_labels_go_by_the_images_names(root):
    for i in (1, 2, 9, 10, 11):
        for kind in ("data", "entropy"):
            (root / "segmentation" / kind).mkdir(parents=True, exist_ok=True)
            Image.new("L", (40, 20), i).save(root / "segmentation" / kind / f"clip_{i}.png")
    item = FrameDataset(frame_folder(root, intrinsics=INTRINSICS, labels="noisy"), 20, 40)[0]
    assert (item.labels == 2).all()
    assert (item.confidence == 253).all()


@pytest.mark.parametrize(
    ("options", "text", "says"),
    [
        ({}, None, "intrinsics.txt: not found"),
        ({}, "fx fy", "numbers only"),
        ({}, "1 2 3", "fx fy cx cy"),
        ({}, "-1 2 3 4", "above 0"),
        ({}, "nan 2 3 4", "fx fy cx cy"),
        ({}, "", "empty"),
        ({"intrinsics": INTRINSICS, "fov_deg": 60.0}, None, "not both"),
        ({"fov_deg": 180.0}, None, "fov_deg 180"),
        ({"intrinsics": INTRINSICS, "labels": "exact"}, None, "labels exact"),
        ({"intrinsics": INTRINSICS, "labels": "noisy"}, None, "no label PNGs"),
        ({"intrinsics": INTRINSICS, "offsets": (-3, 3)}, None, "neighbours"),
        ({"intrinsics": INTRINSICS, "offsets": (0, 1)}, None, "non-zero"),
    ],
)
def test_wrong_input_is_refused(root, options, text, says):
    if text is not None:
        (root / "intrinsics.txt").write_text(text)
    with pytest.raises(InputError) as caught:
        frame_folder(root, **options)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_empty_and_missing_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="no images"):
        frame_folder(tmp_path, intrinsics=INTRINSICS)
    with pytest.raises(InputError, match="not found"):
        frame_folder(tmp_path / "nowhere", intrinsics=INTRINSICS)
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(InputError, match="not a folder"):
        frame_folder(tmp_path / "file.txt", intrinsics=INTRINSICS)
