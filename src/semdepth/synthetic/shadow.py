"""Cast shadows: for every lit point, is there a solid on the way to the sun?

Seen from the sun, the world is flat: each solid is entered in the cells of a grid that its shadow may fall on, and a
point is tested against the solids of its own cell only.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .raycast import KINDS, corners, expand, intersect
from .scene import Scene
from .shapes import WEDGE

CELL = 4.0
CELLS = 64
_REACH = CELL * CELLS / 2


class SunGrid:
    """For each kind of solid, which of them may shade a cell."""

    def __init__(self, scene: Scene, sun: tuple[float, float, float]) -> None:
        self._scene = scene
        self._slope = (sun[0] / sun[1], sun[2] / sun[1])
        # One axis of the grid runs with the shadows, so that a long shadow covers few cells.
        flat = math.hypot(sun[0], sun[2]) + 1e-9
        self._turn = (sun[0] / flat, sun[2] / flat)
        frame, prim = (scene.near & scene.shadow).nonzero(as_tuple=True)
        points = corners(scene, frame, prim)
        camera = scene.camera.index_select(1, frame)
        world = [sum(camera[3 * k + i] * points[:, i] for i in range(3)) for k in range(3)]
        u, v = self._flatten(frame, *world)  # type: ignore[arg-type]
        limits = [self._cell(a) for a in (u.amin(0), u.amax(0), v.amin(0), v.amax(0))]
        # Nothing below the ground is lit: a shadow that starts below it needs no cell, so small errors here do no harm.
        u0, u1, v0, v1 = (a.clamp(0, CELLS - 1) for a in limits)
        outside = (limits[1] < 0) | (limits[0] >= CELLS) | (limits[3] < 0) | (limits[2] >= CELLS)
        span = u1 - u0 + 1
        area = torch.where(outside, 0, span * (v1 - v0 + 1))
        self._lists = {}
        kinds = scene.kind[prim]
        for kind in KINDS:
            chosen = (kinds == kind).nonzero().squeeze(1)
            item, number = expand(area[chosen])
            item = chosen.index_select(0, item)
            across = span.index_select(0, item)
            down = torch.div(number, across, rounding_mode="floor")
            cell = (frame[item] * CELLS + v0[item] + down) * CELLS + u0[item] + number - down * across
            order = torch.argsort(cell, stable=True)
            count = torch.bincount(cell, minlength=scene.frames * CELLS * CELLS)
            self._lists[kind] = ((frame * scene.prims + prim)[item[order]], count, count.cumsum(0) - count)

    def _flatten(self, frame: Tensor, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Slide points (relative to the camera) along the sun's rays down to the road."""
        drop = self._scene.height.index_select(0, frame) - y
        x, z = x + drop * self._slope[0], z + drop * self._slope[1]
        return x * self._turn[0] + z * self._turn[1], z * self._turn[0] - x * self._turn[1]

    @staticmethod
    def _cell(x: Tensor) -> Tensor:
        return ((x + _REACH) / CELL).floor().clamp(-1, CELLS).long()

    def shaded(self, frame: Tensor, point: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Return whether each of the (N,) points (relative to the camera, world axes) lies in shadow."""
        u, v = (self._cell(a) for a in self._flatten(frame, *point))
        inside = (u >= 0) & (u < CELLS) & (v >= 0) & (v < CELLS)
        cell = (frame * CELLS + v.clamp(0, CELLS - 1)) * CELLS + u.clamp(0, CELLS - 1)
        dark = torch.zeros_like(inside)
        scene = self._scene
        for kind, (rows, count, start) in self._lists.items():
            item, number = expand(torch.where(inside, count.index_select(0, cell), 0))
            row = rows.index_select(0, start.index_select(0, cell.index_select(0, item)) + number)
            x, y, z = (p.index_select(0, item) for p in point)
            origin = []
            for k in range(3):
                moved = scene.world_ray[3 * k].index_select(0, row) * x
                moved += scene.world_ray[3 * k + 1].index_select(0, row) * y
                moved += scene.world_ray[3 * k + 2].index_select(0, row) * z
                origin.append(moved + scene.eye[k].index_select(0, row))
            direction = [scene.sun[k].index_select(0, row) for k in range(3)]
            taper = [scene.taper[k].index_select(0, row % scene.prims) for k in range(2)] if kind == WEDGE else []
            enter, leave = intersect(kind, origin, direction, taper)
            hit = ((enter < leave) & (leave > 0.02)).nonzero().squeeze(1)
            dark[item.index_select(0, hit)] = True
        return dark
