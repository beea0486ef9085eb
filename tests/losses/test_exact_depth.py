"""Learning from known depth: free of scale, blind to what is unknown or far."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semdepth.losses.exact_depth import FARTHEST, exact_depth_loss


def truth(generator: torch.Generator) -> torch.Tensor:
    return 2.0 + 60.0 * torch.rand(2, 1, 8, 12, generator=generator)


@given(scale=st.floats(0.01, 100.0))
def test_a_right_depth_costs_nothing_at_any_scale(scale: float) -> None:
    depth = truth(torch.Generator().manual_seed(0))
    assert exact_depth_loss(1.0 / (scale * depth), depth) < 1e-5


def test_it_is_the_mean_log_error_after_the_median() -> None:
    depth = torch.full((1, 1, 1, 5), 10.0)
    disparity = 1.0 / (depth * torch.tensor([1.0, 1.0, 1.0, 2.0, 0.5]))
    torch.testing.assert_close(exact_depth_loss(disparity, depth), 2 * torch.tensor(2.0).log() / 5)


def test_unknown_and_far_pixels_have_no_say(generator: torch.Generator) -> None:
    depth = truth(generator)
    depth[:, :, 0] = 0.0
    depth[:, :, 1] = FARTHEST + 1
    disparity = (1.0 / truth(generator)).requires_grad_()
    exact_depth_loss(disparity, depth).backward()
    assert disparity.grad is not None
    assert torch.all(disparity.grad[:, :, :2] == 0)
    assert torch.all(disparity.grad[:, :, 3:].abs().sum() > 0)


def test_nothing_known_is_zero_with_a_gradient_of_zero() -> None:
    disparity = torch.rand(2, 1, 4, 4).add(0.1).requires_grad_()
    loss = exact_depth_loss(disparity, torch.zeros(2, 1, 4, 4))
    loss.backward()
    assert loss == 0
    assert disparity.grad is not None
    assert torch.all(disparity.grad == 0)


def test_coarser_scales_read_the_nearest_truth(generator: torch.Generator) -> None:
    coarse = truth(generator)
    fine = coarse.repeat_interleave(2, -2).repeat_interleave(2, -1)
    assert exact_depth_loss(1.0 / coarse, fine) < 1e-5


def test_gradient(generator: torch.Generator) -> None:
    depth = truth(generator)[:1, :, :2, :3].double()
    disparity = (1.0 / truth(generator)[:1, :, :2, :3]).double().requires_grad_()
    with torch.no_grad():
        exact_depth_loss(disparity, depth)
    loss = exact_depth_loss(disparity, depth)
    (gradient,) = torch.autograd.grad(loss, disparity)
    pixel = int((disparity * depth).flatten().log().argmax())
    step = torch.zeros_like(disparity)
    step.view(-1)[pixel] = 1e-7
    slope = (exact_depth_loss(disparity + step, depth) - loss) / 1e-7
    assert gradient.view(-1)[pixel].item() == pytest.approx(slope.item(), rel=1e-3)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="expected two"):
        exact_depth_loss(torch.rand(2, 1, 4, 4), torch.rand(1, 1, 4, 4))
