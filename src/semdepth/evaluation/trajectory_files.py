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

    Beside a path that is nearly a straight line stands the same with stretched axes: its turns cannot be seen otherwise.

    Args:
        paths: (N, 4, 4) ``world_from_camera`` by the name to print.
        file: of the picture.
        unit: of the axes.

    Raises:
        InputError: if the file cannot be written.
    """
    from matplotlib.figure import Figure

    places = {name: poses[:, (0, 2), 3] for name, poses in paths.items()}
    everything = np.concatenate(list(places.values()))
    middle, span = (everything.min(axis=0) + everything.max(axis=0)) / 2, np.ptp(everything, axis=0)
    longest = max(float(span.max()), 1e-6)
    # A straight drive is a line: the picture is never thinner than a third of its length, and its axes stay equal.
    width, height = (max(float(s), longest / 3) + 0.1 * longest for s in span)
    narrow = float(span.min()) < longest / 3
    figure = Figure(layout="constrained")
    figure.set_size_inches(
        6 * width / max(width, height) + (4.5 if narrow else 1.5), 6 * height / max(width, height) + 1
    )
    panels = figure.subplots(1, 2 if narrow else 1, squeeze=False)[0]
    for axes in panels:
        for (name, points), style in zip(places.items(), ("k--", "C0-", "C1-", "C2-"), strict=False):
            axes.plot(points[:, 0], points[:, 1], style, label=name)
            axes.plot(*points[0], "o", color="0.5", markersize=5)
        axes.set_xlabel(f"x ({unit})")
        axes.set_ylabel(f"z ({unit})")
        axes.grid(alpha=0.3)
    panels[0].set_xlim(middle[0] - width / 2, middle[0] + width / 2)
    panels[0].set_ylim(middle[1] - height / 2, middle[1] + height / 2)
    panels[0].set_aspect("equal")
    panels[0].set_title("from above")
    if narrow:
        panels[1].set_title("the same, axes stretched")
    panels[-1].legend(loc="best")
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
