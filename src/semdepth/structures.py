"""What crosses floors: the batch that training sees, what networks return, what prediction gives.

Letters: B batch, S sources, C classes, H W pixels. Images are RGB. Depth is along the optical axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


@dataclass
class FrameBatch:
    """B target frames, each with the S frames beside it in time. Never changed in place: a transform returns a new one.
    (Not frozen, only because Fabric rebuilds what goes into a module and knows no frozen dataclasses.)

    The loader's batches hold images as uint8 (0–255); ``semdepth.data.transforms.to_unit_range`` makes them float.
    """

    names: tuple[str, ...]
    """B unique, printable names, e.g. ``2011_09_26_drive_0000_sync/0000000005/l``."""
    target: Tensor
    """(B, 3, H, W) float32 in [0, 1] (uint8 before ``to_unit_range``)."""
    sources: Tensor
    """(B, S, 3, H, W), same type and range as ``target``; S may be 0 (evaluation)."""
    offsets: tuple[int, ...]
    """S frame offsets of the sources against the target, ascending, e.g. ``(-1, 1)``."""
    intrinsics: Tensor
    """(B, 3, 3) float32, pinhole, in pixels of (H, W); pixel centres at integer coordinates."""
    labels: Tensor | None = None
    """(B, H, W) uint8 pseudo-labels of the target: trainIds 0–18, 255 = ignore."""
    confidence: Tensor | None = None
    """(B, H, W) float32 in [0, 1], of the labels (uint8 before ``to_unit_range``)."""
    depth: Tensor | None = None
    """(B, 1, H, W) float32 metres, ground truth for judging only, 0 = unknown."""
    source_from_target: Tensor | None = None
    """(B, S, 4, 4) float32, true motion for judging only, translation in metres."""
    seen_target: Tensor | None = None
    """What the networks see in place of ``target`` (colour jitter); None: ``target`` itself."""
    seen_sources: Tensor | None = None
    """What the pose network sees in place of ``sources``; None: ``sources`` themselves."""
    zoomed_target: Tensor | None = None
    """(B, 3, H, W) second view that the depth network sees: what it sees of ``target``, at another zoom."""
    zoomed_from_target: Tensor | None = None
    """(B, 3, 3) where the second view shows a pixel of ``target`` (``geometry.zoom``)."""

    def to(self, device: torch.device | str, non_blocking: bool = False) -> FrameBatch:
        """Return the batch with every tensor on ``device``."""
        moved: dict[str, Any] = {
            f.name: value.to(device, non_blocking=non_blocking)
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), Tensor)
        }
        return replace(self, **moved)

    def pin_memory(self) -> FrameBatch:
        """Return the batch in page-locked memory, from which copies to a GPU need not be waited for; loaders call this."""
        pinned: dict[str, Any] = {
            f.name: value.pin_memory() for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)
        }
        return replace(self, **pinned)

    def __len__(self) -> int:
        return len(self.names)


def stack_frames(items: Sequence[FrameBatch]) -> FrameBatch:
    """Join batches along B (a DataLoader's ``collate_fn``). Optional fields must be there in all items or in none."""
    first = items[0]
    if len(items) == 1:
        return first  # also a whole batch, from a dataset that reads batches at once
    joined: dict[str, Any] = {"names": tuple(name for item in items for name in item.names), "offsets": first.offsets}
    for f in fields(first):
        if f.name in joined:
            continue
        values = [getattr(item, f.name) for item in items]
        joined[f.name] = None if values[0] is None else torch.cat(values)
    return FrameBatch(**joined)


@dataclass(frozen=True)
class NetworkOutput:
    """What the depth network returns, finest scale first (index k: H/2^k × W/2^k)."""

    disparity: tuple[Tensor, ...]
    """σ_k: (B, 1, H/2^k, W/2^k) sigmoid outputs in (0, 1), not yet disparities in 1/m."""
    logits: tuple[Tensor, ...] | None = None
    """(B, C, H/2^k, W/2^k) class logits of the segmentation branch; None for a depth-only network."""


@dataclass(frozen=True)
class Prediction:
    """What a single image gives, at the image's own size."""

    depth: npt.NDArray[np.float32]
    """(H, W) depth along the optical axis; in metres where ``scale`` is known, else up to scale."""
    disparity: npt.NDArray[np.float32]
    """(H, W) 1 / depth."""
    labels: npt.NDArray[np.uint8] | None = None
    """(H, W) trainIds; None for a depth-only network."""
    uncertainty: npt.NDArray[np.float32] | None = None
    """(H, W) normalised entropy of the class probabilities, in [0, 1]; None for a depth-only network."""
    scale: float | None = None
    """What the network's own depth was multiplied by to be in metres; None: depth is up to scale."""
