"""Numbers as pictures: depth, labels, errors and uncertainty in colour, side by side, written as PNG.

Pictures are (H, W, 3) uint8 RGB. matplotlib is only asked for its colour maps, and only when one is needed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from semdepth.labels import palette
from semdepth.runtime import InputError

Picture = npt.NDArray[np.uint8]
Values = npt.NDArray[Any]

_GAP = 4


def colourise_disparity(
    disparity: Values, value_range: tuple[float, float] | None = None, colours: str = "magma"
) -> Picture:
    """Colour (H, W) disparity, near = bright; values that are not finite or not positive become black.

    Args:
        disparity: (H, W), any scale.
        value_range: disparities of the darkest and the brightest colour, e.g. the same for all frames of a video; None:
            0 to the 95th percentile, so that a few very near pixels do not darken the rest.
        colours: name of a matplotlib colour map.
    """
    known = np.isfinite(disparity) & (disparity > 0)
    if value_range is None:
        value_range = (0.0, float(np.percentile(disparity[known], 95)) if known.any() else 1.0)
    return _colourise(disparity, known, value_range, colours)


def colourise_depth(depth: Values, value_range: tuple[float, float] | None = None, colours: str = "magma") -> Picture:
    """Colour (H, W) depth by its inverse, near = bright; unknown depth (0, not finite) becomes black.

    Args:
        depth: (H, W), metres or up to scale.
        value_range: nearest and farthest depth to tell apart; None: by the 95th percentile of 1/depth.
        colours: name of a matplotlib colour map.
    """
    known = np.isfinite(depth) & (depth > 0)
    inverse = np.divide(1.0, depth, out=np.zeros(depth.shape, dtype=np.float64), where=known)
    limits = None if value_range is None else (1 / value_range[1], 1 / value_range[0])
    return colourise_disparity(inverse, limits, colours)


def colourise_labels(labels: Values) -> Picture:
    """Colour (H, W) trainIds (uint8) as Cityscapes does; 255 = ignore and values without a class are black."""
    return palette()[labels]


def colourise_error(error: Values, worst: float | None = None, colours: str = "coolwarm") -> Picture:
    """Colour (H, W) errors ≥ 0: blue = right, red = ``worst`` or more (None: the 95th percentile), NaN = black."""
    known = np.isfinite(error)
    if worst is None:
        worst = float(np.percentile(error[known], 95)) if known.any() else 1.0
    return _colourise(error, known, (0.0, worst), colours)


def relative_error(ground_truth: Values, prediction: Values) -> npt.NDArray[np.float64]:
    """Return |g − p| / g of (H, W) depths for ``colourise_error``; NaN where the truth is unknown (0)."""
    error = np.full(ground_truth.shape, np.nan)
    np.divide(np.abs(ground_truth - prediction), ground_truth, out=error, where=ground_truth > 0)
    return error


def colourise_uncertainty(uncertainty: Values, colours: str = "viridis") -> Picture:
    """Colour (H, W) uncertainty in [0, 1]: dark = sure, bright = unsure; NaN is black."""
    return _colourise(uncertainty, np.isfinite(uncertainty), (0.0, 1.0), colours)


def overlay(image: Picture, picture: Picture, opacity: float = 0.5) -> Picture:
    """Lay a picture over an image of the same size; ``opacity`` 1 hides the image."""
    mixed = image.astype(np.float32) * (1 - opacity) + picture.astype(np.float32) * opacity
    return np.round(mixed).astype(np.uint8)


def panel(images: Sequence[Picture], titles: Sequence[str] | None = None, columns: int = 2) -> Picture:
    """Set pictures in a grid, row by row, under titles.

    Args:
        images: pictures (H, W, 3) uint8 or grey (H, W) uint8; each is scaled to the first one's width.
        titles: one a picture, or one a column (then only the first row has them); None: no title lines.
        columns: pictures in a row.

    Raises:
        ValueError: if there is no picture, one is of another kind, or the number of titles differs.
    """
    columns = min(columns, len(images))
    if not images or (titles is not None and len(titles) not in (len(images), columns)):
        raise ValueError(f"{len(images)} pictures and {0 if titles is None else len(titles)} titles make no panel")
    width = images[0].shape[1]
    lines = [*(titles or []), *[None] * len(images)]
    cells = [_cell(image, width, line) for image, line in zip(images, lines, strict=False)]
    rows = [cells[k : k + columns] for k in range(0, len(cells), columns)]
    heights = [max(cell.shape[0] for cell in row) for row in rows]
    canvas = np.full(
        (sum(heights) + _GAP * (len(rows) - 1), columns * width + _GAP * (columns - 1), 3), 255, dtype=np.uint8
    )
    top = 0
    for row, height in zip(rows, heights, strict=True):
        for k, cell in enumerate(row):
            left = k * (width + _GAP)
            canvas[top : top + cell.shape[0], left : left + width] = cell
        top += height + _GAP
    return canvas


def write_png(path: str | Path, array: Values) -> None:
    """Write a PNG all at once: a reader (or a crash) never sees half of it. Missing folders are made.

    Args:
        path: of the file.
        array: (H, W, 3) or (H, W) uint8; or (H, W) uint16 for a 16-bit grey PNG (KITTI's depth: metres × 256).

    Raises:
        ValueError: if the array is of another type or shape.
        InputError: if the file cannot be written.
    """
    grey16 = array.dtype == np.uint16 and array.ndim == 2
    colour = array.dtype == np.uint8 and (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3))
    if not (grey16 or colour):
        raise ValueError(f"a PNG holds (H, W[, 3]) uint8 or (H, W) uint16, not {array.shape} {array.dtype}")
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as stream:
            Image.fromarray(np.ascontiguousarray(array)).save(stream, format="PNG")
        Path(temporary).chmod(0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another folder") from None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _colourise(values: Values, known: npt.NDArray[np.bool_], limits: tuple[float, float], colours: str) -> Picture:
    low, high = limits
    share = (np.where(known, values, low) - low) / max(high - low, 1e-12)
    picture = _colour_table(colours)[np.round(np.clip(share, 0, 1) * 255).astype(np.uint8)]
    picture[~known] = 0
    return picture


@cache
def _colour_table(name: str) -> Picture:
    """The (256, 3) colours of a matplotlib colour map."""
    import matplotlib

    try:
        colours = matplotlib.colormaps[name]
    except KeyError:
        raise InputError(f"{name!r} is no colour map of matplotlib; try magma, viridis or turbo") from None
    table: Picture = colours(np.arange(256) / 255, bytes=True)[:, :3]
    return table


def _cell(image: Picture, width: int, title: str | None) -> Picture:
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise ValueError(f"a panel takes (H, W[, 3]) uint8 pictures, not {image.shape} {image.dtype}")
    picture = Image.fromarray(image).convert("RGB")
    if picture.width != width:
        picture = picture.resize((width, max(1, round(picture.height * width / picture.width))))
    if title is None:
        return np.asarray(picture)
    size = max(12, width // 48)
    line = size * 3 // 2
    cell = Image.new("RGB", (width, picture.height + line), "white")
    ImageDraw.Draw(cell).text((3, 1), title, fill="black", font=ImageFont.load_default(size=size))
    cell.paste(picture, (0, line))
    return np.asarray(cell)
