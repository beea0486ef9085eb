"""From hits to colours: sun, cast shadows, texture and haze over the surfaces, and the truth of every ray."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from semdepth.labels import TRAIN_ID

from .ground import LABELS, Ground, hit_ground
from .raycast import Camera, Rays, unpack
from .scene import Scene
from .shadow import SunGrid
from .sky import paint_sky
from .surfaces import MACRO, TILE, Surfaces, ground_surfaces, join_surfaces, solid_surfaces
from .texture import sample, sample_near
from .world import World

MAX_DEPTH = 200.0
"""Depth is unknown beyond, in metres."""
_SKY, _TREELINE = 6, 7


@dataclass(frozen=True)
class Stage:
    """What rays are cast into."""

    world: World
    scene: Scene
    grid: SunGrid
    camera: Camera


@dataclass(frozen=True)
class Shaded:
    """N rays, finished."""

    colour: Tensor
    """(3, N) linear light."""
    depth: Tensor
    """(N,) along the optical axis; 0: sky or beyond `MAX_DEPTH`."""
    label: Tensor
    """(N,) uint8."""
    region: Tensor
    """(N,) int64: differs where an edge runs between two rays."""
    instance: Tensor
    """(N,) int32."""
    moving: Tensor
    """(N,) bool."""


def shade(stage: Stage, rays: Rays, keys: Tensor) -> Shaded:
    """Return colour and truth of N rays from their (N,) `first_hits`."""
    scene, device = stage.scene, keys.device
    depth, row = unpack(keys)
    on_ground, ground = _ground_before(stage, rays, depth)
    hit = torch.isfinite(depth)
    hit[on_ground] = False
    on_solid = hit.nonzero().squeeze(1)
    hit[on_ground] = True
    on_sky = (~hit).nonzero().squeeze(1)
    near = torch.cat([on_ground, on_solid])

    row = row.index_select(0, on_solid)
    solids, face = solid_surfaces(scene, stage.camera, rays, (on_solid, depth.index_select(0, on_solid), row))
    points = join_surfaces(ground_surfaces(stage.world, scene, stage.camera, rays, (on_ground, ground)), solids)
    lit, dark = _light(stage, rays, points)
    sky, trees = paint_sky(stage.world, [d.index_select(0, on_sky) for d in rays.world])
    colour = torch.zeros(3, len(keys), device=device)
    colour[:, near] = lit
    colour[:, on_sky] = sky

    prim = row % scene.prims
    region = torch.zeros(len(keys), dtype=torch.int64, device=device)
    region[on_sky] = torch.where(trees, _TREELINE, _SKY) * 2
    region[near] = torch.cat([ground.part, prim * 8 + 8 + face]) * 2 + dark
    label = torch.zeros(len(keys), dtype=torch.uint8, device=device)
    label[on_sky] = torch.where(trees, TRAIN_ID["vegetation"], TRAIN_ID["sky"]).to(torch.uint8)
    label[on_ground] = torch.tensor(LABELS, dtype=torch.uint8, device=device)[ground.part]
    label[on_solid] = scene.label.index_select(0, prim)
    final = torch.zeros_like(depth)
    final[near] = points.depth * (points.depth <= MAX_DEPTH)
    instance = torch.zeros(len(keys), dtype=torch.int32, device=device)
    instance[on_solid] = scene.instance.index_select(0, prim)
    moving = torch.zeros(len(keys), dtype=torch.bool, device=device)
    moving[on_solid] = scene.moving.index_select(0, row)
    return Shaded(colour, final, label, region, instance, moving)


def _ground_before(stage: Stage, rays: Rays, depth: Tensor) -> tuple[Tensor, Ground]:
    """Return the numbers of the rays that meet the ground before any solid, and where."""
    down = rays.world[1]
    low = depth * down > stage.scene.height.index_select(0, rays.frame) - 0.2
    may = ((down > 1e-4) & low).nonzero().squeeze(1)
    x, y, z = (d.index_select(0, may) for d in rays.world)
    ground = hit_ground(stage.scene, stage.world.layout, rays.frame.index_select(0, may), (x, y, z))
    first = (ground.depth < depth.index_select(0, may)).nonzero().squeeze(1)
    return may.index_select(0, first), Ground(*(t.index_select(0, first) for t in ground))


def _light(stage: Stage, rays: Rays, points: Surfaces) -> tuple[Tensor, Tensor]:
    """Return the light that comes from surfaces, and whether each is out of the sun."""
    look, device = stage.world.look, points.depth.device

    def rgb(colour: tuple[float, float, float]) -> Tensor:
        return torch.tensor(colour, device=device)[:, None]

    view = torch.stack([d.index_select(0, points.ray) for d in rays.world])
    size = TILE * points.scale
    fine = sample(points.tile, points.uv[0] / size, points.uv[1] / size, points.footprint / size)
    wide = TILE * MACRO
    broad = sample_near(points.tile, points.uv[0] / wide, points.uv[1] / wide, points.footprint / wide)
    albedo = points.colour * (1 + points.contrast * (fine * (0.4 + 0.6 * broad) - 1)).clamp(min=0.05)
    cosine = (points.normal * rgb(look.sun_direction)).sum(0).clamp(min=0)
    # A hair off the surface, so that no solid shades itself.
    point = view * points.depth + points.normal * (0.01 + 0.0005 * points.depth)
    dark = torch.ones_like(cosine, dtype=torch.bool)
    asks = ((cosine > 0) & (points.depth < MAX_DEPTH)).nonzero().squeeze(1)
    x, y, z = (c.index_select(0, asks) for c in point)
    frame = rays.frame.index_select(0, points.ray.index_select(0, asks))
    dark[asks] = stage.grid.shaded(frame, (x, y, z))
    light = rgb(look.ambient) * (0.62 - 0.38 * points.normal[1]) + rgb(look.sun) * (cosine * ~dark)
    clear = (-points.depth * view.square().sum(0).sqrt() / look.haze).exp()
    air = rgb(look.horizon)
    return air + clear * (albedo * light - air), dark
