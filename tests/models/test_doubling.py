import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semdepth.models.decoder import DecoderStage
from semdepth.models.doubling import convolve_doubled, double_and_convolve


@given(st.tuples(*[st.integers(1, 5)] * 5), st.booleans(), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_spreading_pixels_gives_what_the_plain_way_gives(sizes, with_bias, seed):
    batch, channels, out, height, width = sizes
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, channels, height, width, generator=g, dtype=torch.float64)
    weight = torch.randn(out, channels, 3, 3, generator=g, dtype=torch.float64)
    bias = torch.randn(out, generator=g, dtype=torch.float64) if with_bias else None
    torch.testing.assert_close(double_and_convolve(x, weight, bias), convolve_doubled(x, weight, bias))


def test_gradients_are_those_of_the_plain_way():
    x, weight = torch.randn(2, 3, 4, 5).double(), torch.randn(4, 3, 3, 3).double()
    found = []
    for way in (double_and_convolve, convolve_doubled):
        leaves = [v.clone().requires_grad_() for v in (x, weight)]
        (way(*leaves) * torch.arange(10.0).double()).sum().backward()
        found.append([leaf.grad for leaf in leaves])
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two)
    assert torch.autograd.gradcheck(double_and_convolve, [v.clone().requires_grad_() for v in (x[:1], weight)])


@pytest.mark.parametrize("skip_channels", [0, 3])
def test_a_stage_the_quick_way_is_the_stage(skip_channels):
    stage = DecoderStage(4, skip_channels, 5).double()
    x = torch.randn(2, 4, 3, 6).double()
    skip = torch.randn(2, 3, 6, 12).double() if skip_channels else None
    fast = stage(x, skip)
    stage.plain = True
    torch.testing.assert_close(fast, stage(x, skip))
