"""Edge-aware smoothness. (Its published numbers are met in test_photometric.py, within the whole loss.)"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semdepth.losses.smoothness import smoothness


def pair(seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    disparity = torch.rand(2, 1, 5, 6, generator=generator, dtype=dtype) + 0.1
    return disparity, torch.rand(2, 3, 5, 6, generator=generator, dtype=dtype)


def test_a_step_by_hand():
    """Disparity 1 then 3 (mean 2: 0.5 then 1.5); an image edge of 0.4 at the same place lets it pass by exp(-0.4)."""
    disparity = torch.tensor([[1.0, 1.0, 3.0, 3.0]] * 2)[None, None]
    flat, edge = torch.zeros(1, 3, 2, 4), torch.tensor([0.0, 0.0, 0.4, 0.4]).expand(1, 3, 2, 4)
    assert smoothness(disparity, flat).item() == pytest.approx(1 / 3)
    assert smoothness(disparity, edge).item() == pytest.approx(math.exp(-0.4) / 3)
    assert smoothness(disparity.transpose(2, 3), edge.transpose(2, 3)).item() == pytest.approx(math.exp(-0.4) / 3)


@given(st.integers(0, 10_000), st.floats(0.01, 100))
@settings(max_examples=30, deadline=None)
def test_scale_of_each_image_does_not_matter(seed, scale):
    disparity, image = pair(seed)
    scaled = disparity * torch.tensor([1.0, scale], dtype=torch.float64).view(2, 1, 1, 1)
    value = smoothness(disparity, image)
    assert value > 0
    assert smoothness(scaled, image).item() == pytest.approx(value.item(), rel=1e-4)


def test_flat_disparity_costs_nothing():
    _, image = pair(0)
    x = torch.full((2, 1, 5, 6), 0.3, dtype=torch.float64, requires_grad=True)
    value = smoothness(x, image)
    value.backward()
    assert value == 0
    assert torch.isfinite(x.grad).all()


def test_gradient():
    disparity, image = pair(1)
    assert torch.autograd.gradcheck(smoothness, (disparity.requires_grad_(), image.requires_grad_()))


def test_half_precision_is_computed_in_full():
    disparity, image = pair(2, torch.float32)
    assert smoothness(disparity.half(), image).dtype == torch.float32


@pytest.mark.parametrize(
    ("disparity", "image", "text"),
    [
        (torch.rand(2, 5, 6), torch.rand(2, 3, 5, 6), "disparity"),
        (torch.rand(2, 1, 1, 6), torch.rand(2, 3, 1, 6), "disparity"),
        (torch.rand(2, 1, 5, 6), torch.rand(2, 3, 10, 12), "image: expected .*as the disparity"),
        (torch.rand(2, 1, 5, 6), torch.rand(1, 3, 5, 6), "image"),
        (torch.rand(2, 1, 5, 6), torch.ones(2, 3, 5, 6, dtype=torch.uint8), "floating point"),
    ],
)
def test_wrong_input_is_refused(disparity, image, text):
    with pytest.raises(ValueError, match=text):
        smoothness(disparity, image)
