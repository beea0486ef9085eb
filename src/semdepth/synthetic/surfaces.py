"""What lies under a ray, before light falls on it: colour, normal, texture coordinates, width of a pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

from .ground import TERRAIN, WRAP, Ground, Width, paint_ground, road_heading
from .raycast import Camera, Rays, transform
from .scene import Scene
from .shapes import BALL, CYLINDER, WEDGE
from .texture import SIZE, TEXEL, stripes
from .world import World

TILE = SIZE * TEXEL
"""Metres per texture tile."""
MACRO = 11
"""The broad layer of every texture is this many times as wide as the fine one."""


@dataclass(frozen=True)
class Surfaces:
    """N points on surfaces."""

    ray: Tensor
    """(N,) the rays that hit them."""
    depth: Tensor
    colour: Tensor
    """(3, N) linear RGB before texture."""
    normal: Tensor
    """(3, N) world axes, unit length."""
    tile: Tensor
    uv: Tensor
    """(2, N) metres."""
    footprint: Tensor
    """Width of a pixel on the surface, in metres (geometric mean of its two axes)."""
    contrast: Tensor
    scale: Tensor


def join_surfaces(a: Surfaces, b: Surfaces) -> Surfaces:
    """Return the points of both."""
    return Surfaces(**{f.name: torch.cat([getattr(a, f.name), getattr(b, f.name)], dim=-1) for f in fields(Surfaces)})


def ground_surfaces(world: World, scene: Scene, camera: Camera, rays: Rays, hits: tuple[Tensor, Ground]) -> Surfaces:
    """Return the surfaces where rays meet the ground; ``hits``: the rays' numbers and where they meet it."""
    ray, ground = hits
    here = rays.frame.index_select(0, ray)
    dx, dy, dz = (d.index_select(0, ray) for d in rays.world)
    t = ground.depth
    # Width of a pixel on the flat ground: across the view t/f, along it t/f over the slope of the ray.
    across = t / camera.fx
    flat = torch.hypot(dx, dz)
    along = t / camera.fy * (flat * flat + dy * dy) / (dy.abs() * flat)
    heading = road_heading(scene, here, ground.s)
    cos = ((dx * heading.sin() + dz * heading.cos()) / flat).abs()
    sin = (1 - cos * cos).clamp(min=0).sqrt()
    s0 = (scene.s % WRAP).to(torch.float32).index_select(0, here)
    width = Width(along * cos + across * sin, along * sin + across * cos)
    colour, tile = paint_ground(ground, world.layout, world.style, s0, width)
    wrapped = (scene.where % (TILE * MACRO)).to(torch.float32)
    uv = torch.stack([t * dx + wrapped[0].index_select(0, here), t * dz + wrapped[1].index_select(0, here)])
    normal = torch.zeros(3, len(t), device=t.device)
    normal[1] = -1.0
    contrast = torch.where(ground.part == TERRAIN, 1.0, 1.15)
    return Surfaces(ray, t, colour, normal, tile, uv, (along * across).sqrt(), contrast, torch.ones_like(t))


def solid_surfaces(
    scene: Scene, camera: Camera, rays: Rays, hits: tuple[Tensor, Tensor, Tensor]
) -> tuple[Surfaces, Tensor]:
    """Return the surfaces where rays meet solids, and a number in [0, 6) for each one's face.

    Args:
        scene: the scene.
        camera: the pinhole camera.
        rays: all rays.
        hits: numbers of the rays that hit, their depths and their table rows.
    """
    ray, t, row = hits
    prim = row % scene.prims
    local = transform(scene.ray, row, rays.x.index_select(0, ray), rays.y.index_select(0, ray), None)
    at = [scene.eye[k].index_select(0, row) + t * local[k] for k in range(3)]
    half = [h.index_select(0, prim) for h in scene.half]
    gradient = _gradient(scene, scene.kind.index_select(0, prim), at, prim)
    # The face is the axis that the normal mostly looks along, in metres; texture coordinates are the other two.
    metric = [gradient[k] / half[k] for k in range(3)]
    size = [m.abs() for m in metric]
    is_x = (size[0] >= size[1]) & (size[0] >= size[2])
    is_y = ~is_x & (size[1] >= size[2])
    face = torch.where(is_x, 0, torch.where(is_y, 1, 2))
    positive = torch.where(is_x, metric[0], torch.where(is_y, metric[1], metric[2])) > 0
    normal = _to_world(scene, row, gradient)
    view = torch.stack([d.index_select(0, ray) for d in rays.world])
    length = view.square().sum(0).sqrt()
    facing = ((view * normal).sum(0).abs() / length).clamp(min=0.05)
    u = torch.where(is_x, (at[2] + 1) * half[2], (at[0] + 1) * half[0])
    v = torch.where(is_y, (at[2] + 1) * half[2], (1 - at[1]) * half[1])
    # A pixel is stretched along the texture axes that the view runs along.
    ahead = [local[k].abs() * half[k] / length for k in range(3)]
    width = t / math.sqrt(camera.fx * camera.fy)
    width_u = width * (1 + torch.where(is_x, ahead[2], ahead[0]) / facing)
    width_v = width * (1 + torch.where(is_y, ahead[2], ahead[1]) / facing)
    base = [row_.index_select(0, prim) for row_ in scene.look]
    place = _Place(prim, face, positive, u, v, width_u, width_v)
    colour = _pattern(scene, torch.stack(base[:3]), place)
    # Every solid has its own place in the tile, the same in every frame.
    own = scene.instance.index_select(0, prim).to(torch.int64) * 7 + face
    uv = torch.stack([u + (own * 37 % 101) * 0.073, v + (own * 61 % 103) * 0.067])
    footprint = (width_u * width_v).sqrt()
    surfaces = Surfaces(ray, t, colour, normal, base[3].long(), uv, footprint, base[4], base[5])
    return surfaces, face * 2 + positive.long()


def _to_world(scene: Scene, row: Tensor, gradient: list[Tensor]) -> Tensor:
    """Return gradients as unit normals in world axes: times the transposed inverse."""
    out = []
    for k in range(3):
        total = scene.world_ray[k].index_select(0, row) * gradient[0]
        for i in (1, 2):
            total = total + scene.world_ray[3 * i + k].index_select(0, row) * gradient[i]
        out.append(total)
    normal = torch.stack(out)
    return normal / normal.square().sum(0).clamp(min=1e-20).sqrt()


def _gradient(scene: Scene, kind: Tensor, at: list[Tensor], prim: Tensor) -> list[Tensor]:
    """Return the outward normals in the solids' own frames (not normalised), from the hit point."""
    zero = torch.zeros_like(at[0])
    right = at[0] > 0
    lean = torch.where(right, scene.taper[0].index_select(0, prim), scene.taper[1].index_select(0, prim))
    lean = torch.where(kind == WEDGE, lean, zero)
    size_x = at[0].abs() + lean * (1 - at[1]) / 2
    size_y, size_z = at[1].abs(), at[2].abs()
    x_wins = (size_x >= size_y) & (size_x >= size_z)
    y_wins = ~x_wins & (size_y >= size_z)
    flat = [
        torch.where(x_wins, at[0].sign(), zero),
        torch.where(x_wins, -lean / 2, torch.where(y_wins, at[1].sign(), zero)),
        torch.where(~x_wins & ~y_wins, at[2].sign(), zero),
    ]
    cap = size_y.square() > at[0].square() + at[2].square()
    tube = [torch.where(cap, zero, at[0]), torch.where(cap, at[1].sign(), zero), torch.where(cap, zero, at[2])]
    ball, cylinder = kind == BALL, kind == CYLINDER
    return [torch.where(ball, at[k], torch.where(cylinder, tube[k], flat[k])) for k in range(3)]


class _Place(NamedTuple):
    """Where on which face, and how wide a pixel is there."""

    prim: Tensor
    face: Tensor
    positive: Tensor
    u: Tensor
    v: Tensor
    width_u: Tensor
    width_v: Tensor


def _pattern(scene: Scene, base: Tensor, place: _Place) -> Tensor:
    """Return the (3, N) colours with the faces' patterns painted over them."""
    index = place.prim * 3 + place.face
    p = [r.index_select(0, index) for r in scene.patterns]
    u, v = place.u - p[2], place.v - p[5]
    share = stripes(u, place.width_u, p[0], p[1]) * stripes(v, place.width_v, p[3], p[4])
    # Each pane has its own brightness, from a hash of its place; it fades where panes become smaller than pixels.
    column, line = (u / p[0]).floor().long(), (v / p[3]).floor().long()
    owner = scene.instance.index_select(0, place.prim).long()
    mixed = (column * 73_856_093) ^ (line * 19_349_663) ^ (owner * 83_492_791) ^ place.face
    noise = ((mixed * 2_654_435_761) >> 13 & 1023).to(torch.float32) / 1023
    calm = (1 - torch.maximum(place.width_u / p[0], place.width_v / p[3])).clamp(0, 1)
    gain = 1 + p[6] * calm * (3.0 * noise * noise - 0.6)
    inner: Tensor = torch.where(place.positive, torch.stack(p[7:10]), torch.stack(p[10:13])) * gain
    return base + share * (inner - base)
