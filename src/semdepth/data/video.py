"""The one reader of pixels: records become frame batches for training, and ground truth for judging."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from semdepth.data.depth_cache import read_lidar_depth
from semdepth.data.make3d import read_laser_grid
from semdepth.data.records import Depth, FrameRecord, LidarDepth, PngDepth, StereoDepth, kept_rows
from semdepth.geometry.camera import crop_intrinsics, resize_intrinsics
from semdepth.geometry.rigid import relative_pose
from semdepth.images import (
    open_rgb,
    read_confidence,
    read_depth_png,
    read_disparity_png,
    read_image,
    read_labels,
    read_mask,
)
from semdepth.labels import IGNORE
from semdepth.runtime import InputError
from semdepth.structures import FrameBatch

__all__ = [
    "FrameDataset",
    "JudgedFrames",
    "read_depth_png",
    "read_ground_truth",
    "read_image",
    "read_judged_labels",
    "read_labels",
    "read_moving",
]

_Pixels = tuple[Tensor, tuple[int, int]]
"""(…, H, W) at the network's size, and the (H, W) of the file before it was cut to the record's rows."""

ASPECT_TOLERANCE = 0.05
"""Images may be smaller than their calibration says, but only by a resize, which keeps the aspect ratio about."""


class JudgedFrames(Protocol):
    """What training and evaluation ask of a dataset: frame batches with B = 1, and truth at its native size."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> FrameBatch: ...

    def name(self, index: int) -> str:
        """Return the name of a frame, without reading its pixels."""
        ...

    def ground_truth(self, index: int) -> npt.NDArray[np.float32]:
        """Return (H, W) depth in metres at its native size, 0 = unknown."""
        ...

    def labels(self, index: int) -> npt.NDArray[np.uint8] | None:
        """Return (H, W) trainIds at their native size; None without labels."""
        ...

    def moving(self, index: int) -> npt.NDArray[np.bool_] | None:
        """Return (H, W), true where something moves on its own; None if unknown."""
        ...


def read_ground_truth(record: FrameRecord) -> npt.NDArray[np.float32]:
    """Return the depth of a record at its native size, cut to the record's rows.

    Returns:
        (H, W) float32 metres, 0 = unknown.

    Raises:
        InputError: if the record has none or its files cannot be used.
    """
    if record.depth is None:
        raise InputError(
            f"{record.image}: has no ground truth depth; judge on synthetic, make3d, or on kitti_raw or cityscapes with "
            "require_depth, which leaves such frames out; without any, semdepth report RUN shows a run's curves and pictures"
        )
    depth = _whole_depth(record.depth, record.image_size)
    return depth[kept_rows(record.rows, len(depth))]


def _whole_depth(depth: Depth, stated: tuple[int, int] | None) -> npt.NDArray[np.float32]:
    if isinstance(depth, PngDepth):
        return read_depth_png(depth.path, depth.scale)
    if isinstance(depth, LidarDepth):
        return read_lidar_depth(depth)
    if isinstance(depth, StereoDepth):
        disparity = read_disparity_png(depth.path)
        _require_aspect(depth.path, disparity.shape, stated or disparity.shape)
        metres = np.zeros_like(disparity)
        np.divide(depth.focal_baseline, disparity, out=metres, where=disparity > 0)
        return metres
    return read_laser_grid(depth.path)


def read_judged_labels(record: FrameRecord) -> npt.NDArray[np.uint8] | None:
    """Return the (H, W) trainIds of a record at their native size, cut to its rows, or None if it has no labels.

    Raises:
        InputError: if the file cannot be used.
    """
    if record.labels is None:
        return None
    labels = read_labels(record.labels, record.labels_are_ids)
    return labels[kept_rows(record.rows, len(labels))]


def read_moving(record: FrameRecord) -> npt.NDArray[np.bool_] | None:
    """Return (H, W), true where something moves on its own, or None if the record does not say.

    Raises:
        InputError: if the file cannot be used.
    """
    if record.moving is None:
        return None
    moving = read_mask(record.moving)
    return moving[kept_rows(record.rows, len(moving))]


def resize_nearest(array: npt.NDArray, size: tuple[int, int]) -> npt.NDArray:
    """Return (H, W) ``array`` at ``size`` (H, W), each pixel from the one its centre lies in; nothing is averaged."""
    (height, width), (new_height, new_width) = array.shape, size
    rows = (2 * np.arange(new_height) + 1) * height // (2 * new_height)
    columns = (2 * np.arange(new_width) + 1) * width // (2 * new_width)
    return np.ascontiguousarray(array[rows[:, None], columns])


class FrameDataset(Dataset[FrameBatch]):
    """Reads records as frame batches with B = 1; ``structures.stack_frames`` collates them."""

    def __init__(
        self, records: Sequence[FrameRecord], height: int, width: int, *, with_depth: bool = False, cache: bool = False
    ) -> None:
        """Read nothing yet.

        Args:
            records: at least one, all with the same offsets.
            height: of the network's input.
            width: of the network's input.
            with_depth: give ground truth at the network's size (nearest pixel: sparse points are not averaged).
            cache: keep resized frames and labels in memory, each loader worker its own: up to 5·H·W bytes a frame.

        Raises:
            InputError: if there are no records.
        """
        if not records:
            raise InputError("no frames: the list of records is empty; check the data's options")
        if len({record.offsets for record in records}) > 1:
            raise ValueError("records of one dataset must have the same offsets")
        self.records = tuple(records)
        self.size = (height, width)
        self.with_depth = with_depth
        self._cache: dict[Path, _Pixels] | None = {} if cache else None
        # Batches are stacked: an optional field is there in every item or in none.
        self._with_labels = any(record.labels for record in records)
        self._with_confidence = any(record.confidence for record in records)
        self._with_poses = all(record.world_from_camera is not None for record in records)

    def __len__(self) -> int:
        return len(self.records)

    def __getstate__(self) -> dict[str, object]:
        """A worker that is spawned starts with an empty cache rather than a copied one."""
        return {**self.__dict__, "_cache": None if self._cache is None else {}}

    def __getitem__(self, index: int) -> FrameBatch:
        record = self.records[index]
        target, size = self._frame(record, record.image)
        sources = [self._frame(record, path) for path in record.sources]
        for path, (_, source_size) in zip(record.sources, sources, strict=True):
            _require_size(path, source_size, size, record.image)
        shape = (1, len(sources), 3, *self.size)
        return FrameBatch(
            names=(record.name,),
            target=target[None],
            sources=torch.stack([frame for frame, _ in sources])[None] if sources else target.new_empty(shape),
            offsets=record.offsets,
            intrinsics=self._intrinsics(record, size)[None],
            labels=self._labels(record, size) if self._with_labels else None,
            confidence=self._confidence(record, size) if self._with_confidence else None,
            depth=self._depth(record) if self.with_depth else None,
            source_from_target=_source_from_target(record) if self._with_poses else None,
        )

    def name(self, index: int) -> str:
        """Return the name of a record."""
        return self.records[index].name

    def ground_truth(self, index: int) -> npt.NDArray[np.float32]:
        """Return ``read_ground_truth`` of a record."""
        return read_ground_truth(self.records[index])

    def labels(self, index: int) -> npt.NDArray[np.uint8] | None:
        """Return ``read_judged_labels`` of a record."""
        return read_judged_labels(self.records[index])

    def moving(self, index: int) -> npt.NDArray[np.bool_] | None:
        """Return ``read_moving`` of a record."""
        return read_moving(self.records[index])

    def _frame(self, record: FrameRecord, path: Path) -> _Pixels:
        return self._remembered(path, lambda: _resized_image(path, self.size, record.rows))

    def _remembered(self, path: Path, read: Callable[[], _Pixels]) -> _Pixels:
        """A frame is the target of one record and a source of others, so it is worth keeping."""
        if self._cache is None:
            return read()
        if path not in self._cache:
            self._cache[path] = read()
        return self._cache[path]

    def _intrinsics(self, record: FrameRecord, size: tuple[int, int]) -> Tensor:
        stated = record.image_size or size
        _require_aspect(record.image, size, stated)
        rows = kept_rows(record.rows, stated[0])
        intrinsics = torch.from_numpy(np.asarray(record.intrinsics, dtype=np.float64))
        cut = crop_intrinsics(intrinsics, top=rows.start, left=0)
        return resize_intrinsics(cut, (rows.stop - rows.start, stated[1]), self.size).float()

    def _labels(self, record: FrameRecord, size: tuple[int, int]) -> Tensor:
        path = record.labels
        if path is None:
            return torch.full((1, *self.size), IGNORE, dtype=torch.uint8)
        values, found = self._remembered(
            path, lambda: _resized_map(read_labels(path, record.labels_are_ids), self.size, record.rows)
        )
        _require_size(path, found, size, record.image)
        return values[None]

    def _confidence(self, record: FrameRecord, size: tuple[int, int]) -> Tensor:
        path, is_entropy = record.confidence, record.confidence_is_entropy
        if path is None:
            return torch.full((1, *self.size), 255, dtype=torch.uint8)
        values, found = self._remembered(
            path, lambda: _resized_map(read_confidence(path, is_entropy), self.size, record.rows)
        )
        _require_size(path, found, size, record.image)
        return values[None]

    def _depth(self, record: FrameRecord) -> Tensor:
        if record.depth is None:
            return torch.zeros(1, 1, *self.size)
        return torch.from_numpy(resize_nearest(read_ground_truth(record), self.size))[None, None]


def _resized_image(path: Path, size: tuple[int, int], rows: tuple[float, float]) -> _Pixels:
    image = open_rgb(path)
    kept = kept_rows(rows, image.height)
    cut = image.crop((0, kept.start, image.width, kept.stop))
    resized = np.array(cut.resize(size[::-1], Image.Resampling.LANCZOS))
    return torch.from_numpy(resized).permute(2, 0, 1).contiguous(), (image.height, image.width)


def _resized_map(values: npt.NDArray[np.uint8], size: tuple[int, int], rows: tuple[float, float]) -> _Pixels:
    height, width = values.shape
    return torch.from_numpy(resize_nearest(values[kept_rows(rows, height)], size)), (height, width)


def _require_aspect(path: Path, size: tuple[int, ...], stated: tuple[int, ...]) -> None:
    aspect = (size[1] / size[0]) / (stated[1] / stated[0])
    if abs(aspect - 1.0) > ASPECT_TOLERANCE:
        raise InputError(
            f"{path}: is {size[1]}×{size[0]}, its calibration speaks of {stated[1]}×{stated[0]}; "
            "give the original images (cropped ones need their own calibration)"
        )


def _require_size(path: Path, found: tuple[int, ...], wanted: tuple[int, int], image: Path) -> None:
    if found != wanted:
        raise InputError(
            f"{path}: is {found[1]}×{found[0]}, but {image.name} beside it is {wanted[1]}×{wanted[0]}; "
            "what belongs to a frame must have its size"
        )


def _source_from_target(record: FrameRecord) -> Tensor:
    """Return the (1, S, 4, 4) true motion between the camera poses."""
    poses = torch.from_numpy(np.asarray(record.world_from_camera, dtype=np.float64))
    return relative_pose(poses[1:], poses[:1].expand(len(poses) - 1, 4, 4)).float()[None]
