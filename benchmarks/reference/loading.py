"""How the field's research code usually loads triplets: every epoch decodes, resizes and jitters every frame in worker processes.

Written for this comparison from the papers' descriptions (Zhou et al. 2017, Godard et al. 2019); no code of theirs is in it. It
is kind to the baseline: one scale only (not a pyramid), no labels, and plain tensors that torch's own collation stacks.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor
from torch.utils.data import Dataset

Jitter = Callable[[Image.Image], Image.Image]


class ReferenceTriplets(Dataset[dict[str, Tensor]]):
    """Frame i with the frames before and after it."""

    def __init__(self, frames: list[Path], size: tuple[int, int]) -> None:
        """Take consecutive frames and the (H, W) of the network's input."""
        self.frames, self.size = frames, size

    def __len__(self) -> int:
        return len(self.frames) - 2

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        flip = random.random() < 0.5
        jitter = draw_jitter() if random.random() < 0.5 else None
        item: dict[str, Tensor] = {}
        for name, path in zip(("before", "target", "after"), self.frames[index : index + 3], strict=True):
            with Image.open(path) as file:
                image = file.convert("RGB")
            image = image.resize(self.size[::-1], Image.Resampling.LANCZOS)
            if flip:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            item[name] = to_tensor(image)
            item[f"{name}_jittered"] = to_tensor(jitter(image)) if jitter else item[name]
        return item


def to_tensor(image: Image.Image) -> Tensor:
    """Return (3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float() / 255.0


def draw_jitter() -> Jitter:
    """Return a random change of brightness, contrast, saturation (±0.2) and hue (±0.1 turns), the same for a triplet."""
    brightness, contrast, saturation = (random.uniform(0.8, 1.2) for _ in range(3))
    turn = random.uniform(-0.1, 0.1)

    def apply(image: Image.Image) -> Image.Image:
        image = ImageEnhance.Brightness(image).enhance(brightness)
        image = ImageEnhance.Contrast(image).enhance(contrast)
        image = ImageEnhance.Color(image).enhance(saturation)
        hue, chroma, value = image.convert("HSV").split()
        shifted = (np.asarray(hue).astype(np.int16) + round(turn * 255)).astype(np.uint8)
        return Image.merge("HSV", (Image.fromarray(shifted), chroma, value)).convert("RGB")

    return apply
