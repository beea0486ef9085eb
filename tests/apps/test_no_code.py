"""Nothing that is loaded is executed: recipes, weights, checkpoints, arrays."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from semdepth.data.cache import read_rows
from semdepth.data.prepared import DataFile
from semdepth.models.encoder import encoder_from_settings
from semdepth.models.weights import load_depth_network
from semdepth.runtime import InputError
from semdepth.training.checkpoint import CONTENT, load_checkpoint

from .test_bad_input import complaint


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple:
        return (Path.write_text, (self.proof, "executed"))


@pytest.fixture
def proof(tmp_path: Path) -> Path:
    return tmp_path / "proof"


def test_the_bomb_works(proof: Path) -> None:
    """Otherwise the tests below could not fail."""
    pickle.loads(pickle.dumps(Bomb(proof)))
    assert proof.exists()


@pytest.mark.parametrize(
    "content",
    [
        "network: !!python/object/apply:pathlib.Path.touch ['{proof}']",
        "run: !!python/object/apply:os.system ['touch {proof}']",
        "run: !!python/object/new:pathlib.PosixPath ['{proof}']",
        "network: {{class_path: os.system, init_args: {{command: touch {proof}}}}}",
        "class_path: semdepth.config.Experiment\ninit_args: {{}}",
        "data: {{name: folder, class_path: builtins.exec}}",
        "optim: {{class_path: torch.optim.SGD}}",
        "augment: {{__import__: os}}",
    ],
)
def test_a_recipe_cannot_name_code(
    content: str, proof: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(content.format(proof=proof))
    complaint(["train", f"--config={recipe}", f"--run={tmp_path / 'run'}"], capsys)
    assert not proof.exists()
    assert not (tmp_path / "run").exists()


def test_aliases_that_multiply_do_not_fill_the_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The YAML form of the "billion laughs"."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 4)]
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("\n".join(lines))
    line = complaint(["train", f"--config={recipe}"], capsys)
    assert len(line) < 50_000


@pytest.mark.parametrize("place", ["weights.safetensors", "weights.pth", "weights.pt"])
def test_weights_that_are_a_pickle(place: str, proof: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / place
    torch.save({"model": Bomb(proof)}, path)
    with pytest.raises(InputError):
        load_depth_network(path)
    Image.new("RGB", (96, 64)).save(tmp_path / "frame.png")
    given = ["predict", str(tmp_path / "frame.png"), f"--weights={path}", f"--out={tmp_path / 'out'}"]
    assert str(path) in complaint(given, capsys)
    assert not (tmp_path / "out").exists()
    assert not proof.exists()


def test_a_checkpoint_that_is_a_pickle(proof: Path, tmp_path: Path) -> None:
    torch.save(dict.fromkeys(CONTENT, Bomb(proof)), tmp_path / "step_00000001.ckpt")
    (tmp_path / "step_00000002.ckpt").write_bytes(pickle.dumps(Bomb(proof)))
    with pytest.raises(InputError, match="none of its 2 checkpoints"):
        load_checkpoint(tmp_path)
    assert not proof.exists()


def test_arrays_that_are_pickles(proof: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    np.savez(path, frames=np.array([Bomb(proof)], dtype=object))
    import zlib
    from types import SimpleNamespace

    header = SimpleNamespace(files=(DataFile("rows.npz", path.stat().st_size, zlib.crc32(path.read_bytes()), 0),))
    with pytest.raises(InputError, match=r"rows\.npz"):
        read_rows(tmp_path, header)  # type: ignore[arg-type]
    assert not proof.exists()


def test_a_backbone_that_brings_code(proof: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "backbone"
    folder.mkdir()
    (folder / "evil.py").write_text(f"open({str(proof)!r}, 'w')\n")
    config = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config", "AutoBackbone": "evil.Backbone"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError):
        encoder_from_settings(config)
    from semdepth.models.network import NetworkConfig, build_depth_network

    with pytest.raises(InputError, match="backbone"):
        build_depth_network(NetworkConfig(encoder=str(folder)))
    assert not proof.exists()
