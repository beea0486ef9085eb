"""Files to arrays: the one place that decodes images, labels, confidence and depth PNGs."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps

from semdepth.labels import IGNORE, NUM_CLASSES, NUM_LABEL_IDS, train_ids
from semdepth.runtime import InputError, require_file

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
"""What counts as an image in a folder."""
MAX_PIXELS = 64_000_000
"""Larger images are refused before they are decoded."""
MAX_BYTES = 1 << 30
"""Larger files are refused before they are read; 64 megapixels of four 16-bit channels, uncompressed, take half of it."""


@contextmanager
def _decoded(path: str | Path, what: str) -> Iterator[Image.Image]:
    """Open and decode an image; whatever Pillow finds wrong with it becomes an InputError."""
    path = require_file(path, what)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: {what} takes over {MAX_BYTES >> 30} GiB; make it smaller")
        # From memory: a file that lies about the length of its parts would make reads from the disk reserve gigabytes.
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise InputError(f"{path}: {what} of {width}×{height} pixels is over 64 megapixels; make it smaller")
            image.load()
            yield image
    except Image.DecompressionBombError:
        raise InputError(f"{path}: {what} is far over 64 megapixels; make it smaller") from None
    except Image.UnidentifiedImageError:
        raise InputError(f"{path}: {what} is in no image format known here; give PNG or JPEG") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: {what} cannot be decoded ({reason}); copy or write it again") from None


def _to_rgb(image: Image.Image, path: str | Path) -> Image.Image:
    if image.mode == "F":
        raise InputError(f"{path}: image of floating-point values; save it with 8 or 16 bits a channel")
    if image.mode.startswith("I"):  # 16-bit grey; Pillow itself brings 16-bit colour down to 8
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise InputError(f"{path}: grey values outside 0–65535; save it with 8 or 16 bits a channel")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def open_rgb(path: str | Path) -> Image.Image:
    """Decode an image of any common kind to RGB, upright.

    Grey (8 or 16 bits), palette and CMYK images are converted, transparency is dropped, EXIF orientation is applied.

    Raises:
        InputError: if it is missing, empty, cut off, not an image, or over 64 megapixels.
    """
    with _decoded(path, "image") as image:
        return _to_rgb(ImageOps.exif_transpose(image), path)


def read_image(path: str | Path) -> npt.NDArray[np.uint8]:
    """Return an image as (H, W, 3) uint8 RGB; see ``open_rgb`` for what is accepted.

    Raises:
        InputError: if the file cannot be used.
    """
    return np.array(open_rgb(path), dtype=np.uint8)


def as_rgb(image: Image.Image | npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """Return an image that is already in memory as (H, W, 3) uint8 RGB.

    Args:
        image: a PIL image (EXIF orientation is applied), or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8,
            uint16, or floats in [0, 1]; a fourth channel (transparency) is dropped.

    Raises:
        InputError: if it cannot be decoded, has another shape or type, is empty, or holds NaN or values out of range.
    """
    if isinstance(image, Image.Image):
        try:
            image.load()
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(f"image: cannot be decoded ({error}); copy or write it again") from None
        return np.array(_to_rgb(ImageOps.exif_transpose(image), "image"), dtype=np.uint8)
    pixels = np.asarray(image)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or pixels.size == 0:
        raise InputError(f"image array of shape {np.shape(image)}: give (H, W), (H, W, 3) or (H, W, 4)")
    pixels = pixels[..., :3]
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    elif np.issubdtype(pixels.dtype, np.floating):
        if not (np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1):
            raise InputError("image array of floats: values must lie in [0, 1] and not be NaN")
        pixels = np.round(pixels * 255).astype(np.uint8)
    elif pixels.dtype != np.uint8:
        raise InputError(f"image array of {pixels.dtype}: give uint8, uint16, or floats in [0, 1]")
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def focal_35mm(path: str | Path) -> float | None:
    """Return the 35 mm equivalent focal length in millimetres that a camera wrote into an image (EXIF), if it did.

    Raises:
        InputError: if the file cannot be used.
    """
    with _decoded(path, "image") as image:
        exif = image.getexif()
        value = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.FocalLengthIn35mmFilm)
    try:
        focal = float(value) if value is not None else 0.0
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return focal if 0 < focal < 10_000 else None  # EXIF: 0 means unknown


def image_size(path: str | Path) -> tuple[int, int]:
    """Return (H, W) of an image as it will be decoded.

    Raises:
        InputError: if the file cannot be used.
    """
    image = open_rgb(path)
    return image.height, image.width


def _read_bytes(path: str | Path, what: str) -> npt.NDArray[np.uint8]:
    """Return the values of an 8-bit single-channel PNG; of a palette PNG the indices, not the colours."""
    with _decoded(path, what) as image:
        if image.mode not in ("L", "P"):
            raise InputError(f"{path}: {what} has mode {image.mode}; write an 8-bit PNG of one channel")
        return np.array(image, dtype=np.uint8)


def read_labels(path: str | Path, are_ids: bool = False) -> npt.NDArray[np.uint8]:
    """Read labels.

    Args:
        path: 8-bit PNG.
        are_ids: whether it holds Cityscapes label ids 0–33 (``*_labelIds.png``), to be converted.

    Returns:
        (H, W) uint8 trainIds 0–18, 255 = ignore.

    Raises:
        InputError: if the file cannot be used or holds other values.
    """
    labels = _read_bytes(path, "label PNG")
    found = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
    count = NUM_LABEL_IDS if are_ids else NUM_CLASSES
    wrong = found[(found >= count) & (found != IGNORE)].tolist()
    if wrong:
        values = ", ".join(map(str, wrong[:8])) + (" …" if len(wrong) > 8 else "")
        what, mend = ("label ids", "") if are_ids else ("trainIds", " (convert gtFine label ids to trainIds)")
        raise InputError(
            f"{path}: holds label values {values}; only {what} 0–{count - 1} and {IGNORE} are allowed{mend}"
        )
    return train_ids()[labels] if are_ids else labels


def read_confidence(path: str | Path, is_entropy: bool) -> npt.NDArray[np.uint8]:
    """Read the confidence of labels.

    Args:
        path: 8-bit PNG.
        is_entropy: whether it holds the normalised entropy, 1 − confidence.

    Returns:
        (H, W) uint8 confidence, 0–255 for 0–1.

    Raises:
        InputError: if the file cannot be used.
    """
    values = _read_bytes(path, "entropy PNG" if is_entropy else "confidence PNG")
    return 255 - values if is_entropy else values


def read_depth_png(path: str | Path, scale: float = 256.0) -> npt.NDArray[np.float32]:
    """Read depth from a 16-bit PNG.

    Args:
        path: the PNG.
        scale: metres = value / scale (256 for KITTI).

    Returns:
        (H, W) float32 metres, 0 = unknown.

    Raises:
        InputError: if the file cannot be used or is not a 16-bit grey image.
    """
    with _decoded(path, "depth PNG") as image:
        if not image.mode.startswith("I"):
            raise InputError(f"{path}: depth PNG has mode {image.mode}; write 16-bit grey, metres × {scale:g}")
        return (np.asarray(image).astype(np.float64) / scale).astype(np.float32)


def read_disparity_png(path: str | Path) -> npt.NDArray[np.float32]:
    """Read a disparity PNG of Cityscapes: disparity = (value − 1) / 256 where the value is not 0.

    Returns:
        (H, W) float32 disparity in pixels of the full-size image, 0 = unknown (or at infinity).

    Raises:
        InputError: if the file cannot be used or is not a 16-bit grey image.
    """
    with _decoded(path, "disparity PNG") as image:
        if not image.mode.startswith("I"):
            raise InputError(
                f"{path}: disparity PNG has mode {image.mode}, not 16-bit grey; unpack disparity_trainvaltest.zip again"
            )
        return (np.maximum(np.asarray(image).astype(np.float64) - 1.0, 0.0) / 256.0).astype(np.float32)


def read_mask(path: str | Path) -> npt.NDArray[np.bool_]:
    """Return (H, W), true where an 8-bit PNG is not 0.

    Raises:
        InputError: if the file cannot be used.
    """
    return np.asarray(_read_bytes(path, "mask PNG") != 0)
