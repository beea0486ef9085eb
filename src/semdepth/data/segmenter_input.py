"""What a segmenter wants to see: the values of its image processor, applied here.

transformers' image processors crop and pad as well as resize, and say of neither where an output pixel came from. So only
their values are taken: size, resampling, scaling, mean and deviation, channel order. The whole image is resized (with the
same Pillow call as theirs), never cropped or padded, so that the output covers the image exactly; where the aspect ratio is
kept, both sides are brought to the multiple that the processor would have padded to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from semdepth.runtime import InputError

MULTIPLE = 32
"""Sides are multiples of this where the aspect ratio is kept and the processor does not say: the usual coarsest stride."""


@dataclass(frozen=True)
class SegmenterInput:
    """How an image becomes a segmenter's input."""

    size: tuple[int, int] | None = None
    """Fixed (H, W); None: by the edges below."""
    shortest_edge: int | None = None
    """Pixels of the shorter side, the aspect ratio kept."""
    longest_edge: int | None = None
    """Pixels that the longer side may have at most."""
    keep_aspect: bool = False
    """Keep the aspect ratio with a fixed ``size`` too: the side that changes less decides (as DPT does)."""
    multiple: int = MULTIPLE
    """Sides become multiples of this where the aspect ratio is kept."""
    resample: int = int(Image.Resampling.BILINEAR)
    """Pillow's number of the interpolation."""
    rescale: float = 1 / 255
    """Factor from 0–255 to the scale of ``mean`` and ``std``."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Subtracted from R, G, B."""
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Divided by, after that."""
    bgr: bool = False
    """Whether the network wants B, G, R."""

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the (H, W) that an image of ``height`` × ``width`` is resized to."""
        if self.size is not None and not self.keep_aspect:
            return self.size
        if self.size is not None:
            ratios = (self.size[0] / height, self.size[1] / width)
            scale = min(ratios, key=lambda ratio: abs(1 - ratio))
        elif self.shortest_edge is not None:
            scale = self.shortest_edge / min(height, width)
            if self.longest_edge is not None:
                scale = min(scale, self.longest_edge / max(height, width))
        else:
            scale = 1.0
        to_multiple = round if self.keep_aspect else math.ceil  # DPT's processor rounds, MaskFormer's gives room
        sides = (to_multiple(round(side * scale) / self.multiple) for side in (height, width))
        h, w = (max(side, 1) * self.multiple for side in sides)
        return h, w

    def prepare(self, image: npt.NDArray[np.uint8]) -> Tensor:
        """Return (3, h, w) float32, resized and normalised, of an (H, W, 3) RGB image."""
        height, width = self.input_size(*image.shape[:2])
        resized = Image.fromarray(image).resize((width, height), Image.Resampling(self.resample))
        pixels = torch.from_numpy(np.array(resized, dtype=np.float32)).permute(2, 0, 1) * self.rescale
        pixels = (pixels - torch.tensor(self.mean)[:, None, None]) / torch.tensor(self.std)[:, None, None]
        return pixels.flip(0) if self.bgr else pixels


def input_of(settings: Mapping[str, Any], source: str, size: tuple[int, int] | None = None) -> SegmenterInput:
    """Read the values of an image processor (its ``to_dict()``, or ``preprocessor_config.json``).

    Args:
        settings: the values.
        source: the segmenter, for the error message.
        size: (H, W) in place of the processor's own.

    Raises:
        InputError: if a value cannot be understood, or the processor does what is not done here.
    """
    if settings.get("do_split_image"):
        raise InputError(f"{source}: wants images cut into windows, which is not done here; name another segmenter")
    try:
        return SegmenterInput(**_size(settings, size), **_scale(settings))
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(
            f"{source}: its preprocessor_config.json cannot be understood ({error}); fetch it again, or give --size"
        ) from None


def _size(settings: Mapping[str, Any], given: tuple[int, int] | None) -> dict[str, Any]:
    if given is not None:
        return {"size": given}
    if not settings.get("do_resize", True):
        return {}
    wanted = settings["size"]
    if isinstance(wanted, int) and wanted:  # before 2023; what it meant, was up to the processor
        wanted = {"shortest_edge": wanted} if "max_size" in settings else {"height": wanted, "width": wanted}
    if not isinstance(wanted, Mapping):
        raise ValueError(f"size {wanted!r}")
    chosen: dict[str, Any] = {}
    if "height" in wanted and "width" in wanted:
        chosen["size"] = (_positive(wanted["height"]), _positive(wanted["width"]))
    elif wanted.get("shortest_edge") is not None:
        chosen["shortest_edge"] = _positive(wanted["shortest_edge"])
        longest = wanted.get("longest_edge", settings.get("max_size"))
        chosen["longest_edge"] = None if longest is None else _positive(longest)
    else:
        raise ValueError(f"size {dict(wanted)}")
    multiple = settings.get("ensure_multiple_of") or settings.get("size_divisor") or MULTIPLE
    return chosen | {"keep_aspect": bool(settings.get("keep_aspect_ratio", False)), "multiple": _positive(multiple)}


def _scale(settings: Mapping[str, Any]) -> dict[str, Any]:
    scale: dict[str, Any] = {
        "resample": int(Image.Resampling(settings.get("resample", Image.Resampling.BILINEAR))),
        "rescale": float(settings.get("rescale_factor", 1 / 255)) if settings.get("do_rescale", True) else 1.0,
        "bgr": bool(settings.get("do_flip_channel_order", False)),
    }
    if settings.get("do_normalize", False):
        scale["mean"], scale["std"] = _triple(settings["image_mean"]), _triple(settings["image_std"])
        if 0.0 in scale["std"]:
            raise ValueError("image_std holds 0")
    return scale


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(v) for v in values)
    return red, green, blue


def _positive(value: Any) -> int:
    if isinstance(value, bool) or int(value) != value or value < 1:
        raise ValueError(f"{value!r} where a number of pixels should stand")
    return int(value)
