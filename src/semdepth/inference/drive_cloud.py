"""The points of a whole drive in one cloud: each frame's depth, placed where the camera was."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from semdepth.images import read_image
from semdepth.inference.cameras import Cameras
from semdepth.inference.metric import road_plane
from semdepth.inference.point_cloud import PointCloud, point_cloud
from semdepth.inference.predictor import Predictor
from semdepth.labels import MOVABLE, SKY, membership
from semdepth.runtime import InputError
from semdepth.structures import Prediction

POINTS = 1_000_000
"""About as many points a cloud has at most: what viewers turn without stuttering."""


@dataclass(frozen=True)
class DriveCloud:
    """What a drive has shown."""

    cloud: PointCloud
    """In the axes of the path's world."""
    scale: float | None
    """What the path's translations are to be multiplied by for metres, as the points have been; None: up to scale."""


def drive_cloud(
    predictor: Predictor,
    images: Sequence[Path],
    world_from_camera: npt.NDArray[np.float64],
    cameras: Cameras,
    camera_height: float | None = None,
    progress: Callable[[], None] | None = None,
) -> DriveCloud:
    """Place what the frames of a drive show in one cloud.

    A frame gives its nearer half (depth up to its median): farther points are the less sure the farther they are, and later
    frames see the same places from nearby. The sky, and what can move, gives none where the network sees which it is.

    Args:
        predictor: depth in the unit of the path: of the same weights, without a camera of its own.
        images: N files.
        world_from_camera: (N, 4, 4), where each was taken, in the unit of the depth.
        cameras: intrinsics by image size.
        camera_height: metres above the road, for a cloud in metres: all of it is multiplied by the median of the scales
            that the frames' roads give.
        progress: called after each frame.

    Raises:
        InputError: if an image cannot be read or is of another size than the first, the intrinsics are unknown, or a
            height is given and the network does not see what is road.
    """
    points, colours, scales = [], [], []
    first: tuple[int, ...] | None = None
    for path, pose in zip(images, world_from_camera, strict=True):
        pixels = read_image(path)
        height, width = pixels.shape[:2]
        first = first or (height, width)
        if (height, width) != first:
            raise InputError(
                f"{path}: is of {width}×{height}, the frames before it of {first[1]}×{first[0]}; a drive has one camera"
            )
        prediction = predictor.predict(pixels)
        # Half of the pixels give points.
        step = math.ceil(math.sqrt(len(images) * height * width / 2 / POINTS))
        part = _nearer_half(pixels, prediction, cameras.matrix((height, width)), step)
        points.append(part.points @ pose[:3, :3].T + pose[:3, 3])
        colours.append(part.colours)
        if camera_height is not None:
            plane = road_plane(prediction, cameras.road_camera(camera_height, (height, width)))
            scales += [] if plane.reason else [plane.scale(camera_height)]
        if progress is not None:
            progress()
    scale = float(np.median(scales)) if scales else None
    everywhere = np.concatenate(points) * (scale or 1.0)
    return DriveCloud(PointCloud(everywhere.astype(np.float32), np.concatenate(colours)), scale)


def _nearer_half(
    pixels: npt.NDArray[np.uint8], prediction: Prediction, intrinsics: npt.NDArray[np.float64], step: int
) -> PointCloud:
    depth, farthest = prediction.depth, float(np.median(prediction.depth))
    if prediction.labels is not None:
        depth = np.where(membership(SKY + MOVABLE)[prediction.labels], np.float32(0), depth)
    return point_cloud(pixels, depth, intrinsics, max_depth=farthest, step=step)
