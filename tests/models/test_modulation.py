import pytest
import torch
from torch.autograd import gradcheck

from semdepth.models.modulation import modulate, modulate_plainly

SIZES = [((6, 8), (6, 8)), ((6, 8), (3, 4)), ((6, 8), (4, 3)), ((2, 2), (1, 1)), ((8, 6), (2, 3))]


def _inputs(size, coarse, dtype=torch.float64):
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(2, 3, *size, generator=draw, dtype=dtype) + 2
    return features.requires_grad_(), torch.randn(2, 6, *coarse, generator=draw, dtype=dtype).requires_grad_()


@pytest.mark.parametrize(("size", "coarse"), SIZES)
def test_values_and_gradients_are_the_plain_ones(size, coarse):
    ours, plain = _inputs(size, coarse), _inputs(size, coarse)
    of_ours, of_plain = modulate(*ours), modulate_plainly(*plain)
    torch.testing.assert_close(of_ours, of_plain)
    weights = torch.randn(of_plain.shape, dtype=torch.float64)
    (of_ours * weights).sum().backward()
    (of_plain * weights).sum().backward()
    for a, b in zip(ours, plain, strict=True):
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize(("size", "coarse"), SIZES)
def test_gradients_are_those_of_the_values(size, coarse):
    assert gradcheck(modulate, _inputs(size, coarse))


def test_float32_is_as_exact_as_the_plain_way():
    exact = modulate_plainly(*_inputs((48, 64), (24, 32)))
    inputs = _inputs((48, 64), (24, 32), torch.float32)
    ours, plain = ((f(*inputs) - exact).abs().max() for f in (modulate, modulate_plainly))
    assert ours <= 2 * plain


def test_a_flat_feature_has_a_finite_gradient():
    features, modulation = torch.ones(1, 2, 4, 4, requires_grad=True), torch.randn(1, 4, 2, 2, requires_grad=True)
    modulate(features, modulation).square().sum().backward()
    assert torch.isfinite(features.grad).all()
    assert torch.isfinite(modulation.grad).all()


def test_gradient_of_one_input_alone_and_one_that_does_not_lie_in_a_row():
    found = []
    for function in (modulate, modulate_plainly):
        features, modulation = _inputs((6, 8), (3, 4))
        modulated = function(features, modulation.detach())
        gradient = torch.linspace(-1, 1, modulated.numel(), dtype=torch.float64).view(2, 3, 8, 6).transpose(2, 3)
        modulated.backward(gradient)
        found.append(features.grad)
    torch.testing.assert_close(*found)


def test_without_gradient_it_is_the_plain_way_to_the_last_bit():
    with torch.no_grad():
        inputs = _inputs((6, 8), (3, 4), torch.float32)
        assert torch.equal(modulate(*inputs), modulate_plainly(*inputs))
