import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semdepth.losses.saturation import EDGE, saturation


@given(st.floats(-EDGE + 1e-3, 200.0))
def test_sound_outputs_cost_nothing(logit: float) -> None:
    value = torch.full((2, 1, 3, 4), logit).requires_grad_()
    loss = saturation(value.sigmoid())
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert value.grad is not None
    assert value.grad.eq(0).all()


@given(st.floats(-80.0, -EDGE))
def test_a_far_logit_is_pulled_back_like_a_spring(logit: float) -> None:
    value = torch.full((2, 1, 3, 4), logit).requires_grad_()
    loss = saturation(value.sigmoid())
    loss.backward()
    beyond = -EDGE - logit
    assert float(loss.detach()) == pytest.approx(beyond**2 / 2, rel=1e-3, abs=1e-4)
    assert value.grad is not None
    assert value.grad.sum().item() == pytest.approx(-beyond, rel=1e-3, abs=1e-2)


def test_only_the_far_pixels_are_pulled() -> None:
    value = torch.tensor([-20.0, -8.5, -7.5, 0.0, 20.0]).requires_grad_()
    saturation(value.sigmoid()).backward()
    assert value.grad is not None
    assert [g < 0 for g in value.grad.tolist()] == [True, True, False, False, False]


def test_an_output_of_zero_is_finite() -> None:
    value = torch.tensor([-1000.0, -20.0]).requires_grad_()
    loss = saturation(value.sigmoid())
    loss.backward()
    assert math.isfinite(float(loss.detach()))
    assert value.grad is not None
    assert value.grad.isfinite().all()
    assert float(value.grad[1]) < 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_worked_out_in_single(dtype: torch.dtype) -> None:
    assert saturation(torch.tensor([-10.0]).sigmoid().to(dtype)).dtype == torch.float32


def test_gradient_descent_gets_out_of_saturation() -> None:
    """What it is for: without it a logit of −20 stays for ever, whatever the loss wants of σ."""
    logits = {weight: torch.tensor([-20.0]).requires_grad_() for weight in (0.0, 0.01)}
    for weight, logit in logits.items():
        step = torch.optim.SGD([logit], lr=10.0)
        for _ in range(1000):
            step.zero_grad()
            (logit.sigmoid().sub(0.5).square().sum() + weight * saturation(logit.sigmoid())).backward()
            step.step()
    assert float(logits[0.0].detach()) < -19.9
    assert abs(float(logits[0.01].detach())) < 1.0
