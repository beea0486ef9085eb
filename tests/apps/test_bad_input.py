"""Bad input to a command: one line that names the thing and the mend, exit code 2, no traceback, nothing half-written."""

import errno
import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from jsonargparse import ArgumentParser
from PIL import Image

from semdepth.apps.cli import main
from semdepth.models.weights import load_depth_network, save_weights

from .conftest import SMALL

evaluate = import_module("semdepth.apps.evaluate")


def complaint(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail; return its one line."""
    capsys.readouterr()
    assert main(arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    said = [line for line in lines if line.startswith("semdepth:")]
    assert len(said) == 1, lines
    assert "Traceback" not in "".join(lines)
    return said[0]


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert "choose from prepare, train" in complaint(["trian"], capsys)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--config=nowhere.yaml"], "nowhere.yaml"),
        (["--data.nonsense=1"], "nonsense"),
        (["--trainer.steps=many"], "steps"),
        (["--trainer.batch=0"], "trainer.batch"),
        (["--network.fusion=magic"], "fusion"),
        (["--data.root=/nowhere/at/all"], "/nowhere/at/all"),
        ([], "root"),
        (["--optim.learning_rate=-1"], "learning_rate"),
    ],
)
def test_train(arguments: list[str], hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hint in complaint(["train", f"--run={tmp_path / 'run'}", *arguments], capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", ["not: [closed", "just words", "data: {name: mars}", "dta: {}", "\x00\x01"])
def test_a_broken_recipe(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(content)
    complaint(["train", f"--config={recipe}", f"--run={tmp_path / 'run'}"], capsys)


@pytest.mark.parametrize("option", ["--config={}", "--config {}", "--data={}"])
def test_a_recipe_that_is_not_utf8_is_named(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "latin.yaml"
    recipe.write_bytes("run: café\n".encode("latin-1"))
    line = complaint(["train", *option.format(recipe).split(" "), f"--run={tmp_path / 'run'}"], capsys)
    assert f"{recipe}: is not UTF-8 text" in line


def test_a_recipe_that_cannot_be_read_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "secret.yaml")

    monkeypatch.setattr(ArgumentParser, "parse_args", refuse)
    line = complaint(["train", "--config=secret.yaml", f"--run={tmp_path / 'run'}"], capsys)
    assert "secret.yaml: cannot be read (Permission denied)" in line


def test_a_damaged_frame_stops_training_and_keeps_the_run(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "world"
    shutil.copytree(world, copy)
    victim = sorted(copy.rglob("image_02/data/*.png"))[1]
    victim.write_bytes(victim.read_bytes()[:100])
    size = ["--data.height=64", "--data.width=128", "--trainer.steps=9"]
    line = complaint(["train", f"--run={tmp_path / 'run'}", f"--data.root={copy}", *size, *SMALL], capsys)
    assert victim.name in line


def test_predict(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "photo.png"
    Image.new("RGB", (64, 64)).save(photo)
    text = tmp_path / "text.png"
    text.write_text("hello")
    empty = tmp_path / "empty"
    empty.mkdir()
    out = f"--out={tmp_path / 'out'}"
    assert "nowhere" in complaint(["predict", str(photo), "--weights=nowhere", out], capsys)
    assert "text.png" in complaint(["predict", str(photo), f"--weights={text}", out], capsys)
    assert "empty" in complaint(["predict", str(photo), f"--weights={empty}", out], capsys)
    assert "text.png" in complaint(["predict", str(text), f"--weights={run}", out], capsys)
    assert "nowhere.png" in complaint(["predict", str(tmp_path / "nowhere.png"), f"--weights={run}", out], capsys)
    assert "no images" in complaint(["predict", str(empty), f"--weights={run}", out], capsys)
    assert "device" in complaint(["predict", str(photo), f"--weights={run}", out, "--device=quantum"], capsys)
    assert "is a file; give a folder as --out" in complaint(
        ["predict", str(photo), f"--weights={run}", f"--out={text}"], capsys
    )
    for every in (0, -1):
        assert "every" in complaint(["predict", str(photo), f"--weights={run}", out, f"--every={every}"], capsys)
    assert not (tmp_path / "out").exists()


def test_predict_refuses_two_images_of_one_name(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "a.bmp", "a_bmp.jpg"):
        Image.new("RGB", (64, 64)).save(tmp_path / name)
    line = complaint(["predict", str(tmp_path), f"--weights={run}", f"--out={tmp_path / 'out'}"], capsys)
    assert "a_bmp.jpg" in line
    assert "rename" in line


def test_a_prediction_that_cannot_be_written_leaves_nothing(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_the_disk(path: Path, _: object) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    photo, out = tmp_path / "photo.png", tmp_path / "out"
    Image.new("RGB", (64, 64)).save(photo)
    monkeypatch.setattr(np, "save", fill_the_disk)
    assert "No space left" in complaint(["predict", str(photo), f"--weights={run}", f"--out={out}"], capsys)
    assert [p.name for p in out.iterdir()] == ["predict.json"]


def test_evaluate(run: Path, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere" in complaint(["evaluate", "nowhere"], capsys)
    assert "holds none of best.safetensors" in complaint(["evaluate", str(tmp_path)], capsys)
    alone = tmp_path / "weights.safetensors"
    shutil.copy(run / "weights.safetensors", alone)
    for path in (alone, tmp_path):
        assert "holds no config.yaml" in complaint(["evaluate", str(path)], capsys)
    assert "nowhere" in complaint(["evaluate", str(run), "--data.root=/nowhere"], capsys)
    frames = ["--data.name=folder", f"--data.root={world}/2026_01_01/2026_01_01_drive_0000_sync/image_02/data"]
    line = complaint(["evaluate", str(run), *frames, "--data.fov_deg=90", "--data.labels=none"], capsys)
    assert "kitti_raw" in line


def test_evaluate_finds_out_that_it_cannot_write_before_it_judges(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "judge", None)
    file = tmp_path / "file"
    file.write_text("")
    for out in (file, file / "below"):
        line = complaint(["evaluate", str(run), f"--out={out}"], capsys)
        assert f"{out}: cannot be written" in line
        assert "--out" in line


def test_evaluate_refuses_weights_that_lie_about_their_size(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network, header = load_depth_network(run / "weights.safetensors")
    save_weights(tmp_path / "weights.safetensors", network, extra=header.extra | {"image_size": [64, 100]})
    shutil.copy(run / "config.yaml", tmp_path)
    assert "100×64" in complaint(["evaluate", str(tmp_path)], capsys)


def test_synthesise(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.write_text("")
    size = ["--drives=1", "--frames=1", "--height=64", "--width=128"]
    assert "cannot be written" in complaint(["synthesise", str(file), *size], capsys)
    assert "frames" in complaint(["synthesise", str(tmp_path / "w"), "--frames=0"], capsys)
    size = ["--drives=3", "--frames=4", "--height=64", "--width=128"]
    for option in ("frames=5", "height=96", "world.traffic=0.5", "world.scene=simple", "noise.border=0"):
        line = complaint(["synthesise", str(world), *size, f"--{option}"], capsys)
        assert option.partition("=")[0] in line
        assert "delete the folder or give another" in line
    assert len(list(world.glob("*/*_sync"))) == 2


@pytest.mark.parametrize(
    "field", ["optim.learning_rate", "trainer.batch", "network.decoder_channels", "data.height", "validation.height"]
)
def test_an_empty_value_is_one_line(field: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """YAML's null passes for a value until somebody computes with it."""
    group, name = field.split(".")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"{group}:\n  {name}: null\n")
    assert main(["train", "--config", str(recipe), "--data.root", str(tmp_path)]) == 2
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1
    assert "Traceback" not in complaint
    assert name in complaint
