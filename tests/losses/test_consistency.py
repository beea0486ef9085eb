import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semdepth.geometry.zoom import resample, zoom_matrix
from semdepth.losses.consistency import zoom_consistency


def zoom(factor: float, top: float = 0.0, left: float = 0.0, batch: int = 1) -> torch.Tensor:
    return zoom_matrix(*(torch.tensor([value] * batch) for value in (factor, top, left)))


def plane(size: tuple[int, int], matrix: torch.Tensor | None = None) -> torch.Tensor:
    """The disparity of a plane, seen as it is or at a zoom: worked out pixel by pixel, not resampled."""
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in size), indexing="ij")
    if matrix is not None:
        x, y = ((p - matrix[0, a, 2]) / matrix[0, a, a] for a, p in ((0, x), (1, y)))
    return (0.5 + 0.01 * x + 0.02 * y)[None, None]


@settings(max_examples=30, deadline=None)
@given(st.floats(0.6, 1.7), st.floats(0, 1), st.floats(0, 1))
def test_a_plane_at_two_zooms_is_consistent(factor: float, down: float, right: float) -> None:
    matrix = zoom(factor, down * (factor - 1) * 20, right * (factor - 1) * 30).double()
    zoomed = plane((20, 30), matrix)
    assert float(zoom_consistency(plane((20, 30)), zoomed.clamp(min=1e-3), matrix)) < 1e-6
    assert float(zoom_consistency(plane((20, 30)), zoomed.clamp(min=1e-3) * 1.1, matrix)) == pytest.approx(
        torch.log(torch.tensor(1.1)).item(), rel=1e-4
    )


def test_larger_is_not_nearer() -> None:
    """What the loss is for: a network that takes the enlarged image for a nearer scene is punished by log of the zoom."""
    flat = torch.full((1, 1, 8, 12), 0.2)
    assert float(zoom_consistency(flat, flat * 1.5, zoom(1.5, 1, 2))) == pytest.approx(0.4055, abs=1e-3)


def test_the_plain_view_teaches_and_the_zoomed_one_learns() -> None:
    g = torch.Generator().manual_seed(0)
    plain, zoomed = (torch.rand(2, 1, 8, 12, generator=g).add(0.1).requires_grad_() for _ in range(2))
    zoom_consistency(plain, zoomed, zoom(0.7, -1, -2, batch=2)).backward()
    assert plain.grad is None
    assert zoomed.grad is not None
    _, shared = resample(plain.detach(), zoom(0.7, -1, -2, batch=2))
    assert ((zoomed.grad != 0) == shared).all(), "only what both views show teaches"


def test_gradient_is_right() -> None:
    g = torch.Generator().manual_seed(0)
    plain = torch.rand(1, 1, 4, 5, generator=g, dtype=torch.float64) + 0.5
    zoomed = (torch.rand(1, 1, 4, 5, generator=g, dtype=torch.float64) + 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: zoom_consistency(plain, z, zoom(1.3, 0.2, 0.4).double()), zoomed)


def test_nothing_shared_is_zero_not_nan() -> None:
    zoomed = torch.ones(1, 1, 4, 4, requires_grad=True)
    loss = zoom_consistency(torch.full((1, 1, 4, 4), 0.5), zoomed, zoom(1.0, 100.0, 100.0))
    loss.backward()
    assert float(loss.detach()) == 0
    assert float(zoomed.grad.abs().sum()) == 0
    with pytest.raises(ValueError, match="differ in shape"):
        zoom_consistency(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 5), zoom(1.0))
