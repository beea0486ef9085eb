"""Whole sequences in temporal order, with the camera's poses and times where they are known: for odometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from semdepth.data.calibration import read_poses
from semdepth.data.folder import list_frames, sequence_folders
from semdepth.data.odometry import kitti_odometry
from semdepth.data.records import FrameRecord
from semdepth.runtime import InputError, require_file


@dataclass(frozen=True, eq=False)
class FrameSequence:
    """N consecutive frames of one camera."""

    name: str
    images: tuple[Path, ...]
    """N files, in temporal order."""
    world_from_camera: npt.NDArray[np.float64] | None = None
    """(N, 4, 4), metres; None: unknown."""
    times: npt.NDArray[np.float64] | None = None
    """(N,) seconds; None: unknown."""


def open_sequences(
    path: str | Path, *, sequences: Sequence[str] = (), camera: int = 2, poses: str | Path | None = None
) -> list[FrameSequence]:
    """List the sequences under ``path``, without reading a pixel.

    Args:
        path: a KITTI odometry root (it holds ``sequences``), a folder of consecutive frames, or of folders of them
            (``data.folder``). ``times.txt``, seconds,
            one a line, is read from the sequence's folder where it is there.
        sequences: KITTI odometry: names such as ``09``; empty: all that have images of ``camera``.
        camera: KITTI odometry: 0, 1 grey; 2, 3 colour.
        poses: folder of frames: file of their poses, 12 numbers a line, one line an image.

    Returns:
        At least one sequence of at least one frame.

    Raises:
        InputError: if files are missing or malformed, or the options do not belong to what ``path`` holds.
    """
    path = Path(path)
    if (path / "sequences").is_dir():
        if poses is not None:
            raise InputError(f"{poses}: {path} is a KITTI odometry root, whose poses lie in it; leave out --poses")
        records = kitti_odometry(path, sequences=sequences, camera=camera, offsets=())
        names = list(dict.fromkeys(_sequence(record) for record in records))
        return [_of_kitti(path, name, [r for r in records if _sequence(r) == name]) for name in names]
    if sequences:
        raise InputError(
            f"{path}: holds no folder sequences, so --sequences has no meaning; give a KITTI odometry root"
        )
    folders = list(sequence_folders(path).values()) if path.is_dir() else []
    if len(folders) > 1 and poses is not None:
        raise InputError(f"{poses}: {path} holds {len(folders)} sequences; give one of them, e.g. {folders[0]}")
    return [_of_folder(folder, poses) for folder in folders or [path]]


def _of_folder(path: Path, poses: str | Path | None) -> FrameSequence:
    images = list_frames(path)
    known = None if poses is None else read_poses(poses)
    if known is not None and len(known) != len(images):
        raise InputError(f"{poses}: {len(known)} poses for {len(images)} images in {path}; give one line an image")
    times = _times(path / "times.txt")
    if times is not None and len(times) != len(images):
        raise InputError(f"{path / 'times.txt'}: {len(times)} times for {len(images)} images; give one line an image")
    return FrameSequence(path.resolve().name, tuple(images), known, times)


def _sequence(record: FrameRecord) -> str:
    return record.name.partition("/")[0]


def _of_kitti(root: Path, name: str, records: list[FrameRecord]) -> FrameSequence:
    file = root / "sequences" / name / "times.txt"
    times, numbers = _times(file), [int(record.name.split("/")[1]) for record in records]
    if times is not None and len(times) <= max(numbers):
        raise InputError(f"{file}: {len(times)} times, but frames up to {max(numbers)}; one line a frame from 0")
    poses = [record.world_from_camera for record in records if record.world_from_camera is not None]
    return FrameSequence(
        name=name,
        images=tuple(record.image for record in records),
        world_from_camera=np.concatenate(poses) if poses else None,
        times=None if times is None else times[numbers],
    )


def _times(path: Path) -> npt.NDArray[np.float64] | None:
    """Return the seconds in a file, one a line; None if there is no such file."""
    if not path.exists():
        return None
    try:
        times = np.array(require_file(path, "file of times").read_text(encoding="utf-8").split(), dtype=np.float64)
    except ValueError:  # also what is no text
        raise InputError(f"{path}: must hold seconds, one number a line; copy the file again") from None
    if not len(times) or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise InputError(f"{path}: times must be finite and ascending; copy the file again")
    return times
