"""Which solid does every ray hit first? Batched over frames, solids and rays, without loops over any of them.

Each solid's corners are projected to a rectangle of pixels; the (solid, ray) pairs inside the rectangles are listed
flat and intersected in the solid's own frame, where it is a cube, cylinder or ball of size 1; the nearest hit of each ray
is kept by a scatter-minimum over packed (depth, solid) keys, whose result does not depend on any order.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .scene import Scene
from .shapes import BALL, BOX, CYLINDER, WEDGE

KINDS = (BOX, WEDGE, CYLINDER, BALL)
NEAR = 0.1
"""Nothing is seen closer than this, in metres."""
MISS = torch.iinfo(torch.int64).max
_TINY = 1e-12
"""Added to what is divided by: rays along a face miss cleanly instead of giving NaN."""


class Camera(NamedTuple):
    """A pinhole camera; pixel centres at integer coordinates."""

    height: int
    width: int
    fx: float
    fy: float

    @property
    def cx(self) -> float:
        """Column of the principal point."""
        return (self.width - 1) / 2

    @property
    def cy(self) -> float:
        """Row of the principal point."""
        return (self.height - 1) / 2


class Rays(NamedTuple):
    """N rays from the frames' cameras."""

    frame: Tensor
    """(N,) int64."""
    x: Tensor
    """(N,) the direction is (x, y, 1) in the camera's frame."""
    y: Tensor
    world: tuple[Tensor, Tensor, Tensor]
    """The same directions in world axes, three (N,)."""


def cast_rays(scene: Scene, camera: Camera, frame: Tensor, column: Tensor, row: Tensor) -> Rays:
    """Return the rays through points (column, row) of the images, in pixels."""
    x, y = (column - camera.cx) / camera.fx, (row - camera.cy) / camera.fy
    a, b, c = transform(scene.camera, frame, x, y, None)
    return Rays(frame, x, y, (a, b, c))


class Pairs(NamedTuple):
    """Candidates: ray ``ray[i]`` may hit the solid of table row ``row[i]``."""

    kind: int
    ray: Tensor
    row: Tensor


def expand(count: Tensor) -> tuple[Tensor, Tensor]:
    """Return, for items that are repeated ``count`` times each, the item and the running number of every repeat."""
    item = torch.repeat_interleave(count)
    start = count.cumsum(0) - count
    return item, torch.arange(item.shape[0], device=count.device) - start.index_select(0, item)


def _corner_signs(device: torch.device) -> Tensor:
    index = torch.arange(8, device=device)
    return torch.stack([(index & 1) * 2 - 1, (index >> 1 & 1) * 2 - 1, (index >> 2) * 2 - 1]).to(torch.float32)


_EDGES = tuple((a, a | bit) for bit in (1, 2, 4) for a in range(8) if not a & bit)


def corners(scene: Scene, frame: Tensor, prim: Tensor) -> Tensor:
    """Return the (8, 3, N) corners, in the camera's frame, of the boxes around some solids."""
    axes, middle = scene.corner[frame, prim], scene.middle[frame, prim]
    signs = _corner_signs(axes.device)
    offset = (axes[None] * signs.t()[:, None, None, :]).sum(-1)
    return (middle + offset).transpose(1, 2)


def bounds(points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the least and greatest x/z and y/z of (8, 3, N) corners; boxes that reach behind the camera are clipped."""
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    first = torch.tensor([a for a, _ in _EDGES], device=points.device)
    second = torch.tensor([b for _, b in _EDGES], device=points.device)
    za, zb = z[first], z[second]
    crossing = (za < NEAR) != (zb < NEAR)
    share = ((NEAR - za) / torch.where(crossing, zb - za, torch.ones_like(za))).clamp(0, 1)
    seen = torch.cat([z >= NEAR, crossing])
    depth = torch.cat([z.clamp(min=NEAR), torch.full_like(za, NEAR)])
    limits = []
    for values in (x, y):
        cut = values[first] + share * (values[second] - values[first])
        ratio = torch.cat([values, cut]) / depth
        limits.append(ratio.masked_fill(~seen, torch.inf).amin(0))
        limits.append(ratio.masked_fill(~seen, -torch.inf).amax(0))
    return limits[0], limits[1], limits[2], limits[3]


def pixel_pairs(scene: Scene, camera: Camera, margin: float) -> tuple[list[Pairs], Tensor]:
    """List the candidates of all pixels.

    Args:
        scene: F frames.
        camera: the pinhole camera.
        margin: pixels by which the rectangles are widened, so that rays beside the pixels' centres are served too.

    Returns:
        Pairs for each kind of solid, their rays numbered f·H·W + row·W + column; and which table rows are solids
        thinner than 1.5 pixels, as a (F·P,) bool.
    """
    height, width = camera.height, camera.width
    frame, prim = scene.near.nonzero(as_tuple=True)
    left, right, top, bottom = bounds(corners(scene, frame, prim))
    left, right = left * camera.fx + camera.cx, right * camera.fx + camera.cx
    top, bottom = top * camera.fy + camera.cy, bottom * camera.fy + camera.cy
    thin = torch.zeros(scene.frames * scene.prims, dtype=torch.bool, device=left.device)
    row = frame * scene.prims + prim
    thin[row] = torch.minimum(right - left, bottom - top) < 1.5
    x0, y0 = (left - margin).ceil().clamp(0, width), (top - margin).ceil().clamp(0, height)
    x1, y1 = (right + margin).floor().clamp(-1, width - 1), (bottom + margin).floor().clamp(-1, height - 1)
    # A box with no corner in front of the camera has inverted, infinite limits: an empty rectangle.
    wide, tall = (x1 - x0 + 1).clamp(min=0).long(), (y1 - y0 + 1).clamp(min=0).long()
    kinds = scene.kind[prim]
    found = []
    for kind in KINDS:
        chosen = ((kinds == kind) & (wide * tall > 0)).nonzero().squeeze(1)
        span = wide[chosen]
        item, number = expand(span * tall[chosen])
        span = span.index_select(0, item)
        down = torch.div(number, span, rounding_mode="floor")
        corner = (frame * height * width + y0.long() * width + x0.long())[chosen]
        ray = corner.index_select(0, item) + down * width + (number - down * span)
        found.append(Pairs(kind, ray, row[chosen].index_select(0, item)))
    return found, thin


def _slab(origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    inverse = 1 / (direction + _TINY)
    middle, reach = -origin * inverse, inverse.abs()
    return middle - reach, middle + reach


def _round(origin: list[Tensor], direction: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Cut with the unit circle or ball. From the point closest to the centre: the textbook formula cancels in float32."""
    a = direction[0] * direction[0]
    b = origin[0] * direction[0]
    for o, d in zip(origin[1:], direction[1:], strict=True):
        a = a + d * d
        b = b + o * d
    a = a + _TINY
    closest = -b / a
    inside = torch.ones_like(a)
    for o, d in zip(origin, direction, strict=True):
        inside = inside - (o + closest * d).square()
    reach = (inside.clamp(min=0) / a).sqrt()
    # A miss has an empty interval.
    return closest - reach, torch.where(inside > 0, closest + reach, closest - reach - 1)


def intersect(kind: int, origin: list[Tensor], direction: list[Tensor], taper: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return where rays enter and leave a solid, in units of ``direction``; entered > left: missed.

    Args:
        kind: one of `KINDS`.
        origin: x, y and z of the rays' origins in the solids' own frames.
        direction: likewise.
        taper: WEDGE only: how far the +x and −x faces lean in.
    """
    if kind == BALL:
        return _round(origin, direction)
    enter, leave = _slab(origin[1], direction[1])
    if kind == CYLINDER:
        low, high = _round([origin[0], origin[2]], [direction[0], direction[2]])
        return torch.maximum(enter, low), torch.minimum(leave, high)
    low, high = _slab(origin[2], direction[2])
    enter, leave = torch.maximum(enter, low), torch.minimum(leave, high)
    if kind == BOX:
        low, high = _slab(origin[0], direction[0])
        return torch.maximum(enter, low), torch.minimum(leave, high)
    for sign, lean in zip((1, -1), taper, strict=True):
        # Inside: ±x + lean·(1 − y)/2 <= 1; y points down, so 1 − y is twice the height above the bottom.
        value = sign * origin[0] + lean * (1 - origin[1]) / 2 - 1
        slope = sign * direction[0] - lean * direction[1] / 2 + _TINY
        cut = -value / slope
        enter = torch.where(slope < 0, torch.maximum(enter, cut), enter)
        leave = torch.where(slope > 0, torch.minimum(leave, cut), leave)
    return enter, leave


def transform(table: Tensor, row: Tensor, x: Tensor, y: Tensor, z: Tensor | None) -> list[Tensor]:
    """Return the 3 × 3 matrices of ``row`` times the vectors (x, y, z); z None: 1."""
    out = []
    for k in range(3):
        last = table[3 * k + 2].index_select(0, row)
        total = table[3 * k].index_select(0, row) * x + table[3 * k + 1].index_select(0, row) * y
        out.append(total + (last if z is None else last * z))
    return out


def first_hits(scene: Scene, pairs: list[Pairs], rays: Rays) -> Tensor:
    """Return the nearest hit of every ray.

    Args:
        scene: the scene.
        pairs: candidates.
        rays: N rays.

    Returns:
        (N,) int64 keys: the depth's float32 bits above the 32 bits of the table row; `MISS` where nothing is hit.
    """
    keys = torch.full(rays.x.shape, MISS, dtype=torch.int64, device=rays.x.device)
    for kind, ray, row in pairs:
        direction = transform(scene.ray, row, rays.x.index_select(0, ray), rays.y.index_select(0, ray), None)
        origin = [scene.eye[k].index_select(0, row) for k in range(3)]
        taper = [scene.taper[k].index_select(0, row % scene.prims) for k in range(2)] if kind == WEDGE else []
        enter, leave = intersect(kind, origin, direction, taper)
        hit = ((enter < leave) & (enter > NEAR)).nonzero().squeeze(1)
        key = (enter.index_select(0, hit).view(torch.int32).long() << 32) | row.index_select(0, hit)
        keys.scatter_reduce_(0, ray.index_select(0, hit), key, "amin")
    return keys


def unpack(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Return depth (inf where missed) and table row (0 where missed) of `first_hits`'s keys."""
    hit = keys != MISS
    depth = torch.where(hit, (keys >> 32).to(torch.int32).view(torch.float32), torch.inf)
    return depth, torch.where(hit, keys & 0xFFFFFFFF, 0)
