"""Bad input to a command: one line that names the thing and the mend, exit code 2, no traceback, nothing half-written."""

from pathlib import Path

import pytest
from PIL import Image

from semdepth.apps.cli import main

from .conftest import SMALL


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
    assert "choose from train" in complaint(["trian"], capsys)


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


def test_a_damaged_frame_stops_training_and_keeps_the_run(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

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
    assert "nowhere" in complaint(["predict", "nowhere", str(photo), out], capsys)
    assert "text.png" in complaint(["predict", str(text), str(photo), out], capsys)
    assert "empty" in complaint(["predict", str(empty), str(photo), out], capsys)
    assert "text.png" in complaint(["predict", str(run), str(text), out], capsys)
    assert "nowhere.png" in complaint(["predict", str(run), str(tmp_path / "nowhere.png"), out], capsys)
    assert "no images" in complaint(["predict", str(run), str(empty), out], capsys)
    assert "device" in complaint(["predict", str(run), str(photo), out, "--device=quantum"], capsys)
    assert "cannot be written" in complaint(["predict", str(run), str(photo), f"--out={text}"], capsys)
    assert not (tmp_path / "out").exists()


def test_evaluate(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "config.yaml" in complaint(["evaluate", str(tmp_path)], capsys)
    assert "nowhere" in complaint(["evaluate", str(run), "--data.root=/nowhere"], capsys)


def test_synthesise(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.write_text("")
    size = ["--drives=1", "--frames=1", "--height=64", "--width=128"]
    assert "cannot be written" in complaint(["synthesise", str(file), *size], capsys)
    assert "frames" in complaint(["synthesise", str(tmp_path / "w"), "--frames=0"], capsys)
    assert "another camera" in complaint(["synthesise", str(world), "--drives=3", "--height=96", "--width=192"], capsys)
