"""Trajectories as text, in the formats that other programs read, and as a picture."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from semdepth.runtime import InputError

Float64 = npt.NDArray[np.float64]


def kitti_lines(poses: Float64) -> str:
    """Return (N, 4, 4) ``world_from_camera`` in KITTI's format: the 12 numbers of the upper rows, a line a frame."""
    return "".join(" ".join(f"{value:.9e}" for value in pose[:3].ravel()) + "\n" for pose in poses)


def tum_lines(poses: Float64, times: Float64) -> str:
    """Return (N, 4, 4) ``world_from_camera`` in the format of the TUM RGB-D benchmark.

    Args:
        poses: (N, 4, 4).
        times: (N,) seconds.

    Returns:
        A line a frame: time, position x y z, rotation as unit quaternion x y z w.
    """
    rows = [(time, *pose[:3, 3], *quaternion(pose[:3, :3])) for time, pose in zip(times, poses, strict=True)]
    return "".join(f"{row[0]:.6f} " + " ".join(f"{value:.9f}" for value in row[1:]) + "\n" for row in rows)


def quaternion(rotation: Float64) -> Float64:
    """Return the unit quaternion (x, y, z, w), w ≥ 0, of a (3, 3) rotation.

    The eigenvector of the greatest eigenvalue of Bar-Itzhack's symmetric matrix (2000): no case by case division.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation
    symmetric = np.array(
        [
            [xx - yy - zz, xy + yx, xz + zx, zy - yz],
            [xy + yx, yy - xx - zz, yz + zy, xz - zx],
            [xz + zx, yz + zy, zz - xx - yy, yx - xy],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    found: Float64 = np.linalg.eigh(symmetric)[1][:, -1]
    return found if found[3] >= 0 else -found


def plot_paths(paths: Mapping[str, Float64], file: Path, unit: str = "m") -> None:
    """Draw paths as seen from above (x to the right, z up the page) to a PNG, whole or not at all.

    Args:
        paths: (N, 4, 4) ``world_from_camera`` by the name to print.
        file: of the picture.
        unit: of the axes.

    Raises:
        InputError: if the file cannot be written.
    """
    from matplotlib.figure import Figure

    places = {name: poses[:, (0, 2), 3] for name, poses in paths.items()}
    spans = np.ptp(np.concatenate(list(places.values())), axis=0)
    margin = max(0.05 * float(spans.max()), 1e-6)
    # A straight drive is a line: the picture is never narrower than a third of its height, and the axes stay equal.
    width, height = (max(float(span), float(spans.max()) / 3) + 2 * margin for span in spans)
    scale = 7 / max(width, height)
    figure = Figure(figsize=(width * scale + 1.5, height * scale + 1.2), layout="constrained")
    axes = figure.subplots()
    for (name, points), style in zip(places.items(), ("k--", "C0-", "C1-", "C2-"), strict=False):
        axes.plot(points[:, 0], points[:, 1], style, label=name)
        axes.plot(*points[0], "o", color="0.5", markersize=5)
    centre = np.concatenate(list(places.values()))
    middle = (centre.min(axis=0) + centre.max(axis=0)) / 2
    axes.set_xlim(middle[0] - width / 2, middle[0] + width / 2)
    axes.set_ylim(middle[1] - height / 2, middle[1] + height / 2)
    axes.set_aspect("equal")
    axes.set_xlabel(f"x ({unit})")
    axes.set_ylabel(f"z ({unit})")
    axes.grid(alpha=0.3)
    axes.legend(loc="best")
    temporary = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        with os.fdopen(handle, "wb") as stream:
            figure.savefig(stream, format="png", dpi=120)
        Path(temporary).chmod(0o644)
        os.replace(temporary, file)
    except OSError as error:
        raise InputError(f"{file}: cannot be written ({error.strerror}); choose another folder") from None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
