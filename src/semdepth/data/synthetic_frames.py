"""Rendered worlds as a dataset: exact depth, motion and labels, and label noise like a segmentation network's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from semdepth.data.records import LabelKind, check_offsets
from semdepth.geometry.rigid import relative_pose
from semdepth.runtime import InputError, choose_device
from semdepth.structures import FrameBatch
from semdepth.synthetic.drive import Split, render_drive, world_seed
from semdepth.synthetic.label_noise import LabelNoiseConfig, corrupt_labels
from semdepth.synthetic.style import WorldConfig


@dataclass(frozen=True)
class SyntheticConfig:
    """Which worlds are rendered."""

    split: Split = "train"
    """Worlds of different splits never share a seed; ``foreign`` worlds look different too."""
    drives: int = 20
    """How many worlds."""
    frames: int = 12
    """Consecutive frames a world, neighbours at its ends included."""
    first: int = 0
    """Index of the first world within the split."""
    device: str = "cpu"
    """Where worlds are rendered (auto, cpu, cuda); the frames are kept in main memory."""
    world: WorldConfig = field(default_factory=WorldConfig)
    """What the worlds are like."""
    noise: LabelNoiseConfig = field(default_factory=LabelNoiseConfig)
    """How wrong noisy labels are."""

    def __post_init__(self) -> None:
        if self.drives < 1 or self.frames < 1 or self.first < 0:
            raise InputError("synthetic worlds: drives and frames must be at least 1, first at least 0")


@dataclass(frozen=True)
class _World:
    """A rendered drive of N frames, in main memory."""

    images: Tensor
    depth: Tensor
    exact: Tensor
    labels: Tensor | None
    confidence: Tensor | None
    moving: Tensor
    world_from_camera: Tensor
    intrinsics: Tensor


class SyntheticFrames(Dataset[FrameBatch]):
    """Renders drives when their first frame is asked for, and keeps them (about 10·H·W bytes a frame).

    Every loader worker renders for itself, so workers are of no use here; after the first epoch nothing is rendered.
    """

    def __init__(
        self,
        config: SyntheticConfig,
        height: int,
        width: int,
        *,
        offsets: Sequence[int] = (-1, 1),
        labels: LabelKind = "noisy",
        with_depth: bool = False,
    ) -> None:
        """Render nothing yet.

        Args:
            config: which worlds.
            height: of the frames.
            width: of the frames.
            offsets: frame offsets of the sources.
            labels: what the batches carry; ``labels()`` is always exact, since it is for judging.
            with_depth: give ground truth in the batches.

        Raises:
            InputError: if a drive is too short for the offsets.
        """
        self.config = config
        self.size = (height, width)
        self.offsets = check_offsets(offsets)
        self._first = max(-min(self.offsets, default=0), 0)
        self._per_drive = config.frames - self._first - max(max(self.offsets, default=0), 0)
        if self._per_drive < 1:
            raise InputError(f"synthetic worlds of {config.frames} frames are too short for offsets {self.offsets}")
        self._label_kind = labels
        self._with_depth = with_depth
        self._worlds: dict[int, _World] = {}

    def __len__(self) -> int:
        return self.config.drives * self._per_drive

    def __getstate__(self) -> dict[str, object]:
        """A worker that is spawned renders for itself rather than copying."""
        return {**self.__dict__, "_worlds": {}}

    def __getitem__(self, index: int) -> FrameBatch:
        drive, frame = self._place(index)
        world = self._world(drive)
        beside = [frame + offset for offset in self.offsets]
        poses = world.world_from_camera
        return FrameBatch(
            names=(self.name(index),),
            target=world.images[frame][None],
            sources=world.images[beside][None],
            offsets=self.offsets,
            intrinsics=world.intrinsics[None],
            labels=None if world.labels is None else world.labels[frame][None],
            confidence=None if world.confidence is None else world.confidence[frame][None],
            depth=world.depth[frame][None] if self._with_depth else None,
            source_from_target=relative_pose(poses[beside], poses[frame].expand(len(beside), 4, 4)).float()[None],
        )

    def name(self, index: int) -> str:
        """Return ``world_<split>_<drive>/<frame>/l``."""
        drive, frame = self._place(index)
        return f"world_{self.config.split}_{drive:04d}/{frame:04d}/l"

    def ground_truth(self, index: int) -> npt.NDArray[np.float32]:
        """Return (H, W) exact depth in metres, 0 = sky."""
        drive, frame = self._place(index)
        return np.asarray(self._world(drive).depth[frame, 0].numpy())

    def labels(self, index: int) -> npt.NDArray[np.uint8]:
        """Return (H, W) exact trainIds."""
        drive, frame = self._place(index)
        return np.asarray(self._world(drive).exact[frame].numpy())

    def moving(self, index: int) -> npt.NDArray[np.bool_]:
        """Return (H, W), true where something moves on its own."""
        drive, frame = self._place(index)
        return np.asarray(self._world(drive).moving[frame].numpy())

    def _place(self, index: int) -> tuple[int, int]:
        """Return (drive, frame) of an item."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        drive, frame = divmod(index % len(self), self._per_drive)
        return self.config.first + drive, self._first + frame

    def _world(self, drive: int) -> _World:
        if drive not in self._worlds:
            self._worlds[drive] = self._render(drive)
        return self._worlds[drive]

    def _render(self, drive: int) -> _World:
        config = self.config
        style = replace(config.world, style="foreign") if config.split == "foreign" else config.world
        seed = world_seed(config.split, drive)
        world = render_drive(seed, config.frames, *self.size, config=style, device=choose_device(config.device))
        labels, confidence = world.labels, None
        if self._label_kind == "noisy":
            labels, confidence = corrupt_labels(world.labels, seed, config.noise, world.instances)
        return _World(
            images=world.images.cpu(),
            depth=world.depth.cpu(),
            exact=world.labels.cpu(),
            labels=None if self._label_kind == "none" else labels.cpu(),
            confidence=None if confidence is None else (confidence.cpu() * 255.0).round().to(torch.uint8),
            moving=world.moving.cpu(),
            world_from_camera=world.world_from_camera.cpu(),
            intrinsics=world.intrinsics.cpu().float(),
        )
