"""The camera of somebody's own video: intrinsics from what is known of it, and what a training size does to them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from semdepth.geometry.camera import crop_intrinsics, intrinsics_from_fov, resize_intrinsics
from semdepth.images import focal_35mm
from semdepth.runtime import InputError

Matrix = npt.NDArray[np.float64]
Origin = Literal["given", "field of view", "EXIF", "guess"]

GUESSED_FOV_DEG = 65.0
"""Field of view along the longer side that is taken for a camera of which nothing is known: a phone's main camera (26 mm
equivalent), filming. Only a first guess, for the pose network to correct."""
FULL_FRAME_DIAGONAL = math.hypot(36.0, 24.0)
"""Millimetres; a "35 mm equivalent" focal length is one of the same angle across the diagonal."""
SIZE_MULTIPLE = 32
"""Both sides of a training size are multiples of this (the encoders' coarsest stride), at least twice."""


@dataclass(frozen=True)
class Lens:
    """What is known of a camera."""

    intrinsics: Matrix
    """(3, 3) in pixels of the upright frames."""
    origin: Origin
    """Where they come from."""
    learnt: bool
    """Whether the focal length is only a first guess, to be learnt with the motion."""
    distortion: tuple[float, ...] = ()
    """k1, k2, p1, p2 and perhaps k3 (Brown–Conrady); empty: none."""


def choose_lens(
    size: tuple[int, int],
    *,
    intrinsics: str | None = None,
    fov_deg: float | None = None,
    distortion: str | None = None,
    first_image: Path | None = None,
) -> Lens:
    """Return the camera by the best that is known: what was given, else EXIF, else a guess that is to be learnt.

    Args:
        size: (H, W) of the upright frames.
        intrinsics: ``fx,fy,cx,cy`` in pixels of the upright frames; or ``learnt``: what follows is a first guess.
        fov_deg: horizontal field of view in degrees, for square pixels and a centred principal point.
        distortion: ``k1,k2,p1,p2`` or ``k1,k2,p1,p2,k3``; needs ``intrinsics``.
        first_image: an image whose EXIF data may tell the focal length.

    Raises:
        InputError: if what was given cannot be read or contradicts itself.
    """
    learnt = intrinsics == "learnt"
    numbers = None if intrinsics is None or learnt else _numbers("intrinsics", intrinsics, "fx,fy,cx,cy", (4,))
    bent = () if distortion is None else _numbers("distortion", distortion, "k1,k2,p1,p2 or k1,k2,p1,p2,k3", (4, 5))
    if bent and numbers is None:
        raise InputError("distortion: its coefficients belong to a calibration; give its fx,fy,cx,cy as intrinsics too")
    if numbers is not None:
        if fov_deg is not None:
            raise InputError("intrinsics and fov_deg: give one of them, not both")
        return Lens(_pinhole(numbers, size), "given", False, bent)
    if fov_deg is not None:
        if not 0.0 < fov_deg < 180.0:
            raise InputError(f"fov_deg {fov_deg:g}: give the horizontal field of view in degrees, between 0 and 180")
        return Lens(_from_fov(fov_deg, size), "field of view", learnt)
    equivalent = None if first_image is None else focal_35mm(first_image)
    if equivalent is not None:
        focal = equivalent / FULL_FRAME_DIAGONAL * math.hypot(*size)
        return Lens(_centred(focal, size), "EXIF", learnt)
    focal = max(size) / 2 / math.tan(math.radians(GUESSED_FOV_DEG) / 2)
    return Lens(_centred(focal, size), "guess", True)


@dataclass(frozen=True)
class Framing:
    """How upright frames become training images: resized to ``resized``, then the middle ``size`` cut out."""

    size: tuple[int, int]
    """(H, W) of the training images: multiples of 32."""
    resized: tuple[int, int]
    """(H, W) before the cut, of the frames' own aspect ratio."""
    top: int
    left: int

    def intrinsics(self, matrix: Matrix, frame: tuple[int, int]) -> Matrix:
        """Return the (3, 3) intrinsics of the training images from those of the frames of size ``frame``."""
        resized = resize_intrinsics(torch.from_numpy(matrix), frame, self.resized)
        return np.asarray(crop_intrinsics(resized, self.top, self.left).numpy())


def choose_framing(frame: tuple[int, int], long_side: int) -> Framing:
    """Return the framing that brings the longer side of frames to ``long_side``, losing less than 32 pixels of the other.

    Args:
        frame: (H, W) of the upright frames.
        long_side: of the training images; smaller where the frames are smaller, so that nothing is enlarged.

    Raises:
        InputError: if ``long_side`` is no multiple of 32, or the frames are too small or too long for one.
    """
    if long_side % SIZE_MULTIPLE or long_side < 2 * SIZE_MULTIPLE:
        raise InputError(f"long_side {long_side}: must be a multiple of {SIZE_MULTIPLE}, at least {2 * SIZE_MULTIPLE}")
    long_side = min(long_side, max(frame) // SIZE_MULTIPLE * SIZE_MULTIPLE)
    scale = long_side / max(frame)
    height, width = (max(round(side * scale), 1) for side in frame)
    size = (height // SIZE_MULTIPLE * SIZE_MULTIPLE, width // SIZE_MULTIPLE * SIZE_MULTIPLE)
    if min(size) < 2 * SIZE_MULTIPLE:
        raise InputError(
            f"frames of {frame[1]}×{frame[0]}: brought to {width}×{height} they are too small to learn from (64 pixels each "
            "way); give larger frames or a larger --long_side"
        )
    return Framing(size, (height, width), (height - size[0]) // 2, (width - size[1]) // 2)


def _centred(focal: float, size: tuple[int, int]) -> Matrix:
    return np.array([[focal, 0.0, (size[1] - 1) / 2], [0.0, focal, (size[0] - 1) / 2], [0.0, 0.0, 1.0]])


def _from_fov(fov_deg: float, size: tuple[int, int]) -> Matrix:
    return np.asarray(intrinsics_from_fov(fov_deg, size).double().numpy())


def _pinhole(numbers: tuple[float, ...], size: tuple[int, int]) -> Matrix:
    fx, fy, cx, cy = numbers
    if fx <= 0 or fy <= 0:
        raise InputError(f"intrinsics: focal lengths must be above 0, not {fx:g} and {fy:g}")
    if not (0 <= cx <= size[1] - 1 and 0 <= cy <= size[0] - 1):
        raise InputError(
            f"intrinsics: the principal point {cx:g}, {cy:g} lies outside the upright frames of {size[1]}×{size[0]}; give "
            "fx,fy,cx,cy in their pixels"
        )
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def _numbers(option: str, text: str, form: str, counts: tuple[int, ...]) -> tuple[float, ...]:
    try:
        values = tuple(float(word) for word in text.strip("[]() ").split(","))
    except ValueError:
        values = ()
    if len(values) not in counts or not all(math.isfinite(value) for value in values):
        raise InputError(f"{option} {text!r}: give {form}, numbers with commas between")
    return values
