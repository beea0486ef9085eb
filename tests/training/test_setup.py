from dataclasses import replace
from pathlib import Path

import pytest
import torch

from semdepth.models.network import NetworkConfig, build_depth_network
from semdepth.models.pose_net import build_pose_network
from semdepth.models.weights import save_weights
from semdepth.runtime import InputError
from semdepth.training.objective import Learner
from semdepth.training.objective_config import ObjectiveConfig
from semdepth.training.setup import check_data, start_from

from .conftest import Wall


def test_starting_from_weights_without_a_pose_network(small_network: NetworkConfig, tmp_path: Path) -> None:
    depth, file = build_depth_network(small_network, seed=3), tmp_path / "w.safetensors"
    save_weights(file, depth, extra={"image_size": [64, 96]})
    learner = Learner(small_network, ObjectiveConfig())
    before = {name: value.clone() for name, value in learner.pose.state_dict().items()}
    start_from(file, learner)
    assert all(torch.equal(value, depth.state_dict()[name]) for name, value in learner.depth.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in learner.pose.state_dict().items())


def test_weights_of_another_norm_are_refused(tmp_path: Path, small_network: NetworkConfig) -> None:
    """Their tensors have the same names and shapes."""
    found, wanted = (replace(small_network, fusion="ssfa", ssfa_norm=norm) for norm in ("instance", "channels"))
    networks = build_depth_network(found, seed=0), build_pose_network("resnet10-small", seed=0)
    save_weights(tmp_path / "w.safetensors", *networks, extra={"image_size": [64, 96]})
    with pytest.raises(InputError, match=r"set network\.ssfa_norm: instance"):
        start_from(tmp_path / "w.safetensors", Learner(wanted, ObjectiveConfig()))
    start_from(tmp_path / "w.safetensors", Learner(found, ObjectiveConfig()))


def test_labels_have_nineteen_classes(small_network: NetworkConfig) -> None:
    learner = Learner(replace(small_network, fusion="none", num_classes=5), ObjectiveConfig())
    with pytest.raises(InputError, match=r"network\.num_classes 5"):
        check_data(Wall(labels=True)[0], learner)
    check_data(Wall(labels=True)[0], Learner(replace(small_network, fusion="none"), ObjectiveConfig()))
