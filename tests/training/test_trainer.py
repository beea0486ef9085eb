from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from semdepth.data.transforms import AugmentConfig
from semdepth.evaluation.protocols import synthetic
from semdepth.models.network import NetworkConfig
from semdepth.runtime import InputError
from semdepth.training.objective import ObjectiveConfig
from semdepth.training.optim import OptimConfig
from semdepth.training.recorder import read_curves
from semdepth.training.trainer import Trainer, TrainerConfig
from semdepth.training.validation import Validation

from .conftest import HEIGHT, WIDTH, Wall


def make(
    run: Path, network: NetworkConfig, wall: Wall, validate: Validation | None = None, **config: object
) -> Trainer:
    defaults: dict = {"batch": 2, "steps": 6, "workers": 0, "accelerator": "cpu", "log_every": 1, "checkpoint_every": 2}
    return Trainer(
        run,
        wall,
        network=network,
        objective=ObjectiveConfig(),
        optim=OptimConfig(learning_rate=1e-3),
        augment=AugmentConfig(),
        trainer=TrainerConfig(**(defaults | config)),
        validate=validate,
        image_size=(HEIGHT, WIDTH),
    )


def test_resuming_is_bit_exact(tmp_path: Path, wall: Wall, small_network: NetworkConfig) -> None:
    whole = load_file(make(tmp_path / "whole", small_network, wall).fit())

    interrupted = make(tmp_path / "parts", small_network, wall)
    step = interrupted.train_step

    def killed_after_five(batch):  # type: ignore[no-untyped-def]
        if interrupted.step == 5:
            raise RuntimeError("killed")
        return step(batch)

    interrupted.train_step = killed_after_five  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="killed"):
        interrupted.fit()
    resumed = make(tmp_path / "parts", small_network, wall)
    assert resumed.step == 4
    parts = load_file(resumed.fit())
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[k], parts[k]) for k in whole)
    steps = [s for s, name, _ in read_curves(tmp_path / "parts") if name == "train/loss"]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_an_interrupt_leaves_a_checkpoint(tmp_path: Path, wall: Wall, small_network: NetworkConfig) -> None:
    trainer = make(tmp_path, small_network, wall, checkpoint_every=100)
    step = trainer.train_step

    def interrupted_after_three(batch):  # type: ignore[no-untyped-def]
        if trainer.step == 3:
            raise KeyboardInterrupt
        return step(batch)

    trainer.train_step = interrupted_after_three  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert make(tmp_path, small_network, wall).step == 3


def test_one_batch_can_be_overfitted(tmp_path: Path, wall: Wall, small_network: NetworkConfig) -> None:
    make(tmp_path, small_network, wall, overfit=True, steps=60, checkpoint_every=100).fit()
    losses = [value for _, name, value in read_curves(tmp_path) if name == "train/photometric"]
    assert losses[-1] < 0.6 * losses[0]


def test_same_seed_same_weights_other_seed_others(tmp_path: Path, wall: Wall, small_network: NetworkConfig) -> None:
    a, b, c = (
        load_file(make(tmp_path / name, small_network, wall, seed=seed, steps=2).fit())
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not all(torch.equal(a[k], c[k]) for k in a)


def test_validation_keeps_the_best_weights_and_panels_are_drawn(
    tmp_path: Path, wall: Wall, small_network: NetworkConfig
) -> None:
    make(tmp_path, small_network, wall, Validation(wall, synthetic), validate_every=3, panel_every=3).fit()
    judged = [(s, value) for s, name, value in read_curves(tmp_path) if name == "validation/abs_rel"]
    assert [s for s, _ in judged] == [3, 6]
    assert (tmp_path / "best.safetensors").exists()
    assert (tmp_path / "panels" / "step_00000006.png").stat().st_size > 1000
    assert list((tmp_path / "tensorboard").iterdir())


def test_starting_from_weights(tmp_path: Path, wall: Wall, small_network: NetworkConfig) -> None:
    weights = make(tmp_path / "a", small_network, wall, steps=1).fit()
    trainer = make(tmp_path / "b", small_network, wall, initial_weights=weights, seed=9)
    state = load_file(weights)
    assert torch.equal(trainer.learner.module.pose.motion.weight, state["pose.motion.weight"])
    other = NetworkConfig(encoder="resnet10-small", pose_encoder="resnet10-small")
    with pytest.raises(InputError, match="holds other networks"):
        make(tmp_path / "c", other, wall, initial_weights=weights)


def test_workers_change_nothing(tmp_path: Path, wall: Wall, small_network: NetworkConfig) -> None:
    a = load_file(make(tmp_path / "a", small_network, wall, steps=2).fit())
    b = load_file(make(tmp_path / "b", small_network, wall, steps=2, workers=2).fit())
    assert all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("bad", [{"batch": 0}, {"steps": 0}, {"workers": -1}, {"log_every": 0}])
def test_nonsense_is_refused(bad: dict) -> None:
    with pytest.raises(InputError, match="trainer"):
        TrainerConfig(**bad)
