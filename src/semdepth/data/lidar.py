"""Lidar scans of KITTI raw, projected into a camera."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from semdepth.data.calibration import matrix, read_calibration, rectified_size
from semdepth.runtime import InputError, require_file

BYTES_PER_POINT = 16
"""x, y, z, reflectance, each float32."""
POINTS_AT_ONCE = 16384
"""OpenBLAS multiplies with one thread where the product of the three sizes is below 2**18, here 21845 points."""


def read_scan(path: str | Path) -> npt.NDArray[np.float32]:
    """Read a Velodyne scan.

    Returns:
        (N, 4) x (forward), y (left), z (up) in metres, reflectance.

    Raises:
        InputError: if it is missing, empty, cut off within a point, or holds NaN or infinity.
    """
    path = require_file(path, "lidar scan")
    if path.stat().st_size % BYTES_PER_POINT:
        raise InputError(f"{path}: lidar scan ends within a point (size not a multiple of 16 bytes); copy it again")
    points = np.fromfile(path, dtype="<f4").reshape(-1, 4).astype(np.float32, copy=False)
    # All four columns first: they lie together, which is eight times as fast; the reflectance may be what it likes.
    if not np.isfinite(points).all() and not np.isfinite(points[:, :3]).all():
        raise InputError(f"{path}: lidar scan holds coordinates that are not finite; copy it again")
    return points


@lru_cache(maxsize=16)
def camera_from_lidar(calib_dir: Path, camera: int) -> tuple[npt.NDArray[np.float64], tuple[int, int]]:
    """Return the (3, 4) projection of lidar points into the rectified camera, and the image's (H, W).

    Raises:
        InputError: if a calibration file of the date is missing or malformed.
    """
    cam_file, velo_file = calib_dir / "calib_cam_to_cam.txt", calib_dir / "calib_velo_to_cam.txt"
    cam, velo = read_calibration(cam_file), read_calibration(velo_file)
    camera_from_lidar = np.eye(4)
    camera_from_lidar[:3, :3] = matrix(velo, "R", (3, 3), velo_file)
    camera_from_lidar[:3, 3] = matrix(velo, "T", (3,), velo_file)
    rectify = np.eye(4)
    rectify[:3, :3] = matrix(cam, "R_rect_00", (3, 3), cam_file)
    projection = matrix(cam, f"P_rect_{camera:02d}", (3, 4), cam_file)
    return projection @ rectify @ camera_from_lidar, rectified_size(cam, camera, cam_file)


def velodyne_depth(calib_dir: str | Path, bin_path: str | Path, camera: int = 2) -> npt.NDArray[np.float32]:
    """Project a lidar scan into a rectified camera of KITTI raw.

    The numbers are those of the published Eigen-split evaluations, whose conventions are kept, odd ones included:
    pixel = round(projection) − 1 (a MATLAB heritage); points behind the scanner (x < 0) are dropped; of several
    points that share a pixel the nearest counts, where "share" goes by the index y·(W − 1) + x, which also throws
    together the last pixel of a row and the first of the next.

    Args:
        calib_dir: the date's folder, with ``calib_cam_to_cam.txt`` and ``calib_velo_to_cam.txt``.
        bin_path: the scan.
        camera: 0–3; 2 is the left colour camera.

    Returns:
        (H, W) float32 depth along the camera's optical axis in metres, 0 = no point.

    Raises:
        InputError: if a file is missing or malformed.
    """
    projection, (height, width) = camera_from_lidar(Path(calib_dir), camera)
    scan = read_scan(bin_path)
    points = np.compress(scan[:, 0] >= 0, scan, axis=0).astype(np.float64)
    points[:, 3] = 1.0
    u, v, depth = _project(projection, points)
    with np.errstate(divide="ignore", invalid="ignore"):
        np.divide(u, depth, out=u)
        np.divide(v, depth, out=v)
    inside = np.flatnonzero((u > 0.5) & (v > 0.5) & (u <= _last(width)) & (v <= _last(height)))
    x, y = (np.rint(place[inside]).astype(np.intp) - 1 for place in (u, v))
    depth = np.maximum(depth[inside], 0.0)

    image = np.zeros((height, width), dtype=np.float32)
    image[y, x] = depth
    key = y * (width - 1) + x
    sharing = np.flatnonzero((np.bincount(key) > 1)[key])  # few: only they need sorting
    _, first, group = np.unique(key[sharing], return_index=True, return_inverse=True)
    nearest = np.full(len(first), np.inf)
    np.minimum.at(nearest, group, depth[sharing])
    image[y[sharing[first]], x[sharing[first]]] = nearest
    return image


def _last(size: int) -> float:
    """Return the largest number that rounds to ``size`` (halves round to even), so that only points inside need rounding."""
    return size + 0.5 if size % 2 == 0 else float(np.nextafter(size + 0.5, 0))


def _project(projection: npt.NDArray[np.float64], points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return ``projection @ points.T``, (3, N), a piece at a time.

    For a product as large as a scan BLAS wakes its threads, which then wait for each other longer than they work, the more
    so as images are judged side by side.
    """
    projected = np.empty((len(projection), len(points)))
    for start in range(0, len(points), POINTS_AT_ONCE):
        piece = slice(start, start + POINTS_AT_ONCE)
        np.matmul(projection, points[piece].T, out=projected[:, piece])
    return projected
