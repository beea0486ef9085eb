"""The world around the camera in each of F frames, as flat tensors for the ray caster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .block import BLOCK
from .placement import Placed, move_frames
from .route import BEHIND
from .shapes import PATTERN_SIZE, join_tables
from .traffic import AHEAD, BACK, Traffic
from .world import World

Array = npt.NDArray[np.float64]
MAX_ARCS = 14
MAX_CROSSINGS = 4


@dataclass(frozen=True)
class Scene:
    """F frames with P prims each. Row f·P + p of a table is prim p in frame f. Positions are relative to the camera's."""

    frames: int
    prims: int
    kind: Tensor
    """(P,) int64."""
    near: Tensor
    """(F, P) bool: close enough to the camera, along the road, to be drawn."""
    corner: Tensor
    """(F, P, 3, 3) float32: maps the solid's own frame into the camera's (columns: half axes)."""
    middle: Tensor
    """(F, P, 3) float32: centre in the camera's frame."""
    eye: Tensor
    """(3, F·P) float32: the camera in the solid's own frame."""
    ray: Tensor
    """(9, F·P) float32, row-major 3 × 3: maps camera directions into the solid's own frame."""
    world_ray: Tensor
    """(9, F·P) float32: maps world directions into the solid's own frame."""
    sun: Tensor
    """(3, F·P) float32: the direction of the sun in the solid's own frame."""
    taper: Tensor
    """(2, P)."""
    half: Tensor
    """(3, P)."""
    label: Tensor
    """(P,) uint8."""
    shadow: Tensor
    """(P,) bool: casts a shadow."""
    look: Tensor
    """(6, P)."""
    patterns: Tensor
    """(PATTERN_SIZE, P·3)."""
    instance: Tensor
    """(P,) int32."""
    moving: Tensor
    """(F·P,) bool."""
    camera: Tensor
    """(9, F) float32, row-major world_from_camera rotation."""
    height: Tensor
    """(F,) float32: camera above the road."""
    where: Tensor
    """(2, F) float64: the camera's x and z in the world."""
    arcs: Tensor
    """(7, MAX_ARCS, F) float32: the road near the camera, see `_arcs`."""
    arc_count: int
    """How many of the arcs are in use."""
    crossings: Tensor
    """(MAX_CROSSINGS, F) float32: crossing streets' s, relative to the camera's s; far away where there is none."""
    s: Tensor
    """(F,) float64: the camera's s."""


def camera_poses(world: World, frames: Array) -> tuple[Array, Array]:
    """Return world_from_camera (F, 4, 4) and the camera's s (F,).

    The body sways and nods with the road travelled (not with time: a car at rest is still).
    """
    s, speed = world.ego.at(frames)
    later, earlier = world.ego.at(frames + 2)[1], world.ego.at(np.maximum(frames - 2, 0))[1]
    p = world.phases
    calm = np.minimum(speed / 6.0, 1.0)
    sway = 0.12 * np.sin(s / 17 + p[0]) + 0.08 * np.sin(s / 7.3 + p[1])
    bounce = calm * (0.008 * np.sin(s / 1.9 + p[2]) + 0.006 * np.sin(s / 0.83 + p[3]))
    pitch = (
        calm * (0.0035 * np.sin(s / 2.3 + p[4]) + 0.002 * np.sin(s / 0.71 + p[5])) + 0.010 * (later - earlier) / 0.4 / 2
    )
    roll = calm * (0.004 * np.sin(s / 3.1 + p[6]) + 0.002 * np.sin(s / 1.3 + p[7]))
    x, z, heading = world.route.pose(s, world.layout.lane_centre(world.layout.ego_lane) + sway)
    yaw = heading + 0.12 / 17 * np.cos(s / 17 + p[0]) + 0.08 / 7.3 * np.cos(s / 7.3 + p[1])
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    zero, one = np.zeros_like(s), np.ones_like(s)

    def matrix(*rows: Array) -> Array:
        return np.stack(rows, axis=-1).reshape(-1, 3, 3)

    about_y = matrix(cy, zero, sy, zero, one, zero, -sy, zero, cy)
    about_x = matrix(one, zero, zero, zero, cp, -sp, zero, sp, cp)
    about_z = matrix(cr, -sr, zero, sr, cr, zero, zero, zero, one)
    pose = np.zeros((len(s), 4, 4))
    pose[:, :3, :3] = about_y @ about_x @ about_z
    pose[:, :3, 3] = np.stack([x, -(world.style.camera_height + bounce), z], axis=-1)
    pose[:, 3, 3] = 1
    return pose, s


def build_scene(world: World, traffic: Traffic, frames: Array, device: torch.device) -> tuple[Scene, Array]:
    """Return the scene of some frames and their world_from_camera (F, 4, 4) float64."""
    pose, s = camera_poses(world, frames)
    blocks = [world.block(i) for i in range(int((s.min() - BACK) // BLOCK), int((s.max() + AHEAD) // BLOCK) + 1)]
    movers = traffic.over(frames)
    mx, mz, heading = world.route.pose(np.maximum(movers.s, 2 - BEHIND), movers.d[None])
    owner = movers.owner
    moved = move_frames(
        movers.prims.centre[None],
        movers.prims.inverse[None],
        mx[:, owner],
        mz[:, owner],
        (heading + movers.turned)[:, owner],
    )
    still = join_tables([b.prims for b in blocks])
    prims = join_tables([still, movers.prims])
    count, total = len(still.kind), len(prims.kind)
    frame_count = len(frames)

    def per_frame(at_rest: npt.NDArray[Any], moving: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.concatenate([np.broadcast_to(at_rest, (frame_count, *at_rest.shape)), moving], axis=1)

    along = per_frame(np.concatenate([b.s for b in blocks]), movers.s[:, owner])
    near = (along > s[:, None] - BACK) & (along < s[:, None] + AHEAD) & (along > 4 - BEHIND)
    moving = per_frame(np.zeros(count, dtype=bool), movers.moving[:, owner])
    instance = np.concatenate([_instances(blocks), movers.instance[owner]])

    def put(array: npt.NDArray[np.generic], dtype: torch.dtype) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device, dtype)

    geometry = _relative(
        put(per_frame(still.centre, moved[0]), torch.float64),
        put(per_frame(still.inverse, moved[1]), torch.float64),
        put(prims.half, torch.float64),
        put(pose, torch.float64),
        torch.tensor(world.look.sun_direction, dtype=torch.float64, device=device),
    )
    arcs = _arcs(world, s, pose)
    scene = Scene(
        frames=frame_count,
        prims=total,
        kind=put(prims.kind, torch.int64),
        near=put(near, torch.bool),
        **geometry,
        taper=put(prims.taper.T, torch.float32),
        half=put(prims.half.T, torch.float32),
        label=put(prims.label, torch.uint8),
        shadow=put(prims.shadow, torch.bool),
        look=put(prims.look.T, torch.float32),
        patterns=put(prims.patterns.reshape(-1, PATTERN_SIZE).T, torch.float32),
        instance=put(instance, torch.int32),
        moving=put(moving.reshape(-1), torch.bool),
        camera=put(pose[:, :3, :3].reshape(frame_count, 9).T, torch.float32),
        height=put(-pose[:, 1, 3], torch.float32),
        where=put(pose[:, (0, 2), 3].T, torch.float64),
        arcs=put(arcs, torch.float32),
        arc_count=int(arcs[6].sum(axis=0).max()),
        crossings=put(_crossings(world, s), torch.float32),
        s=put(s, torch.float64),
    )
    return scene, pose


def _instances(blocks: list[Placed]) -> npt.NDArray[np.int64]:
    return np.concatenate([b.instance for b in blocks])


def _relative(centre: Tensor, inverse: Tensor, half: Tensor, pose: Tensor, sun: Tensor) -> dict[str, Tensor]:
    """Return the prims' geometry relative to the cameras: worked out in float64, kept in float32."""
    rotation, position = pose[:, None, :3, :3], pose[:, None, :3, 3]
    offset = centre - position
    eye = -(inverse * offset[..., None, :]).sum(-1)
    # The inverse's rows are the axes over the half sizes; the axes themselves are orthonormal.
    axes = (inverse * half[..., None] ** 2).transpose(-1, -2)
    ray = inverse @ rotation

    def table(x: Tensor, rows: int) -> Tensor:
        return x.reshape(-1, rows).t().to(torch.float32).contiguous()

    return {
        "corner": (rotation.transpose(-1, -2) @ axes).to(torch.float32),
        "middle": (rotation.transpose(-1, -2) @ offset[..., None]).squeeze(-1).to(torch.float32),
        "eye": table(eye, 3),
        "ray": table(ray, 9),
        "world_ray": table(inverse, 9),
        "sun": table((inverse * sun).sum(-1), 3),
    }


def _arcs(world: World, s: Array, pose: Array) -> Array:
    """Return (7, MAX_ARCS, F): anchor x and z, start heading, curvature, start s, end s (relative), whether it is there.

    The anchor, relative to the camera, is the centre of a bend and the first point of a straight.
    """
    out = np.zeros((7, MAX_ARCS, len(s)))
    for f, here in enumerate(s):
        for k, arc in enumerate(world.route.nearby(here - BACK, here + AHEAD)[:MAX_ARCS]):
            x, z = arc.x, arc.z
            if arc.curvature:
                x, z = x + np.cos(arc.heading) / arc.curvature, z - np.sin(arc.heading) / arc.curvature
            start = arc.start - here
            out[:, k, f] = (
                x - pose[f, 0, 3],
                z - pose[f, 2, 3],
                arc.heading,
                arc.curvature,
                start,
                start + arc.length,
                1,
            )
    return out


def _crossings(world: World, s: Array) -> Array:
    out = np.full((MAX_CROSSINGS, len(s)), 1e4)
    for f, here in enumerate(s):
        found = world.crossings.between(here - BACK, here + AHEAD)[:MAX_CROSSINGS]
        out[: len(found), f] = np.array(found) - here
    return out
