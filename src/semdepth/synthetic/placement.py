"""Objects put into the world: prims moved from their objects' frames into the world's."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .shapes import PrimTable

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Placed:
    """Objects at rest: their prims in world axes."""

    prims: PrimTable
    instance: npt.NDArray[np.int64]
    """(P,) id of the object that each prim belongs to."""
    s: Array
    """(P,) where along the road the object stands."""


def move(table: PrimTable, x: Array, z: Array, yaw: Array) -> PrimTable:
    """Return prims moved from their objects' frames into the world's; x, z and yaw are (P,)."""
    centre, inverse = move_frames(table.centre, table.inverse, x, z, yaw)
    return replace(table, centre=centre, inverse=inverse)


def move_frames(centre: Array, inverse: Array, x: Array, z: Array, yaw: Array) -> tuple[Array, Array]:
    """Return centres (…, P, 3) and inverses (…, P, 3, 3) after turning by ``yaw`` and moving to (x, z), each (…, P)."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    moved = np.stack(
        [
            x + cos * centre[..., 0] + sin * centre[..., 2],
            np.broadcast_to(centre[..., 1], x.shape),
            z - sin * centre[..., 0] + cos * centre[..., 2],
        ],
        axis=-1,
    )
    a, b, c = inverse[..., 0], inverse[..., 1], inverse[..., 2]
    cos, sin = cos[..., None], sin[..., None]
    turned = np.stack([a * cos + c * sin, np.broadcast_to(b, (a * cos).shape), -a * sin + c * cos], axis=-1)
    return moved, turned
