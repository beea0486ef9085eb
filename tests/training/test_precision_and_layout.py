"""What the networks compute in and how they lie in memory: the same run, to rounding, also when it changes on the way."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from semdepth.models.network import NetworkConfig
from semdepth.training.recorder import read_curves

from .conftest import Wall
from .test_trainer import make


def test_the_layout_changes_rounding_alone(tmp_path: Path, wall: Wall, small_network: NetworkConfig) -> None:
    files = [make(tmp_path / str(c), small_network, wall, channels_last=c, steps=1).fit() for c in (False, True)]
    plain, other = (load_file(file) for file in files)
    assert plain.keys() == other.keys()
    for name, weights in plain.items():
        assert torch.allclose(weights.float(), other[name].float(), atol=2e-4), (
            name
        )  # a first step of Adam is 1e-3 long
    losses = [[value for _, name, value in read_curves(file.parent) if name == "train/loss"] for file in files]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_run_goes_on_in_another_layout(tmp_path: Path, wall: Wall, small_network: NetworkConfig) -> None:
    """Adam's moments come in the old one; taken as they lie they would belong to other weights."""
    found = []
    for layout in (False, True):
        run = tmp_path / str(layout)
        make(run, small_network, wall, steps=4).fit()
        found.append(load_file(make(run, small_network, wall, steps=6, channels_last=layout).fit()))
    for name, weights in found[0].items():
        assert torch.allclose(weights.float(), found[1][name].float(), atol=1e-3), name
        if weights.is_floating_point() and "running" not in name:
            assert float((weights - found[1][name]).abs().mean()) < 1e-4, name


def test_half_precision_trains(tmp_path: Path, wall: Wall, small_network: NetworkConfig) -> None:
    weights = load_file(make(tmp_path, small_network, wall, precision="bf16-mixed", steps=1, batch=1).fit())
    assert all(value.dtype != torch.bfloat16 and torch.isfinite(value).all() for value in weights.values())
