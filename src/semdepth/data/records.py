"""What a dataset is made of: records, which say what belongs to a frame without reading a pixel of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from semdepth.images import IMAGE_SUFFIXES
from semdepth.runtime import InputError, require_folder

logger = logging.getLogger("semdepth.data")

LabelKind = Literal["noisy", "exact", "none"]
"""``noisy``: pseudo-labels of a segmentation network; ``exact``: truth of a rendered world, or people's annotation
(Cityscapes' gtFine); ``none``: no labels."""


@dataclass(frozen=True)
class PngDepth:
    """Depth of the image's own size in a 16-bit PNG: metres = value / ``scale``, 0 = unknown."""

    path: Path
    scale: float = 256.0


@dataclass(frozen=True)
class LidarDepth:
    """Depth to be projected from a raw KITTI lidar scan (``semdepth.data.kitti.velodyne_depth``)."""

    calib_dir: Path
    scan: Path
    camera: int = 2
    cached: Path | None = None
    """16-bit PNG of the same depth (``semdepth.data.depth_cache``), read in place of the scan."""


@dataclass(frozen=True)
class StereoDepth:
    """Depth from Cityscapes' stereo disparity (``semdepth.images.read_disparity_png``): depth = f·b / disparity."""

    path: Path
    focal_baseline: float
    """fx·baseline, pixels × metres, in the pixels that the disparity is counted in."""


@dataclass(frozen=True)
class GridDepth:
    """Make3D's laser grid in a .mat file (``semdepth.data.make3d.read_laser_grid``)."""

    path: Path


Depth = PngDepth | LidarDepth | StereoDepth | GridDepth


@dataclass(frozen=True, eq=False)
class FrameRecord:
    """One target frame: the files that belong to it, and what is known of its camera."""

    name: str
    """Unique and printable, e.g. ``2011_09_26_drive_0000_sync/0000000005/l``."""
    image: Path
    """The target image."""
    intrinsics: npt.NDArray[np.float64]
    """(3, 3) pinhole, in pixels of the original image; pixel centres at integer coordinates."""
    sources: tuple[Path, ...] = ()
    """S images beside the target, in temporal order."""
    offsets: tuple[int, ...] = ()
    """S frame offsets against the target, ascending."""
    image_size: tuple[int, int] | None = None
    """(H, W) that ``intrinsics`` speak of, where the dataset states it; None: the image's own size."""
    rows: tuple[float, float] = (0.0, 1.0)
    """Share of the rows, from and to, that is used of every map of the frame (images, labels, depth): the rest is
    the car's bonnet, or what no method is judged on. All of ``image``, ``intrinsics`` and ``depth`` speak of whole maps."""
    labels: Path | None = None
    """PNG of trainIds of the target, 255 = ignore."""
    labels_are_ids: bool = False
    """Whether that PNG holds Cityscapes' label ids instead (``*_labelIds.png``)."""
    confidence: Path | None = None
    """PNG of the labels' confidence, 0–255 for 0–1."""
    confidence_is_entropy: bool = True
    """Whether that PNG holds the normalised entropy instead: confidence = 1 − entropy / 255."""
    depth: Depth | None = None
    """Ground truth depth, for judging only."""
    moving: Path | None = None
    """PNG, non-zero where something moves on its own."""
    world_from_camera: npt.NDArray[np.float64] | None = None
    """(1 + S, 4, 4) camera poses in metres, the target's first, then the sources'."""

    def __post_init__(self) -> None:
        if len(self.sources) != len(self.offsets):
            raise ValueError(f"{self.name}: {len(self.sources)} sources but {len(self.offsets)} offsets")


def kept_rows(rows: tuple[float, float], height: int) -> slice:
    """Return the rows of a map of ``height`` that a record's ``rows`` keep; at least one."""
    top = min(round(rows[0] * height), height - 1)
    return slice(top, max(round(rows[1] * height), top + 1))


def check_offsets(offsets: Sequence[int]) -> tuple[int, ...]:
    """Return ``offsets`` as a tuple.

    Raises:
        InputError: unless they are ascending, without duplicates and without 0 (the target itself).
    """
    if list(offsets) != sorted(set(offsets)) or 0 in offsets:
        raise InputError(f"offsets {tuple(offsets)}: give ascending, distinct, non-zero frame offsets, e.g. [-1,1]")
    return tuple(offsets)


def numbered_files(folder: Path, suffixes: Iterable[str] = IMAGE_SUFFIXES) -> dict[int, Path]:
    """Return frame number → file for files named by a number (``0000000005.png``), ascending; empty without a folder.

    Of one frame in several formats (``5.png`` beside ``5.jpg``) the PNG is taken.
    """
    wanted = frozenset(suffixes)
    if not folder.is_dir():
        return {}
    require_folder(folder, "folder", "")
    found = [p for p in folder.iterdir() if p.suffix.lower() in wanted and p.stem.isdecimal()]
    found.sort(key=lambda p: (int(p.stem), p.suffix.lower() == ".png"))
    return {int(p.stem): p for p in found}


def neighbours(frames: Mapping[int, Path], number: int, offsets: Sequence[int]) -> tuple[Path, ...] | None:
    """Return the frames at ``offsets`` from ``number``, or None if one of them is missing."""
    found = [frames.get(number + offset) for offset in offsets]
    return tuple(p for p in found if p is not None) if all(found) else None


Key = int | str
"""What names a frame within a sequence: its number, or the stem of its file."""


@dataclass(frozen=True)
class LabelFolder:
    """The labels of a sequence by frame, with their confidence where it was written."""

    labels: Mapping[Key, Path]
    confidence: Mapping[Key, Path]
    confidence_is_entropy: bool

    def of(self, frame: Key, image: Path) -> tuple[Path | None, Path | None]:
        """Return (labels, confidence) of a frame.

        Raises:
            InputError: if the sequence has labels (or confidence), but not for this frame.
        """
        mend = "every frame of a labelled sequence needs one; write it with `semdepth label`, or set labels: none"
        if self.labels and frame not in self.labels:
            raise InputError(f"{image}: has no label PNG; {mend}")
        if self.confidence and frame not in self.confidence:
            raise InputError(f"{image}: its labels have no confidence PNG; {mend}")
        return self.labels.get(frame), self.confidence.get(frame)


def label_folder(folder: Path | None, numbered: bool = True) -> LabelFolder:
    """Return what ``folder`` (label PNGs) and its sister ``entropy`` or ``confidence`` hold.

    Args:
        folder: e.g. ``segmentation_02/data``; None: no labels are wanted.
        numbered: whether frames are named by number; else by the stem of their files.

    Raises:
        InputError: if labels are wanted and there are none.
    """
    if folder is None:
        return LabelFolder({}, {}, True)

    def pngs(within: Path) -> Mapping[Key, Path]:
        if numbered:
            return dict(numbered_files(within, {".png"}).items())
        return {p.stem: p for p in sorted(within.glob("*.png"))}

    labels = pngs(folder)
    if not labels:
        raise InputError(f"{folder}: no label PNGs; write them with `semdepth label`, or set labels: none")
    entropy = pngs(folder.parent / "entropy")
    confidence = {} if entropy else pngs(folder.parent / "confidence")
    return LabelFolder(labels, entropy or confidence, bool(entropy))
