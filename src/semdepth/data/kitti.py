"""KITTI raw (Geiger et al., IJRR 2013): records, lidar depth, and worlds rendered in the same layout.

::

    <root>/2011_09_26/calib_cam_to_cam.txt, calib_velo_to_cam.txt
    <root>/2011_09_26/2011_09_26_drive_0002_sync/image_02/data/0000000069.png (or .jpg)
                                                 velodyne_points/data/0000000069.bin
                                                 velodyne_depth_02/data/0000000069.png   made of it, by `semdepth data depth`
                                                 segmentation_02/data/0000000069.png     pseudo-labels, trainIds
                                                 segmentation_02/entropy/0000000069.png  their entropy (optional)
    rendered worlds only:                        depth_02/data, labels_02/data, moving_02/data, poses_02.txt
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from semdepth.data.calibration import matrix, pinhole, read_calibration, read_poses, rectified_size
from semdepth.data.depth_cache import lidar_depths
from semdepth.data.kitti_missing import DOWNLOAD, Frame, by_drive, require_listed
from semdepth.data.lidar import velodyne_depth
from semdepth.data.records import (
    FrameRecord,
    LabelFolder,
    LabelKind,
    LidarDepth,
    PngDepth,
    check_offsets,
    label_folder,
    logger,
    neighbours,
    numbered_files,
)
from semdepth.runtime import InputError, require_file, require_folder

__all__ = ["GroundTruth", "kitti_raw", "read_calibration", "read_split", "velodyne_depth"]

GroundTruth = Literal["auto", "lidar", "improved", "none"]
"""``lidar``: raw scans; ``improved``: ``proj_depth/groundtruth`` of KITTI's depth benchmark (Uhrig et al., 2017);
``auto``: exact PNGs (``depth_02``) of a rendered drive, else lidar."""

SIDES = {2: "l", 3: "r"}
CAMERAS = {side: camera for camera, side in SIDES.items()}


@dataclass(frozen=True)
class _View:
    """One camera of one drive, listed once."""

    drive: Path
    camera: int
    frames: dict[int, Path]
    labels: LabelFolder
    depth: dict[int, PngDepth | LidarDepth]
    moving: dict[int, Path]
    poses: npt.NDArray[np.float64] | None
    intrinsics: npt.NDArray[np.float64]
    image_size: tuple[int, int] | None


def kitti_raw(
    root: str | Path,
    *,
    split: str | Path | None = None,
    cameras: Sequence[int] = (2, 3),
    offsets: Sequence[int] = (-1, 1),
    labels: LabelKind = "none",
    ground_truth: GroundTruth = "auto",
    depth_cache: Path | None = None,
    require_depth: bool = False,
    drives: Sequence[str] = (),
) -> list[FrameRecord]:
    """Return the records of KITTI raw, or of worlds rendered in its layout.

    Args:
        root: the folder that holds the dates.
        split: list of ``drive frame side`` lines (side ``l`` or ``r``); None: every frame, drive by drive.
        cameras: colour cameras to take (2 left, 3 right) where the list, or without one the drive, has them.
        offsets: frame offsets of the sources; frames without all these neighbours are left out.
        labels: which labels to attach.
        ground_truth: which depth to attach, where it is there.
        depth_cache: folder that lidar depth was written to (``semdepth data depth --out``); None: beside the scans.
        require_depth: leave out frames without ground truth (evaluation).
        drives: names of the drives to take; empty: all.

    Returns:
        At least one record, in the order of the list (or of drives, cameras and frames).

    Raises:
        InputError: if files that the frames need are missing or malformed, or if no frame is left.
    """
    root = require_folder(Path(root), "KITTI raw", DOWNLOAD)
    offsets = check_offsets(offsets)
    if not cameras or not set(cameras) <= set(SIDES):
        raise InputError(f"cameras {tuple(cameras)}: KITTI's colour cameras are 2 (left) and 3 (right)")
    folders = _drive_folders(root, drives)
    listed = None if split is None else _choose(read_split(split), cameras, drives, Path(split))
    pairs = [(d, c) for d in folders for c in cameras if _images(folders[d], c).is_dir()]
    if listed is not None:
        pairs = [pair for pair in dict.fromkeys(frame[:2] for frame in listed) if pair in pairs]
    frames = {(d, c): numbered_files(_images(folders[d], c)) for d, c in pairs}
    if listed is not None:
        require_listed(listed, frames, root, Path(split or ""))
    views = {
        (d, c): _view(folders[d], c, images, labels, _depth(folders[d], c, ground_truth, depth_cache))
        for (d, c), images in frames.items()
    }
    wanted = listed or [(d, c, number) for (d, c), images in frames.items() for number in images]
    return _records(views, wanted, offsets, require_depth, root if split is None else Path(split))


def read_split(path: str | Path) -> list[Frame]:
    """Read a list of ``drive frame side`` lines, e.g. ``2011_09_26/2011_09_26_drive_0002_sync 69 l``.

    Returns:
        (drive, camera, frame number), the drive without its date's folder.

    Raises:
        InputError: if the file is missing, empty, or a line has another form.
    """
    path = require_file(path, "split list")
    frames = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{path}: split list is not a text file; copy it again") from None
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != 3 or not words[1].isdecimal() or words[2] not in CAMERAS:
            raise InputError(f"{path}: line {number} is {line[:60]!r}; write `drive frame side`, the side l or r")
        frames.append((words[0].rstrip("/").rpartition("/")[2], CAMERAS[words[2]], int(words[1])))
    if not frames:
        raise InputError(f"{path}: split list names no frame; write `drive frame side` lines")
    return frames


def _choose(frames: list[Frame], cameras: Sequence[int], drives: Sequence[str], path: Path) -> list[Frame]:
    names = {_drive_name(drive) for drive in drives}
    chosen = [f for f in frames if f[1] in cameras and (not names or f[0] in names)]
    if not chosen:
        raise InputError(f"{path}: names no frame of cameras {tuple(cameras)} in drives {tuple(drives) or 'all'}")
    return chosen


def _drive_name(drive: str) -> str:
    return drive.rstrip("/").rpartition("/")[2]


def _images(drive: Path, camera: int) -> Path:
    return drive / f"image_{camera:02d}" / "data"


def _drive_folders(root: Path, drives: Sequence[str]) -> dict[str, Path]:
    """Return name → folder of the drives under ``root``, sorted by name, or of those chosen."""
    cameras = (p for p in sorted(root.glob("*/*/image_0[23]")) if not p.parent.name.startswith("."))  # half-written
    found = {p.parent.name: p.parent for p in cameras}
    if not found:
        raise InputError(f"{root}: no <date>/<drive>/image_02 in it; {DOWNLOAD}")
    names = [_drive_name(drive) for drive in drives] or list(found)
    for name in names:
        if name not in found:
            raise InputError(f"drive {name} is not under {root}; there are {len(found)}, e.g. {next(iter(found))}")
    return {name: found[name] for name in names}


def _view(
    drive: Path, camera: int, frames: dict[int, Path], labels: LabelKind, depth: dict[int, PngDepth | LidarDepth]
) -> _View:
    """List the files of one camera of a drive."""
    if not frames:
        raise InputError(f"{_images(drive, camera)}: no images named by frame number; download the drive again")
    calib_file = drive.parent / "calib_cam_to_cam.txt"
    calibration = read_calibration(calib_file)
    poses_file = drive / f"poses_{camera:02d}.txt"
    poses = read_poses(poses_file) if poses_file.exists() else None
    if poses is not None and len(poses) <= max(frames):
        raise InputError(f"{poses_file}: {len(poses)} poses, but frames up to {max(frames)}; one line a frame from 0")
    label_dirs = {"noisy": drive / f"segmentation_{camera:02d}", "exact": drive / f"labels_{camera:02d}"}
    return _View(
        drive=drive,
        camera=camera,
        frames=frames,
        labels=label_folder(label_dirs[labels] / "data" if labels in label_dirs else None),
        depth=depth,
        moving=numbered_files(drive / f"moving_{camera:02d}" / "data", {".png"}),
        poses=poses,
        intrinsics=pinhole(matrix(calibration, f"P_rect_{camera:02d}", (3, 4), calib_file), calib_file),
        image_size=rectified_size(calibration, camera, calib_file) if f"S_rect_{camera:02d}" in calibration else None,
    )


def _depth(
    drive: Path, camera: int, ground_truth: GroundTruth, depth_cache: Path | None
) -> dict[int, PngDepth | LidarDepth]:
    """Return the ground truth of every frame that has one."""
    exact = drive / f"depth_{camera:02d}" / "data"
    if ground_truth == "none":
        return {}
    if ground_truth == "improved" or (ground_truth == "auto" and exact.is_dir()):
        # The benchmark's archive unpacks to train/<drive> and val/<drive>, without the date.
        inner = Path("proj_depth") / "groundtruth" / f"image_{camera:02d}"
        root = drive.parents[1]
        improved = [folder / inner for folder in (drive, root / "train" / drive.name, root / "val" / drive.name)]
        folders = [exact] if ground_truth == "auto" else improved
        return {number: PngDepth(p) for folder in folders for number, p in numbered_files(folder, {".png"}).items()}
    return dict(lidar_depths(drive, camera, depth_cache))


def _record(view: _View, number: int, offsets: tuple[int, ...]) -> FrameRecord | None:
    """Return the frame's record, or None if a neighbour is missing."""
    sources = neighbours(view.frames, number, offsets)
    if sources is None:
        return None
    image = view.frames[number]
    labels, confidence = view.labels.of(number, image)
    return FrameRecord(
        name=f"{view.drive.name}/{number:010d}/{SIDES[view.camera]}",
        image=image,
        intrinsics=view.intrinsics,
        sources=sources,
        offsets=offsets,
        image_size=view.image_size,
        labels=labels,
        confidence=confidence,
        confidence_is_entropy=view.labels.confidence_is_entropy,
        depth=view.depth.get(number),
        moving=view.moving.get(number),
        world_from_camera=None if view.poses is None else view.poses[[number, *(number + o for o in offsets)]],
    )


def _records(
    views: dict[tuple[str, int], _View], wanted: list[Frame], offsets: tuple[int, ...], require_depth: bool, where: Path
) -> list[FrameRecord]:
    """Return the records of the frames that have what they need; ``where`` they were named: the list, or the root."""
    records = {frame: _record(views[frame[:2]], frame[2], offsets) for frame in wanted}
    found = [record for frame in wanted if (record := records[frame]) is not None]
    if not found:
        raise InputError(f"{where}: none of {len(wanted)} frames has neighbours at {offsets}; check offsets and frames")
    kept = [record for record in found if record.depth is not None] if require_depth else found
    if not kept:
        raise InputError(
            f"{where}: none of {len(found)} frames has ground truth depth; download it or check the drives"
        )
    if len(kept) < len(wanted):
        left_out = [f for f in wanted if (r := records[f]) is None or (require_depth and r.depth is None)]
        lacks = "neighbours or ground truth" if require_depth else "neighbours"
        # Of a list, every frame is expected to serve; of whole drives, the first and the last never have neighbours.
        level, drives = (logging.WARNING, f": {by_drive(left_out)}") if where.is_file() else (logging.INFO, "")
        logger.log(level, "%s: %d of %d frames lack %s%s", where, len(left_out), len(wanted), lacks, drives)
    return kept
