import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from semdepth.models.padding import ReflectedConv, convolve_padded

MODES = ("reflect", "replicate")
LAYOUTS = (torch.contiguous_format, torch.channels_last)


def plainly(x, mode, weight, bias=None):
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode=mode), weight, bias)


@given(st.integers(2, 6), st.integers(2, 6), st.sampled_from(MODES), st.sampled_from(LAYOUTS), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_values_and_gradients_are_torchs(height, width, mode, layout, seed):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 3, height, width, generator=draw, dtype=torch.float64).contiguous(memory_format=layout)
    weight = torch.randn(4, 3, 3, 3, generator=draw, dtype=torch.float64)
    bias = torch.randn(4, generator=draw, dtype=torch.float64)
    of_result = torch.randn(2, 4, height, width, generator=draw, dtype=torch.float64)
    found = []
    for way in (convolve_padded, plainly):
        leaves = [value.clone().requires_grad_() for value in (x, weight, bias)]
        result = way(leaves[0], mode, *leaves[1:])
        result.backward(of_result)
        found.append((result.detach(), *(leaf.grad for leaf in leaves)))
    assert torch.equal(found[0][0], found[1][0])
    for ours, torchs in zip(*found, strict=True):
        torch.testing.assert_close(ours, torchs)


@pytest.mark.parametrize("mode", MODES)
def test_gradient_by_differences(mode):
    inputs = [torch.randn(size).double().requires_grad_() for size in ((1, 2, 3, 4), (2, 2, 3, 3), (2,))]
    assert torch.autograd.gradcheck(lambda x, *others: convolve_padded(x, mode, *others), inputs)


def test_a_map_that_others_use_too_gets_all_of_its_gradient():
    x = torch.randn(1, 2, 4, 5).double().requires_grad_()
    conv = ReflectedConv(2, 2).double()
    feature = x * 2
    (conv(feature).square().sum() + (feature * conv(feature)).sum()).backward()
    plain = x.detach().clone().requires_grad_()
    conv.plain = True
    feature = plain * 2
    (conv(feature).square().sum() + (feature * conv(feature)).sum()).backward()
    torch.testing.assert_close(x.grad, plain.grad)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layer_is_torchs_reflecting_one(layout):
    torch.manual_seed(0)
    ours = ReflectedConv(3, 4)
    torch.manual_seed(0)
    torchs = nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")
    x = torch.randn(2, 3, 5, 6).contiguous(memory_format=layout)
    assert torch.equal(ours(x), torchs(x))
    assert ours.state_dict().keys() == torchs.state_dict().keys()
    ours.plain = True
    assert torch.equal(ours(x), torchs(x))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("mode", MODES)
def test_under_autocast_it_is_the_plain_convolution_and_keeps_what_it_was_given(mode, layout):
    """Autocast on a CPU lists padding among what is done in float32: twice the memory, for the same bits."""
    x = torch.randn(2, 3, 5, 6).bfloat16().contiguous(memory_format=layout).requires_grad_()
    weight = torch.randn(4, 3, 3, 3).requires_grad_()
    found, kept = [], []
    for way in (convolve_padded, plainly):
        kept.append([])
        keep = torch.autograd.graph.saved_tensors_hooks(lambda t: (kept[-1].append(t.shape), t)[1], lambda t: t)
        with torch.autocast("cpu", torch.bfloat16), keep:
            result = way(x, mode, weight)
            torch.autograd.grad(result, x, torch.ones_like(result), retain_graph=True)  # as the balance measures
        found.append((result, *torch.autograd.grad(result, (x, weight), torch.ones_like(result))))
    (ours, *gradients), (torchs, *plain) = found
    assert ours.dtype == torch.bfloat16
    assert torch.equal(ours, torchs)
    assert [g.dtype for g in gradients] == [torch.bfloat16, torch.float32]
    for one, other in zip(gradients, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=2**-6, atol=2**-6 * float(other.abs().max()))
    assert x.shape in kept[0]
    assert (2, 3, 7, 8) not in kept[0]
    assert (2, 3, 7, 8) in kept[1]
