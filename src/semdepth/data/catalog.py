"""From options to a dataset: the one place that knows every dataset by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from semdepth.data.cache import PreparedFrames
from semdepth.data.cityscapes import cityscapes
from semdepth.data.folder import frame_folder
from semdepth.data.kitti import GroundTruth, kitti_raw
from semdepth.data.make3d import make3d
from semdepth.data.odometry import kitti_odometry
from semdepth.data.records import FrameRecord, LabelKind, check_offsets
from semdepth.data.shards import ShardFrames
from semdepth.data.synthetic_frames import SyntheticConfig, SyntheticFrames
from semdepth.data.video import FrameDataset
from semdepth.runtime import InputError

DatasetName = Literal[
    "kitti_raw", "kitti_odometry", "cityscapes", "make3d", "folder", "synthetic", "prepared", "shards"
]
MAY_LACK_DEPTH: tuple[DatasetName, ...] = ("kitti_raw", "cityscapes", "synthetic")
"""Datasets that have ground truth, though not of every frame: ``require_depth`` keeps those that have it."""

WITHOUT_DEPTH: tuple[DatasetName, ...] = ("folder", "kitti_odometry")
"""Datasets that have no ground truth; a run is judged on them by view synthesis."""

Frames = FrameDataset | SyntheticFrames | PreparedFrames | ShardFrames
"""What options open."""


@dataclass(frozen=True)
class DataConfig:
    """Which frames are learnt from, or judged on."""

    name: DatasetName = "kitti_raw"
    """The dataset; ``kitti_raw`` reads rendered worlds in that layout too, ``synthetic`` renders them as it goes,
    ``prepared`` and ``shards`` read what ``semdepth cache`` wrote; ``make3d`` is for judging only."""
    root: Path | None = None
    """The dataset's folder; not for ``synthetic``."""
    base_url: str | None = None
    """``shards``: where the .tar files lie, if not beside shards.json, e.g. https://host/folder."""
    split: Path | None = None
    """``kitti_raw``: list of ``drive frame side`` lines; none: every frame. ``cityscapes``: train, val or test; none: train."""
    sequences: tuple[str, ...] = ()
    """Names of drives (``kitti_raw``), sequences (``kitti_odometry``) or cities (``cityscapes``) to take, e.g.
    '["00","01"]'; empty: all."""
    cameras: tuple[int, ...] | None = None
    """KITTI cameras to take, e.g. [2]; none: 2 and 3 of ``kitti_raw`` where present, 2 of ``kitti_odometry``."""
    frames: tuple[int, int] | None = None
    """Take only the records from the first number up to, but without, the second, e.g. [0,60]; none: all."""
    height: int = 192
    """Height of the network's input in pixels."""
    width: int = 640
    """Width of the network's input in pixels."""
    offsets: tuple[int, ...] = (-1, 1)
    """Frame offsets of the sources against the target, e.g. [-1,1]; empty for judging depth."""
    labels: LabelKind = "noisy"
    """Labels of the target: noisy pseudo-labels, exact ones (rendered worlds; gtFine of ``cityscapes``), or none.
    ``make3d`` has none whatever this says."""
    ground_truth: GroundTruth = "auto"
    """``kitti_raw``: which depth to judge by, where it is there."""
    depth_cache: Path | None = None
    """``kitti_raw``: folder that `semdepth data depth --out` wrote lidar depth to; none: beside the scans, if at all."""
    require_depth: bool = False
    """``kitti_raw``, ``cityscapes``: leave out frames without ground truth; set it for judging."""
    with_depth: bool = False
    """Put ground truth depth at the network's size into the batches (only objective.exact_depth learns from it)."""
    intrinsics: tuple[float, float, float, float] | None = None
    """``folder``: fx, fy, cx, cy in pixels of the images, e.g. [720,720,620,188]."""
    fov_deg: float | None = None
    """``folder``: horizontal field of view in degrees, in place of intrinsics."""
    cache: bool = False
    """Keep resized frames in memory: for small sets, with few loader workers (each keeps its own)."""
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)
    """``synthetic``: which worlds are rendered."""

    def __post_init__(self) -> None:
        check_offsets(self.offsets)
        if self.height < 1 or self.width < 1:
            raise InputError(f"size {self.width}×{self.height}: height and width must be positive")
        if self.frames is not None and not 0 <= self.frames[0] < self.frames[1]:
            raise InputError(f"frames {list(self.frames)}: give the first record and one past the last, e.g. [0,60]")
        if self.labels == "exact" and self.name in ("kitti_odometry", "make3d", "folder"):
            raise InputError(f"labels exact: {self.name} has none; set labels: noisy or none")
        if self.name == "kitti_odometry" and self.cameras is not None and len(self.cameras) != 1:
            raise InputError(f"cameras {list(self.cameras)}: kitti_odometry takes one camera, e.g. [2]")
        if self.intrinsics is not None and self.fov_deg is not None:
            raise InputError("intrinsics and fov_deg: give one of them, not both")
        default = {f.name: f.default_factory() if callable(f.default_factory) else f.default for f in fields(self)}
        for option, names in _ONLY_FOR.items():
            if self.name not in names and getattr(self, option) != default[option]:
                raise InputError(
                    f"{option}: has no meaning for {self.name}, only for {' and '.join(names)}; leave it out"
                )


_BY_FILES: tuple[DatasetName, ...] = ("kitti_raw", "kitti_odometry", "cityscapes", "make3d", "folder")
"""Datasets of a file for each frame: those that ``_LISTERS`` lists."""
_ONLY_FOR: dict[str, tuple[str, ...]] = {
    "root": (*_BY_FILES, "prepared", "shards"),
    "base_url": ("shards",),
    "split": ("kitti_raw", "cityscapes"),
    "sequences": ("kitti_raw", "kitti_odometry", "cityscapes"),
    "cameras": ("kitti_raw", "kitti_odometry"),
    "frames": _BY_FILES,
    "ground_truth": ("kitti_raw",),
    "depth_cache": ("kitti_raw",),
    "require_depth": MAY_LACK_DEPTH,
    "intrinsics": ("folder",),
    "fov_deg": ("folder",),
    "cache": _BY_FILES,
    "synthetic": ("synthetic",),
}


def list_records(config: DataConfig) -> list[FrameRecord]:
    """Return the records that the options choose, without reading a pixel.

    Raises:
        InputError: if the folder or files in it are missing or malformed, or if no frame is left.
    """
    if config.root is None:
        raise InputError(f"data root of {config.name} not given; set root to the dataset's folder")
    if config.name not in _LISTERS:
        raise InputError(f"data {config.name}: has no files for each frame; give the data set that it was made from")
    records = _LISTERS[config.name](config, config.root)
    if config.frames is None:
        return records
    chosen = records[slice(*config.frames)]
    if not chosen:
        raise InputError(f"frames {list(config.frames)}: {config.root} gives only {len(records)} records")
    return chosen


def open_dataset(config: DataConfig) -> Frames:
    """Return the dataset that the options describe; its items are frame batches with B = 1.

    Raises:
        InputError: if files are missing or malformed, or if no frame is left.
    """
    if config.name == "synthetic":
        return SyntheticFrames(
            config.synthetic,
            config.height,
            config.width,
            offsets=config.offsets,
            labels=config.labels,
            with_depth=config.with_depth,
        )
    if config.name in ("prepared", "shards"):
        return _open_prepared(config)
    records = list_records(config)
    return FrameDataset(records, config.height, config.width, with_depth=config.with_depth, cache=config.cache)


def _open_prepared(config: DataConfig) -> PreparedFrames | ShardFrames:
    if config.root is None:
        raise InputError(f"data root of {config.name} not given; set root to the folder that `semdepth cache` wrote")
    size, wanted = (config.height, config.width), (config.offsets, config.labels, config.with_depth)
    if config.name == "shards":
        return ShardFrames(config.root, size, *wanted, base_url=config.base_url)
    return PreparedFrames(config.root, size, *wanted)


def _raw(config: DataConfig, root: Path) -> list[FrameRecord]:
    return kitti_raw(
        root,
        split=config.split,
        cameras=config.cameras or (2, 3),
        offsets=config.offsets,
        labels=config.labels,
        ground_truth=config.ground_truth,
        depth_cache=config.depth_cache,
        require_depth=config.require_depth,
        drives=config.sequences,
    )


def _odometry(config: DataConfig, root: Path) -> list[FrameRecord]:
    camera = config.cameras[0] if config.cameras else 2
    return kitti_odometry(root, sequences=config.sequences, camera=camera, offsets=config.offsets, labels=config.labels)


def _cityscapes(config: DataConfig, root: Path) -> list[FrameRecord]:
    return cityscapes(
        root,
        split=str(config.split or "train"),
        cities=config.sequences,
        offsets=config.offsets,
        labels=config.labels,
        require_depth=config.require_depth,
    )


def _make3d(config: DataConfig, root: Path) -> list[FrameRecord]:
    if config.offsets:
        raise InputError(
            f"offsets {list(config.offsets)}: make3d holds single images, to judge on only; set offsets: []"
        )
    return make3d(root)


def _folder(config: DataConfig, root: Path) -> list[FrameRecord]:
    return frame_folder(
        root, intrinsics=config.intrinsics, fov_deg=config.fov_deg, offsets=config.offsets, labels=config.labels
    )


_LISTERS: dict[str, Callable[[DataConfig, Path], list[FrameRecord]]] = {
    "kitti_raw": _raw,
    "kitti_odometry": _odometry,
    "cityscapes": _cityscapes,
    "make3d": _make3d,
    "folder": _folder,
}
assert set(_LISTERS) == set(_BY_FILES)
