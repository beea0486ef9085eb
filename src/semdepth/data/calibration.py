"""KITTI's text files: calibration rows and camera poses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from semdepth.images import MAX_PIXELS
from semdepth.runtime import InputError, require_file

Calibration = Mapping[str, npt.NDArray[np.float64]]


def _lines(path: Path, what: str) -> list[str]:
    try:
        return require_file(path, what).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{path}: {what} is not a text file; copy it again") from None


def read_calibration(path: str | Path) -> dict[str, npt.NDArray[np.float64]]:
    """Read ``key: number number …`` lines; lines without numbers (``calib_time``) are left out.

    Raises:
        InputError: if the file is missing, empty or holds no such line.
    """
    path = Path(path)
    rows: dict[str, npt.NDArray[np.float64]] = {}
    for line in _lines(path, "calibration file"):
        key, colon, numbers = line.partition(":")
        try:
            values = np.array(numbers.split(), dtype=np.float64)
        except ValueError:
            continue
        if colon and len(values):
            rows[key.strip()] = values
    if not rows:
        raise InputError(f"{path}: no `key: numbers` line; copy the calibration file again")
    return rows


def matrix(rows: Calibration, key: str, shape: tuple[int, ...], path: Path) -> npt.NDArray[np.float64]:
    """Return row ``key`` of the calibration file ``path`` in ``shape``.

    Raises:
        InputError: if the row is missing, of another length or not finite.
    """
    if key not in rows:
        raise InputError(f"{path}: no row {key}; copy the calibration file of this date or sequence again")
    values = rows[key]
    if values.size != np.prod(shape) or not np.isfinite(values).all():
        raise InputError(f"{path}: row {key} must hold {int(np.prod(shape))} finite numbers; copy the file again")
    return values.reshape(shape)


def rectified_size(rows: Calibration, camera: int, path: Path) -> tuple[int, int]:
    """Return (H, W) of a rectified KITTI raw image (row ``S_rect_0c``).

    Raises:
        InputError: if the row is missing or malformed.
    """
    width, height = matrix(rows, f"S_rect_{camera:02d}", (2,), path).tolist()
    if not (width >= 1 and height >= 1 and width * height <= MAX_PIXELS):
        raise InputError(
            f"{path}: row S_rect_{camera:02d} is no image size ({width:g}×{height:g}); copy the file again"
        )
    return int(height), int(width)


def pinhole(projection: npt.NDArray[np.float64], path: Path) -> npt.NDArray[np.float64]:
    """Return the (3, 3) intrinsics in a rectified (3, 4) projection.

    Raises:
        InputError: if it is not a pinhole camera.
    """
    intrinsics = projection[:, :3].copy()
    if not (intrinsics[0, 0] > 0 and intrinsics[1, 1] > 0 and np.allclose(intrinsics[2], (0.0, 0.0, 1.0))):
        raise InputError(f"{path}: the projection row is not that of a rectified pinhole camera; copy the file again")
    return intrinsics


def read_poses(path: str | Path) -> npt.NDArray[np.float64]:
    """Read camera poses, 12 numbers a line: the upper rows of ``world_from_camera``.

    Returns:
        (N, 4, 4), translations in metres.

    Raises:
        InputError: if the file is missing, empty, or a line holds anything else.
    """
    path = Path(path)
    lines = [line.split() for line in _lines(path, "pose file") if line.strip()]
    poses = np.tile(np.eye(4), (len(lines), 1, 1))
    for number, words in enumerate(lines):
        try:
            poses[number, :3] = np.array(words, dtype=np.float64).reshape(3, 4)
        except ValueError:
            raise InputError(f"{path}: line {number + 1} must hold 12 numbers; copy the file again") from None
    if not len(poses) or not np.isfinite(poses).all():
        raise InputError(f"{path}: poses must be finite, one a line; copy the file again")
    return poses
