"""The weights in the box: small, ours, and what is loaded where nothing is named."""

from pathlib import Path

import numpy as np
import pytest

from semdepth.inference import box
from semdepth.inference.predictor import load
from semdepth.models.weights import read_header
from semdepth.runtime import InputError


@pytest.mark.parametrize("name", sorted(box.NAMES))
def test_every_name_is_a_small_file_of_ours(name: str) -> None:
    path = Path(box.boxed(name))
    assert path.stat().st_size <= 15_000_000
    header = read_header(path)
    assert header.extra["image_size"]
    assert "intrinsics" not in header.extra, "nobody's photos are taken with the renderer's camera"
    assert f"`{name}`" in (path.parent / "README.md").read_text()


def test_nothing_named_is_the_default_and_it_predicts_a_street() -> None:
    assert box.boxed(None) == box.boxed(box.DEFAULT)
    height, width = 90, 270
    picture = np.full((height, width, 3), 200, dtype=np.uint8)
    picture[height // 2 :] = 90
    prediction = load().predict(picture)
    assert prediction.depth.shape == (height, width)
    assert np.isfinite(prediction.depth).all()
    assert prediction.labels is not None
    assert np.median(prediction.depth[-10:]) < np.median(prediction.depth[height // 2 : height // 2 + 10])


def test_a_folder_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(box.DEFAULT).mkdir()
    assert box.boxed(box.DEFAULT) == box.DEFAULT
    assert box.boxed("elsewhere") == "elsewhere"


def test_an_installation_without_them_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(box.NAMES, "lost", "lost.safetensors")
    with pytest.raises(InputError, match="missing; install semdepth again"):
        box.boxed("lost")
