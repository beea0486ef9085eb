"""Rigid motions."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semdepth.geometry import rigid

angles = st.floats(-4, 4)
axes = st.tuples(angles, angles, angles)
shifts = st.tuples(*[st.floats(-50, 50)] * 3)


def vector(values):
    return torch.tensor([values], dtype=torch.float64)


def cross_matrix(w):
    x, y, z = w
    return torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)


def test_pose_matrix_matches_published_numbers(shared):
    reference = np.load(shared / "reference" / "view_synthesis.npz")
    axis_angle, translation = (torch.from_numpy(reference[name])[:, 0] for name in ("axisangle", "translation"))
    np.testing.assert_allclose(rigid.pose_matrix(axis_angle, translation), reference["T"], atol=1e-6)
    inverted = rigid.pose_matrix(axis_angle, translation, invert=True)
    np.testing.assert_allclose(inverted, reference["T_inverted"], atol=1e-6)


@given(axes)
@settings(max_examples=100, deadline=None)
def test_rotation_is_the_matrix_exponential(w):
    rotation = rigid.axis_angle_to_matrix(vector(w))[0]
    assert torch.allclose(rotation, torch.linalg.matrix_exp(cross_matrix(w)), atol=1e-11)
    assert torch.allclose(rotation @ rotation.T, torch.eye(3, dtype=torch.float64), atol=1e-12)
    assert torch.linalg.det(rotation) == pytest.approx(1)


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-4, 0.0999, 0.1001, math.pi, 2 * math.pi])
def test_rotation_is_exact_at_delicate_angles(angle):
    w = (angle * 0.6, 0.0, angle * 0.8)
    expected = torch.linalg.matrix_exp(cross_matrix(w))
    assert torch.allclose(rigid.axis_angle_to_matrix(vector(w))[0], expected, atol=1e-14, rtol=0)
    single = rigid.axis_angle_to_matrix(vector(w).float())[0].double()
    assert torch.allclose(single, expected, atol=2e-6, rtol=0)


def test_gradient_at_rest_is_the_generator_of_rotation():
    jacobian = torch.autograd.functional.jacobian(rigid.axis_angle_to_matrix, torch.zeros(3, dtype=torch.float64))
    for i in range(3):
        assert torch.equal(jacobian[..., i], cross_matrix(torch.eye(3)[i].tolist()))


@pytest.mark.parametrize("scale", [0.0, 1e-6, 0.05, 1.0])
def test_gradients(scale, generator):
    w = (torch.randn(2, 3, generator=generator, dtype=torch.float64) * scale).requires_grad_()
    t = torch.randn(2, 3, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(rigid.axis_angle_to_matrix, (w,))
    assert torch.autograd.gradgradcheck(rigid.axis_angle_to_matrix, (w,), atol=1e-4)
    for invert in (False, True):
        assert torch.autograd.gradcheck(lambda a, b, i=invert: rigid.pose_matrix(a, b, invert=i), (w, t))


@given(axes, shifts)
@settings(max_examples=60, deadline=None)
def test_inverse_poses_cancel(w, t):
    forward = rigid.pose_matrix(vector(w), vector(t))
    backward = rigid.pose_matrix(vector(w), vector(t), invert=True)
    identity = torch.eye(4, dtype=torch.float64)[None]
    assert torch.allclose(forward @ backward, identity, atol=1e-10)
    assert torch.allclose(rigid.inverse(forward), backward, atol=1e-12)
    assert torch.allclose(rigid.inverse(backward), forward, atol=1e-10)


@given(axes, shifts, axes, shifts, shifts)
@settings(max_examples=60, deadline=None)
def test_relative_pose_takes_points_of_b_to_a(w_a, t_a, w_b, t_b, point):
    world_from_a, world_from_b = (
        rigid.pose_matrix(vector(w_a), vector(t_a)),
        rigid.pose_matrix(vector(w_b), vector(t_b)),
    )
    in_b = torch.tensor([*point, 1.0], dtype=torch.float64)
    in_a = rigid.relative_pose(world_from_a, world_from_b)[0] @ in_b
    assert torch.allclose(world_from_a[0] @ in_a, world_from_b[0] @ in_b, atol=1e-9)


def test_quarter_turn_by_hand():
    """A quarter turn about the downward axis takes forward to right; then the translation is added."""
    motion = rigid.pose_matrix(vector((0, math.pi / 2, 0)), vector((1, 2, 3)))[0]
    moved = motion @ torch.tensor([0, 0, 5, 1], dtype=torch.float64)
    assert moved.tolist() == pytest.approx([6, 2, 3, 1])


def test_relative_pose_far_from_the_origin_loses_no_digits():
    a, b = torch.eye(4), torch.eye(4)
    a[:3, 3], b[:3, 3] = torch.tensor([1e6, 0, 1e6]), torch.tensor([1e6, 0, 1e6 + 1])
    turn = rigid.axis_angle_to_matrix(torch.tensor([0.0, 0.3, 0.0]))
    a[:3, :3] = b[:3, :3] = turn
    assert rigid.relative_pose(a, b)[:3, 3].norm() == pytest.approx(1, abs=1e-5)


def test_mixed_precision_does_not_touch_motions():
    w, t = torch.tensor([[0.1, -0.2, 0.3]]), torch.tensor([[1.0, 2.0, 3.0]])
    plain = rigid.pose_matrix(w, t, invert=True)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = rigid.pose_matrix(w, t, invert=True)
    assert torch.equal(plain, mixed)
    assert rigid.pose_matrix(w.half(), t.half()).dtype == torch.float32


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: rigid.axis_angle_to_matrix(torch.zeros(2, 4)), "axis_angle"),
        (lambda: rigid.axis_angle_to_matrix(torch.zeros(())), "axis_angle"),
        (lambda: rigid.pose_matrix(torch.zeros(2, 1, 3), torch.zeros(2, 3)), "axis_angle"),
        (lambda: rigid.pose_matrix(torch.zeros(2, 3), torch.zeros(1, 3)), "translation"),
        (lambda: rigid.inverse(torch.eye(3)), "matrix"),
        (lambda: rigid.relative_pose(torch.eye(4), torch.eye(3)), "world_from_b"),
    ],
)
def test_wrong_shapes_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=rf"^{name}: expected shape .*, got \("):
        call()
