"""A batch that is not finite: left out, counted, told; three in a row end the run, with the batch on disk."""

import logging
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from semdepth.models.network import NetworkConfig
from semdepth.runtime import InputError
from semdepth.training.recorder import read_curves
from semdepth.training.trainer import Trainer

from .conftest import Wall
from .test_trainer import make


def spoil(trainer: Trainer, steps: set[int], gradient: bool = False) -> None:
    """Make the loss, or only a gradient, of some steps not finite; the networks' statistics see NaN, too."""
    learner = trainer.learner.module
    forward = learner.forward

    def spoiled(batch, step, *rest, **options):  # type: ignore[no-untyped-def]
        objective = forward(batch, step, *rest, **options)
        if step in steps and gradient:
            # The derivative of a square root at 0 is infinite; times 0 it is NaN, though the value is 0.
            objective.loss = objective.loss + (learner.pose.motion.bias.sum() * 0).abs().sqrt()
        elif step in steps:
            learner.depth.encoder(batch.target * float("nan"))
            objective.loss = objective.loss * float("nan")
            objective.terms["photometric"] = torch.tensor(float("nan"))
        return objective

    learner.forward = spoiled


@pytest.mark.parametrize("gradient", [False, True])
def test_a_bad_batch_is_left_out_and_counted(
    tmp_path: Path, wall: Wall, small_network: NetworkConfig, gradient: bool, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make(tmp_path, small_network, wall, steps=3, log_every=1)
    spoil(trainer, {1}, gradient)
    step, kept = trainer.train_step, {}

    def observed(batch):  # type: ignore[no-untyped-def]
        before = {name: value.clone() for name, value in trainer.learner.module.state_dict().items()}
        objective = step(batch)
        after = trainer.learner.module.state_dict()
        kept[trainer.step] = all(torch.equal(before[name], after[name]) for name in before)
        return objective

    trainer.train_step = observed  # type: ignore[method-assign]
    with caplog.at_level(logging.WARNING, "semdepth"):
        weights = load_file(trainer.fit())
    assert kept == {0: False, 1: True, 2: False}
    assert all(value.isfinite().all() for value in weights.values())
    curves = read_curves(tmp_path)
    assert [value for _, name, value in curves if name == "train/skipped"] == [0, 1, 1]
    assert [s for s, name, _ in curves if name == "train/loss"] == [1, 3]
    said = "gradient not finite" if gradient else "photometric not finite"
    assert f"Step 2: batch left out, {said}" in caplog.text
    assert "1 of 3 batches were left out" in caplog.text


def test_three_in_a_row_end_the_run_and_leave_the_batch(
    tmp_path: Path, wall: Wall, small_network: NetworkConfig
) -> None:
    trainer = make(tmp_path, small_network, wall, steps=9, checkpoint_every=5)
    spoil(trainer, {0, 1, 3, 4, 5, 6})  # two in a row go by, and a checkpoint falls among the three
    with pytest.raises(
        InputError, match=r"3 batches in a row, the last at step 6.*photometric.*learning_rate"
    ) as caught:
        trainer.fit()
    path = tmp_path / "bad_batches" / "step_00000006_process_0.safetensors"
    assert str(path) in str(caught.value)
    saved = load_file(path)
    assert saved["target"].shape == (2, 3, 64, 128)
    assert saved["sources"].shape == (2, 2, 3, 64, 128)
    with safe_open(path, "pt") as stream:
        about = stream.metadata()
    assert about["step"] == "6"
    assert about["names"].count("wall/") == 2
    resumed = make(tmp_path, small_network, wall, steps=9)
    assert (resumed.step, resumed.skips.count, resumed.skips.in_a_row) == (5, 4, 2), "the streak survives a kill"
