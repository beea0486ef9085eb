"""Whether the camera moves: the share of the image that does, by phase correlation of blocks.

Self-supervision learns depth from parallax, so frames of a standing car teach nothing. Moving traffic in front of a standing
camera fills some blocks only, and noise and compression move none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from semdepth.images import open_rgb

SIZE = (192, 640)
"""Frames are compared at this (H, W)."""
BLOCK = 64
TEXTURE = 4.0
"""Blocks of a smaller spread (standard deviation of grey values, 0–255) hold nothing to compare."""

Grey = npt.NDArray[np.float32]


def read_grey(path: Path) -> Grey:
    """Return an image as (192, 640) grey values, 0–255.

    Raises:
        InputError: if the file cannot be used.
    """
    image = open_rgb(path).convert("L").resize(SIZE[::-1], Image.Resampling.BOX)
    return np.asarray(image, dtype=np.float32)


def moving_share(first: Grey, second: Grey) -> float:
    """Return the share of textured blocks that moved by a pixel or more.

    The shift of a block is where the correlation of the two spectra's phases peaks (Kuglin and Hines, 1975), to a pixel.

    Args:
        first: (H, W) grey values, multiples of ``BLOCK``.
        second: the same size.

    Returns:
        In [0, 1]; NaN where nothing has texture.
    """
    a, b = _blocks(first), _blocks(second)
    textured = a.std(axis=(1, 2)) > TEXTURE
    if not textured.any():
        return float("nan")
    window = np.outer(np.hanning(BLOCK), np.hanning(BLOCK))
    spectra = [np.fft.rfft2((x - x.mean(axis=(1, 2), keepdims=True)) * window) for x in (a[textured], b[textured])]
    cross = spectra[0] * np.conj(spectra[1])
    size = np.abs(cross)
    cross /= size + 1e-3 * size.max(axis=(1, 2), keepdims=True) + 1e-12  # weak frequencies hold noise only
    peak = np.fft.irfft2(cross, s=(BLOCK, BLOCK)).reshape(len(cross), -1).argmax(axis=1)
    return float((peak != 0).mean())


def _blocks(image: Grey) -> Grey:
    height, width = image.shape
    cut = image.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK).swapaxes(1, 2)
    return np.ascontiguousarray(cut.reshape(-1, BLOCK, BLOCK))
