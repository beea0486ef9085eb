"""KITTI odometry (Geiger et al., CVPR 2012): records with camera poses.

::

    <root>/sequences/09/calib.txt, image_2/000000.png (or .jpg), segmentation_2/data/000000.png (optional)
    <root>/poses/09.txt         poses of camera 0 (sequences 00–10)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from semdepth.data.calibration import matrix, pinhole, read_calibration, read_poses
from semdepth.data.records import FrameRecord, LabelKind, check_offsets, label_folder, neighbours, numbered_files
from semdepth.runtime import InputError, require_folder

DOWNLOAD = "give the folder that holds sequences and poses (cvlibs.net/datasets/kitti/eval_odometry.php)"


def kitti_odometry(
    root: str | Path,
    *,
    sequences: Sequence[str] = (),
    camera: int = 2,
    offsets: Sequence[int] = (-1, 1),
    labels: LabelKind = "none",
) -> list[FrameRecord]:
    """Return the records of KITTI odometry sequences, with poses where the dataset has them.

    Args:
        root: the folder that holds ``sequences`` and ``poses``.
        sequences: names such as ``09``; empty: all that have images of ``camera``.
        camera: 0, 1 grey; 2, 3 colour.
        offsets: frame offsets of the sources; frames without all these neighbours are left out.
        labels: ``noisy`` for pseudo-labels in ``segmentation_<camera>``.

    Returns:
        At least one record, ordered by sequence and frame.

    Raises:
        InputError: if files are missing or malformed, or if no frame is left.
    """
    root = require_folder(Path(root), "KITTI odometry", DOWNLOAD)
    offsets = check_offsets(offsets)
    if camera not in range(4):
        raise InputError(f"camera {camera}: KITTI has 0, 1 (grey) and 2, 3 (colour)")
    if labels == "exact":
        raise InputError("labels exact: KITTI odometry has none; set labels: noisy or none")
    base = require_folder(root / "sequences", "folder of sequences", DOWNLOAD)
    names = list(sequences) or sorted(p.name for p in base.iterdir() if (p / f"image_{camera}").is_dir())
    if not names:
        there = sorted({p.name.removeprefix("image_") for p in base.glob("*/image_[0-3]")})
        mend = f"there is camera {' and '.join(there)}: set cameras [{there[0]}]" if there else DOWNLOAD
        raise InputError(f"{base}: no sequence with image_{camera}; {mend}")
    records = [record for name in names for record in _sequence(root, name, camera, offsets, labels)]
    if not records:
        raise InputError(
            f"{base}: no frame of {', '.join(names)} has neighbours at {offsets}; check offsets and frames"
        )
    return records


def _sequence(root: Path, name: str, camera: int, offsets: tuple[int, ...], labels: LabelKind) -> list[FrameRecord]:
    folder = root / "sequences" / name
    image_dir = require_folder(folder / f"image_{camera}", f"images of sequence {name}", DOWNLOAD)
    frames = numbered_files(image_dir)
    if not frames:
        raise InputError(f"{image_dir}: no images named by frame number; download the sequence again")
    calib_file, poses_file = folder / "calib.txt", root / "poses" / f"{name}.txt"
    projection = matrix(read_calibration(calib_file), f"P{camera}", (3, 4), calib_file)
    intrinsics = pinhole(projection, calib_file)
    poses = _camera_poses(poses_file, intrinsics, projection) if poses_file.exists() else None
    if poses is not None and len(poses) <= max(frames):
        raise InputError(f"{poses_file}: {len(poses)} poses, but frames up to {max(frames)}; one line a frame from 0")
    written = label_folder(folder / f"segmentation_{camera}" / "data" if labels == "noisy" else None)
    records = []
    for number, image in frames.items():
        sources = neighbours(frames, number, offsets)
        if sources is None:
            continue
        label, confidence = written.of(number, image)
        records.append(
            FrameRecord(
                name=f"{name}/{number:06d}/{camera}",
                image=image,
                intrinsics=intrinsics,
                sources=sources,
                offsets=offsets,
                labels=label,
                confidence=confidence,
                confidence_is_entropy=written.confidence_is_entropy,
                world_from_camera=None if poses is None else poses[[number, *(number + o for o in offsets)]],
            )
        )
    return records


def _camera_poses(
    path: Path, intrinsics: npt.NDArray[np.float64], projection: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return (N, 4, 4) poses of the camera that ``projection`` = K·[I | t] belongs to; the file's are camera 0's."""
    camera_from_first = np.eye(4)
    camera_from_first[:3, 3] = np.linalg.solve(intrinsics, projection[:, 3])
    return read_poses(path) @ np.linalg.inv(camera_from_first)
