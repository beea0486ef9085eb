"""Rigid motions as 4×4 matrices. ``b_from_a`` takes the coordinates of a point in frame a to those in frame b.

Small products are written as sums of products, not as ``@``: mixed precision would round a matrix product to half.
"""

from __future__ import annotations

import torch
from torch import Tensor

from semdepth.geometry.camera import at_least_float32, require_shape

_SERIES_BELOW = 1e-2
"""Squared angle below which the Taylor series replace sine and cosine; their error there is below float64's."""


def multiply(left: Tensor, right: Tensor) -> Tensor:
    """Return the matrix product of small matrices, (..., n, m) and (..., m, p), at full precision under autocast."""
    return (left[..., :, :, None] * right[..., None, :, :]).sum(-2)


def axis_angle_to_matrix(axis_angle: Tensor) -> Tensor:
    """Return the rotation about ``axis_angle`` by its length in radians, by Rodrigues' formula.

    ``R = I + (sin θ/θ)·[w] + ((1 - cos θ)/θ²)·[w]²``; near θ = 0 both factors come from their Taylor series in θ², so
    value and derivatives are exact there too (a division by a norm would give no derivative at rest).

    Args:
        axis_angle: (..., 3), radians.

    Returns:
        (..., 3, 3) rotation matrices.

    Raises:
        ValueError: if the shape is wrong.
    """
    require_shape("axis_angle", axis_angle, "...", 3)
    w = at_least_float32(axis_angle)
    squared = (w * w).sum(-1)
    small = squared < _SERIES_BELOW
    # Both branches are evaluated, and a NaN in the one not taken would still poison the gradient.
    safe = torch.where(small, torch.ones_like(squared), squared)
    angle = safe.sqrt()
    series_sine = 1 - squared / 6 * (1 - squared / 20 * (1 - squared / 42 * (1 - squared / 72)))
    series_cosine = 0.5 - squared / 24 * (1 - squared / 30 * (1 - squared / 56 * (1 - squared / 90)))
    sine = torch.where(small, series_sine, angle.sin() / angle)
    cosine = torch.where(small, series_cosine, 2 * (angle / 2).sin() ** 2 / safe)
    x, y, z = w.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), dim=-1).unflatten(-1, (3, 3))
    identity = torch.eye(3, device=w.device, dtype=w.dtype)
    rotation: Tensor = identity + sine[..., None, None] * cross + cosine[..., None, None] * multiply(cross, cross)
    return rotation


def _assemble(rotation: Tensor, translation: Tensor) -> Tensor:
    """Return the (..., 4, 4) matrix of a (..., 3, 3) rotation and a (..., 3) translation."""
    bottom: Tensor = rotation.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*rotation.shape[:-2], 1, 4)
    return torch.cat((torch.cat((rotation, translation[..., None]), dim=-1), bottom), dim=-2)


def _rotate(rotation: Tensor, vector: Tensor) -> Tensor:
    return (rotation * vector[..., None, :]).sum(-1)


def pose_matrix(axis_angle: Tensor, translation: Tensor, invert: bool = False) -> Tensor:
    """Return the rigid motion that a pose network's output stands for: rotate, then translate.

    A pose network is fed pairs in temporal order and predicts the motion one way; ``invert`` gives the other way,
    ``[Rᵀ | -Rᵀ t]``, without a matrix inversion.

    Args:
        axis_angle: (B, 3), radians.
        translation: (B, 3), metres or up to scale.
        invert: return the inverse motion.

    Returns:
        (B, 4, 4).

    Raises:
        ValueError: if a shape is wrong.
    """
    require_shape("axis_angle", axis_angle, "B", 3)
    require_shape("translation", translation, len(axis_angle), 3)
    rotation, translation = axis_angle_to_matrix(axis_angle), at_least_float32(translation)
    if not invert:
        return _assemble(rotation, translation)
    rotation = rotation.transpose(-1, -2)
    return _assemble(rotation, -_rotate(rotation, translation))


def inverse(matrix: Tensor) -> Tensor:
    """Return the inverse of rigid motions, ``[Rᵀ | -Rᵀ t]``.

    Args:
        matrix: (..., 4, 4), rotation and translation only.

    Returns:
        (..., 4, 4).

    Raises:
        ValueError: if the shape is wrong.
    """
    require_shape("matrix", matrix, "...", 4, 4)
    matrix = at_least_float32(matrix)
    rotation = matrix[..., :3, :3].transpose(-1, -2)
    return _assemble(rotation, -_rotate(rotation, matrix[..., :3, 3]))


def relative_pose(world_from_a: Tensor, world_from_b: Tensor) -> Tensor:
    """Return ``a_from_b``, the motion between two poses in one world: ``[R_aᵀ R_b | R_aᵀ (t_b - t_a)]``.

    The translations are subtracted before the rotation, so that frames far from the world's origin lose no digits.
    ``relative_pose(world_from_source, world_from_target)`` is ``source_from_target``.

    Args:
        world_from_a: (..., 4, 4).
        world_from_b: (..., 4, 4).

    Returns:
        (..., 4, 4).

    Raises:
        ValueError: if a shape is wrong.
    """
    require_shape("world_from_a", world_from_a, "...", 4, 4)
    require_shape("world_from_b", world_from_b, "...", 4, 4)
    a, b = at_least_float32(world_from_a), at_least_float32(world_from_b)
    back = a[..., :3, :3].transpose(-1, -2)
    return _assemble(multiply(back, b[..., :3, :3]), _rotate(back, b[..., :3, 3] - a[..., :3, 3]))
