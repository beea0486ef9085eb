"""``semdepth convert`` from end to end; what it reads is tested in tests/models/test_foreign.py."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from semdepth.apps.cli import main
from semdepth.models.foreign import foreign_name
from semdepth.models.network import NetworkConfig, build_depth_network
from semdepth.models.weights import read_header

from .test_bad_input import complaint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both files of the family, made of one of our own networks."""
    out = tmp_path_factory.mktemp("mono_128x64")
    network = build_depth_network(NetworkConfig(initial_disparity="flat"), seed=0)
    named = {foreign_name(key): value for key, value in network.state_dict().items()}
    encoder = {key: value for key, value in named.items() if key.startswith("encoder.")}
    torch.save(encoder | {"height": 64, "width": 128, "use_stereo": True}, out / "encoder.pth")
    torch.save({key: value for key, value in named.items() if key.startswith("decoder.")}, out / "depth.pth")
    return out


def test_convert_predict_evaluate(
    folder: Path, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "mono" / "w.safetensors"
    assert main(["convert", str(folder), f"--out={weights}"]) == 0
    said = capsys.readouterr().out
    assert "resnet18, depth only, trained at 128×64" in said
    assert "5.4" in said
    assert read_header(weights).extra["converted_from"]["stereo"] is True
    Image.new("RGB", (90, 50), "grey").save(tmp_path / "photo.png")
    printed = said.split("semdepth predict ")[1].split("\n")[0]  # the command that it says comes next
    assert printed == f"IMAGE --weights {weights} --out DIR"
    given = [
        *printed.replace("IMAGE", str(tmp_path / "photo.png")).replace("DIR", str(tmp_path)).split(),
        "--device=cpu",
    ]
    assert main(["predict", *given]) == 0
    assert json.loads((tmp_path / "predict.json").read_text())["weights"] == weights.name
    assert np.load(tmp_path / "photo_depth.npy").shape == (50, 90)
    frames = [f"--data.root={world}", "--data.labels=exact", "--baselines=false", "--device=cpu"]
    assert main(["evaluate", str(weights), *frames]) == 0
    assert len(json.loads((tmp_path / "mono" / "evaluation.json").read_text())["rows"]) == 8


def test_bad_input(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "suffix .safetensors" in complaint(["convert", str(folder), f"--out={tmp_path / 'w.pth'}"], capsys)
    assert "encoder.pth" in complaint(["convert", str(tmp_path), f"--out={tmp_path / 'w.safetensors'}"], capsys)
    assert list(tmp_path.iterdir()) == []
