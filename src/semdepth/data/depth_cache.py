"""Lidar depth, projected once: 16-bit PNGs beside the scans, which judging then reads in place of them.

::

    <root>/2011_09_26/2011_09_26_drive_0002_sync/velodyne_depth_02/data/0000000069.png      metres × 256, 0 = no point

or the same below a folder of its own. A PNG carries a stamp of the scan and the calibration that it was made from, so that a
depth map of another calibration is not taken for this one's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from semdepth.data.lidar import camera_from_lidar, velodyne_depth
from semdepth.data.records import FrameRecord, LidarDepth, numbered_files
from semdepth.images import read_depth_png
from semdepth.runtime import InputError

STAMP = "semdepth lidar"
"""Key of the PNG's text that says what it was made from."""
DEPTH_SCALE = 256.0
Pass = Callable[[Sequence[LidarDepth]], Iterable[LidarDepth]]


def cache_folder(drive: Path, camera: int, out: Path | None = None) -> Path:
    """Return where the depth of a drive is kept: beside its scans, or below ``out`` in the same layout."""
    base = drive if out is None else out / drive.parent.name / drive.name
    return base / f"velodyne_depth_{camera:02d}" / "data"


def lidar_depths(drive: Path, camera: int, out: Path | None = None) -> dict[int, LidarDepth]:
    """Return the lidar depth of every frame of a drive that has a scan, or a PNG made from one.

    Args:
        drive: its folder.
        camera: which camera's view.
        out: folder that PNGs were written to, if not beside the scans.
    """
    folder = drive / "velodyne_points" / "data"
    scans = numbered_files(folder, {".bin"})
    cached = numbered_files(cache_folder(drive, camera, out), {".png"})
    return {
        number: LidarDepth(
            drive.parent, scans.get(number, folder / f"{number:010d}.bin"), camera, cached=cached.get(number)
        )
        for number in sorted(scans.keys() | cached.keys())
    }


def stamp(depth: LidarDepth) -> str:
    """Return what a PNG of this depth is made from: the scan's size in bytes and a digest of the calibration.

    Raises:
        InputError: if the calibration cannot be used.
    """
    projection, size = camera_from_lidar(depth.calib_dir, depth.camera)
    digest = sha256(np.ascontiguousarray(projection).tobytes() + repr(size).encode()).hexdigest()[:16]
    return f"{depth.scan.stat().st_size} bytes, calibration {digest}"


def read_lidar_depth(depth: LidarDepth) -> np.ndarray:
    """Return (H, W) float32 metres, 0 = no point: from the PNG where there is one, else from the scan.

    Raises:
        InputError: if a file cannot be used, or the PNG was made from another scan or calibration.
    """
    if depth.cached is None:
        return velodyne_depth(depth.calib_dir, depth.scan, depth.camera)
    values = read_depth_png(depth.cached, DEPTH_SCALE)
    if depth.scan.exists() and not is_current(depth):
        raise InputError(
            f"{depth.cached}: was not made from this scan and calibration; run `semdepth data depth` again, or delete it"
        )
    return values


def is_current(depth: LidarDepth, whole: bool = False) -> bool:
    """Return whether the PNG is made from this scan and calibration.

    Args:
        depth: scan and PNG.
        whole: decode it too: a PNG that is cut off still begins with its stamp.

    Raises:
        InputError: if the scan or the calibration cannot be used.
    """
    if depth.cached is None:
        return False
    try:
        with Image.open(depth.cached) as image:
            made_from = image.info.get(STAMP)
            if whole:
                image.load()
    except (OSError, SyntaxError, ValueError):
        return False
    return bool(made_from == stamp(depth))


@dataclass(frozen=True)
class Written:
    """What came of projecting scans."""

    written: int
    kept: int
    """Depth maps that were there already."""
    unusable: tuple[str, ...]
    """What is wrong with scans that could not be used, a line each."""


def unique_depths(records: Iterable[FrameRecord]) -> list[LidarDepth]:
    """Return the lidar depth of the records, each scan and camera once, without those whose scan is not there."""
    found = [record.depth for record in records if isinstance(record.depth, LidarDepth)]
    return [depth for depth in dict.fromkeys(found) if depth.scan.exists()]


def write_depth(depths: Sequence[LidarDepth], out: Path | None = None, each: Pass = iter) -> Written:
    """Project scans and keep their depth; what is there already is not made again, what is half-written is never seen.

    Args:
        depths: the scans.
        out: folder to write to; None: beside the scans.
        each: goes through the scans (to show a progress bar).

    Returns:
        How many were written; a scan that cannot be used is counted, and the others go on.

    Raises:
        InputError: if the folder cannot be written, or a calibration cannot be used.
    """
    written, kept, unusable = 0, 0, []
    for depth in each(depths):
        to = cache_folder(depth.scan.parents[2], depth.camera, out) / f"{depth.scan.stem}.png"
        if is_current(replace(depth, cached=to if to.exists() else None), whole=True):
            kept += 1
            continue
        camera_from_lidar(depth.calib_dir, depth.camera)  # a calibration that cannot be used stops everything
        try:
            values = velodyne_depth(depth.calib_dir, depth.scan, depth.camera)
        except InputError as error:
            unusable.append(str(error))
            continue
        _save(values, to, stamp(depth))
        written += 1
    return Written(written, kept, tuple(unusable))


def _save(depth: np.ndarray, to: Path, made_from: str) -> None:
    """Write a depth PNG under a temporary name, then rename it. Points nearer than half a step keep one step: 0 is unknown."""
    steps = np.round(depth.astype(np.float64) * DEPTH_SCALE)
    values = np.where(depth > 0, steps.clip(1, 65535), 0).astype(np.uint16)
    text = PngInfo()
    text.add_text(STAMP, made_from)
    partial = to.with_name(f".{to.name}.{os.getpid()}.partial")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(partial, format="PNG", compress_level=3, pnginfo=text)
        os.replace(partial, to)
    except OSError as error:
        raise InputError(
            f"{to}: cannot be written ({error.strerror}); check the folder, or give another --out"
        ) from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
