import pytest
import torch
from torch import nn

from semdepth.models import pooling
from semdepth.models.pooling import pool

POOLER = nn.MaxPool2d(3, 2, 1)


def _image(*shape, dtype=torch.float32):
    image = torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype).relu()  # with ties: zeros
    return image.requires_grad_()


@pytest.mark.parametrize("shape", [(2, 64, 24, 40), (1, 3, 7, 9), (3, 1, 2, 2), (4, 17, 1, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_values_and_gradients_are_torchs_to_the_last_bit(shape, dtype):
    x, y = _image(*shape, dtype=dtype), _image(*shape, dtype=dtype)
    ours, plain = pool(POOLER, x), POOLER(y)
    assert torch.equal(ours, plain)
    assert ours.is_contiguous()
    gradient = torch.randn(plain.shape, dtype=dtype)
    ours.backward(gradient)
    plain.backward(gradient)
    assert torch.equal(x.grad, y.grad)


@pytest.mark.parametrize("threads", [2, 7])
def test_threads_that_share_an_image_change_no_bit(threads, monkeypatch):
    x, y = _image(2, 3, 10, 12), _image(2, 3, 10, 12)
    monkeypatch.setattr(pooling, "_FEWEST_ROWS", 1)
    monkeypatch.setattr(pooling, "_FEWEST_PLANES", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert len(pooling.spans(6, pooling._FEWEST_PLANES)) == min(threads, 6)
    ours, plain = pool(POOLER, x), POOLER(y)
    assert torch.equal(ours, plain)
    ours.square().sum().backward()
    plain.square().sum().backward()
    assert torch.equal(x.grad, y.grad)


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), float("inf")])
@pytest.mark.parametrize("shape", [(1, 2, 6, 8), (1, 2, 5, 7)])
def test_what_is_not_finite_passes_and_reaches_no_foreign_memory(shape, value):
    x, y = _image(*shape), _image(*shape)
    with torch.no_grad():
        for image in (x, y):
            image[:, 0] = value
            image[:, 1, 2, 3] = value
    ours, plain = pool(POOLER, x), POOLER(y)
    torch.testing.assert_close(ours, plain, rtol=0, atol=0, equal_nan=True)
    for pooled, image in ((ours, x), (plain, y)):
        pooled.sum().backward()
        assert image.grad.sum() == pooled.numel()
    if value == float("-inf"):
        assert torch.equal(x.grad, y.grad)


def test_a_gradient_that_does_not_lie_in_a_row():
    x, y = _image(2, 4, 8, 8), _image(2, 4, 8, 8)
    gradient = torch.randn(2, 4, 4, 4).contiguous(memory_format=torch.channels_last)
    pool(POOLER, x).backward(gradient)
    POOLER(y).backward(gradient)
    assert torch.equal(x.grad, y.grad)


@pytest.mark.parametrize(
    "pooler", [nn.MaxPool2d((3, 2)), nn.MaxPool2d(2, dilation=2), nn.MaxPool2d(3, 2, ceil_mode=True), nn.AvgPool2d(2)]
)
def test_other_poolers_go_their_own_way(pooler):
    x = _image(2, 4, 8, 8)
    assert torch.equal(pool(pooler, x), pooler(x))


def test_an_image_stays_as_it_was():
    x = _image(2, 4, 8, 8)
    before = x.detach().clone()
    pool(POOLER, x).sum().backward()
    assert torch.equal(x.detach(), before)
