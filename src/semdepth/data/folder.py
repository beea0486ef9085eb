"""A plain folder of consecutive frames with known intrinsics: any video, unpacked. ``semdepth prepare`` writes it.

::

    <root>/any_name_0001.jpg …         in the order of their names (numbers in them count as numbers)
    <root>/intrinsics.txt              fx fy cx cy in pixels, or the nine numbers of the matrix
    <root>/segmentation/data/<the image's name>.png, segmentation/entropy/<the image's name>.png   (optional)

Or, where ``root`` itself holds no images, a folder like this for every unbroken sequence; no record spans two of them::

    <root>/intrinsics.txt              for the sequences that have none of their own
    <root>/<any name>/…                as above
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from semdepth.data.records import FrameRecord, LabelKind, check_offsets, label_folder, neighbours
from semdepth.geometry.camera import intrinsics_from_fov
from semdepth.images import IMAGE_SUFFIXES, image_size
from semdepth.runtime import InputError, natural_order, require_file, require_folder


def frame_folder(
    root: str | Path,
    *,
    intrinsics: Sequence[float] | None = None,
    fov_deg: float | None = None,
    offsets: Sequence[int] = (-1, 1),
    labels: LabelKind = "none",
) -> list[FrameRecord]:
    """Return the records of a folder of consecutive frames, or of the sequences in it.

    Args:
        root: the folder.
        intrinsics: fx, fy, cx, cy in pixels of the images; pixel centres at integer coordinates.
        fov_deg: horizontal field of view in degrees, for square pixels and a centred principal point.
            Without either, ``intrinsics.txt`` in the folder is read.
        offsets: frame offsets of the sources; frames without all these neighbours are left out.
        labels: ``noisy`` for pseudo-labels in ``segmentation/data``.

    Returns:
        At least one record, in the order of the frames.

    Raises:
        InputError: if there are too few images, the intrinsics are missing or contradict each other, or labels lack.
    """
    root, offsets = Path(root), check_offsets(offsets)
    if labels == "exact":
        raise InputError("labels exact: a plain folder has none; set labels: noisy or none")
    require_folder(
        root, "folder of frames", "give a folder of consecutive images; semdepth prepare makes one of a video"
    )
    sequences = sequence_folders(root)
    if not sequences:
        raise InputError(f"{root}: no images in it; give a folder of consecutive frames (PNG or JPEG)")
    records, count = [], 0
    for prefix, folder in sequences.items():
        images = _images(folder)
        count += len(images)
        camera = _camera((folder, root), images[0], intrinsics, fov_deg)
        records += _sequence(folder, images, prefix, camera, offsets, labels)
    if not records:
        raise InputError(f"{root}: none of {count} frames has neighbours at {offsets}; give more frames")
    return records


def sequence_folders(root: Path) -> dict[str, Path]:
    """Return name → folder of the unbroken sequences: ``root`` itself if it holds images, else its folders that do."""
    name = root.resolve().name
    if _images(root):
        return {name: root}
    folders = sorted((p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")), key=natural_order)
    return {f"{name}/{p.name}": p for p in folders if _images(p)}


def _images(folder: Path) -> list[Path]:
    found = (p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))
    return sorted(found, key=natural_order)


def _sequence(
    folder: Path,
    images: list[Path],
    prefix: str,
    camera: npt.NDArray[np.float64],
    offsets: tuple[int, ...],
    labels: LabelKind,
) -> list[FrameRecord]:
    """Return the records of one unbroken sequence, perhaps none."""
    written = label_folder(folder / "segmentation" / "data" if labels == "noisy" else None, numbered=False)
    frames = dict(enumerate(images))
    records = []
    for number, image in frames.items():
        sources = neighbours(frames, number, offsets)
        if sources is None:
            continue
        label, confidence = written.of(image.stem, image)
        records.append(
            FrameRecord(
                name=f"{prefix}/{image.stem}",
                image=image,
                intrinsics=camera,
                sources=sources,
                offsets=offsets,
                labels=label,
                confidence=confidence,
                confidence_is_entropy=written.confidence_is_entropy,
            )
        )
    return records


def list_frames(root: str | Path) -> list[Path]:
    """Return the images of a folder in the order of their names; numbers in them count as numbers.

    Raises:
        InputError: if there is no such folder, or no image in it.
    """
    images = _images(
        require_folder(
            Path(root), "folder of frames", "give a folder of consecutive images; semdepth prepare makes one of a video"
        )
    )
    if not images:
        raise InputError(f"{root}: no images in it; give a folder of consecutive frames (PNG or JPEG)")
    return images


def _camera(
    folders: Sequence[Path], first: Path, intrinsics: Sequence[float] | None, fov_deg: float | None
) -> npt.NDArray[np.float64]:
    """Return the (3, 3) intrinsics from what was given, or from the first ``intrinsics.txt`` in ``folders``."""
    if intrinsics is not None and fov_deg is not None:
        raise InputError("intrinsics and fov_deg: give one of them, not both")
    if fov_deg is not None:
        if not 0.0 < fov_deg < 180.0:
            raise InputError(f"fov_deg {fov_deg}: give the horizontal field of view in degrees, between 0 and 180")
        return intrinsics_from_fov(fov_deg, image_size(first)).double().numpy()
    if intrinsics is not None:
        return _matrix(list(intrinsics), "intrinsics")
    path = next((p for folder in folders if (p := folder / "intrinsics.txt").exists()), folders[-1] / "intrinsics.txt")
    if not path.exists():
        raise InputError(f"{path}: not found; write `fx fy cx cy` into it, or give intrinsics or fov_deg")
    try:
        return _matrix([float(word) for word in require_file(path, "intrinsics file").read_text().split()], str(path))
    except ValueError:
        raise InputError(f"{path}: must hold numbers only; write `fx fy cx cy` in pixels") from None


def _matrix(numbers: list[float], where: str) -> npt.NDArray[np.float64]:
    if len(numbers) == 4:
        fx, fy, cx, cy = numbers
        numbers = [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]
    matrix = np.array(numbers, dtype=np.float64)
    if len(matrix) != 9 or not np.isfinite(matrix).all() or matrix[0] <= 0 or matrix[4] <= 0:
        raise InputError(f"{where}: must be `fx fy cx cy` in pixels (or nine numbers), with focal lengths above 0")
    return matrix.reshape(3, 3)
