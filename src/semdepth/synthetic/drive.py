"""A drive through a world: images with exact depth, labels, motion and poses for every frame."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from semdepth.runtime import InputError

from .raycast import Camera, Pairs, cast_rays, first_hits, pixel_pairs
from .scene import build_scene
from .sensor import expose
from .shading import Shaded, Stage, shade
from .shadow import SunGrid
from .style import DEFAULT_WORLD, STYLES, WorldConfig
from .traffic import Traffic, open_traffic

Split = Literal["train", "val", "test", "foreign"]
_SPLITS: tuple[Split, ...] = ("train", "val", "test", "foreign")
_PER_SPLIT = 1_000_000_000
_MARGIN = 0.5
# Where the extra rays at edges go, in pixels from the centre: a rotated grid.
_OFFSETS = ((-0.125, -0.375), (0.375, -0.125), (0.125, 0.375), (-0.375, 0.125))


@dataclass(frozen=True)
class Drive:
    """N frames at 10 Hz from one camera."""

    name: str
    images: Tensor
    """(N, 3, H, W) uint8 RGB."""
    depth: Tensor
    """(N, 1, H, W) float32 metres along the optical axis at the pixels' centres; 0: sky or beyond 200 m."""
    labels: Tensor
    """(N, H, W) uint8 trainIds at the pixels' centres."""
    world_from_camera: Tensor
    """(N, 4, 4) float32; world axes x right, y down, z forward, the road at y = 0, translation in metres."""
    intrinsics: Tensor
    """(3, 3) float32 in pixels, pixel centres at integer coordinates."""
    instances: Tensor
    """(N, H, W) int32: the same number for the same object in all frames; 0: ground and sky."""
    moving: Tensor
    """(N, H, W) bool: on an object that moves in the world."""


def world_seed(split: Split, index: int) -> int:
    """Return the seed of a split's drive; no two drives of any splits share one.

    Raises:
        InputError: if the split is unknown or the index out of range.
    """
    if split not in _SPLITS:
        raise InputError(f"split: {split!r} is unknown; use one of {', '.join(_SPLITS)}")
    if not 0 <= index < _PER_SPLIT:
        raise InputError(f"drive {index}: must lie between 0 and {_PER_SPLIT - 1}")
    return _SPLITS.index(split) * _PER_SPLIT + index


def camera_of(config: WorldConfig, height: int, width: int) -> Camera:
    """Return the pinhole camera of a style at an image size."""
    style = STYLES[config.style]
    return Camera(height, width, style.focal * width, style.focal_vertical * height)


def render_drive(
    seed: int,
    frames: int,
    height: int,
    width: int,
    *,
    config: WorldConfig = DEFAULT_WORLD,
    start: int = 0,
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> Drive:
    """Render a drive.

    Frame i depends on the seed, the configuration and i alone, not on how many frames are asked for, nor (beyond
    rounding) on the device.

    Args:
        seed: which world, see `world_seed`.
        frames: how many frames.
        height: of the images, in pixels.
        width: of the images, in pixels.
        config: what the world is like.
        start: number of the first frame.
        device: where to render; the tensors stay there.
        progress: called with the number of finished frames.

    Raises:
        InputError: if a size, the seed or a frame number is out of range.
    """
    if frames < 1 or height < 8 or width < 8 or start < 0 or seed < 0:
        raise InputError(
            f"cannot render {frames} frames of {height}×{width} from {start} with seed {seed}; sizes start at 8"
        )
    device = torch.device(device)
    traffic = open_traffic(seed, config)
    camera = camera_of(config, height, width)
    # Enough rays to keep the device busy, few enough to stay in a CPU's caches.
    step = max(1, (8_000_000 if device.type != "cpu" else 160_000) // (height * width))
    parts: list[tuple[Tensor, ...]] = []
    for first in range(0, frames, step):
        numbers = np.arange(start + first, start + min(first + step, frames), dtype=np.float64)
        with torch.no_grad():
            parts.append(_render(traffic, camera, numbers, device))
        if progress is not None:
            progress(min(first + step, frames))
    joined = [torch.cat(p) for p in zip(*parts, strict=True)]
    intrinsics = torch.tensor([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]], device=device)
    return Drive(
        f"{config.style}_{seed:010d}", joined[0], joined[1], joined[2], joined[3], intrinsics, joined[4], joined[5]
    )


def _render(
    traffic: Traffic, camera: Camera, numbers: npt.NDArray[np.float64], device: torch.device
) -> tuple[Tensor, ...]:
    world = traffic.world
    scene, pose = build_scene(world, traffic, numbers, device)
    shape = (scene.frames, camera.height, camera.width)
    stage = Stage(world, scene, SunGrid(scene, world.look.sun_direction), camera)
    pairs, thin = pixel_pairs(scene, camera, _MARGIN)
    pixel = torch.arange(math.prod(shape), device=device)
    line = torch.div(pixel, camera.width, rounding_mode="floor")
    frame = torch.div(line, camera.height, rounding_mode="floor")
    column, line = (pixel - line * camera.width).float(), (line - frame * camera.height).float()
    rays = cast_rays(scene, camera, frame, column, line)
    seen = shade(stage, rays, first_hits(scene, pairs, rays))
    colour = seen.colour
    if world.config.anti_alias:
        chosen = _edges(seen, pairs, thin, shape).nonzero().squeeze(1)
        place = (frame.index_select(0, chosen), column.index_select(0, chosen), line.index_select(0, chosen))
        colour[:, chosen] = _soften(stage, pairs, chosen, place, len(pixel))
    return (
        expose(world, colour.reshape(3, *shape), torch.from_numpy(numbers).to(device)),
        seen.depth.reshape(shape).unsqueeze(1),
        seen.label.reshape(shape),
        torch.from_numpy(pose).to(device, torch.float32),
        seen.instance.reshape(shape),
        seen.moving.reshape(shape),
    )


def _edges(seen: Shaded, pairs: list[Pairs], thin: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Return a (F·H·W,) mask of the pixels that more than one surface may share."""
    region, colour = seen.region.reshape(shape), seen.colour.reshape(3, *shape)
    edge = torch.zeros(shape, dtype=torch.bool, device=region.device)
    for axis in (1, 2):
        length = shape[axis] - 1
        contrast = colour.diff(dim=axis + 1).abs().amax(0) > 0.03
        differs = (region.diff(dim=axis) != 0) & contrast
        edge.narrow(axis, 0, length).logical_or_(differs)
        edge.narrow(axis, 1, length).logical_or_(differs)
    edge = edge.reshape(-1)
    # What is thinner than a pixel may lie between the centres of all pixels.
    for _, ray, row in pairs:
        edge[ray[thin.index_select(0, row)]] = True
    return edge


def _soften(
    stage: Stage, pairs: list[Pairs], chosen: Tensor, place: tuple[Tensor, Tensor, Tensor], pixels: int
) -> Tensor:
    """Return the mean colour of four more rays around each of some pixels.

    Args:
        stage: the scene.
        pairs: candidates of all pixels.
        chosen: (N,) numbers of the pixels.
        place: their frames, columns and rows.
        pixels: how many pixels there are.

    Returns:
        (3, N) linear light.
    """
    count, times = len(chosen), len(_OFFSETS)
    number = torch.full((pixels,), -1, dtype=torch.int64, device=chosen.device)
    number[chosen] = torch.arange(count, device=chosen.device)
    shift = torch.tensor(_OFFSETS, device=chosen.device).repeat_interleave(count, dim=0)
    frame, column, line = (p.repeat(times) for p in place)
    rays = cast_rays(stage.scene, stage.camera, frame, column + shift[:, 0], line + shift[:, 1])
    steps = torch.arange(times, device=chosen.device)[:, None] * count
    more = []
    for kind, ray, row in pairs:
        new = number.index_select(0, ray)
        kept = (new >= 0).nonzero().squeeze(1)
        candidates = (steps + new.index_select(0, kept)).reshape(-1)
        more.append(Pairs(kind, candidates, row.index_select(0, kept).repeat(times)))
    extra = shade(stage, rays, first_hits(stage.scene, more, rays)).colour
    # Light above white is cut before the mean: a glint must not eat its neighbours.
    return extra.clamp(max=1.5).reshape(3, times, count).mean(1)
