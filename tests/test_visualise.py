import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from semdepth import visualise
from semdepth.labels import CLASSES
from semdepth.runtime import InputError


def brightness(picture: np.ndarray) -> np.ndarray:
    return picture.astype(np.float64) @ [0.299, 0.587, 0.114]


def test_near_is_bright_in_disparity_and_in_depth() -> None:
    depth = np.linspace(2, 60, 50)[None]
    for picture in (visualise.colourise_depth(depth), visualise.colourise_disparity(1 / depth)):
        assert picture.shape == (1, 50, 3)
        assert picture.dtype == np.uint8
        assert (np.diff(brightness(picture)[0]) <= 1e-9).all()
        assert brightness(picture)[0, 0] > brightness(picture)[0, -1] + 100
    np.testing.assert_array_equal(visualise.colourise_depth(depth), visualise.colourise_disparity(1 / depth))


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-3, 1e3))
def test_colours_do_not_depend_on_the_scale(scale: float) -> None:
    disparity = np.random.default_rng(0).uniform(0.01, 1, (6, 8))
    once, scaled = visualise.colourise_disparity(disparity), visualise.colourise_disparity(disparity * scale)
    assert np.abs(once.astype(int) - scaled.astype(int)).max() <= 4  # one step of the colour map


def test_a_few_very_near_pixels_do_not_darken_the_rest() -> None:
    disparity = np.random.default_rng(0).uniform(0.1, 1, (20, 20))
    outlier = disparity.copy()
    outlier[0, 0] = 1e6
    change = brightness(visualise.colourise_disparity(outlier)) - brightness(visualise.colourise_disparity(disparity))
    assert np.abs(change).mean() < 5


def test_a_given_range_fixes_the_colours() -> None:
    near, far = np.array([[2.0, 4.0]]), np.array([[4.0, 8.0]])
    pictures = [visualise.colourise_depth(depth, value_range=(1, 10)) for depth in (near, far)]
    np.testing.assert_array_equal(pictures[0][0, 1], pictures[1][0, 0])


def test_what_is_unknown_is_black_and_an_empty_map_is_no_error() -> None:
    depth = np.array([[0.0, np.nan, np.inf, 5.0]])
    assert (visualise.colourise_depth(depth)[0, :3] == 0).all()
    assert visualise.colourise_depth(depth)[0, 3].any()
    assert not visualise.colourise_depth(np.zeros((3, 3))).any()
    error = visualise.relative_error(np.array([[0.0, 4.0, 4.0]]), np.array([[3.0, 4.0, 8.0]]))
    np.testing.assert_array_equal(error, [[np.nan, 0.0, 1.0]])
    picture = visualise.colourise_error(error, worst=0.5)
    assert not picture[0, 0].any()
    assert picture[0, 1].argmax() == 2, "right is blue"
    assert picture[0, 2].argmax() == 0, "wrong is red"
    assert visualise.colourise_error(error).shape == (1, 3, 3)


def test_uncertainty_is_bright_where_unsure() -> None:
    values = brightness(visualise.colourise_uncertainty(np.array([[0.0, 0.5, 1.0]])))[0]
    assert values[0] < values[1] < values[2]


def test_labels_wear_the_usual_colours() -> None:
    labels = np.array([[c.train_id for c in CLASSES] + [255]], dtype=np.uint8)
    picture = visualise.colourise_labels(labels)
    assert [tuple(colour) for colour in picture[0].tolist()] == [*(c.colour for c in CLASSES), (0, 0, 0)]


def test_overlay_mixes() -> None:
    image, picture = np.full((2, 2, 3), 100, np.uint8), np.full((2, 2, 3), 200, np.uint8)
    assert (visualise.overlay(image, picture) == 150).all()
    assert (visualise.overlay(image, picture, opacity=1) == 200).all()


def test_unknown_colour_map_is_refused() -> None:
    with pytest.raises(InputError, match="colour map"):
        visualise.colourise_depth(np.ones((2, 2)), colours="mauve")


def test_panel_sets_pictures_in_a_grid() -> None:
    red = np.zeros((10, 20, 3), np.uint8)
    red[..., 0] = 255
    grey, large = np.full((10, 20), 7, np.uint8), np.full((20, 40, 3), 9, np.uint8)
    grid = visualise.panel([red, grey, large], columns=2)
    assert grid.shape == (10 + 4 + 10, 20 + 4 + 20, 3)
    assert (grid[:10, :20] == [255, 0, 0]).all()
    assert (grid[:10, 24:] == 7).all()
    assert (grid[14:, :20] == 9).all()
    assert (grid[14:, 24:] == 255).all()
    titled = visualise.panel([red, grey], titles=["one", "two"], columns=5)
    assert titled.shape[1] == 44
    assert titled.shape[0] > 10
    assert (titled[-10:, :20] == [255, 0, 0]).all()
    assert titled[:-10].min() < 128, "the title is written"
    headed = visualise.panel([red, red, red, red], titles=["left", "right"], columns=2)
    assert headed.shape[0] == titled.shape[0] + 4 + 10, "column titles stand over the first row only"


def test_panel_refuses_what_is_no_picture() -> None:
    with pytest.raises(ValueError, match="no panel"):
        visualise.panel([])
    with pytest.raises(ValueError, match="no panel"):
        visualise.panel([np.zeros((2, 2), np.uint8)], titles=["a", "b"])
    with pytest.raises(ValueError, match="uint8"):
        visualise.panel([np.zeros((2, 2, 3))])


@pytest.mark.parametrize("kind", ["colour", "grey", "depth"])
def test_png_comes_back_as_it_went(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(0)
    array = {
        "colour": rng.integers(0, 256, (5, 7, 3), dtype=np.uint8),
        "grey": rng.integers(0, 256, (5, 7), dtype=np.uint8),
        "depth": rng.integers(0, 65536, (5, 7), dtype=np.uint16),
    }[kind]
    path = tmp_path / "new" / "picture.png"
    visualise.write_png(path, array)
    visualise.write_png(path, array)  # over the old one
    with Image.open(path) as picture:
        np.testing.assert_array_equal(np.asarray(picture), array)
    assert [p.name for p in path.parent.iterdir()] == ["picture.png"], "nothing is left lying about"


def test_png_refuses_other_types_and_places(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="uint8"):
        visualise.write_png(tmp_path / "a.png", np.zeros((2, 2)))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        visualise.write_png(tmp_path / "file" / "a.png", np.zeros((2, 2), np.uint8))


def test_importing_is_cheap() -> None:
    code = "import sys, semdepth.visualise; assert not {'torch', 'matplotlib'} & set(sys.modules), 'heavy import'"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
