import pytest
import torch
from torch.autograd import gradcheck

from semdepth.models import modulation
from semdepth.models.modulation import modulate, modulate_plainly

NORMS = ("channels", "instance")
SIZES = [((6, 8), (6, 8)), ((6, 8), (3, 4)), ((6, 8), (4, 3)), ((2, 2), (1, 1)), ((8, 6), (2, 3))]


def _inputs(size, coarse, dtype=torch.float64):
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(2, 6, *size, generator=draw, dtype=dtype) + 2
    return features.requires_grad_(), torch.randn(2, 12, *coarse, generator=draw, dtype=dtype).requires_grad_()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("size", "coarse"), SIZES)
def test_values_and_gradients_are_the_plain_ones(size, coarse, norm, layout):
    ours, plain = _inputs(size, coarse), _inputs(size, coarse)
    of_ours = modulate(*(x.contiguous(memory_format=layout) for x in ours), norm)
    of_plain = modulate_plainly(*plain, norm)
    torch.testing.assert_close(of_ours, of_plain)
    weights = torch.randn(of_plain.shape, dtype=torch.float64)
    (of_ours * weights).sum().backward()
    (of_plain * weights).sum().backward()
    for a, b in zip(ours, plain, strict=True):
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("size", "coarse"), SIZES)
def test_gradients_are_those_of_the_values(size, coarse, norm):
    assert gradcheck(lambda *inputs: modulate(*inputs, norm), _inputs(size, coarse))


@pytest.mark.parametrize("norm", NORMS)
def test_float32_is_as_exact_as_the_plain_way(norm):
    exact = modulate_plainly(*_inputs((48, 64), (24, 32)), norm)
    inputs = _inputs((48, 64), (24, 32), torch.float32)
    ours, plain = ((f(*inputs, norm) - exact).abs().max() for f in (modulate, modulate_plainly))
    assert ours <= 2 * plain


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("norm", NORMS)
def test_a_prediction_in_bfloat16_is_rounded_once(norm, layout):
    """Mean and variance of rounded values, rounded again, would shift all depth the same way."""
    inputs = [x.detach().contiguous(memory_format=layout) for x in _inputs((48, 64), (24, 32), torch.bfloat16)]
    with torch.no_grad():
        found, exact = modulate(*inputs, norm), modulate_plainly(*(x.double() for x in inputs), norm)
    assert found.dtype == torch.bfloat16
    assert ((found - exact).abs() <= 2**-8 * exact.abs() + 1e-5).all()


@pytest.mark.parametrize("threads", [2, 7])
def test_threads_that_share_an_image_change_no_bit(threads, monkeypatch):
    found = []
    for number in (1, threads):
        monkeypatch.setattr(modulation, "_FEWEST_ROWS", 1)
        monkeypatch.setattr(torch, "get_num_threads", lambda number=number: number)
        inputs = _inputs((6, 8), (3, 4), torch.float32)
        modulated = modulate(*inputs, "channels")
        modulated.square().sum().backward()
        found.append((modulated.detach(), *(x.grad for x in inputs)))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("norm", NORMS)
def test_a_flat_feature_has_a_finite_gradient(norm):
    features, modulation = torch.ones(1, 2, 4, 4, requires_grad=True), torch.randn(1, 4, 2, 2, requires_grad=True)
    modulate(features, modulation, norm).square().sum().backward()
    assert torch.isfinite(features.grad).all()
    assert torch.isfinite(modulation.grad).all()


@pytest.mark.parametrize("norm", NORMS)
def test_gradient_of_one_input_alone_and_one_that_does_not_lie_in_a_row(norm):
    found = []
    for function in (modulate, modulate_plainly):
        features, modulation = _inputs((6, 8), (3, 4))
        modulated = function(features, modulation.detach(), norm)
        gradient = torch.linspace(-1, 1, modulated.numel(), dtype=torch.float64).view(2, 6, 8, 6).transpose(2, 3)
        modulated.backward(gradient)
        found.append(features.grad)
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("norm", NORMS)
def test_without_gradient_it_is_the_plain_way_to_the_last_bit(norm):
    with torch.no_grad():
        inputs = _inputs((6, 8), (3, 4), torch.float32)
        assert torch.equal(modulate(*inputs, norm), modulate_plainly(*inputs, norm))


def test_each_branch_is_normalised_by_itself():
    features, modulation = _inputs((6, 8), (3, 4))
    zero = torch.zeros_like(modulation)
    normal = modulate(features, zero, "channels").detach()
    assert torch.allclose(normal[:, :3].mean(1), torch.zeros(2, 6, 8, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(normal[:, 3:].var(1, correction=0), torch.ones(2, 6, 8, dtype=torch.float64), atol=1e-2)
    with torch.no_grad():
        features[:, 3:] *= 5
    assert torch.equal(modulate(features, zero, "channels")[:, :3], normal[:, :3])
