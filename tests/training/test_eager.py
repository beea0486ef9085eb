"""Gradients worked out with the loss are those that autograd finds after it."""

import torch

from semdepth.training.eager import with_gradient


def part(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
    product = (x * y).sin()
    return product.mean(), product, product > 0


def test_same_value_and_gradient() -> None:
    found = []
    for call in (lambda *inputs: with_gradient(part, *inputs), part):
        x, y = (torch.linspace(a, 1, 5, dtype=torch.float64).requires_grad_() for a in (0, 2))
        value, product, positive = call(x.exp(), y)
        (3 * value).backward()
        found.append((value, product, positive, x.grad, y.grad))
    for eager, plain in zip(*found, strict=True):
        assert torch.allclose(eager, plain)


def test_under_autocast_gradients_stay_in_float32() -> None:
    """A product of matrices in a backward pass would be rounded to half."""

    def inverse(matrix: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (torch.linalg.inv_ex(matrix)[0].sum(),)

    values = torch.rand(4, 3, 3, generator=torch.Generator().manual_seed(0)) + 2 * torch.eye(3)
    found = []
    for enabled in (False, True):
        matrix = values.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = with_gradient(inverse, matrix)[0]
        loss.backward()
        found.append(matrix.grad)
    assert torch.equal(*found)


def test_what_needs_no_gradient_gets_none() -> None:
    x, y = torch.ones(3, requires_grad=True), torch.ones(3)
    value, product, _ = with_gradient(part, x, y)
    assert not product.requires_grad
    value.backward()
    assert x.grad is not None
    assert y.grad is None


def test_without_gradients_it_is_a_plain_call() -> None:
    x = torch.ones(3, requires_grad=True)
    with torch.no_grad():
        assert not with_gradient(part, x, x)[0].requires_grad
    assert not with_gradient(part, x.detach(), x.detach())[0].requires_grad


def test_an_input_without_influence_gets_zeros() -> None:
    x, y = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    with_gradient(lambda x, y: (x.sum(),), x, y)[0].backward()
    assert y.grad is not None
    assert not y.grad.any()
