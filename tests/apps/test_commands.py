"""Every command from end to end, on a rendered world."""

import json
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import semdepth
from semdepth.apps.cli import COMMANDS, main
from semdepth.apps.predict_inputs import find_images
from semdepth.apps.recipes import load_experiment, parse_experiment
from semdepth.models.network import build_depth_network
from semdepth.models.weights import load_depth_network, save_weights
from semdepth.training.recorder import read_curves

from .conftest import SMALL

evaluate = import_module("semdepth.apps.evaluate")
CaptureText = pytest.CaptureFixture[str]


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
    assert set(result["baselines"]) == {"best constant depth", "mean depth map", "untrained network"}
    assert f"| best constant depth | {result['baselines']['best constant depth']['abs_rel']:.3f}" in table
    assert len(result["rows"]) == len((tmp_path / "evaluation.csv").read_text().splitlines()) - 1 == 8
    assert str(tmp_path / "evaluation.md").replace("\n", "") in capsys.readouterr().out.replace("\n", "")


def test_evaluate_with_flip_on_named_data(run: Path, world: Path, tmp_path: Path) -> None:
    data = ["--data.name=kitti_raw", f"--data.root={world}", "--data.labels=exact"]
    assert main(["evaluate", str(run), *data, "--flip=true", "--baselines=false", f"--out={tmp_path}"]) == 0
    assert "best constant depth" not in (tmp_path / "evaluation.md").read_text()


def test_evaluate_in_bfloat16(run: Path, tmp_path: Path) -> None:
    errors = []
    for precision in ("fp32", "bf16"):
        assert main(["evaluate", str(run), f"--precision={precision}", "--baselines=false", f"--out={tmp_path}"]) == 0
        found = json.loads((tmp_path / "evaluation.json").read_text())
        assert found["precision"] == precision
        assert f"computed in {precision}" in (tmp_path / "evaluation.md").read_text()
        errors.append(found["mean"]["abs_rel"])
    assert errors[0] != errors[1] == pytest.approx(errors[0], rel=0.02)


def test_evaluate_judges_the_weights_that_are_named(run: Path, tmp_path: Path) -> None:
    """Last weights that differ from the best: the run folder means the best, the file means itself."""
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    network, header = load_depth_network(copy / "weights.safetensors")
    other = build_depth_network(network.config, seed=7)
    save_weights(copy / "weights.safetensors", other, extra=header.extra)
    found = {}
    for name in ("", "best.safetensors", "weights.safetensors"):
        out = tmp_path / f"out{name}"
        assert main(["evaluate", str(copy / name), "--baselines=false", f"--out={out}"]) == 0
        found[name] = json.loads((out / "evaluation.json").read_text())["mean"]
        assert f"Weights: {name or 'best.safetensors'}" in (out / "evaluation.md").read_text()
    assert found[""] == found["best.safetensors"] != found["weights.safetensors"]


def test_the_untrained_network_starts_from_scratch_and_asks_no_hub(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, header = load_depth_network(run / "weights.safetensors")
    header = replace(header, config=replace(header.config, encoder="microsoft/resnet-18", pretrained=True))
    monkeypatch.setattr("semdepth.models.encoder._access", None)
    first, second = (evaluate.untrained_network(header, seed=3).state_dict() for _ in range(2))
    plain = build_depth_network(network.config, seed=3).state_dict()
    assert first.keys() == plain.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name])
        assert torch.equal(value, plain[name])


def test_evaluate_says_why_there_is_no_mean_map(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy, out = tmp_path / "run", tmp_path / "out"
    shutil.copytree(run, copy)
    config = yaml.safe_load((copy / "config.yaml").read_text())
    config["data"]["root"] = "/gone"
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["evaluate", str(copy), f"--out={out}"]) == 0
    said = " ".join("".join(capsys.readouterr()).split())
    assert "No mean depth map among the baselines: /gone" in said
    table = (out / "evaluation.md").read_text()
    assert "untrained network" in table
    assert "mean depth map" not in table


def test_the_verdict_is_written_before_the_baselines(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(evaluate, "judge_baselines", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        main(["evaluate", str(run), f"--out={tmp_path}"])
    assert len(json.loads((tmp_path / "evaluation.json").read_text())["rows"]) == 8
    assert (tmp_path / "evaluation.md").exists()


def test_predict_a_photo_of_any_size(run: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (123, 217, 3), dtype=np.uint8)).save(photo)
    out = tmp_path / "out"
    assert main(["predict", str(photo), f"--weights={run}", f"--out={out}", "--device=cpu"]) == 0
    depth = np.load(out / "photo_depth.npy")
    assert depth.shape == (123, 217)
    assert depth.dtype == np.float32
    assert np.isfinite(depth).all()
    assert (depth > 0).all()
    png = np.asarray(Image.open(out / "photo_depth.png"))
    assert np.abs(png / 256 - depth).max() <= 0.5 / 256 + 1e-6
    assert Image.open(out / "photo_disparity.png").size == (217, 123)
    assert Image.open(out / "photo_panel.png").width > 2 * 217
    assert {p.name for p in out.iterdir()} == {"predict.json"} | {
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
    assert main(["predict", str(folder), f"--weights={run}", f"--out={tmp_path / 'out'}"]) == 0
    assert "2 images, 1 passed over" in capsys.readouterr().out
    assert len(list((tmp_path / "out").glob("*.npy"))) == 2


def save(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64), "grey").save(path)


def test_images_that_differ_in_their_suffix_are_all_predicted(run: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    save(folder / "a.png", folder / "a.bmp", folder / "b.png", folder / "below" / "a.png")
    assert main(["predict", str(folder), f"--weights={run}", f"--out={out}"]) == 0
    found = {str(p.relative_to(out)) for p in out.rglob("*.npy")}
    assert found == {"a_png_depth.npy", "a_bmp_depth.npy", "b_depth.npy", "below/a_depth.npy"}


def test_only_folders_below_the_given_one_make_a_kitti_tree(tmp_path: Path) -> None:
    out = tmp_path / "predictions"
    plain = tmp_path / "image_02_of_mine" / "image_03"
    save(plain / "image_00.png", plain / "b.png", plain / "image_old" / "c.png")
    assert [p.name for p in find_images(plain, out)] == ["b.png", "image_00.png", "c.png"]
    labelled = tmp_path / "video"
    save(
        labelled / "a.png", labelled / "segmentation" / "data" / "a.png", labelled / "segmentation" / "panels" / "a.png"
    )
    assert find_images(labelled, out) == [labelled / "a.png"]
    raw = tmp_path / "drive"
    save(raw / "image_02" / "data" / "0.png", raw / "segmentation_02" / "data" / "0.png")
    assert find_images(raw, out) == [raw / "image_02" / "data" / "0.png"]
    odometry = tmp_path / "sequences"
    save(odometry / "00" / "image_2" / "0.png", odometry / "00" / "segmentation_2" / "data" / "0.png")
    assert find_images(odometry, out) == [odometry / "00" / "image_2" / "0.png"]


@pytest.mark.parametrize("place", [".", "predictions"])
def test_predictions_inside_the_folder_are_no_input(place: str, run: Path, tmp_path: Path) -> None:
    save(tmp_path / "a.png", tmp_path / "below" / "b_depth.png")
    arguments = ["predict", str(tmp_path), f"--weights={run}", f"--out={tmp_path / place}"]
    assert main(arguments) == 0
    first = {p for p in tmp_path.rglob("*") if p.is_file()}
    assert len(first) == 2 + 2 * 4 + 1
    assert main(arguments) == 0
    assert main([*arguments[:3], f"--out={tmp_path / 'elsewhere'}"]) == 0
    second = {p for p in tmp_path.rglob("*") if p.is_file()}
    assert len(second - first) == 2 * 4 + 1


def test_both_commands_call_it_flip_and_say_how_they_blend(run: Path, tmp_path: Path, capsys: CaptureText) -> None:
    for command in ("predict", "evaluate"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        said = " ".join(capsys.readouterr().out.split())
        assert "--flip" in said
        assert "Godard 2017" in said
    save(tmp_path / "a.png")
    assert main(["predict", str(tmp_path / "a.png"), f"--weights={run}", "--flip=true", f"--out={tmp_path}"]) == 0
    assert np.array_equal(
        np.load(tmp_path / "a_depth.npy"), semdepth.load(run).predict(tmp_path / "a.png", flip=True).depth
    )


def test_python_and_command_line_agree(run: Path, world: Path, tmp_path: Path) -> None:
    image = next(world.rglob("image_02/data/*.png"))
    assert main(["predict", str(image), f"--weights={run / 'weights.safetensors'}", f"--out={tmp_path}"]) == 0
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


def test_options_parse_as_their_help_shows_and_nothing_is_deprecated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "all")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sequences = ["--data.name=kitti_odometry", "--data.labels=none", '--data.sequences=["00","01"]']
        data = parse_experiment(
            [*sequences, "--data.frames=[0,60]", "--data.offsets=[-1,1]", "--data.cameras=[2]"]
        ).data
    assert (data.sequences, data.frames, data.offsets, data.cameras) == (("00", "01"), (0, 60), (-1, 1), (2,))


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


def test_the_help_of_training_does_not_wait_for_lightning() -> None:
    code = """import sys
from semdepth.apps.cli import main
try:
    main(["train", "--help"])
finally:
    assert not {"lightning_fabric", "torch._dynamo", "transformers"} & sys.modules.keys()"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
