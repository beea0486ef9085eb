"""Cityscapes and Make3D through the commands, on made trees."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from semdepth.apps.cli import main
from semdepth.training.recorder import read_curves

from .conftest import SMALL

SIZE = ["height=64", "width=128"]


@pytest.fixture(scope="module")
def city_run(city_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps on the made Cityscapes, with pseudo-labels, judged on its val split."""
    out = tmp_path_factory.mktemp("city") / "run"
    data = ["name=cityscapes", f"root={city_tree}", *SIZE]
    arguments = [*(f"--data.{d}" for d in data), "--data.offsets=[-2,2]", "--network.fusion=ssfa"]
    judged = [*(f"--validation.{d}" for d in data), "--validation.split=val", "--validation.labels=exact"]
    arguments += [*judged, "--validation.require_depth=true", "--objective.ranking=0.1", "--trainer.steps=2", *SMALL]
    assert main(["train", f"--run={out}", *arguments]) == 0
    return out


def test_train_and_evaluate_on_cityscapes(city_run: Path, city_tree: Path, tmp_path: Path) -> None:
    judged = {name: value for _, name, value in read_curves(city_run) if name.startswith("validation/")}
    assert np.isfinite(judged["validation/abs_rel"])
    assert "validation/border_abs_rel" in judged
    data = ["--data.name=cityscapes", f"--data.root={city_tree}", "--data.split=test", "--data.labels=exact"]
    assert main(["evaluate", str(city_run), *data, f"--out={tmp_path}"]) == 0
    result = json.loads((tmp_path / "evaluation.json").read_text())
    assert result["protocol"] == "cityscapes"
    assert [(row["name"], row["group"]) for row in result["rows"]] == [("bonn/000003_000019/l", "bonn")]
    assert result["rows"][0]["pixels"] <= 32 * 104
    assert "mean depth map" in result["baselines"]
    assert "class/road" in result["strata"]
    assert result["measures"]["log10"] is None


def test_evaluate_on_make3d(city_run: Path, make3d_tree: Path, tmp_path: Path) -> None:
    data = ["--data.name", "make3d", "--data.root", str(make3d_tree)]
    assert main(["evaluate", str(city_run), *data, f"--out={tmp_path}"]) == 0
    result = json.loads((tmp_path / "evaluation.json").read_text())
    assert result["protocol"] == "make3d"
    assert len(result["rows"]) == 3
    assert 0 < result["measures"]["log10"] <= result["measures"]["rmse_log10"]
    assert result["measures"]["rmse_log10"] == pytest.approx(result["mean"]["rmse_log"] / np.log(10))
    assert {row["group"] for row in result["rows"]} == {"math7", "op57"}
    table = (tmp_path / "evaluation.md").read_text()
    assert "| log10 ↓ | RMS log10 ↓ |" in table


def complaint(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(arguments) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("semdepth:")]
    assert len(said) == 1
    return said[0]


def test_bad_input_is_one_line(
    city_run: Path, city_tree: Path, make3d_tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learn = ["train", f"--run={tmp_path / 'run'}", "--data.name=make3d", f"--data.root={make3d_tree}"]
    assert "to judge on only" in complaint(learn, capsys)
    assert not (tmp_path / "run").exists()
    make3d, city = tmp_path / "make3d", tmp_path / "city"
    shutil.copytree(make3d_tree, make3d)
    grid = next((make3d / "Gridlaserdata").iterdir())
    grid.write_bytes(grid.read_bytes()[:300])
    evaluate = ["evaluate", str(city_run), f"--out={tmp_path / 'out'}"]
    line = complaint([*evaluate, "--data.name=make3d", f"--data.root={make3d}"], capsys)
    assert f"{grid.name}: laser grid cannot be read" in line
    shutil.copytree(city_tree, city)
    next((city / "camera" / "val").rglob("*.json")).write_text("{}")
    of_city = ["--data.name=cityscapes", f"--data.root={city}", "--data.labels=none"]
    assert "_camera.json: camera file has no number" in complaint([*evaluate, *of_city, "--data.split=val"], capsys)
    assert "split nonsense" in complaint([*evaluate, *of_city, "--data.split=nonsense"], capsys)
