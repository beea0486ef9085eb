"""The road, its kerb, the sidewalks and the land beyond: not solids but a function of the road's coordinates."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from semdepth.labels import TRAIN_ID

from . import texture
from .layout import KERB, Layout
from .scene import Scene
from .style import Style
from .texture import band, stripes

ROAD, KERBSTONE, SIDEWALK, TERRAIN = range(4)
LABELS = (TRAIN_ID["road"], TRAIN_ID["sidewalk"], TRAIN_ID["sidewalk"], TRAIN_ID["terrain"])
_FAR = 1e4
WRAP = 960.0
"""s is wrapped here before it becomes float32; every pattern along the road repeats a whole number of times in it."""


class Ground(NamedTuple):
    """Where rays meet the ground."""

    depth: Tensor
    s: Tensor
    """Along the road, relative to the camera."""
    d: Tensor
    cross: Tensor
    """Distance from the middle of the nearest crossing street."""
    part: Tensor
    """int64: ROAD, KERBSTONE, SIDEWALK or TERRAIN."""


def road_coordinates(scene: Scene, frame: Tensor, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return s (relative to the camera's) and d of points relative to the camera."""
    best_s, best_d = torch.zeros_like(x), torch.full_like(x, _FAR)
    for k in range(scene.arc_count):
        ax, az, heading, curvature, start, end, there = (row.index_select(0, frame) for row in scene.arcs[:, k])
        qx, qz = x - ax, z - az
        sin, cos = heading.sin(), heading.cos()
        side = curvature.sign()
        straight = side == 0
        safe = torch.where(straight, 1.0, curvature)
        turned = torch.atan2(side * qz, -side * qx) - heading
        turned = turned - 2 * math.pi * torch.round(turned / (2 * math.pi))
        along = torch.where(straight, qx * sin + qz * cos, turned / safe)
        across = torch.where(straight, qx * cos - qz * sin, (1 / safe.abs() - torch.hypot(qx, qz)) * side)
        s = start + along
        # A hair of overlap, so that no point falls between two arcs.
        better = (there > 0) & (s > start - 0.01) & (s < end + 0.01) & (across.abs() < best_d.abs())
        best_s, best_d = torch.where(better, s, best_s), torch.where(better, across, best_d)
    return best_s, best_d


def _crossing_distance(scene: Scene, frame: Tensor, s: Tensor) -> Tensor:
    nearest = torch.full_like(s, _FAR)
    for row in scene.crossings:
        nearest = torch.minimum(nearest, (s - row.index_select(0, frame)).abs())
    return nearest


def hit_ground(scene: Scene, layout: Layout, frame: Tensor, direction: tuple[Tensor, Tensor, Tensor]) -> Ground:
    """Intersect rays that look down with the road (at height 0) and what lies one kerb above it.

    Args:
        scene: the scene.
        layout: the road's cross-section.
        frame: (N,) the rays' frames.
        direction: world x, y, z of (N,) rays whose length is 1 along the optical axis; y > 0.
    """
    dx, dy, dz = direction
    height = scene.height.index_select(0, frame)
    above, below = (height - KERB) / dy, height / dy

    def look(t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        s, d = road_coordinates(scene, frame, t * dx, t * dz)
        cross = _crossing_distance(scene, frame, s)
        # Positive off the road.
        return s, d, cross, torch.minimum(d.abs() - layout.kerb, cross - layout.crossing)

    s1, d1, c1, off1 = look(above)
    s0, d0, c0, off0 = look(below)
    raised, road = off1 > 0, off0 <= 0
    # Otherwise the ray meets the kerb's face between the two planes, where `off` changes its sign: false position, twice.
    share = (off1 / (off1 - off0)).clamp(0, 1)
    share = torch.where(raised | road, torch.zeros_like(share), share)
    middle = above + share * (below - above)
    face = ~raised & ~road
    found = face.nonzero().squeeze(1)
    if found.numel():
        sub = frame.index_select(0, found)
        t = middle.index_select(0, found)
        s, d = road_coordinates(scene, sub, t * dx.index_select(0, found), t * dz.index_select(0, found))
        off = torch.minimum(d.abs() - layout.kerb, _crossing_distance(scene, sub, s) - layout.crossing)
        low, high = off1.index_select(0, found), off0.index_select(0, found)
        past = off > 0
        t0, t1 = above.index_select(0, found), below.index_select(0, found)
        better = torch.where(past, t0 + (t - t0) * low / (low - off), t + (t1 - t) * off / (off - high))
        middle = middle.index_copy(0, found, torch.where(off.abs() > 1e-5, better, t))
    depth = torch.where(raised, above, torch.where(road, below, middle))
    d = torch.where(raised, d1, d0)
    s, cross = torch.where(raised, s1, s0), torch.where(raised, c1, c0)
    paved = (d.abs() - layout.kerb < layout.sidewalk) | (cross - layout.crossing < layout.sidewalk)
    part = torch.where(paved, SIDEWALK, TERRAIN)
    part = torch.where(raised, part, torch.where(road, ROAD, KERBSTONE))
    return Ground(depth, s, d, cross, part)


class Width(NamedTuple):
    """Width of a pixel on the ground, in metres."""

    along: Tensor
    """Along the road."""
    across: Tensor


def road_heading(scene: Scene, frame: Tensor, s: Tensor) -> Tensor:
    """Return the road's heading at s, as well as filtering needs it: from the arc that s falls in."""
    heading = torch.zeros_like(s)
    for k in range(scene.arc_count):
        _, _, start_heading, curvature, start, _, there = (r.index_select(0, frame) for r in scene.arcs[:, k])
        heading = torch.where((there > 0) & (s >= start), start_heading + curvature * (s - start), heading)
    return heading


def paint_ground(ground: Ground, layout: Layout, style: Style, s0: Tensor, width: Width) -> tuple[Tensor, Tensor]:
    """Return the ground's colour before texture, and its texture tile.

    Args:
        ground: where the rays met it.
        layout: the road's cross-section.
        style: colours.
        s0: (N,) the camera's own s, wrapped at `WRAP`.
        width: (N,) width of a pixel.

    Returns:
        (3, N) linear RGB and (N,) int64 tiles.
    """
    part, d, cross = ground.part, ground.d, ground.cross
    fs, fd = width
    s = ground.s + s0
    side, off = d.abs(), d.abs() - layout.kerb
    device = s.device

    def rgb(colour: tuple[float, float, float], factor: float = 1.0) -> Tensor:
        return torch.tensor(colour, device=device)[:, None] * factor

    def mix(base: Tensor, colour: Tensor, share: Tensor) -> Tensor:
        return base + share * (colour - base)

    at_crossing = cross < layout.crossing + 5.0
    road = rgb(style.asphalt).expand(3, s.shape[0])
    if layout.parking:
        road = mix(road, rgb(style.paving, 0.6), band(side, fd, layout.lanes_end + layout.cycle, layout.kerb + 1))
    if layout.median:
        rail = band((side - 0.72).abs(), fd, -0.05, 0.05)
        road = mix(road, rgb(style.paving, 0.8), band(side, fd, -1.0, layout.median / 2 - 0.1))
        road = mix(road, rgb((0.30, 0.30, 0.31)), rail)
    road = mix(road, rgb((0.35, 0.35, 0.34)), band((side - layout.kerb).abs(), fd, -1.0, 0.18) * (off < 0.3) * 0.5)
    white = rgb(style.marking)
    lines = _markings(layout, s, side, fs, fd)
    road = mix(road, white, torch.where(at_crossing, torch.zeros_like(lines), lines) * 0.9)
    zebra = stripes(d + 50, fd, 1.0, 0.5) * band(cross, fs, layout.crossing + 0.8, layout.crossing + 3.6)
    stop = band(cross, fs, layout.crossing + 4.4, layout.crossing + 4.9) * band(
        side, fd, layout.median / 2, layout.lanes_end
    )
    road = mix(road, white, (zebra + stop).clamp(max=1) * 0.85 * (off < 0))
    joints = torch.maximum(stripes(s, fs, 0.75, 0.03), stripes(side, fd, 0.75, 0.03))
    walk = mix(rgb(style.paving).expand_as(road), rgb(style.paving, 0.45), joints)
    walk = mix(walk, rgb((0.42, 0.41, 0.40)), band(off, fd, -0.1, 0.16))
    land = rgb(style.grass).expand_as(road)
    colour = torch.where(part == ROAD, road, torch.where(part == SIDEWALK, walk, land))
    colour = torch.where(part == KERBSTONE, rgb((0.40, 0.39, 0.37)), colour)
    tiles = torch.tensor([texture.ASPHALT, texture.PLASTER, texture.PLASTER, texture.GRASS], device=device)
    return colour, tiles[part]


def _markings(layout: Layout, s: Tensor, side: Tensor, fs: Tensor, fd: Tensor) -> Tensor:
    dashes = stripes(s, fs, 12.0, 0.4)
    solid = torch.ones_like(s)
    total = torch.zeros_like(s)
    middle = layout.median / 2
    lines = [(middle if layout.median else 0.0, solid if layout.lanes > 1 or layout.median else dashes)]
    lines += [(layout.lane_centre(k) + layout.lane / 2, dashes) for k in range(layout.lanes - 1)]
    lines.append((layout.lanes_end - (0.0 if layout.cycle or layout.parking else 0.25), solid))
    if layout.cycle and layout.parking:
        lines.append((layout.lanes_end + layout.cycle, stripes(s, fs, 4.0, 0.5)))
    for place, along in lines:
        total = torch.maximum(total, band(side, fd, place - 0.07, place + 0.07) * along)
    return total
