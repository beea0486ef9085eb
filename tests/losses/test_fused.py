"""The photometric error worked out by hand, against the plain path."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semdepth.losses import fused
from semdepth.losses.fused import photometric_errors
from semdepth.losses.photometric import photometric_error, ssim_moments


def pictures(seed, size=(6, 7), sources=2, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(2, 3, *size, generator=generator, dtype=dtype)
    return torch.rand(2, sources, 3, *size, generator=generator, dtype=dtype), target


def plain(images, target):
    return torch.cat([photometric_error(images[:, s], target) for s in range(images.shape[1])], dim=1)


@given(st.integers(0, 10_000), st.integers(2, 8), st.integers(2, 8), st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_same_errors_and_gradients_as_the_plain_path(seed, height, width, sources):
    images, target = pictures(seed, (height, width), sources)
    weight = torch.rand(2, sources, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    found = []
    for errors in (photometric_errors, plain):
        x = images.clone().requires_grad_()
        value = errors(x, ssim_moments(target))
        (value * weight).sum().backward()
        found.append((value.detach(), x.grad))
    for quick, slow in zip(*found, strict=True):
        assert torch.allclose(quick, slow, atol=1e-12)


def test_all_images_at_once_as_on_a_gpu(monkeypatch):
    images, target = pictures(5, (9, 11), dtype=torch.float32)
    weight = torch.rand(2, 2, 9, 11, generator=torch.Generator().manual_seed(5))
    found = []
    for portions in (fused._portions, lambda images: [(slice(None), slice(None))]):
        monkeypatch.setattr(fused, "_portions", portions)
        x = images.clone().requires_grad_()
        value = photometric_errors(x, ssim_moments(target))
        (value * weight).sum().backward()
        found += [(value.detach(), x.grad)]
    assert all(torch.equal(one, all_) for one, all_ in zip(*found, strict=True))


def test_gradient_by_differences():
    images, target = pictures(1, (3, 4))
    moments = ssim_moments(target)
    assert torch.autograd.gradcheck(lambda x: photometric_errors(x, moments), (images.requires_grad_(),))


def test_single_precision_agrees_with_the_plain_path_on_smooth_images():
    images, target = pictures(2, (40, 50), dtype=torch.float32)
    images, target = 0.9 + 0.02 * images, 0.9 + 0.02 * target
    assert (photometric_errors(images, ssim_moments(target)) - plain(images, target)).abs().max() < 1e-5


@pytest.mark.parametrize(("lightest", "contrast"), [(0.9, 0.02), (0.5, 0.05), (0.0, 1.0)])
def test_in_single_precision_as_exact_as_the_plain_path(lightest, contrast):
    """Smooth light images are the hard ones: variances are small differences of squares."""
    images, target = (lightest + contrast * x for x in pictures(2, (40, 50), dtype=torch.float32))
    exact = plain(images.double(), target.double())
    quick, slow = photometric_errors(images, ssim_moments(target)) - exact, plain(images, target) - exact
    assert quick.abs().max() < 1.5 * slow.abs().max() < 1e-4
    assert quick.square().mean() < 1.2 * slow.square().mean()


def test_equal_images_tie_to_the_last_bit_with_and_without_gradient():
    """The auto-mask drops ties: a warp that moves nothing must give the very error of standing still."""
    images, target = pictures(3, (20, 30), dtype=torch.float32)
    moments = ssim_moments(target)
    assert torch.equal(
        photometric_errors(images.clone().requires_grad_(), moments), photometric_errors(images, moments)
    )


@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_equal_windows_have_no_error_at_all(seed, lightest, contrast):
    """Not 1e-8 of one: such an error would depend on the images' last bits, and the auto-mask on it."""
    _, target = pictures(seed, dtype=torch.float32)
    target = (lightest + contrast * target).clamp(0, 1)
    for image in (target[:, None], target[:, None].clone().requires_grad_()):
        assert (photometric_errors(image, ssim_moments(target)) == 0).all()


def test_equal_and_black_images_have_finite_gradients():
    _, target = pictures(4, dtype=torch.float32)
    for image in (target, torch.zeros_like(target)):
        x = image[:, None].clone().requires_grad_()
        photometric_errors(x, ssim_moments(image)).sum().backward()
        assert torch.isfinite(x.grad).all()


def test_wrong_input_is_refused():
    images, target = pictures(5)
    moments = ssim_moments(target)
    for wrong in (images[:1], images[..., 1:], images[:, 0]):
        with pytest.raises(ValueError, match="images: expected"):
            photometric_errors(wrong, moments)
    with pytest.raises(ValueError, match="floating point"):
        photometric_errors(images.to(torch.uint8), moments)
