"""What classes say about the order of two points in depth, and where they cannot be believed (METHOD 3.3, robust sampling).

Rules 1, 5 and 6 look at label maps; they are here. Rules 2 to 4 (area, confidence, agreement) are mere comparisons and stand in
``pairs``, where ``PairConfig`` says which rules are asked.
"""

from __future__ import annotations

import torch
from torch import Tensor

from semdepth.labels import GROUND, IGNORE, OCCLUDER, SKY, THING, membership
from semdepth.losses.regions import Points


def among(labels: Tensor, group: tuple[int, ...]) -> Tensor:
    """Tell which int64 trainIds are of a group of classes."""
    return torch.from_numpy(membership(group)).to(labels.device)[labels]


def order_by_class(side: Tensor) -> Tensor:
    """Return (N,) from the classes (N, 2) on both sides of a border: which side occludes the other.

    +1: side 1 is in front, −1: side 2 is, 0: the classes say nothing.
    """
    front = among(side, OCCLUDER).long() - among(side, SKY).long()
    return (front[:, 0] - front[:, 1]).sign()


def is_uniform(points: Points, labels: Tensor) -> Tensor:
    """Tell which points have 3×3 pixels around them that carry the label of the point's side (rule 1): (N, K) bool."""
    height, width = labels.shape[1:]
    uniform = torch.ones_like(points.inside)
    for down, right in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
        row, column = (points.row + down).clamp(0, height - 1), (points.column + right).clamp(0, width - 1)
        uniform &= labels[points.image, row, column] == points.side
    return uniform


def is_upright(points: Points, labels: Tensor) -> Tensor:
    """Tell which points, and the pixels straight above and below, carry the label of the point's side: (N, K) bool.

    Rule 1 on the middle line of what is too thin for 3×3 pixels of one label.
    """
    height = labels.shape[1]
    upright = torch.ones_like(points.inside)
    for down in (-1, 0, 1):
        row = (points.row + down).clamp(0, height - 1)
        upright &= labels[points.image, row, points.column] == points.side
    return upright


def is_contact(ends: Points) -> Tensor:
    """Tell where one point is ground, the other an occluder, and the ground is lower in the image (rule 5)."""
    ground, occluder = (among(ends.side, group) for group in (GROUND, OCCLUDER))
    return (ground & occluder.flip(1) & (ends.row > ends.row.flip(1))).any(1)


def is_out_of_order(ends: Points, labels: Tensor, large: Tensor) -> Tensor:
    """Tell where points ordered by the prior contradict how things, ground and sky follow in a column (rule 6)."""
    is_sky, is_thing = (among(labels.long(), group) & large for group in (SKY, THING))
    is_solid = (labels != SKY[0]) & (labels != IGNORE) & large
    below_thing, below_solid = (ends.row > _first_row(mask)[ends.image, ends.column] for mask in (is_thing, is_solid))
    above_sky = ends.row < labels.shape[1] - 1 - _first_row(is_sky.flip(1))[ends.image, ends.column]
    ground, sky = (among(ends.side, group) for group in (GROUND, SKY))
    prior = order_by_class(ends.side)
    behind = torch.stack([prior < 0, prior > 0], 1)
    hidden = behind & ((below_thing & ~ground) | (below_solid & sky))
    floating = above_sky & (behind & sky).flip(1)
    return (hidden | floating).any(1)


def _first_row(mask: Tensor) -> Tensor:
    """Return the topmost row that is true in each column of a (B, H, W) mask: (B, W), H where none is."""
    height = mask.shape[1]
    rows = torch.arange(height, dtype=torch.int16, device=mask.device)[None, :, None]
    return torch.where(mask, rows, height).amin(1)
