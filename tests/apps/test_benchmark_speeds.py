"""``semdepth benchmark render`` and ``load``."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from semdepth.apps import benchmark_load
from semdepth.apps.benchmark_turns import open_reference
from semdepth.apps.cli import main
from semdepth.data.folder import frame_folder
from semdepth.data.video import FrameDataset

from .test_bad_input import complaint


def test_render(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--data.height=32", "--data.width=64"]
    assert main(["benchmark", "render", *size, "--images=2", "--rounds=2", "--device=cpu", f"--out={tmp_path}"]) == 0
    found = json.loads((tmp_path / "performance.json").read_text())["render_cpu"]
    assert found["ours"] > 0
    assert found["size"] == [32, 64]
    assert "frames/s" in capsys.readouterr().out
    assert "rounds" in complaint(["benchmark", "render", "--rounds=0"], capsys)


def test_load(tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    for i in range(130):  # two shards, one for each reader
        Image.fromarray(np.full((40, 60, 3), i, dtype=np.uint8)).save(frames / f"{i:04d}.png")
    out = tmp_path / "out"
    assert main(["benchmark", "load", f"--data.root={frames}", "--rounds=1", f"--out={out}"]) == 0
    assert json.loads((out / "performance.json").read_text())["load"]["ours"] > 0


def test_the_reference_loads_the_same_triplets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 60, 3), dtype=np.uint8)
    for i in range(3):
        Image.fromarray(pixels[i]).save(tmp_path / f"{i:04d}.png")
    reference = open_reference("loading")
    monkeypatch.setattr(reference.random, "random", lambda: 1.0)  # neither flipped nor jittered
    theirs = reference.ReferenceTriplets(sorted(tmp_path.glob("*.png")), (32, 64))[0]
    ours = FrameDataset(frame_folder(tmp_path, fov_deg=60), 32, 64)[0]
    assert torch.equal(theirs["target"], ours.target[0] / 255.0)
    assert torch.equal(torch.stack([theirs["before"], theirs["after"]]), ours.sources[0] / 255.0)


def test_load_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--data.root" in complaint(["benchmark", "load"], capsys)
    assert "fewer" in complaint(["benchmark", "load", f"--data.root={tmp_path}"], capsys)
    monkeypatch.setattr(benchmark_load, "REFERENCES", tmp_path / "reference")
    assert "clone" in complaint(["benchmark", "load", f"--data.root={tmp_path}"], capsys)
