"""Intrinsics, back-projection and projection, and depth from sigmoid outputs."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from semdepth.geometry import camera


def intrinsics(fx=60.0, fy=50.0, cx=31.0, cy=17.0, *, skew=0.0, dtype=torch.float64):
    return torch.tensor([[fx, skew, cx], [0, fy, cy], [0, 0, 1]], dtype=dtype)


def pixel_of(K, point):
    seen = K @ point
    return seen[:2] / seen[2]


def test_disparity_to_depth_matches_published_numbers(shared):
    reference = np.load(shared / "reference" / "view_synthesis.npz")
    disparity, depth = camera.disparity_to_depth(torch.from_numpy(reference["disp0"]), 0.1, 100.0)
    np.testing.assert_allclose(disparity, reference["scaled_disp"], atol=1e-4)
    np.testing.assert_allclose(depth, reference["depth"], atol=1e-4)


def test_disparity_to_depth_reaches_its_range():
    disparity, depth = camera.disparity_to_depth(torch.tensor([0.0, 1.0], dtype=torch.float64), 0.1, 100.0)
    assert depth.tolist() == pytest.approx([100.0, 0.1])
    assert disparity.tolist() == pytest.approx([0.01, 10.0])


def test_disparity_to_depth_keeps_half_precision_from_rounding_depth():
    assert camera.disparity_to_depth(torch.zeros(1, dtype=torch.float16), 0.1, 100.0)[1].dtype == torch.float32


@pytest.mark.parametrize(("near", "far"), [(0.0, 1.0), (2.0, 1.0), (1.0, 1.0), (-1.0, 1.0)])
def test_disparity_to_depth_refuses_an_empty_range(near, far):
    with pytest.raises(ValueError, match="min_depth < max_depth"):
        camera.disparity_to_depth(torch.zeros(1), near, far)


def test_disparity_to_depth_gradient():
    sigmoid = torch.rand(2, 1, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: camera.disparity_to_depth(s, 0.5, 20.0), (sigmoid,))


def test_field_of_view_spans_the_outer_edges():
    K = camera.intrinsics_from_fov(90.0, (10, 20))
    # 90 degrees: the ray through the left edge (x = -0.5) leaves at 45 degrees.
    assert K[0, 0] == pytest.approx(10.0)
    assert (-0.5 - K[0, 2]) / K[0, 0] == pytest.approx(-1.0)
    assert (9.5 - K[1, 2]) / K[1, 1] == pytest.approx(0.5)
    with pytest.raises(ValueError, match="fov_deg"):
        camera.intrinsics_from_fov(180.0, (10, 20))


def centre_of_mass(image):
    weight = image / image.sum()
    return torch.stack([(weight * axis).sum() for axis in camera.pixel_grid(tuple(image.shape), dtype=image.dtype)])


def blob(size, x, y, sigma=3.0):
    columns, rows = camera.pixel_grid(size, dtype=torch.float64)
    return torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))


@pytest.mark.parametrize("to_size", [(24, 48), (16, 32), (96, 192), (24, 96)])
def test_resize_follows_the_image_content(to_size):
    """A point seen as a blob in the image is seen at the blob's new place after an area resize."""
    size, K, point = (48, 96), intrinsics(cx=40.0, cy=20.0), torch.tensor([0.3, 0.2, 2.0], dtype=torch.float64)
    image = blob(size, *pixel_of(K, point).tolist())
    resized = F.interpolate(image[None, None], to_size, mode="area")[0, 0]
    moved = pixel_of(camera.resize_intrinsics(K, size, to_size), point)
    assert torch.allclose(moved, centre_of_mass(resized), atol=0.02)


def test_crop_and_flip_follow_the_image_content():
    size, K, point = (48, 96), intrinsics(cx=40.0, cy=20.0), torch.tensor([0.3, 0.2, 2.0], dtype=torch.float64)
    image = blob(size, *pixel_of(K, point).tolist(), sigma=2.0)
    cropped = pixel_of(camera.crop_intrinsics(K, top=5, left=12), point)
    assert torch.allclose(cropped, centre_of_mass(image[5:, 12:]), atol=1e-3)
    mirrored = point * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    flipped = pixel_of(camera.flip_intrinsics(K, 96), mirrored)
    assert torch.allclose(flipped, centre_of_mass(image.flip(1)), atol=1e-3)


sizes = st.tuples(st.integers(2, 400), st.integers(2, 400))


points = st.tuples(st.floats(-5, 5), st.floats(-5, 5), st.floats(0.5, 50))


@given(sizes, sizes, points, st.floats(-2, 2))
@settings(max_examples=60, deadline=None)
def test_every_pixel_moves_as_its_image_does(size, to_size, point, skew):
    K, point = intrinsics(skew=skew), torch.tensor(point, dtype=torch.float64)
    before = pixel_of(K, point)
    scale = torch.tensor([to_size[1] / size[1], to_size[0] / size[0]], dtype=torch.float64)
    resized = pixel_of(camera.resize_intrinsics(K, size, to_size), point)
    assert torch.allclose(resized, (before + 0.5) * scale - 0.5, atol=1e-8, rtol=1e-9)
    mirrored = pixel_of(camera.flip_intrinsics(K, size[1]), point * point.new_tensor([-1, 1, 1]))
    assert torch.allclose(mirrored, torch.stack((size[1] - 1 - before[0], before[1])), atol=1e-8)
    back = camera.resize_intrinsics(camera.resize_intrinsics(K, size, to_size), to_size, size)
    assert torch.allclose(back, K)
    assert torch.allclose(camera.flip_intrinsics(camera.flip_intrinsics(K, size[1]), size[1]), K)


def test_intrinsics_are_not_changed_in_place_and_batches_are_kept():
    batch = intrinsics().expand(2, 5, 3, 3).clone()
    before = batch.clone()
    for changed in (
        camera.resize_intrinsics(batch, (10, 10), (5, 20)),
        camera.crop_intrinsics(batch, 1, 2),
        camera.flip_intrinsics(batch, 10),
    ):
        assert changed.shape == (2, 5, 3, 3)
        assert not torch.equal(changed, before)
    assert torch.equal(batch, before)


def test_back_project_by_hand():
    points = camera.back_project(
        torch.full((1, 1, 3, 4), 2.0), intrinsics(4.0, 2.0, 1.0, 1.0, dtype=torch.float32)[None]
    )
    assert points[0, :, 0, 3].tolist() == pytest.approx([1.0, -1.0, 2.0])
    assert points[0, :, 1, 1].tolist() == pytest.approx([0.0, 0.0, 2.0])


@given(st.integers(0, 10_000), st.floats(5, 500), st.floats(5, 500), st.floats(-20, 60), st.floats(-3, 3))
@settings(max_examples=40, deadline=None)
def test_project_undoes_back_project(seed, fx, fy, cx, skew):
    generator = torch.Generator().manual_seed(seed)
    depth = torch.rand(2, 1, 5, 7, generator=generator, dtype=torch.float64) * 80 + 0.1
    K = intrinsics(fx, fy, cx, 3.0, skew=skew).expand(2, 3, 3)
    pixels, seen_depth = camera.project(camera.back_project(depth, K), K)
    assert torch.allclose(pixels, camera.pixel_grid((5, 7), dtype=torch.float64).expand(2, 2, 5, 7), atol=1e-7)
    assert torch.allclose(seen_depth, depth)


def test_points_behind_the_camera_stay_finite_and_are_told_by_their_depth():
    points = torch.tensor([[1.0, 1.0, -1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]).T.reshape(1, 3, 1, 3).requires_grad_()
    pixels, depth = camera.project(points, intrinsics(dtype=torch.float32)[None])
    pixels.sum().backward()
    assert depth.flatten().tolist() == [-1.0, 0.0, 0.0]
    assert (pixels[0, 0, 0, :2] > 1000).all()  # far to their own side, not mirrored to the other
    assert torch.isfinite(points.grad).all()


def test_gradients():
    depth = torch.rand(2, 1, 3, 4, dtype=torch.float64) + 1
    K = intrinsics(skew=0.5).repeat(2, 1, 1)
    inputs = (depth.requires_grad_(), K.requires_grad_())
    assert torch.autograd.gradcheck(camera.back_project, inputs)
    points = camera.back_project(*inputs).detach().requires_grad_()
    assert torch.autograd.gradcheck(camera.project, (points, K))


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: camera.back_project(torch.ones(1, 3, 4), torch.eye(3)[None]), "depth"),
        (lambda: camera.back_project(torch.ones(2, 1, 3, 4), torch.eye(3)[None]), "intrinsics"),
        (lambda: camera.project(torch.ones(1, 2, 3, 4), torch.eye(3)[None]), "points"),
        (lambda: camera.resize_intrinsics(torch.eye(4), (1, 1), (1, 1)), "intrinsics"),
        (lambda: camera.crop_intrinsics(torch.ones(3), 0, 0), "intrinsics"),
        (lambda: camera.flip_intrinsics(torch.ones(2, 2), 3), "intrinsics"),
    ],
)
def test_wrong_shapes_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=rf"^{name}: expected shape .*, got \("):
        call()


def test_resize_refuses_an_empty_size():
    with pytest.raises(ValueError, match="positive"):
        camera.resize_intrinsics(torch.eye(3), (0, 4), (2, 2))


def test_a_wide_lens_sees_what_trigonometry_says():
    K = camera.intrinsics_from_fov(120.0, (101, 201)).double()
    angle = math.radians(40)
    x, _ = pixel_of(K, torch.tensor([math.sin(angle), 0, math.cos(angle)], dtype=torch.float64))
    assert x == pytest.approx(100 + 100.5 * math.tan(angle) / math.tan(math.radians(60)))
