import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from semdepth.models.network import NetworkConfig
from semdepth.structures import FrameBatch
from semdepth.training.held_out import HeldOutViews, errors
from semdepth.training.objective import Learner
from semdepth.training.objective_config import ObjectiveConfig

from .conftest import Wall

FOCAL, SHIFT = 100.0, 3


def who_knows(network: NetworkConfig, depth: float, step: float) -> Learner:
    """A learner to whom everything is ``depth`` away, and the camera moves sideways by ``step`` a frame."""
    learner = Learner(network, ObjectiveConfig()).eval()
    sigma = (1 / depth - 1 / network.max_depth) / (1 / network.min_depth - 1 / network.max_depth)
    with torch.no_grad():
        for head in learner.depth.disparity_heads:
            for parameter in head.parameters():
                parameter.zero_()
            head.conv.bias.fill_(math.log(sigma / (1 - sigma)))

    def motion(batch: FrameBatch) -> Tensor:
        matrices = torch.eye(4).repeat(len(batch), 2, 1, 1)
        matrices[:, 0, 0, 3], matrices[:, 1, 0, 3] = step, -step
        return matrices

    learner.motion = motion  # type: ignore[method-assign]
    return learner


def test_who_knows_depth_and_motion_explains_nearly_all(small_network: NetworkConfig) -> None:
    right = HeldOutViews(Wall(length=3))(who_knows(small_network, 1.0, SHIFT / FOCAL))
    assert right["explained"] > 0.9, right
    assert right["photometric"] < 0.02


@pytest.mark.parametrize("depth", [0.5, 2.0])
def test_a_wrong_depth_explains_less(small_network: NetworkConfig, depth: float) -> None:
    assert HeldOutViews(Wall(length=2))(who_knows(small_network, depth, SHIFT / FOCAL))["explained"] < 0.7


@pytest.mark.parametrize("step", [0.0, -SHIFT / FOCAL])
def test_standing_still_or_going_backwards_explains_little(small_network: NetworkConfig, step: float) -> None:
    """A warp that fits worse than none counts as none, so that the share is never below 0."""
    explained = HeldOutViews(Wall(length=2))(who_knows(small_network, 1.0, step))["explained"]
    assert 0 <= explained < 0.3
    if step == 0:
        assert explained == pytest.approx(0, abs=1e-6)


def test_how_a_run_is_taught_does_not_change_how_it_is_judged(small_network: NetworkConfig) -> None:
    batch = Wall()[1]
    batch = replace(batch, target=batch.target / 255, sources=batch.sources / 255)
    learner = who_knows(small_network, 2.0, SHIFT / FOCAL)
    before = errors(learner, batch)
    learner.config = ObjectiveConfig(auto_mask=False, per_pixel_minimum=False, full_resolution=False)
    assert errors(learner, batch) == before


def test_frames_that_never_change_are_no_division_by_zero(small_network: NetworkConfig) -> None:
    told = HeldOutViews(Wall(length=2, shift=0))(who_knows(small_network, 1.0, 0.0))
    assert told == {"photometric": 0.0, "explained": 0.0}
