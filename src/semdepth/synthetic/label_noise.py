"""Labels as an off-the-shelf segmentation network would write them: mostly right, wrong in typical ways, with doubts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from semdepth.labels import IGNORE, MOVABLE, SKY, THIN, TRAIN_ID, membership
from semdepth.runtime import InputError

_SIMILAR: dict[str, tuple[str, str]] = {
    "road": ("sidewalk", "terrain"),
    "sidewalk": ("road", "terrain"),
    "building": ("wall", "vegetation"),
    "wall": ("building", "fence"),
    "fence": ("wall", "vegetation"),
    "pole": ("building", "fence"),
    "traffic light": ("traffic sign", "pole"),
    "traffic sign": ("traffic light", "building"),
    "vegetation": ("terrain", "building"),
    "terrain": ("vegetation", "sidewalk"),
    "sky": ("building", "vegetation"),
    "person": ("rider", "pole"),
    "rider": ("person", "person"),
    "car": ("truck", "bus"),
    "truck": ("car", "bus"),
    "bus": ("truck", "train"),
    "train": ("bus", "building"),
    "motorcycle": ("bicycle", "car"),
    "bicycle": ("motorcycle", "fence"),
}
_REFERENCE_WIDTH = 640


@dataclass(frozen=True)
class LabelNoiseConfig:
    """How wrong the labels are."""

    border: float = 1.6
    """Typical displacement of borders in pixels, at a width of 640."""
    drop_thin: float = 0.25
    """Share of poles, signs and lights that are missed."""
    confuse: float = 0.12
    """Share of things and signs that are given a similar class; of houses, walls and plants a third as many."""
    blobs: float = 0.03
    """Share of the image under blobs of a similar class."""
    persistence: float = 0.8
    """How likely an object's error is the same in all frames, rather than drawn for each frame."""
    confidence: float = 1.8
    """How clearly the confidence tells wrong from right (in logits); 0: it knows nothing."""

    def __post_init__(self) -> None:
        for name in ("drop_thin", "confuse", "blobs", "persistence"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: {getattr(self, name)} is not a share; use a number between 0 and 1")
        if self.border < 0 or self.confidence < 0:
            raise InputError("border and confidence must not be negative")


DEFAULT_NOISE = LabelNoiseConfig()


def corrupt_labels(
    labels: Tensor,
    seed: int,
    config: LabelNoiseConfig = DEFAULT_NOISE,
    instances: Tensor | None = None,
    *,
    start: int = 0,
) -> tuple[Tensor, Tensor]:
    """Return noisy labels and a confidence that is low where they are wrong, most of the time.

    Args:
        labels: (N, H, W) uint8 exact trainIds; 255 stays 255.
        seed: of the drive; the same seed and frame numbers give the same errors.
        config: how wrong.
        instances: (N, H, W) int32 object numbers (0: none); None: patches of one class stand in for objects.
        start: number of the first frame.

    Returns:
        (N, H, W) uint8 labels and (N, H, W) float32 confidence in [0, 1].
    """
    count, height, width = labels.shape
    fields = _Fields(seed, range(start, start + count), (height, width), labels.device)
    objects = _patches(labels) if instances is None else torch.where(instances == 0, 0, instances.long())
    noisy = labels.long()
    solid = torch.from_numpy(membership(MOVABLE + THIN)).to(labels.device)[labels.long()]
    share = torch.where(solid, config.confuse, config.confuse / 3)
    wrong_object = _lot(objects, seed, start, config.persistence, salt=1) < share
    noisy = torch.where(wrong_object & (objects != 0), _similar(noisy, objects + seed), noisy)
    thin = torch.from_numpy(membership(THIN)).to(labels.device)[labels.long()]
    noisy = _drop(noisy, thin & (_lot(objects, seed, start, config.persistence, salt=2) < config.drop_thin))
    if config.blobs > 0:
        threshold = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(1 - config.blobs)).item()
        blob = fields.smooth(salt=3, cell=40) > threshold
        noisy = torch.where(blob, _similar(noisy, torch.full_like(noisy, seed + 1)), noisy)
    noisy = _ragged(noisy, config.border * width / _REFERENCE_WIDTH, fields)
    noisy = torch.where(labels == IGNORE, IGNORE, noisy).to(torch.uint8)
    return noisy, _confidence(noisy, labels, config, fields)


class _Fields:
    """Random fields for every frame, drawn on the CPU so that all devices see the same."""

    def __init__(self, seed: int, frames: range, size: tuple[int, int], device: torch.device) -> None:
        self._seed, self._frames, self._size, self._device = seed, frames, size, device

    def smooth(self, salt: int, cell: float) -> Tensor:
        """Return (N, H, W) standard normal fields whose bumps are ``cell`` pixels wide at a width of 640."""
        height, width = self._size
        pixels = max(cell * width / _REFERENCE_WIDTH, 1.0)
        rows, columns = int(np.ceil(height / pixels)) + 3, int(np.ceil(width / pixels)) + 3
        coarse = np.stack(
            [np.random.default_rng([self._seed, i, salt]).standard_normal((rows, columns)) for i in self._frames]
        )
        field = F.interpolate(
            torch.from_numpy(coarse.astype(np.float32))[:, None],
            scale_factor=pixels,
            mode="bicubic",
            align_corners=False,
        )
        first = int(pixels)
        field = field[:, 0, first : first + height, first : first + width].to(self._device)
        # Interpolation shrinks the deviation; the blobs' threshold counts on 1.
        return field / 0.76


def _lot(objects: Tensor, seed: int, start: int, persistence: float, salt: int) -> Tensor:
    """Return a number in [0, 1) for every pixel: the object's own in every frame, or drawn anew for the frame."""
    frame = torch.arange(start, start + len(objects), device=objects.device).reshape(-1, 1, 1)
    lasting = _hash(objects, seed * 8 + salt)
    fresh = _hash(objects * 4099 + frame, seed * 8 + salt)
    return torch.where(_hash(objects, seed * 8 + salt + 4) < persistence, lasting, fresh)


def _hash(x: Tensor, salt: int) -> Tensor:
    """Return uniform numbers in [0, 1) from integers (the finalizer of MurmurHash3, 32 bits)."""
    h = (x + (salt * 0x9E3779B1 & 0xFFFFFFFF)) & 0xFFFFFFFF
    h = ((h ^ (h >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 0xC2B2AE35) & 0xFFFFFFFF
    return ((h ^ (h >> 16)) & 0xFFFFFF).to(torch.float32) / 0x1000000


def _patches(labels: Tensor) -> Tensor:
    """Return stand-ins for object numbers: one for every class in every tenth of the image's width."""
    column = torch.arange(labels.shape[2], device=labels.device) * 10 // labels.shape[2]
    return labels.long() * 64 + column + 1


def _similar(labels: Tensor, key: Tensor) -> Tensor:
    """Return for every label one of the classes that it is mistaken for; ``key`` chooses which."""
    table = torch.full((256, 2), IGNORE, dtype=torch.int64)
    for name, (often, sometimes) in _SIMILAR.items():
        table[TRAIN_ID[name]] = torch.tensor([TRAIN_ID[often], TRAIN_ID[sometimes]])
    second = (_hash(key, 5) < 0.35).long()
    return table.to(labels.device)[labels, second]


def _drop(labels: Tensor, dropped: Tensor) -> Tensor:
    """Fill dropped pixels with the nearest label to their left (at the left margin: to their right)."""
    width = labels.shape[2]
    column = torch.arange(width, device=labels.device).expand_as(labels)
    left = torch.where(dropped, -1, column).cummax(2).values
    right = torch.where(dropped, width, column).flip(2).cummin(2).values.flip(2)
    source = torch.where(left >= 0, left, right)
    return labels.gather(2, torch.where(source < width, source, column))


def _ragged(labels: Tensor, pixels: float, fields: _Fields) -> Tensor:
    """Look every label up beside its place, so that borders wander."""
    if pixels == 0:
        return labels
    count, height, width = labels.shape
    shifts = [pixels * (0.75 * fields.smooth(salt, 14) + 0.5 * fields.smooth(salt + 2, 5)) for salt in (10, 11)]
    row = (torch.arange(height, device=labels.device)[:, None] + shifts[0]).round().long().clamp(0, height - 1)
    column = (torch.arange(width, device=labels.device) + shifts[1]).round().long().clamp(0, width - 1)
    return labels.reshape(count, -1).gather(1, (row * width + column).reshape(count, -1)).reshape(labels.shape)


def _confidence(noisy: Tensor, labels: Tensor, config: LabelNoiseConfig, fields: _Fields) -> Tensor:
    wrong = (noisy != labels).to(torch.float32)
    value = noisy.to(torch.float32)[:, None]
    border = (F.max_pool2d(value, 3, 1, 1) != -F.max_pool2d(-value, 3, 1, 1)).to(torch.float32)
    border = F.avg_pool2d(border, 5, 1, 2)[:, 0]
    sky = torch.from_numpy(membership(SKY)).to(noisy.device)[noisy.long()]
    doubt = 1.0 * fields.smooth(20, 30) + 0.7 * fields.smooth(21, 8)
    logit = 3.2 - config.confidence * wrong - 1.0 * border + doubt + 0.5 * sky
    return torch.where(noisy == IGNORE, 0.0, logit.sigmoid())
