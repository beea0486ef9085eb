"""``semdepth cache``, and training on what it wrote."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from semdepth.apps.cli import main
from semdepth.training.trainer import Trainer

from .conftest import SMALL

SIZE = ["--data.height=64", "--data.width=128"]


def train(run: Path, *options: str) -> dict[str, torch.Tensor]:
    assert main(["train", f"--run={run}", *SIZE, *SMALL, *options]) == 0
    return load_file(run / "weights.safetensors")


@pytest.fixture(scope="module")
def prepared(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "cache"
    assert main(["cache", str(out), f"--data.root={world}", *SIZE]) == 0
    return out


@pytest.fixture(scope="module")
def plainly_trained(world: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    run = tmp_path_factory.mktemp("plain") / "run"
    return train(run, f"--data.root={world}", "--trainer.steps=2")


def test_training_is_the_same_to_the_bit(
    prepared: Path, plainly_trained: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    cached = train(tmp_path / "run", "--data.name=prepared", f"--data.root={prepared}", "--trainer.steps=2")
    assert all(torch.equal(cached[name], value) for name, value in plainly_trained.items())


def test_resumed_training_is_the_same_to_the_bit(
    prepared: Path, plainly_trained: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--data.name=prepared", f"--data.root={prepared}", "--trainer.steps=2")
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "stops", lambda self, requested: self.step == 1)
        assert main(["train", f"--run={tmp_path}", *SIZE, *SMALL, *options]) == 130
    resumed = train(tmp_path, *options)
    assert all(torch.equal(resumed[name], value) for name, value in plainly_trained.items())


def test_resumed_training_on_shards_is_the_same_to_the_bit(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "shards"
    assert main(["cache", str(out), f"--data.root={world}", *SIZE, "--shards=2"]) == 0
    assert "--data.name shards" in capsys.readouterr().out
    assert main(["cache", str(out), "--verify=true"]) == 0
    options = ("--data.name=shards", f"--data.root={out}", "--trainer.steps=3", "--trainer.workers=2")
    whole = train(tmp_path / "whole", *options)
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "stops", lambda self, requested: self.step == 1)
        assert main(["train", f"--run={tmp_path / 'parts'}", *SIZE, *SMALL, *options]) == 130
    parts = train(tmp_path / "parts", *options)
    assert all(torch.equal(parts[name], value) for name, value in whole.items())


def test_it_says_what_it_wrote_and_how_to_train(
    world: Path, prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["cache", str(prepared), f"--data.root={world}", *SIZE]) == 0  # already there
    said = capsys.readouterr().out
    assert "4 records of 8 frames at 128×64, 0.3 MB in 4 files" in said
    command = f"semdepth train --data.name prepared --data.root {prepared} --data.height 64 --data.width 128 --trainer.workers 0"
    assert command in said
    assert main(["cache", str(prepared), "--verify=true"]) == 0
    assert "whole" in capsys.readouterr().out


def test_a_flipped_byte_is_one_line(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "cache"
    assert main(["cache", str(out), f"--data.root={world}", *SIZE]) == 0
    content = bytearray((out / "images.bin").read_bytes())
    content[len(content) // 2] ^= 8
    (out / "images.bin").write_bytes(content)
    capsys.readouterr()
    options = ["--data.name=prepared", f"--data.root={out}", "--trainer.steps=2", f"--run={tmp_path / 'run'}"]
    for command in (["cache", str(out), "--verify=true"], ["train", *SIZE, *SMALL, *options]):
        assert main(command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "images.bin: row 4 is damaged" in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data.name=synthetic"], "give recorded frames"),
        (["--data.root=/nowhere"], "/nowhere"),
        (["--shards=-1"], "shards must not be negative"),
        (["--verify=true"], "cache.json: header of prepared cache not found"),
    ],
)
def test_bad_input(options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", str(tmp_path / "out"), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_shards_without_webdataset_name_the_extra(world: Path, tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules["webdataset"] = None
from semdepth.apps.cli import main
sys.exit(main(["cache", {str(tmp_path / "out")!r}, "--data.root={world}", "--shards=2", *{SIZE!r}]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install '.[shards]'" in done.stderr
