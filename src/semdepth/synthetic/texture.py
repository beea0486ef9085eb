"""Tileable textures with structure at every scale, and how they are sampled without shimmer.

Every tile is 256 × 256 texels of RGB factors around 1, with all its mip levels, in one flat table, so that one lookup
serves pixels of different tiles and levels (as on a graphics card).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

SIZE = 256
LEVELS = 9
TEXEL = 0.03
"""Metres per texel of a surface with scale 1: a tile is 7.7 m wide."""
TILES = ("asphalt", "plaster", "brick", "foliage", "grass", "paint", "bark", "cloud")
ASPHALT, PLASTER, BRICK, FOLIAGE, GRASS, PAINT, BARK, CLOUD = range(len(TILES))

_Array = npt.NDArray[np.float64]


def _fractal(rng: np.random.Generator, slope: float, stretch: float = 1.0) -> _Array:
    """Return a tileable field with an amplitude spectrum 1/f^slope, mean 0 and deviation 1."""
    fy, fx = np.meshgrid(np.fft.fftfreq(SIZE), np.fft.fftfreq(SIZE), indexing="ij")
    radius = np.hypot(fy, fx * stretch)
    radius[0, 0] = 1.0
    spectrum = np.fft.fft2(rng.standard_normal((SIZE, SIZE))) * radius**-slope
    spectrum[0, 0] = 0.0
    field = np.fft.ifft2(spectrum).real
    return np.asarray(field / field.std())


def _bricks(rng: np.random.Generator) -> _Array:
    """Return courses of bricks 8 × 24 texels with mortar between them."""
    row, column = np.mgrid[0:SIZE, 0:SIZE]
    course = row // 8
    shifted = (column + 12 * (course % 2)) % SIZE
    shade = rng.standard_normal((SIZE // 8, SIZE // 8))[course, np.minimum(shifted // 24, 10)]
    mortar = ((row % 8) < 1) | ((shifted % 24) < 1)
    return np.where(mortar, 1.6, 0.5 * shade)


def _tint(luma: _Array, chroma: _Array, weights: tuple[float, float, float]) -> _Array:
    factors = np.stack([1 + luma + w * chroma for w in weights], axis=-1)
    return np.asarray(factors / factors.mean(axis=(0, 1)))


def _tiles() -> _Array:
    rng = np.random.default_rng(2102_06685)
    fine, broad, hue = (_fractal(rng, s) for s in (0.5, 1.2, 1.4))
    grain, leaves = _fractal(rng, 0.2), _fractal(rng, 0.8)
    blotch = np.tanh(1.6 * leaves + 0.5 * _fractal(rng, 1.1))
    tufts = np.tanh(1.2 * _fractal(rng, 0.6))
    streak = _fractal(rng, 0.9, stretch=0.2)
    tiles = (
        _tint(0.10 * fine + 0.08 * grain + 0.07 * broad, 0.02 * hue, (1, 0, -1)),
        _tint(0.06 * fine + 0.10 * broad, 0.03 * hue, (1, 0, -1)),
        _tint(0.16 * _bricks(rng) + 0.06 * fine + 0.05 * broad, 0.05 * hue, (1, 0, -0.5)),
        _tint(0.42 * blotch + 0.12 * broad, 0.12 * hue, (1, 0.3, -1)),
        _tint(0.20 * tufts + 0.14 * broad, 0.16 * hue, (1, 0, -0.6)),
        _tint(0.015 * fine + 0.04 * broad, 0.01 * hue, (1, 0, -1)),
        _tint(0.25 * streak + 0.08 * fine, 0.05 * hue, (1, 0, -1)),
        _tint(0.20 * _fractal(rng, 1.6) + 0.10 * _fractal(rng, 1.1), np.zeros_like(fine), (0, 0, 0)),
    )
    return np.clip(np.stack(tiles), 0.05, 2.5)


@lru_cache(maxsize=4)
def texture_table(device: str) -> tuple[Tensor, Tensor]:
    """Return the (3, texels) table of all tiles at all levels and the (LEVELS,) start of each level in it."""
    level = _tiles()
    parts, starts, start = [], [], 0
    for _ in range(LEVELS):
        starts.append(start)
        parts.append(level.reshape(-1, 3))
        start += parts[-1].shape[0]
        if level.shape[1] > 1:
            count, size = level.shape[0], level.shape[1] // 2
            level = level.reshape(count, size, 2, size, 2, 3).mean(axis=(2, 4))
    table = torch.from_numpy(np.concatenate(parts).astype(np.float32)).t().contiguous()
    return table.to(device), torch.tensor(starts).to(device)


def _bilinear(tile: Tensor, u: Tensor, v: Tensor, level: Tensor) -> Tensor:
    table, starts = texture_table(str(u.device))
    size = SIZE >> level
    x, y = u * size - 0.5, v * size - 0.5
    x0, y0 = x.floor(), y.floor()
    wx, wy = x - x0, y - y0
    last = size - 1
    xa, ya = x0.long() & last, y0.long() & last
    xb, yb = (xa + 1) & last, (ya + 1) & last
    base = starts[level] + tile * size * size
    row_a, row_b = base + ya * size, base + yb * size
    corners = (row_a + xa, row_a + xb, row_b + xa, row_b + xb)
    weights = ((1 - wx) * (1 - wy), wx * (1 - wy), (1 - wx) * wy, wx * wy)
    channels = []
    for channel in table:
        total = channel.index_select(0, corners[0]) * weights[0]
        for corner, weight in zip(corners[1:], weights[1:], strict=True):
            total += channel.index_select(0, corner) * weight
        channels.append(total)
    return torch.stack(channels)


def sample(tile: Tensor, u: Tensor, v: Tensor, footprint: Tensor) -> Tensor:
    """Return the tiles' RGB factors, blended between the two mip levels next to the footprint.

    Args:
        tile: (N,) int64 indices into `TILES`.
        u: (N,) position in tiles (1 = one tile width); repeats.
        v: (N,) likewise.
        footprint: (N,) width of a pixel in tiles.

    Returns:
        (3, N) factors around 1.
    """
    level = (footprint * SIZE).clamp(1.0, SIZE).log2()
    low = level.floor().clamp(max=LEVELS - 2)
    blend = level - low
    index = low.long()
    fine = _bilinear(tile, u, v, index)
    return fine + blend * (_bilinear(tile, u, v, index + 1) - fine)


def sample_near(tile: Tensor, u: Tensor, v: Tensor, footprint: Tensor) -> Tensor:
    """Return what `sample` does from one mip level only: for broad structure, where the step between levels is unseen."""
    level = (footprint * SIZE).clamp(1.0, SIZE).log2().add(0.5).long().clamp(max=LEVELS - 1)
    return _bilinear(tile, u, v, level)


def stripes(x: Tensor, width: Tensor, pitch: Tensor | float, filled: Tensor | float) -> Tensor:
    """Return how much of a pixel of ``width`` at ``x`` lies on stripes [0, filled·pitch) repeated every ``pitch``.

    The exact box filter: the difference of the stripes' integral at the pixel's two ends, over its width.
    """
    width = width / pitch
    low = x / pitch - width / 2
    high = low + width
    floor_low, floor_high = low.floor(), high.floor()
    if not isinstance(filled, Tensor):
        filled = torch.full_like(x, filled)
    inside = (floor_high - floor_low) * filled
    inside = inside + torch.minimum(high - floor_high, filled) - torch.minimum(low - floor_low, filled)
    return inside / width


def band(x: Tensor, width: Tensor, low: float, high: float) -> Tensor:
    """Return how much of a pixel of ``width`` at ``x`` lies in [low, high]."""
    left, right = x - width / 2, x + width / 2
    return (right.clamp(max=high) - left.clamp(min=low)).clamp(min=0) / width
