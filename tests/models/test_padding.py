import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from semdepth.models.padding import ReflectedConv, pad_by_one

MODES = ("reflect", "replicate")
LAYOUTS = (torch.contiguous_format, torch.channels_last)


@given(st.integers(2, 6), st.integers(2, 6), st.sampled_from(MODES), st.sampled_from(LAYOUTS), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_values_and_gradients_are_torchs(height, width, mode, layout, seed):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 3, height, width, generator=draw, dtype=torch.float64).contiguous(memory_format=layout)
    weight = torch.randn(4, 3, 3, 3, generator=draw, dtype=torch.float64)
    of_result = torch.randn(2, 4, height, width, generator=draw, dtype=torch.float64)
    found = []
    for pad in (pad_by_one, lambda x, mode: F.pad(x, (1, 1, 1, 1), mode=mode)):
        leaf = x.clone().requires_grad_()
        result = F.conv2d(pad(leaf, mode), weight)
        result.backward(of_result)
        found.append((result.detach(), leaf.grad))
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1])


@pytest.mark.parametrize("mode", MODES)
def test_gradient_by_differences(mode):
    x, weight = torch.randn(1, 2, 3, 4).double().requires_grad_(), torch.randn(2, 2, 3, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, weight: F.conv2d(pad_by_one(x, mode), weight), (x, weight))


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
def test_in_bfloat16_the_padded_map_stays_in_it(mode, layout):
    """Autocast on a CPU lists padding among what is done in float32: twice the memory, for the same bits."""
    x = torch.randn(2, 3, 5, 6).bfloat16().contiguous(memory_format=layout).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        padded, plain = pad_by_one(x, mode), F.pad(x, (1, 1, 1, 1), mode=mode)
    assert padded.dtype == torch.bfloat16
    assert torch.equal(padded, plain.bfloat16())
