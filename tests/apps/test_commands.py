"""Every command from end to end, on a rendered world."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import semdepth
from semdepth.apps.cli import COMMANDS, main
from semdepth.apps.recipes import load_experiment
from semdepth.training.recorder import read_curves

from .conftest import SMALL


def test_synthesise_writes_kitti_raw_and_does_nothing_twice(world: Path) -> None:
    drives = sorted(world.glob("*/*_sync"))
    assert len(drives) == 2
    assert len(list((drives[0] / "image_02/data").glob("*.png"))) == 4
    before = {p: p.stat().st_mtime_ns for p in world.rglob("*.png")}
    assert main(["synthesise", str(world), "--drives=2", "--frames=4", "--height=64", "--width=128"]) == 0
    assert {p: p.stat().st_mtime_ns for p in world.rglob("*.png")} == before


def test_train_leaves_what_it_promises(run: Path) -> None:
    for name in ("config.yaml", "curves.csv", "weights.safetensors", "best.safetensors", "checkpoints", "panels"):
        assert (run / name).exists(), name
    assert load_experiment(run).network.encoder == "resnet10-small"
    names = {name for _, name, _ in read_curves(run)}
    assert {"train/loss", "train/photometric", "validation/abs_rel", "validation/border_abs_rel"} <= names


def test_train_again_resumes_but_refuses_other_options(
    run: Path, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    again = ["train", f"--config={copy / 'config.yaml'}", f"--run={copy}"]
    assert main([*again, "--trainer.steps=4"]) == 0
    assert max(step for step, _, _ in read_curves(copy)) == 4
    capsys.readouterr()
    assert main([*again, "--optim.learning_rate=0.5"]) == 2
    assert "optim.learning_rate" in capsys.readouterr().err


def test_evaluate_writes_the_table(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run), f"--out={tmp_path}"]) == 0
    table = (tmp_path / "evaluation.md").read_text()
    for row in ("best constant depth", "mean depth map", "untrained network", "border AbsRel"):
        assert row in table
    result = json.loads((tmp_path / "evaluation.json").read_text())
    assert result["protocol"] == "synthetic"
    assert len(result["rows"]) == len((tmp_path / "evaluation.csv").read_text().splitlines()) - 1 == 8
    assert str(tmp_path / "evaluation.md").replace("\n", "") in capsys.readouterr().out.replace("\n", "")


def test_evaluate_with_flip_on_named_data(run: Path, world: Path, tmp_path: Path) -> None:
    data = ["--data.name=kitti_raw", f"--data.root={world}", "--data.labels=exact"]
    assert main(["evaluate", str(run), *data, "--flip=true", "--baselines=false", f"--out={tmp_path}"]) == 0
    assert "best constant depth" not in (tmp_path / "evaluation.md").read_text()


def test_predict_a_photo_of_any_size(run: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (123, 217, 3), dtype=np.uint8)).save(photo)
    out = tmp_path / "out"
    assert main(["predict", str(run), str(photo), f"--out={out}", "--device=cpu"]) == 0
    depth = np.load(out / "photo_depth.npy")
    assert depth.shape == (123, 217)
    assert depth.dtype == np.float32
    assert np.isfinite(depth).all()
    assert (depth > 0).all()
    png = np.asarray(Image.open(out / "photo_depth.png"))
    assert np.abs(png / 256 - depth).max() <= 0.5 / 256 + 1e-6
    assert Image.open(out / "photo_disparity.png").size == (217, 123)
    assert Image.open(out / "photo_panel.png").width > 2 * 217
    assert {p.name for p in out.iterdir()} == {
        f"photo_{k}" for k in ("depth.npy", "depth.png", "disparity.png", "panel.png")
    }


def test_predict_a_folder_passes_over_what_it_cannot_read(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (80, 40), "grey").save(folder / name)
    (folder / "c.png").write_bytes(b"no image")
    assert main(["predict", str(run), str(folder), f"--out={tmp_path / 'out'}"]) == 0
    assert "2 images, 1 passed over" in capsys.readouterr().out
    assert len(list((tmp_path / "out").glob("*.npy"))) == 2


def test_python_and_command_line_agree(run: Path, world: Path, tmp_path: Path) -> None:
    image = next(world.rglob("image_02/data/*.png"))
    assert main(["predict", str(run / "weights.safetensors"), str(image), f"--out={tmp_path}"]) == 0
    prediction = semdepth.load(run / "weights.safetensors").predict(Image.open(image))
    assert np.array_equal(np.load(tmp_path / f"{image.stem}_depth.npy"), prediction.depth)


def test_a_network_with_two_branches_shows_classes_and_uncertainty(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    size = [f"--data.root={world}", "--data.height=64", "--data.width=128", "--trainer.steps=1"]
    assert main(["train", f"--run={out}", *size, *SMALL, "--network.fusion=ssfa", "--objective.ranking=0.1"]) == 0
    prediction = semdepth.load(out).predict(next(world.rglob("image_02/data/*.png")))
    assert prediction.labels is not None
    assert prediction.labels.shape == (64, 128)
    assert prediction.uncertainty is not None
    assert 0 <= prediction.uncertainty.min() <= prediction.uncertainty.max() <= 1
    judged = [f"--data.root={world}", "--data.labels=exact", f"--out={tmp_path}"]
    assert main(["evaluate", str(out), *judged, "--baselines=false"]) == 0
    assert "mean IoU" in (tmp_path / "evaluation.md").read_text()


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_teaches(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main([command, "--help"])
    assert leaving.value.code == 0
    assert len(capsys.readouterr().out) > 500


def test_overview_is_immediate_and_loads_no_torch() -> None:
    code = "import sys; from semdepth.apps.cli import main; main(['--help']); assert 'torch' not in sys.modules"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(command in out for command in COMMANDS)
