"""The numbers stay: 200 steps of the full method against stored losses, so that no refactor shifts results unnoticed.

How far off is right? A run on another machine, or with sums added up in another order, differs by rounding, and training
makes differences grow: Adam's first steps turn on the sign of tiny gradients. So the tolerance is tight at the beginning, where
formulas show, and wide at the end, which is there to notice a run that goes elsewhere (docs/results/reliability.md has the
measurements that it was chosen by).
"""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from semdepth.losses import cpu_kernels, kernels
from semdepth.models import modulation, pooling
from semdepth.training.trainer import Trainer

from .golden import ROWS, STEPS, STORED, Row, losses

TOLERANCE = {5: 5e-6, 10: 1e-4, 50: 0.05, STEPS: 0.35}
"""Largest relative difference up to and with a step; twice what rounding alone makes of such a run, or more."""
FORMULAS = 10
"""Steps after which a changed formula must have shown."""
NOTHING = 0.02
"""Later on, a ranking loss this small is as good as zero: one pair out of order more or less is all of it."""


def stored() -> dict[int, Row]:
    return {int(step): row for step, row in json.loads(STORED.read_text())["rows"].items()}


def shifted(found: dict[int, Row]) -> list[str]:
    """Return what differs by more than the tolerance."""
    told = []
    for step, row in stored().items():
        if step not in found:
            continue
        assert row.keys() == found[step].keys()
        allowed = next(tolerance for until, tolerance in TOLERANCE.items() if step <= until)
        for name, value in row.items():
            difference = abs(found[step][name] - value) / max(
                abs(value), NOTHING if name == "ranking" and step > FORMULAS else 1e-6
            )
            if not difference <= allowed:
                told.append(
                    f"step {step}: {name} {found[step][name]:.7g}, was {value:.7g} ({difference:.1e} > {allowed:g})"
                )
    return told


@pytest.fixture(autouse=True)
def one_thread() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
def test_two_hundred_steps_give_the_stored_losses() -> None:
    found = losses()
    assert list(stored()) == ROWS
    assert not shifted(found), "if this is meant: python tests/training/golden.py, and say why in the commit"
    assert found[STEPS]["loss"] < found[1]["loss"]


def test_without_numba_it_starts_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (kernels, modulation, pooling):
        monkeypatch.setattr(module, "has_numba", lambda: False)
    monkeypatch.delattr(cpu_kernels, "WarpedErrors")  # whoever still asked for it would fail
    assert not shifted(losses(FORMULAS))


def test_the_same_run_twice_has_the_same_bits() -> None:
    assert losses(4) == losses(4)


def other_rate(trainer: Trainer) -> None:
    trainer.optim = replace(trainer.optim, learning_rate=1.05 * trainer.optim.learning_rate)


def other_smoothness(trainer: Trainer) -> None:
    learner = trainer.learner.module
    learner.config = replace(learner.config, smoothness=1.1 * learner.config.smoothness)


def other_constant_of_ssim(trainer: Trainer) -> None:
    c1, _, share = cpu_kernels._OF_SSIM
    cpu_kernels._OF_SSIM = c1, np.float32(0.031**2), share


def other_adam(trainer: Trainer) -> None:
    for group in trainer.optimiser.param_groups:
        group["betas"] = (0.9, 0.99)


def other_share_of_ssim(trainer: Trainer) -> None:
    cpu_kernels._OF_SSIM = *cpu_kernels._OF_SSIM[:2], np.float32(0.84)


@pytest.mark.parametrize(
    "change", [other_rate, other_smoothness, other_constant_of_ssim, other_adam, other_share_of_ssim]
)
def test_a_changed_constant_shows(change: Callable[[Trainer], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_kernels, "_OF_SSIM", cpu_kernels._OF_SSIM)  # put back afterwards, as is
    assert shifted(losses(FORMULAS, change))
