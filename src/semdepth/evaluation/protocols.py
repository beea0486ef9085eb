"""Which pixels are judged, how scale is treated, where depth is capped: the published protocols."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import interpolate

from semdepth.evaluation.metrics import Array, DepthErrors, as_array, depth_errors

Map = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.intp]
Crop = Callable[[int, int], tuple[int, int, int, int]]
"""(H, W) -> rows from, rows to, columns from, columns to; the ends are outside."""


def garg_crop(height: int, width: int) -> tuple[int, int, int, int]:
    """Return the rows and columns (from, to, from, to; ends outside) that Garg et al. 2016 judge on KITTI."""
    rows, columns = (0.40810811, 0.99189189), (0.03594771, 0.96405229)
    return int(rows[0] * height), int(rows[1] * height), int(columns[0] * width), int(columns[1] * width)


def watson_crop(height: int, width: int) -> tuple[int, int, int, int]:
    """Return what Watson et al. 2021 (ManyDepth) judge of Cityscapes without the lower quarter: of 768×2048 pixels the
    rows from 256 and the columns 192 to 1856; in proportion at other sizes."""
    return round(height / 3), height, round(width * 192 / 2048), round(width * 1856 / 2048)


@dataclass(frozen=True)
class Aligned:
    """A prediction made comparable with its ground truth."""

    mask: Mask
    """(H, W) the pixels that are judged; never empty."""
    ratio: float
    """Scale that the prediction was multiplied by; also measured (not applied) without median scaling."""
    true: Map
    """(N,) metres at the judged pixels, row by row."""
    predicted: Map
    """(N,) metres there, scaled and capped."""
    maps: tuple[Map, Map] | None = None
    """Both as (H, W), where they are known off the mask, too."""

    @cached_property
    def ground_truth(self) -> Map:
        """(H, W) metres; off the mask it may be 0 whatever the truth there."""
        return self._spread(self.true) if self.maps is None else self.maps[0]

    @cached_property
    def prediction(self) -> Map:
        """(H, W) metres, scaled and capped; off the mask it may be 0 unless the protocol is dense."""
        return self._spread(self.predicted) if self.maps is None else self.maps[1]

    def _spread(self, values: Map) -> Map:
        whole = np.zeros(self.mask.shape)
        whole[self.mask] = values
        return whole


@dataclass(frozen=True)
class Judgement:
    """The verdict on one image."""

    errors: DepthErrors
    ratio: float
    """Median of the true depths divided by the median of the predicted ones, over the judged pixels."""
    pixels: int
    """Number of judged pixels."""


@dataclass(frozen=True)
class Protocol:
    """A way to judge depth maps. Call it with (ground truth, prediction).

    ``dataclasses.replace(kitti_eigen, median_scaling=False)`` judges metric predictions.
    """

    name: str
    """Printed beside every number."""
    min_depth: float = 1e-3
    """Metres; nearer ground truth is not judged, nearer predictions are raised to it."""
    max_depth: float = 80.0
    """Metres; predictions beyond are lowered to it."""
    judge_beyond: bool = False
    """Judge ground truth beyond ``max_depth`` too."""
    crop: Crop | None = None
    """Judge only inside; None: the whole image."""
    median_scaling: bool = True
    """Multiply each prediction by median(truth) / median(prediction) over its judged pixels."""
    dense: bool = False
    """The ground truth is exact and complete (0 means sky), so that depth borders can be read from it."""
    log10: bool = False
    """Also report errors of the decimal logarithm (``strata.MEASURES``), as this dataset's tables do."""

    def __post_init__(self) -> None:
        if not 0 < self.min_depth < self.max_depth:
            raise ValueError(f"0 < min_depth < max_depth is needed, not {self.min_depth} and {self.max_depth}")

    def judged(self, ground_truth: Array) -> Mask:
        """Return the (H, W) mask of pixels that this protocol judges."""
        truth = as_array(ground_truth)
        if truth.ndim != 2:
            raise ValueError(f"ground truth must be (H, W), not {truth.shape}")
        top, bottom, left, right = (
            (0, truth.shape[0], 0, truth.shape[1]) if self.crop is None else self.crop(*truth.shape)
        )
        mask = np.zeros(truth.shape, dtype=np.bool_)
        inside = truth[top:bottom, left:right]
        known = np.isfinite(inside) if self.judge_beyond else inside < self.max_depth
        np.logical_and(inside > self.min_depth, known, out=mask[top:bottom, left:right])
        return mask

    def align_disparity(self, ground_truth: Array, disparity: Array) -> Aligned:
        """Mask, scale and cap the inverse of a disparity map.

        The same numbers as ``align(ground_truth, depth_from_disparity(disparity, H, W))``. Unless the protocol is dense, the
        disparity is resized at the judged pixels alone: lidar has a return in one of thirty.

        Args:
            ground_truth: (H, W) metres, 0 = unknown.
            disparity: (h, w) at any size, 1/m or up to scale.

        Raises:
            ValueError: as ``align``, or if a map is not two-dimensional.
        """
        truth, values = as_array(ground_truth), as_array(disparity)
        mask = self.judged(truth)
        if values.ndim != 2:
            raise ValueError(f"disparity must be (h, w), not {values.shape}")
        if self.dense or 4 * int(mask.sum()) > mask.size:
            return self.align(truth, depth_from_disparity(values, *truth.shape))
        rows, columns = np.divmod(np.flatnonzero(mask), mask.shape[1])
        true = truth[rows, columns].astype(np.float64)
        with np.errstate(divide="ignore"):  # a zero disparity becomes inf, which is refused below
            depth = 1.0 / _resized_at(values, rows, columns, truth.shape)
        ratio = self._ratio(true, depth)
        return Aligned(mask, ratio, true, self._capped(depth, ratio))

    def _ratio(self, truth: Map, depth: Map) -> float:
        """Return the ratio of the medians of the judged depths (N,)."""
        if not truth.size:
            raise ValueError("no valid pixel to judge")
        if not (np.isfinite(depth).all() and (depth > 0).all()):
            raise ValueError("the prediction has values that are not finite or not positive")
        return float(np.median(truth) / np.median(depth))

    def _capped(self, depth: Map, ratio: float) -> Map:
        return np.clip(depth * ratio if self.median_scaling else depth, self.min_depth, self.max_depth)

    def align(self, ground_truth: Array, prediction: Array) -> Aligned:
        """Mask, scale and cap.

        Args:
            ground_truth: (H, W) metres, 0 = unknown.
            prediction: (H, W) depth, metres or up to scale.

        Raises:
            ValueError: if the shapes differ, no pixel can be judged, or the prediction is not finite and positive on
                a judged pixel.
        """
        mask = self.judged(ground_truth)
        truth, depth = as_array(ground_truth).astype(np.float64), as_array(prediction).astype(np.float64)
        if truth.shape != depth.shape:
            raise ValueError(
                f"ground truth {truth.shape} and prediction {depth.shape} differ in size; use depth_from_disparity"
            )
        true = truth[mask]
        ratio = self._ratio(true, depth[mask])
        prediction = self._capped(depth, ratio)
        return Aligned(mask, ratio, true, prediction[mask], (truth, prediction))

    def __call__(self, ground_truth: Array, prediction: Array) -> Judgement:
        """Judge one image; arguments and errors as for ``align``."""
        aligned = self.align(ground_truth, prediction)
        truth, depth = aligned.ground_truth[aligned.mask], aligned.prediction[aligned.mask]
        return Judgement(depth_errors(truth, depth), aligned.ratio, truth.size)


kitti_eigen = Protocol("kitti_eigen", crop=garg_crop)
"""Raw-lidar ground truth of Eigen's 697 test images: Garg crop, 1e-3–80 m, median scaling (Godard et al. 2019)."""

kitti_improved = Protocol("kitti_improved", judge_beyond=True)
"""Accumulated ground truth of 652 images (Uhrig et al. 2017): every known pixel, no crop, predictions capped at 80 m.

As the published implementation has it, true depths beyond the cap are judged too (they are few).
"""

cityscapes = Protocol("cityscapes", crop=watson_crop)
"""Stereo disparity of Cityscapes above the bonnet: the middle of the image, 1e-3–80 m, median scaling (Watson et al. 2021).

The published numbers are of the 1525 images of ``test``. The truth is semi-global matching: dense, but wrong in places
(glass, thin things, the image's left edge).
"""

make3d = Protocol("make3d", max_depth=70.0, log10=True)
"""The C1 errors of Make3D (Karsch et al. 2012): pixels nearer than 70 m, median scaling, predictions capped at 70 m.

The central crop is the reader's (``data/make3d.py``), since images and laser grids are cut alike.
"""

synthetic = Protocol("synthetic", dense=True)
"""Exact dense depth of the rendered world: no crop, 1e-3–80 m, median scaling."""


def resize_disparity(disparity: Array, height: int, width: int) -> npt.NDArray[np.float32]:
    """Resize (h, w) disparity bilinearly to (height, width).

    Pixel *areas* correspond here (``align_corners=False``, what image libraries do and the published numbers rest on),
    unlike in the warp.

    Raises:
        ValueError: if ``disparity`` is not (h, w).
    """
    values = torch.from_numpy(np.array(as_array(disparity), dtype=np.float32))
    if values.ndim != 2:
        raise ValueError(f"disparity must be (h, w), not {tuple(values.shape)}")
    resized = interpolate(values[None, None], size=(height, width), mode="bilinear", align_corners=False)
    return resized[0, 0].numpy()


def depth_from_disparity(disparity: Array, height: int, width: int) -> npt.NDArray[np.float32]:
    """Resize (h, w) disparity (1/m, or up to scale) to (height, width) and invert it: (height, width) depth.

    Disparity, not depth, is resized: between a near and a far pixel it is the disparity that is linear on a plane.
    """
    with np.errstate(divide="ignore"):  # a zero disparity becomes inf, which align() refuses where it matters
        return 1.0 / resize_disparity(disparity, height, width)


def _resized_at(
    disparity: npt.NDArray[Any], rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp], size: tuple[int, ...]
) -> Map:
    """Return the (N,) values that ``resize_disparity`` would have at some pixels, in double precision."""
    (row, down), (column, right) = (
        _between(at, full, own) for at, full, own in zip((rows, columns), size, disparity.shape, strict=True)
    )
    height, width = disparity.shape
    here = row * width + column
    below = here + width * (row < height - 1)
    step = column < width - 1
    flat = disparity.ravel()
    upper = flat[here] * (1 - right) + flat[here + step] * right
    lower = flat[below] * (1 - right) + flat[below + step] * right
    values: Map = upper * (1 - down) + lower * down
    return values


def _between(at: Pixels, full: int, own: int) -> tuple[Pixels, Map]:
    """Return the pixel of the small map before each place of the large one, and the weight of the pixel after."""
    place = np.maximum((np.arange(full) + 0.5) * (own / full) - 0.5, 0.0)
    before = place.astype(np.intp)
    return before[at], (place - before)[at]


def flip_post_process(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Blend the disparity of an image with that of its mirror image (Godard et al. 2017, section 3.4).

    At the left border the mirrored pass is taken, at the right border the plain one, their mean between; ramps of 5 %
    of the width join them.

    Args:
        left: (..., W) disparity of the image.
        right: (..., W) disparity of the mirrored image, mirrored back.

    Returns:
        (..., W) blended disparity.

    Raises:
        ValueError: if the shapes differ.
    """
    if left.shape != right.shape:
        raise ValueError(f"the passes differ in shape: {left.shape} and {right.shape}")
    column = np.linspace(0.0, 1.0, left.shape[-1])
    at_left = 1.0 - np.clip(20.0 * (column - 0.05), 0.0, 1.0)
    at_right = at_left[::-1]
    blended: npt.NDArray[Any] = at_right * left + at_left * right + (1.0 - at_left - at_right) * (left + right) / 2
    return blended
