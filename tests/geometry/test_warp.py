"""View synthesis."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semdepth.geometry import camera, rigid, warp


def scene(generator, batch=2, size=(6, 9), dtype=torch.float64):
    height, width = size
    source = torch.rand(batch, 3, height, width, generator=generator, dtype=dtype)
    depth = torch.rand(batch, 1, height, width, generator=generator, dtype=dtype) * 3 + 1
    K = camera.intrinsics_from_fov(80.0, size).to(dtype).repeat(batch, 1, 1)
    w, t = (torch.randn(batch, 3, generator=generator, dtype=dtype) * 0.1 for _ in range(2))
    return source, depth, K, rigid.pose_matrix(w, t)


def slow_grid(depth, intrinsics, source_from_target):
    """The obvious path: to points, through the motion, to pixels, to [-1, 1]."""
    points = camera.back_project(depth, intrinsics)
    rotation, translation = source_from_target[:, :3, :3], source_from_target[:, :3, 3]
    moved = torch.einsum("bij,bjhw->bihw", rotation, points) + translation[:, :, None, None]
    pixels, _ = camera.project(moved, intrinsics)
    last = pixels.new_tensor([depth.shape[3] - 1, depth.shape[2] - 1])
    return pixels.permute(0, 2, 3, 1) / last * 2 - 1


def test_matches_published_numbers(shared):
    reference = {k: torch.from_numpy(v) for k, v in np.load(shared / "reference" / "view_synthesis.npz").items()}
    K, depth = reference["K"][:, :3, :3], reference["depth"]
    for j in range(2):
        motion = reference["T"][2 * j : 2 * j + 2]
        grid = warp.sampling_grid(depth, K, motion)
        np.testing.assert_allclose(grid, reference[f"grid{j}"], atol=1e-3)
        view = warp.synthesise(reference[f"source{j}"], depth, K, motion)
        np.testing.assert_allclose(view, reference[f"warped{j}"], atol=1e-4)


def test_agrees_with_the_slow_obvious_path(generator):
    _, depth, K, motion = scene(generator)
    assert torch.allclose(warp.sampling_grid(depth, K, motion), slow_grid(depth, K, motion), atol=1e-12)
    K[:, 0, 1] = 0.7  # skew
    assert torch.allclose(warp.sampling_grid(depth, K, motion), slow_grid(depth, K, motion), atol=1e-12)


@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(2, 12))
@settings(max_examples=30, deadline=None)
def test_no_motion_warps_an_image_onto_itself(seed, height, width):
    source, depth, K, _ = scene(torch.Generator().manual_seed(seed), size=(height, width))
    still = torch.eye(4, dtype=torch.float64).repeat(2, 1, 1)
    assert torch.allclose(warp.synthesise(source, depth, K, still), source, atol=1e-9)


def test_sideways_motion_by_hand():
    """Depth 4, focal 8, a step of one unit: every pixel is seen 8·1/4 = 2 columns to the right, or at the border."""
    source = torch.arange(6.0).expand(1, 3, 2, 6)
    K = torch.tensor([[[8.0, 0.0, 2.0], [0.0, 8.0, 0.5], [0.0, 0.0, 1.0]]])
    motion = torch.eye(4)[None].clone()
    motion[0, 0, 3] = 1.0
    view = warp.synthesise(source, torch.full((1, 1, 2, 6), 4.0), K, motion)
    assert view[0, 0, 0].tolist() == pytest.approx([2, 3, 4, 5, 5, 5], abs=1e-5)


def test_half_a_pixel_is_interpolated():
    source = torch.tensor([0.0, 1.0, 0.0, 0.0]).expand(1, 1, 1, 4)
    K = torch.tensor([[[8.0, 0.0, 1.5], [0.0, 8.0, 0.0], [0.0, 0.0, 1.0]]])
    motion = torch.eye(4)[None].clone()
    motion[0, 0, 3] = 0.25
    view = warp.synthesise(source, torch.full((1, 1, 1, 4), 4.0), K, motion)
    assert view.flatten().tolist() == pytest.approx([0.5, 0.5, 0, 0], abs=1e-6)


def test_forward_motion_by_hand():
    """Moving 1 forward before a wall at 2 doubles the distance of every pixel from the centre."""
    K = torch.tensor([[[5.0, 0.0, 2.0], [0.0, 5.0, 2.0], [0.0, 0.0, 1.0]]])
    motion = torch.eye(4)[None].clone()
    motion[0, 2, 3] = -1.0
    grid = warp.sampling_grid(torch.full((1, 1, 5, 5), 2.0), K, motion)
    assert grid[0, 2, :, 0].tolist() == pytest.approx([-2, -1, 0, 1, 2], abs=1e-6)
    assert grid[0, :, 2, 1].tolist() == pytest.approx([-2, -1, 0, 1, 2], abs=1e-6)


@pytest.mark.parametrize("forward", [-2.0, -2.0 - 1e-7, -5.0])
@pytest.mark.parametrize("depth_value", [0.0, 2.0])
def test_points_at_and_behind_the_camera_stay_finite(forward, depth_value):
    source = torch.rand(1, 3, 4, 5)
    depth = torch.full((1, 1, 4, 5), depth_value, requires_grad=True)
    K = camera.intrinsics_from_fov(90.0, (4, 5))[None]
    t = torch.tensor([[0.0, 0.0, forward]], requires_grad=True)
    w = torch.zeros(1, 3, requires_grad=True)
    motion = rigid.pose_matrix(w, t)
    grid = warp.sampling_grid(depth, K, motion)
    view = warp.synthesise(source, depth, K, motion)
    (view.sum() + grid.sum()).backward()
    for tensor in (grid, view, depth.grad, t.grad, w.grad):
        assert torch.isfinite(tensor).all()


@pytest.mark.parametrize("broken", ["depth", "motion"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_numbers_show_in_their_own_image_and_do_not_crash(broken, value, generator):
    source, depth, K, motion = scene(generator, size=(20, 40), dtype=torch.float32)
    {"depth": depth[:, 0], "motion": motion}[broken][0, 0, 3] = value
    view = warp.synthesise(source, depth.requires_grad_(), K, motion)
    view.sum().backward()
    assert view[0].isnan().all()
    assert torch.isfinite(view[1]).all()
    assert torch.isfinite(depth.grad[1]).all()


def test_gradients_reach_depth_motion_intrinsics_and_source(generator):
    source, depth, K, _ = scene(generator, batch=1, size=(4, 5))
    w, t = (torch.randn(1, 3, generator=generator, dtype=torch.float64) * 0.05 for _ in range(2))
    inputs = [x.requires_grad_() for x in (source, depth, K, w, t)]

    def view(source, depth, K, w, t):
        return warp.synthesise(source, depth, K, rigid.pose_matrix(w, t))

    assert torch.autograd.gradcheck(view, inputs, eps=1e-7)


def by_autograd(depth, intrinsics, source_from_target):
    matrix = warp.projection((depth.shape[2], depth.shape[3]), intrinsics, source_from_target)
    points = camera.map_pixels(matrix[:, :, :3], (depth.shape[2], depth.shape[3])) * depth + matrix[:, :, 3:, None]
    return (points[:, :2] / points[:, 2:].clamp(min=camera.NEAREST_DEPTH)).permute(0, 2, 3, 1)


@pytest.mark.parametrize("forward", [0.1, -3.0])
def test_the_gradient_by_hand_is_autograds(forward, generator):
    """Moving 3 forward leaves a good part of the points behind the camera."""
    _, depth, K, motion = scene(generator)
    motion[:, 2, 3] = forward
    K[:, 0, 1] = 0.7
    weight = torch.randn(2, 6, 9, 2, generator=generator, dtype=torch.float64)
    found = []
    for grid_of in (warp.sampling_grid, by_autograd):
        leaves = [x.clone().requires_grad_() for x in (depth, K, motion)]
        grid = grid_of(*leaves)
        (grid * weight).sum().backward()
        found.append([grid.detach(), *(leaf.grad for leaf in leaves)])
    for quick, slow in zip(*found, strict=True):
        torch.testing.assert_close(quick, slow)


def test_no_gradient_is_worked_out_that_nobody_wants(generator):
    _, depth, K, motion = scene(generator)
    for wanted in (depth, motion):
        leaf = wanted.clone().requires_grad_()
        of_leaf = [leaf if x is wanted else x for x in (depth, K, motion)]
        warp.sampling_grid(*of_leaf).sum().backward()
        assert torch.isfinite(leaf.grad).all()
        assert leaf.grad.abs().sum() > 0


def test_mixed_precision_does_not_move_points(generator):
    source, depth, K, motion = scene(generator, dtype=torch.float32)
    plain = warp.synthesise(source, depth, K, motion)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = warp.synthesise(source, depth, K, motion)
    assert torch.equal(plain, mixed)
    assert warp.synthesise(source.half(), depth.half(), K, motion).dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"depth": torch.ones(2, 6, 9)}, "depth"),
        ({"intrinsics": torch.ones(2, 4, 4)}, "intrinsics"),
        ({"source_from_target": torch.ones(1, 4, 4)}, "source_from_target"),
        ({"source": torch.ones(2, 3, 6, 8)}, "source"),
        ({"source": torch.ones(2, 3, 6, 9, dtype=torch.uint8)}, "source"),
    ],
)
def test_wrong_input_is_refused_by_name(change, name, generator):
    arguments = dict(zip(("source", "depth", "intrinsics", "source_from_target"), scene(generator), strict=True))
    with pytest.raises(ValueError, match=rf"^{name}: expected .*, got "):
        warp.synthesise(**(arguments | change))
