"""What classes say about the order of two points in depth, and where they cannot be believed (METHOD 3.3, robust sampling).

Rules 1, 5 and 6 look at label maps; they are here. Rules 2 to 4 (area, confidence, agreement) are mere comparisons and stand in
``pairs``; ``PairConfig`` says which rules are asked.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from semdepth.labels import GROUND, IGNORE, OCCLUDER, SKY, THING, membership
from semdepth.losses.regions import Points


def among(labels: Tensor, group: tuple[int, ...]) -> Tensor:
    """Tell which trainIds, of any shape and integer type, are of a group of classes."""
    table = torch.from_numpy(membership(group)).to(labels.device)
    return table.index_select(0, labels.flatten().int()).view_as(labels)


def order_by_class(side: Tensor) -> Tensor:
    """Return (N,) from the classes (N, 2) on both sides of a border: which side occludes the other.

    +1: side 1 is in front, −1: side 2 is, 0: the classes say nothing.
    """
    front = among(side, OCCLUDER).long() - among(side, SKY).long()
    return (front[:, 0] - front[:, 1]).sign()


def is_upright(labels: Tensor) -> Tensor:
    """Tell which pixels of (B, H, W) labels have their own label straight above and below, too: (B, H, W) bool.

    Rule 1 on the middle line of what is too thin for 3×3 pixels of one label. Beyond the image's edge it goes on as it is.
    """
    same = labels[:, 1:] == labels[:, :-1]
    upright = torch.ones_like(labels, dtype=torch.bool)
    upright[:, 1:] &= same
    upright[:, :-1] &= same
    return upright


def is_uniform(labels: Tensor) -> Tensor:
    """Tell which pixels of (B, H, W) labels have 3×3 pixels of their own label around them (rule 1): (B, H, W) bool."""
    along = is_upright(labels.transpose(1, 2)).transpose(1, 2)
    uniform = is_upright(labels) & along
    uniform[:, 1:] &= along[:, :-1]
    uniform[:, :-1] &= along[:, 1:]
    return uniform


def is_contact(ends: Points) -> Tensor:
    """Tell where one point is ground, the other an occluder, and the ground is lower in the image (rule 5)."""
    ground, occluder = (among(ends.side, group) for group in (GROUND, OCCLUDER))
    return (ground & occluder.flip(1) & (ends.row > ends.row.flip(1))).any(1)


@dataclass(frozen=True)
class Columns:
    """Where things, all that is solid, and the sky are in each column of label maps, (B, W) each; what rule 6 asks."""

    first_thing: Tensor
    """The topmost row of a thing; H where there is none."""
    first_solid: Tensor
    """The topmost row of anything but sky; H where there is none."""
    last_sky: Tensor
    """The lowest row of sky; −1 where there is none."""


def columns_of(labels: Tensor, large: Tensor) -> Columns:
    """Look through the columns of (B, H, W) labels, where ``large`` (B, H, W) says that a region is."""
    height = labels.shape[1]
    rows = torch.arange(height, dtype=torch.int16, device=labels.device)[None, :, None]
    sky = labels == SKY[0]
    thing, solid = among(labels, THING) & large, ~sky & (labels != IGNORE) & large
    first_thing, first_solid = (torch.where(mask, rows, height).amin(1) for mask in (thing, solid))
    return Columns(first_thing, first_solid, torch.where(sky & large, rows, -1).amax(1))


def is_out_of_order(ends: Points, columns: Columns) -> Tensor:
    """Tell where points ordered by the prior contradict how things, ground and sky follow in a column (rule 6)."""
    place = ends.image, ends.column
    below_thing, below_solid = ends.row > columns.first_thing[place], ends.row > columns.first_solid[place]
    above_sky = ends.row < columns.last_sky[place]
    ground, sky = (among(ends.side, group) for group in (GROUND, SKY))
    prior = order_by_class(ends.side)
    behind = torch.stack([prior < 0, prior > 0], 1)
    hidden = behind & ((below_thing & ~ground) | (below_solid & sky))
    floating = above_sky & (behind & sky).flip(1)
    return (hidden | floating).any(1)
