"""Infinite-depth holes: objects that keep our speed stand still in the image, and look infinitely far to self-supervision."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from semdepth.evaluation.borders import Mask, connected_objects
from semdepth.evaluation.protocols import Aligned
from semdepth.labels import MOVABLE, membership

HOLE_RATIO = 2.0
"""A pixel predicted farther than this many times its true depth is part of a hole."""
HOLED_SHARE = 0.5
"""An object of whose judged pixels at least this share are part of a hole is a hole itself."""
LEAST_PIXELS = 20
"""Objects with fewer judged pixels are not counted."""


@dataclass(frozen=True)
class HoleCount:
    """Holes on moving objects, in one image or in many."""

    pixels: int = 0
    """judged pixels on moving objects"""
    hole_pixels: int = 0
    """those of them predicted beyond ``HOLE_RATIO`` times their depth"""
    objects: int = 0
    """moving objects with at least ``LEAST_PIXELS`` judged pixels"""
    holed_objects: int = 0
    """those of them that are a hole (``HOLED_SHARE``)"""


def count_holes(aligned: Aligned, moving: npt.NDArray[Any]) -> HoleCount:
    """Count the holes on the moving objects of an image.

    Args:
        aligned: truth and scaled prediction.
        moving: (H, W) bool (connected regions are objects) or integer instance ids, 0 = still.
    """
    judged = aligned.mask & (moving > 0)
    hole = holes(aligned)[judged]
    ids = connected_objects(moving) if moving.dtype == np.bool_ else moving
    _, place, sizes = np.unique(ids[judged], return_inverse=True, return_counts=True)
    large = sizes >= LEAST_PIXELS
    holed = np.bincount(place, weights=hole, minlength=len(sizes)) >= HOLED_SHARE * sizes
    return HoleCount(hole.size, int(hole.sum()), int(large.sum()), int((large & holed).sum()))


def share_of_movable_holes(aligned: Aligned, labels: npt.NDArray[Any]) -> float:
    """Return the share of holes among the judged pixels of movable classes, moving or not; NaN where there are none.

    Needs no more than labels, so it is there for real drives too.

    Args:
        aligned: truth and scaled prediction.
        labels: (H, W) trainIds, 255 = ignore.
    """
    judged = aligned.mask & membership(MOVABLE)[labels]
    return float(holes(aligned)[judged].mean()) if judged.any() else float("nan")


def holes(aligned: Aligned) -> Mask:
    """Return (H, W) bool, meaningful on judged pixels: predicted beyond ``HOLE_RATIO`` times the true depth."""
    found: Mask = aligned.prediction > HOLE_RATIO * aligned.ground_truth
    return found


def total(counts: Iterable[HoleCount]) -> HoleCount:
    """Add up the counts of images."""
    rows = [(c.pixels, c.hole_pixels, c.objects, c.holed_objects) for c in counts]
    return HoleCount(*(sum(column) for column in zip(*rows, strict=True))) if rows else HoleCount()
