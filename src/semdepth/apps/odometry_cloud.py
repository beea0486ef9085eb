"""What ``semdepth odometry --cloud`` adds: the drive as one cloud, and metres for it and the path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from semdepth.data.sequences import FrameSequence
from semdepth.evaluation.odometry import Poses
from semdepth.images import read_image
from semdepth.inference.cameras import Cameras, cameras_of
from semdepth.inference.drive_cloud import drive_cloud
from semdepth.inference.metric import RoadCamera, require_segmentation
from semdepth.inference.point_cloud import PointCloud, require_writer, write_ply
from semdepth.inference.predictor import Predictor, load
from semdepth.runtime import logger

CLOUD = "cloud.ply"


@dataclass(frozen=True)
class Surveyor:
    """Who sees the depth along a path."""

    predictor: Predictor
    cameras: Cameras
    camera_height: float | None


def open_surveyor(
    run: Path,
    sequences: Sequence[FrameSequence],
    device: str,
    camera_height: float | None,
    intrinsics: tuple[float, float, float, float] | None,
    fov_deg: float | None,
) -> Surveyor:
    """Load the depth network of a run, and the camera that a user gave, else the weights' own.

    Raises:
        InputError: if the weights do not load, the camera is none or unknown, or a height is given to a depth-only network.
    """
    require_writer()
    predictor = load(run, device)
    if camera_height is not None:
        RoadCamera(camera_height, fov_deg=60)  # refuses a height that is none
        require_segmentation(predictor.network)
    cameras = cameras_of(predictor, intrinsics, fov_deg)
    for sequence in sequences:
        height, width = read_image(sequence.images[0]).shape[:2]
        cameras.matrix((height, width))  # refuses what would be found out after the path
    return Surveyor(predictor, cameras, camera_height)


def survey(surveyor: Surveyor, sequence: FrameSequence, path: Poses, every: int) -> tuple[PointCloud, Poses, str]:
    """Place the points of every so-many-th frame of a sequence on its path.

    Returns:
        The cloud and the path, in metres where the camera's height is given and a road is seen; and their unit.

    Raises:
        InputError: if a frame cannot be read, or frames differ in size.
    """
    images = sequence.images[::every]
    with Progress(TextColumn("cloud"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task("cloud", total=len(images))
        found = drive_cloud(
            surveyor.predictor, images, path[::every], surveyor.cameras, surveyor.camera_height,
            progress=lambda: bar.advance(task),
        )  # fmt: skip
    if found.scale is None:
        if surveyor.camera_height is not None:
            logger.warning("%s: up to scale: no frame shows enough level road", sequence.name)
        return found.cloud, path, "up to scale"
    scaled = path.copy()
    scaled[:, :3, 3] *= found.scale
    return found.cloud, scaled, "metres"


def write_cloud(folder: Path, cloud: PointCloud | None, name: str) -> str:
    """Write ``cloud.ply`` if there are points; else remove that of an earlier path. Return what to say of it.

    Raises:
        InputError: if the folder cannot be written.
    """
    if cloud is not None and len(cloud):
        write_ply(folder / CLOUD, cloud)
        return f", with {CLOUD}"
    if cloud is not None:
        logger.warning("%s: no %s: all that is near was seen as sky, or as what can move", name, CLOUD)
    (folder / CLOUD).unlink(missing_ok=True)
    return ""
