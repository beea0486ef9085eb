"""Cityscapes (Cordts et al., CVPR 2016): records of its video snippets, stereo disparity as depth to judge by.

::

    <root>/leftImg8bit_sequence/train/aachen/aachen_000000_000019_leftImg8bit.png   the frames, 17 Hz
    <root>/leftImg8bit/…                                            the labelled frames alone, enough for judging
    <root>/camera/train/aachen/aachen_000000_000019_camera.json     of every labelled frame
    <root>/disparity/train/aachen/aachen_000000_000019_disparity.png       16 bit (optional: judging)
    <root>/gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png    or …_labelTrainIds.png (optional: exact labels)
    <root>/leftImg8bit_sequence/train/aachen/segmentation/data/<the image's name>.png   (optional: noisy labels)

Each archive may also lie in a folder of its own name (``camera_trainvaltest/camera/…``). A snippet has 30 frames, the
20th of which (index 19) is labelled. Most cities number every snippet anew (000000–000029); a few (hamburg, frankfurt …)
have long recordings that are numbered through. Neighbours are found by number within a recording in both cases, and the
camera is that of the labelled frame nearest by number.

The lower quarter of every frame is left out: it shows the car's bonnet, which moves with the camera. So do Zhou et al.
(2017) and all that came after them (Casser 2019, Gordon 2019, Watson 2021).
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from semdepth.data.records import (
    FrameRecord,
    LabelFolder,
    LabelKind,
    StereoDepth,
    check_offsets,
    label_folder,
    logger,
    neighbours,
)
from semdepth.images import IMAGE_SUFFIXES
from semdepth.runtime import InputError, parse_json, require_file, require_folder

DOWNLOAD = "give the folder that holds leftImg8bit_sequence and camera (cityscapes-dataset.com/downloads)"
SPLITS = ("train", "val", "test")
KEPT_ROWS = (0.0, 0.75)
"""The share of the rows above the bonnet [L: Zhou et al. 2017]."""
IMAGE_SIZE = (1024, 2048)
"""(H, W) that the camera files speak of; the images may be smaller, if they keep the aspect ratio."""
_NAME = re.compile(r"([^_]+)_(\d+)_(\d+)_(.+)")

_Recording = tuple[str, str]
"""City and sequence number, e.g. ("aachen", "000000")."""
_Files = Mapping[_Recording, Mapping[int, Path]]
"""Recording → frame number → file, both ascending."""


@dataclass(frozen=True)
class _Camera:
    intrinsics: npt.NDArray[np.float64]
    focal_baseline: float


@dataclass(frozen=True)
class _Split:
    """What a split holds beside its frames."""

    cameras: _Files
    disparity: _Files
    fine: _Files
    noisy: Mapping[str, LabelFolder]
    """City → its pseudo-labels."""
    require_depth: bool


def cityscapes(
    root: str | Path,
    *,
    split: str = "train",
    cities: Sequence[str] = (),
    offsets: Sequence[int] = (-1, 1),
    labels: LabelKind = "none",
    require_depth: bool = False,
) -> list[FrameRecord]:
    """Return the records of Cityscapes, without the lower quarter of the frames.

    Args:
        root: the folder that holds ``leftImg8bit_sequence`` (or ``leftImg8bit``) and ``camera``.
        split: ``train``, ``val`` or ``test``.
        cities: names such as ``aachen``; empty: all of the split.
        offsets: frame offsets of the sources at 17 Hz; frames without all these neighbours are left out, and counted in
            the log. [L: Zhou et al. 2017] take (−2, 2), which is about KITTI's rate.
        labels: ``exact`` for gtFine (labelled frames only; the others' labels are all 255), ``noisy`` for pseudo-labels
            in ``segmentation/data`` beside a city's images.
        require_depth: leave out frames without a disparity map (evaluation): all but the labelled ones.

    Returns:
        At least one record, by city, recording and frame number, named ``aachen/000000_000019/l``.

    Raises:
        InputError: if files that the frames need are missing or malformed, or if no frame is left.
    """
    root = require_folder(Path(root), "Cityscapes", DOWNLOAD)
    offsets = check_offsets(offsets)
    if split not in SPLITS:
        raise InputError(f"split {split}: Cityscapes has {', '.join(SPLITS)}")
    frames = _frames(root, split, cities)
    beside = _Split(
        cameras=_named(_type_folder(root, "camera") / split, cities, ("camera",), {".json"}),
        disparity=_named(_type_folder(root, "disparity") / split, cities, ("disparity",), {".png"}),
        fine=_fine(root, split, cities) if labels == "exact" else {},
        noisy=_noisy(frames) if labels == "noisy" else {},
        require_depth=require_depth,
    )
    if require_depth and not beside.disparity:
        wanted = root / "disparity" / split
        raise InputError(f"{wanted}: no *_disparity.png of these cities; unpack disparity_trainvaltest.zip there")
    records: list[FrameRecord] = []
    for recording, numbers in frames.items():
        records += _recording(root, split, recording, numbers, beside, offsets)
    count = sum(map(len, frames.values()))
    needed = f"neighbours at {offsets}" + (" and a disparity map" if require_depth else "")
    if not records:
        raise InputError(f"{root}: none of {count} frames of {split} has {needed}; check offsets and frames")
    if len(records) < count:
        logger.info("%s: %d of %d frames of %s have %s", root, len(records), count, split, needed)
    return records


def read_camera(path: str | Path) -> tuple[npt.NDArray[np.float64], float]:
    """Read a camera file.

    Returns:
        The (3, 3) intrinsics in pixels of the 1024×2048 image, and the stereo baseline in metres.

    Raises:
        InputError: if the file is missing, no JSON, or lacks a number.
    """
    path = require_file(path, "camera file")
    try:
        camera = parse_json(path.read_text(encoding="utf-8"))
    except ValueError:
        raise InputError(f"{path}: camera file is no JSON; unpack camera_trainvaltest.zip again") from None
    fx, fy, u0, v0 = (_number(camera, "intrinsic", key, path) for key in ("fx", "fy", "u0", "v0"))
    baseline = _number(camera, "extrinsic", "baseline", path)
    return np.array([[fx, 0.0, u0], [0.0, fy, v0], [0.0, 0.0, 1.0]]), baseline


def _number(camera: Any, group: str, key: str, path: Path) -> float:
    try:
        value = float(camera[group][key])
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):
        raise InputError(
            f"{path}: camera file has no number {group}.{key}; unpack camera_trainvaltest.zip again"
        ) from None
    if not math.isfinite(value) or value <= 0:
        raise InputError(f"{path}: {group}.{key} is {value:g}, must be above 0; unpack camera_trainvaltest.zip again")
    return value


def _type_folder(root: Path, kind: str) -> Path:
    """Return where files of a kind lie: in ``<root>/<kind>``, or in a folder named like the archive."""
    unpacked = root / f"{kind}_trainvaltest" / kind
    return unpacked if unpacked.is_dir() else root / kind


def _named(folder: Path, cities: Sequence[str], kinds: Sequence[str], suffixes: Iterable[str]) -> _Files:
    """Return the files ``<city>/<city>_<sequence>_<frame>_<kind><suffix>``; of several kinds the first counts."""
    wanted = frozenset(suffixes)
    found: dict[_Recording, dict[int, tuple[int, Path]]] = defaultdict(dict)
    for place in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not place.is_dir() or (cities and place.name not in cities):
            continue
        for path in sorted(place.iterdir(), key=lambda p: (p.suffix.lower() != ".png", p.name)):
            name = _NAME.fullmatch(path.stem)
            if name is None or path.suffix.lower() not in wanted or name[4] not in kinds:
                continue
            numbers, rank = found[name[1], name[2]], kinds.index(name[4])
            if int(name[3]) not in numbers or rank < numbers[int(name[3])][0]:
                numbers[int(name[3])] = (rank, path)
    return {key: {number: path for number, (_, path) in sorted(found[key].items())} for key in sorted(found)}


def _frames(root: Path, split: str, cities: Sequence[str]) -> _Files:
    """Return the frames of the snippets, or, where there are none, the labelled frames alone."""
    folders = [_type_folder(root, kind) / split for kind in ("leftImg8bit_sequence", "leftImg8bit")]
    folder = next((f for f in folders if f.is_dir()), None)
    if folder is None:
        raise InputError(f"{folders[0]}: not found, nor leftImg8bit; {DOWNLOAD}")
    require_folder(folder, "folder of cities", DOWNLOAD)
    frames = _named(folder, cities, ("leftImg8bit",), IMAGE_SUFFIXES)
    missing = [city for city in cities if not any(city == recording[0] for recording in frames)]
    if missing or not frames:
        raise InputError(f"{folder / (missing or ['<city>'])[0]}: no *_leftImg8bit.png in it; {DOWNLOAD}")
    return frames


def _fine(root: Path, split: str, cities: Sequence[str]) -> _Files:
    folder = _type_folder(root, "gtFine") / split
    files = _named(folder, cities, ("gtFine_labelTrainIds", "gtFine_labelIds"), {".png"})
    if not files:
        raise InputError(
            f"{folder}: no *_gtFine_labelIds.png; unpack gtFine_trainvaltest.zip there, or set labels: none"
        )
    return files


def _noisy(frames: _Files) -> dict[str, LabelFolder]:
    folders = {recording[0]: next(iter(numbers.values())).parent for recording, numbers in frames.items()}
    return {city: label_folder(folder / "segmentation" / "data", numbered=False) for city, folder in folders.items()}


def _recording(
    root: Path, split: str, recording: _Recording, frames: Mapping[int, Path], beside: _Split, offsets: tuple[int, ...]
) -> list[FrameRecord]:
    """Return the records of one recording; frames that lack what they need are left out."""
    city, sequence = recording
    cameras = beside.cameras.get(recording, {})
    read: dict[Path, _Camera] = {}
    records = []
    for number, image in frames.items():
        sources = neighbours(frames, number, offsets)
        disparity = beside.disparity.get(recording, {}).get(number)
        if sources is None or (beside.require_depth and disparity is None):
            continue
        if not cameras:
            wanted = root / "camera" / split / city / f"{city}_{sequence}_*_camera.json"
            raise InputError(f"{wanted}: no camera file of this recording; unpack camera_trainvaltest.zip there")
        file = _nearest(cameras, number)
        if file not in read:
            intrinsics, baseline = read_camera(file)
            read[file] = _Camera(intrinsics, float(intrinsics[0, 0]) * baseline)
        camera = read[file]
        labels, confidence, is_entropy = _labels(beside, recording, number, image)
        records.append(
            FrameRecord(
                name=f"{city}/{sequence}_{number:06d}/l",
                image=image,
                intrinsics=camera.intrinsics,
                sources=sources,
                offsets=offsets,
                image_size=IMAGE_SIZE,
                rows=KEPT_ROWS,
                labels=labels,
                labels_are_ids=labels is not None and labels.stem.endswith("_gtFine_labelIds"),
                confidence=confidence,
                confidence_is_entropy=is_entropy,
                depth=None if disparity is None else StereoDepth(disparity, camera.focal_baseline),
            )
        )
    return records


def _labels(beside: _Split, recording: _Recording, number: int, image: Path) -> tuple[Path | None, Path | None, bool]:
    """Return labels, confidence, and whether that is an entropy."""
    noisy = beside.noisy.get(recording[0])
    if noisy is not None:
        return *noisy.of(image.stem, image), noisy.confidence_is_entropy
    return beside.fine.get(recording, {}).get(number), None, True


def _nearest(cameras: Mapping[int, Path], number: int) -> Path:
    """Return the camera file of the labelled frame nearest by number."""
    numbers = list(cameras)
    place = bisect_left(numbers, number)
    return cameras[min(numbers[max(place - 1, 0) : place + 1], key=lambda labelled: abs(labelled - number))]
