"""Depth as coloured points in space, and the files that viewers open; the one door to trimesh."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from semdepth.inference.files import whole_file
from semdepth.runtime import InputError

_UPRIGHT = np.array((1, -1, -1), dtype=np.float32)
"""Camera axes (y down, z forward) to glTF's (y up, z towards the viewer)."""


@dataclass(frozen=True)
class PointCloud:
    """N coloured points in the camera's axes: x right, y down, z forward."""

    points: npt.NDArray[np.float32]
    """(N, 3), in the unit of the depth that they come from."""
    colours: npt.NDArray[np.uint8]
    """(N, 3) RGB."""

    def __len__(self) -> int:
        return len(self.points)


def point_cloud(
    pixels: npt.NDArray[np.uint8],
    depth: npt.NDArray[np.float32],
    intrinsics: npt.NDArray[np.floating],
    *,
    max_depth: float | None = None,
    drop_edges: float = 0.1,
    step: int = 1,
) -> PointCloud:
    """Return the points that the pixels of an image show.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        depth: (H, W) along the optical axis; pixels whose depth is not finite or not above 0 make no point.
        intrinsics: (3, 3), in pixels of (H, W), pixel centres at integer coordinates.
        max_depth: farther pixels make no point; None: all do.
        drop_edges: pixels make no point where the depth on their two sides differs by more than this share and the
            surfaces around do not explain it (``flying``): they would hang in the air. 0 keeps all.
        step: take every so-many-th row and column.

    Returns:
        The points, row by row; none if no pixel is left.

    Raises:
        ValueError: if shapes do not fit each other.
        InputError: if ``step`` is below 1, ``drop_edges`` below 0, or the intrinsics are no camera's.
    """
    height, width = depth.shape
    if pixels.shape != (height, width, 3) or np.shape(intrinsics) != (3, 3):
        raise ValueError(f"pixels {pixels.shape}, depth {depth.shape} and intrinsics {np.shape(intrinsics)} do not fit")
    if step < 1 or not drop_edges >= 0:
        raise InputError(f"point cloud: step {step} must be at least 1, and drop_edges {drop_edges} at least 0")
    camera = np.asarray(intrinsics, dtype=np.float64)
    if not np.isfinite(camera).all() or camera[0, 0] <= 0 or camera[1, 1] <= 0:
        raise InputError("point cloud: the intrinsics need finite numbers and focal lengths above 0")
    kept = np.isfinite(depth) & (depth > 0)
    if max_depth is not None:
        kept &= depth <= max_depth
    if drop_edges > 0:
        kept &= ~flying(depth, drop_edges)
    grid = np.zeros_like(kept)
    grid[::step, ::step] = True
    y, x = np.nonzero(kept & grid)
    rays = np.stack((x, y, np.ones_like(x)), axis=1) @ np.linalg.inv(camera).T
    return PointCloud((rays * depth[y, x, None]).astype(np.float32), pixels[y, x])


def flying(depth: npt.NDArray[np.float32], share: float) -> npt.NDArray[np.bool_]:
    """Return (H, W), true on the ramps between two surfaces one behind the other, which no surface has.

    Networks smear the edges of things over several pixels; those pixels lie between the surfaces. Along a row or a
    column, disparity falls on such a ramp by more than on either side of it. It does not on a plane, however slanted,
    where disparity is linear: a road stays whole up to the horizon, which a threshold on depth alone would cut.

    Args:
        depth: (H, W).
        share: of the disparity, by which it must change more than on both sides, within 1/64 of the longer side.
    """
    known = np.isfinite(depth) & (depth > 0)
    disparity = np.divide(1.0, depth, out=np.zeros(depth.shape), where=known)
    reach = max(max(depth.shape) // 128, 1)
    return _on_ramp(disparity, reach, share) | _on_ramp(disparity.T, reach, share).T


def _on_ramp(disparity: npt.NDArray[np.float64], reach: int, share: float) -> npt.NDArray[np.bool_]:
    """Return where a row's disparity changes from ``reach`` before to ``reach`` after by more than it does beside."""
    pad = 3 * reach
    # Beyond the border the surface goes on as it is (odd reflection), else every slanted one would end in an edge.
    padded = np.pad(disparity, ((0, 0), (pad, pad)), mode="reflect", reflect_type="odd")
    width = disparity.shape[1]

    def shifted(by: int) -> npt.NDArray[np.float64]:
        return padded[:, pad + by : pad + by + width]

    here = np.abs(shifted(reach) - shifted(-reach))
    beside = np.maximum(np.abs(shifted(3 * reach) - shifted(reach)), np.abs(shifted(-reach) - shifted(-3 * reach)))
    own = np.abs(shifted(1) - shifted(-1)) * reach  # what the pixel itself rises by: beside a sharp edge it is none
    found: npt.NDArray[np.bool_] = (here - beside > share * disparity) & (own > here / 2)
    return found


def write_ply(path: str | Path, cloud: PointCloud) -> None:
    """Write a binary PLY (little endian: x y z float, red green blue alpha) in the camera's axes (y down, z forward).

    Raises:
        InputError: if the cloud is empty, or the file cannot be written.
    """
    _write(Path(path), cloud.points, cloud.colours, "ply")


def write_glb(path: str | Path, cloud: PointCloud) -> None:
    """Write a glTF 2.0 binary, turned to its axes (y up, z towards the viewer), so that viewers show it upright.

    Raises:
        InputError: if the cloud is empty, or the file cannot be written.
    """
    _write(Path(path), cloud.points * _UPRIGHT, cloud.colours, "glb")


def require_writer() -> None:
    """Find out now, not after minutes, that clouds cannot be written here.

    Raises:
        ModuleNotFoundError: if the extra ``points`` is not installed.
    """
    import trimesh  # noqa: F401


def _write(path: Path, points: npt.NDArray[np.float32], colours: npt.NDArray[np.uint8], kind: str) -> None:
    import trimesh

    if not len(points):
        raise InputError(f"{path}: no point is left to write; raise max_depth or drop_edges")
    cloud: Any = trimesh.PointCloud(points, colors=colours)
    encoded: bytes = cloud.export(file_type=kind)
    with whole_file(path) as temporary:
        temporary.write_bytes(encoded)
