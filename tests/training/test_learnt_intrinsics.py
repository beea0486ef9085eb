"""The focal length is learnt with the motion, where that is asked for, and kept with the weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from semdepth.data.transforms import AugmentConfig, flip, to_unit_range
from semdepth.inference.predictor import load
from semdepth.models.network import NetworkConfig
from semdepth.models.weights import load_pose_network, read_header, save_weights
from semdepth.runtime import InputError
from semdepth.structures import FrameBatch, stack_frames
from semdepth.training.objective import Learner
from semdepth.training.objective_config import ObjectiveConfig
from semdepth.training.optim import OptimConfig
from semdepth.training.recorder import read_curves
from semdepth.training.setup import start_from
from semdepth.training.trainer import Trainer
from semdepth.training.trainer_config import TrainerConfig

from .conftest import HEIGHT, WIDTH, Wall


def learner(network: NetworkConfig, intrinsics: str) -> Learner:
    torch.manual_seed(0)
    config = replace(network, intrinsics=intrinsics)  # type: ignore[arg-type]
    return Learner(config, ObjectiveConfig(auto_mask=False))


@pytest.fixture
def batch(wall: Wall) -> FrameBatch:
    return to_unit_range(stack_frames([wall[0], wall[1]]))


def test_learning_starts_from_the_turns_that_the_pictures_show(small_network: NetworkConfig, batch: FrameBatch) -> None:
    """The wall moves left by 3 of 100 pixels a frame: to first order the camera turns right, each way from the target."""
    given, learnt = (learner(small_network, kind) for kind in ("given", "learnt"))
    before, after = learnt(batch).source_from_target[0] - given(batch).source_from_target[0]
    assert float(before[0, 2]) == pytest.approx(0.03, abs=0.004)
    assert float(after[0, 2]) == pytest.approx(-0.03, abs=0.004)


def test_gradient_reaches_the_focal_length(small_network: NetworkConfig, batch: FrameBatch) -> None:
    learning = learner(small_network, "learnt")
    assert learning.pose.focal is not None
    learning(batch).loss.backward()
    assert learning.pose.turn is not None
    for gradient in (learning.pose.focal.raw.grad, learning.pose.turn.share.grad):
        assert gradient is not None
        assert torch.isfinite(gradient).all()
        assert gradient.abs().max() > 0


def test_the_objective_sees_the_learnt_camera(small_network: NetworkConfig, batch: FrameBatch) -> None:
    """A factor of two on intrinsics of half the size is the right camera; also for mirrored frames."""
    given, learnt = (learner(small_network, kind) for kind in ("given", "learnt"))
    assert learnt.pose.focal is not None
    assert learnt.pose.turn is not None
    with torch.no_grad():
        learnt.pose.turn.share.zero_()  # both know the same motion
        learnt.pose.focal.raw.fill_(float(torch.atanh(torch.tensor(0.5)) * np.log(4.0) / 15.0))
    assert float(learnt.pose.focal.factor.detach()) == pytest.approx(2.0, rel=1e-5)
    half = batch.intrinsics.clone()
    half[:, 0, 0] /= 2
    half[:, 1, 1] /= 2
    mirrored = torch.tensor([True, False])
    right = given(flip(batch, mirrored)).loss
    assert float(learnt(flip(replace(batch, intrinsics=half), mirrored)).loss) == pytest.approx(float(right), rel=1e-5)


def train(run: Path, wall: Wall, network: NetworkConfig, steps: int = 2) -> Path:
    trainer = Trainer(
        run, wall, network=network, objective=ObjectiveConfig(), optim=OptimConfig(), augment=AugmentConfig(),
        trainer=TrainerConfig(batch=2, steps=steps, workers=0, accelerator="cpu", log_every=1),
        image_size=(HEIGHT, WIDTH),
    )  # fmt: skip
    return trainer.fit()


def test_the_learnt_camera_is_kept_with_the_weights(tmp_path: Path, wall: Wall, small_network: NetworkConfig) -> None:
    weights = train(tmp_path / "run", wall, replace(small_network, intrinsics="learnt"))
    focal = load_pose_network(weights).focal
    assert focal is not None
    factor = float(focal.factor.detach())
    assert factor != 1.0
    predictor = load(weights, device="cpu")
    at_training = predictor.intrinsics_for((HEIGHT, WIDTH))
    np.testing.assert_allclose(at_training, focal(wall[0].intrinsics)[0].detach(), rtol=1e-6)
    twice = predictor.intrinsics_for((2 * HEIGHT, 2 * WIDTH))
    assert twice is not None
    assert twice[0, 0] == pytest.approx(200 * factor, rel=1e-5)
    curve = [value for _, name, value in read_curves(tmp_path / "run") if name == "train/focal_px"]
    assert curve[-1] == pytest.approx(100 * factor, rel=1e-5)
    # Resumed, it goes on from there; another run that starts from these weights has another camera, and starts anew.
    train(tmp_path / "run", wall, replace(small_network, intrinsics="learnt"), steps=3)
    for kind in ("given", "learnt"):
        fresh = learner(small_network, kind)
        start_from(weights, fresh)
        assert fresh.pose.focal is None or float(fresh.pose.focal.factor.detach()) == 1.0
        assert fresh.pose.turn is None or torch.equal(fresh.pose.turn.share.detach(), torch.ones(2))
        assert torch.equal(fresh.pose.motion.weight, load_pose_network(weights).motion.weight)


def test_a_given_camera_is_kept_too(tmp_path: Path, wall: Wall, small_network: NetworkConfig) -> None:
    weights = train(tmp_path / "run", wall, small_network)
    assert load_pose_network(weights).focal is None
    assert not [name for _, name, _ in read_curves(tmp_path / "run") if name == "train/focal_px"]
    np.testing.assert_array_equal(load(weights, device="cpu").intrinsics, wall[0].intrinsics[0])


def test_bad_values_are_refused(tmp_path: Path, small_network: NetworkConfig) -> None:
    with pytest.raises(InputError, match=r"network\.intrinsics"):
        NetworkConfig(intrinsics="magic")  # type: ignore[arg-type]
    depth = learner(small_network, "given").depth
    for number, stated in enumerate(("x", [[1.0]], [[0.0] * 3] * 3)):
        path = tmp_path / f"{number}.safetensors"
        save_weights(path, depth, extra={"image_size": [HEIGHT, WIDTH], "intrinsics": stated})
        assert read_header(path).extra["intrinsics"] == stated
        with pytest.raises(InputError, match="no 3×3 camera matrix"):
            load(path, device="cpu")
