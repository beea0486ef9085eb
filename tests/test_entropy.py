import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semdepth.entropy import normalised_entropy


def test_by_hand() -> None:
    certain_and_not = torch.tensor([[0.5, 0.0], [0.5, 1.0]])
    assert normalised_entropy(certain_and_not, 0).tolist() == pytest.approx([1, 0])
    p = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    expected = -sum(q * math.log(q) for q in p.tolist()) / math.log(3)
    assert normalised_entropy(p, 0).item() == pytest.approx(expected, abs=1e-12)
    assert torch.autograd.gradcheck(lambda x: normalised_entropy(x.softmax(0), 0), (p.requires_grad_(),))


@given(st.integers(0, 10_000), st.floats(0, 1e4))
@settings(max_examples=30, deadline=None)
def test_in_range_however_sharp(seed: int, scale: float) -> None:
    logits = scale * torch.randn(2, 7, 4, 6, generator=torch.Generator().manual_seed(seed))
    uncertainty = normalised_entropy(logits.softmax(1))
    assert uncertainty.shape == (2, 4, 6)
    assert uncertainty.dtype == torch.float32
    assert uncertainty.min() >= 0
    assert uncertainty.max() <= 1
