"""The verdict on one image: its prediction against its ground truth, under a protocol."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from semdepth.evaluation.holes import HoleCount, count_holes
from semdepth.evaluation.metrics import Array, DepthErrors, Float64, as_array, error_sums, errors_from_sums
from semdepth.evaluation.protocols import Protocol
from semdepth.evaluation.strata import Annotations, analyse
from semdepth.runtime import InputError


@dataclass(frozen=True)
class ImageRow:
    """The verdict on one image."""

    name: str
    group: str | None
    """images of one group (drive, block of frames) resemble each other; None: unknown"""
    pixels: int
    ratio: float
    """median true depth over median predicted depth"""
    errors: DepthErrors
    measures: dict[str, float]
    """``strata.MEASURES``; NaN where the image lacks what they need"""


@dataclass(frozen=True)
class Verdict:
    """All that one image adds to the whole."""

    name: str
    row: ImageRow | None
    """None: no pixel can be judged"""
    sums: Float64 | None = None
    """(8,) of ``metrics.error_sums``"""
    strata: dict[str, Float64] = field(default_factory=dict)
    holes: HoleCount | None = None


def judge_image(
    protocol: Protocol,
    name: str,
    ground_truth: Array,
    *,
    depth: Array | None = None,
    disparity: Array | None = None,
    group: str | None = None,
    labels: Array | None = None,
    moving: Array | None = None,
) -> Verdict:
    """Judge one image; arguments and errors are those of ``DepthEvaluator.update``. Threads may do so side by side."""
    truth = as_array(ground_truth)
    try:
        if (depth is None) == (disparity is None):
            raise ValueError("give exactly one of depth and disparity")
        known = Annotations(_fitting(labels, truth, "labels"), _fitting(moving, truth, "moving"))
        if not protocol.judged(truth).any():
            return Verdict(name, None)
        if disparity is not None:
            aligned = protocol.align_disparity(truth, disparity)
        else:
            assert depth is not None
            aligned = protocol.align(truth, depth)
        strata, measures = analyse(aligned, known, protocol)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None
    sums = error_sums(aligned.true, aligned.predicted)[0]
    row = ImageRow(name, group, int(sums[0]), aligned.ratio, errors_from_sums(sums), measures)
    holes = None if known.moving is None else count_holes(aligned, known.moving)
    return Verdict(name, row, sums, strata, holes)


def _fitting(values: Array | None, truth: Float64, what: str) -> npt.NDArray[np.int64] | None:
    if values is None:
        return None
    array = as_array(values)
    if array.shape != truth.shape:
        raise ValueError(f"{what} {array.shape} and ground truth {truth.shape} differ in size")
    return array
