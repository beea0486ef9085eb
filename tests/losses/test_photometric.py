"""SSIM, the photometric error, the minimum over sources; and the whole loss against published numbers."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from semdepth.geometry import camera, warp
from semdepth.losses import photometric
from semdepth.losses.smoothness import smoothness


@pytest.fixture(scope="module")
def reference(shared):
    return {k: torch.from_numpy(v) for k, v in np.load(shared / "reference" / "view_synthesis.npz").items()}


def slow_ssim_distance(a, b):
    """The obvious path: pad by reflection, average by pooling."""

    def mean(x):
        return F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), 3, 1)

    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b, cov = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2, mean(a * b) - mean_a * mean_b
    ssim = (2 * mean_a * mean_b + 1e-4) * (2 * cov + 9e-4)
    ssim = ssim / ((mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4))
    return ((1 - ssim) / 2).clamp(0, 1)


def images(seed, size=(7, 9), dtype=torch.float64, count=2):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(2, 3, *size, generator=generator, dtype=dtype) for _ in range(count)]


def test_errors_match_published_numbers(reference):
    source, target = reference["source0"], reference["target"]
    np.testing.assert_allclose(photometric.ssim_distance(source, target), reference["ssim"], atol=1e-4)
    np.testing.assert_allclose(photometric.photometric_error(source, target), reference["reprojection"], atol=1e-4)


def test_single_precision_loses_little_in_flat_windows():
    """Variances are differences of squares; without care, they drown where the image is bright and almost flat."""
    a, b = (0.9 + 0.02 * x for x in images(0, (40, 50)))
    error = photometric.ssim_distance(a.float(), b.float()).double() - slow_ssim_distance(a, b)
    assert error.abs().max() < 1e-4


def test_whole_loss_matches_published_numbers(reference):
    sources, target = [reference["source0"], reference["source1"]], reference["target"]
    moments = photometric.ssim_moments(target)
    identity = torch.cat([photometric.photometric_error(s, moments) for s in sources], dim=1)
    total = torch.zeros(())
    for k in range(4):
        disparity = reference[f"disp{k}"]
        full = F.interpolate(disparity, target.shape[2:], mode="bilinear", align_corners=False)
        _, depth = camera.disparity_to_depth(full, 0.1, 100.0)
        views = [
            warp.synthesise(s, depth, reference["K"][:, :3, :3], reference["T"][2 * j : 2 * j + 2])
            for j, s in enumerate(sources)
        ]
        warped = torch.cat([photometric.photometric_error(v, moments) for v in views], dim=1)
        error, kept = photometric.minimum_reprojection(warped, identity)
        smooth = smoothness(disparity, reference[f"scale{k}_color"])
        assert error.mean().item() == pytest.approx(reference[f"scale{k}_photometric_min"].item(), abs=1e-4)
        assert kept.float().mean().item() == pytest.approx(reference[f"scale{k}_automask_kept"].item(), abs=1e-4)
        assert smooth.item() == pytest.approx(reference[f"scale{k}_smooth"].item(), abs=1e-4)
        total = total + (error.mean() + 1e-3 * smooth / 2**k) / 4
    assert total.item() == pytest.approx(reference["total_loss"].item(), abs=1e-5)


@given(st.integers(0, 10_000), st.integers(2, 9), st.integers(2, 9))
@settings(max_examples=40, deadline=None)
def test_fast_windows_agree_with_the_slow_obvious_path(seed, height, width):
    a, b = images(seed, (height, width))
    assert torch.allclose(photometric.ssim_distance(a, b), slow_ssim_distance(a, b), atol=1e-10)


def test_fast_windows_have_the_gradient_of_the_slow_obvious_path():
    fast, slow = ([x.requires_grad_() for x in images(3)] for _ in range(2))
    weight = images(4)[0]
    (photometric.ssim_distance(*fast) * weight).sum().backward()
    (slow_ssim_distance(*slow) * weight).sum().backward()
    for x, y in zip(fast, slow, strict=True):
        assert torch.allclose(x.grad, y.grad, atol=1e-10)


@given(st.integers(0, 10_000), st.sampled_from([torch.float32, torch.float64]))
@settings(max_examples=40, deadline=None)
def test_ssim_is_symmetric_bounded_and_zero_on_equals(seed, dtype):
    a, b = images(seed, dtype=dtype)
    distance = photometric.ssim_distance(a, b)
    assert torch.allclose(distance, photometric.ssim_distance(b, a), atol=1e-5)
    assert distance.min() >= 0
    assert distance.max() <= 1
    assert photometric.ssim_distance(a, a).max() < 1e-6
    error = photometric.photometric_error(a, b)
    assert error.shape == (2, 1, 7, 9)
    assert error.min() >= 0
    assert error.max() <= 1


def test_opposite_textures_are_farther_than_flat_ones():
    a, _ = images(0)
    assert photometric.ssim_distance(1 - a, a).mean() > photometric.ssim_distance(a * 0 + 0.5, a).mean() > 0.2


def test_flat_images_by_hand():
    """No variance: only luminance and L1 remain."""
    a, b = torch.full((1, 3, 4, 4), 0.2, dtype=torch.float64), torch.full((1, 3, 4, 4), 0.6, dtype=torch.float64)
    ssim = (2 * 0.2 * 0.6 + 1e-4) / (0.04 + 0.36 + 1e-4)
    expected = 0.85 * (1 - ssim) / 2 + 0.15 * 0.4
    assert photometric.photometric_error(a, b)[0, 0, 1, 2].item() == pytest.approx(expected)


def test_moments_made_once_change_nothing():
    a, b = images(1, dtype=torch.float32)
    assert torch.equal(
        photometric.photometric_error(a, photometric.ssim_moments(b)), photometric.photometric_error(a, b)
    )


def test_gradients():
    a, b = (x.requires_grad_() for x in images(5, (4, 5)))
    assert torch.autograd.gradcheck(photometric.ssim_distance, (a, b))
    assert torch.autograd.gradcheck(photometric.photometric_error, (a, b))


def test_equal_images_and_black_ones_have_finite_gradients():
    for image in (images(0, dtype=torch.float32)[0], torch.zeros(2, 3, 4, 4)):
        x = image.clone().requires_grad_()
        photometric.photometric_error(x, image).sum().backward()
        assert torch.isfinite(x.grad).all()


def test_half_precision_input_is_computed_in_full():
    a, b = images(2, dtype=torch.float16)
    error = photometric.photometric_error(a, b)
    assert error.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(photometric.photometric_error(a.float(), b.float()), error)


WARPED = torch.tensor([[[[0.1, 0.5, 0.3, 0.2]], [[0.4, 0.2, 0.3, 0.6]]]])
IDENTITY = torch.tensor([[[[0.3, 0.1, 0.3, 0.9]], [[0.5, 0.7, 0.8, 0.2]]]])


@pytest.mark.parametrize(
    ("auto_mask", "per_pixel_minimum", "error", "kept"),
    [
        (True, True, [0.1, 0.1, 0.3, 0.2], [True, False, False, False]),  # the last two are ties
        (True, False, [0.25, 0.35, 0.3, 0.4], [True, True, True, True]),
        (False, True, [0.1, 0.2, 0.3, 0.2], [True] * 4),
        (False, False, [0.25, 0.35, 0.3, 0.4], [True] * 4),
    ],
)
def test_minimum_by_hand(auto_mask, per_pixel_minimum, error, kept):
    got, mask = photometric.minimum_reprojection(
        WARPED, IDENTITY, auto_mask=auto_mask, per_pixel_minimum=per_pixel_minimum
    )
    assert got.shape == mask.shape == (1, 1, 4)
    assert got.flatten().tolist() == pytest.approx(error)
    assert mask.flatten().tolist() == kept


def test_masked_pixels_teach_nothing_and_kept_ones_their_best_source():
    warped = WARPED.clone().requires_grad_()
    photometric.minimum_reprojection(warped, IDENTITY)[0].sum().backward()
    assert warped.grad.flatten().tolist() == [1, 0, 0, 0, 0, 0, 0, 0]


def test_a_still_scene_is_masked_throughout():
    a, b = images(6, dtype=torch.float32)
    error = photometric.photometric_error(a, b)
    _, kept = photometric.minimum_reprojection(error, error)
    assert not kept.any()


def test_minimum_gradient(generator):
    errors = [torch.rand(2, 3, 4, 5, generator=generator, dtype=torch.float64) for _ in range(2)]
    assert torch.autograd.gradcheck(
        lambda w: photometric.minimum_reprojection(w, errors[1])[0], (errors[0].requires_grad_(),)
    )


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: photometric.ssim_distance(torch.rand(3, 4, 5), torch.rand(3, 4, 5)), "image: expected"),
        (lambda: photometric.ssim_distance(torch.rand(1, 3, 1, 5), torch.rand(1, 3, 1, 5)), "2 or more"),
        (lambda: photometric.photometric_error(torch.rand(1, 3, 4, 5), torch.rand(1, 3, 4, 6)), "differ in shape"),
        (lambda: photometric.ssim_moments(torch.zeros(1, 3, 4, 5, dtype=torch.uint8)), "floating point"),
        (lambda: photometric.minimum_reprojection(torch.rand(2, 0, 4, 5)), "S of 1 or more"),
        (lambda: photometric.minimum_reprojection(torch.rand(2, 1, 4, 5)), "got None"),
        (lambda: photometric.minimum_reprojection(torch.rand(2, 2, 4, 5), torch.rand(2, 1, 4, 5)), "identity_errors"),
    ],
)
def test_wrong_input_is_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()
