"""Errors of depth and of segmentation, from running sums, so that images and pixels can be averaged either way.

Everything is NumPy in float64 on the CPU; torch tensors (any device) are taken and moved.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

Array = npt.NDArray[Any] | Tensor
"""What the public functions take: a NumPy array or a torch tensor, any real type."""
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class DepthErrors:
    """The seven usual errors of monocular depth (Eigen et al. 2014). Of all but δ, lower is better."""

    abs_rel: float
    """mean |g − p| / g"""
    sq_rel: float
    """mean (g − p)² / g, metres"""
    rmse: float
    """sqrt(mean (g − p)²), metres"""
    rmse_log: float
    """sqrt(mean (ln g − ln p)²)"""
    delta1: float
    """share of pixels with max(g/p, p/g) < 1.25, in [0, 1]; higher is better"""
    delta2: float
    """the same below 1.25²"""
    delta3: float
    """the same below 1.25³"""


METRICS: tuple[str, ...] = tuple(f.name for f in fields(DepthErrors))
LOWER_IS_BETTER = frozenset(m for m in METRICS if not m.startswith("delta"))


def as_array(values: Array) -> npt.NDArray[Any]:
    """Return ``values`` as a NumPy array, moved from the device where it is a tensor."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def depth_errors(ground_truth: Array, prediction: Array) -> DepthErrors:
    """Compare valid pixels of one image (or of a set) as they are: no mask, no scaling, no caps.

    Args:
        ground_truth: any shape, metres, all > 0.
        prediction: same shape, metres, all > 0.

    Returns:
        The errors over all pixels, accumulated in float64.

    Raises:
        ValueError: if the shapes differ, nothing is there, or a value is not finite or not positive.
    """
    return errors_from_sums(error_sums(ground_truth, prediction)[0])


def error_sums(
    ground_truth: Array, prediction: Array, groups: npt.NDArray[Any] | None = None, num_groups: int = 1
) -> Float64:
    """Sum what the errors are made of, by group of pixels. Sums of different images may be added.

    Args:
        ground_truth: N values (any shape), metres, all > 0.
        prediction: same shape, metres, all > 0.
        groups: same shape, integers in [0, ``num_groups``), e.g. classes; None: one group.
        num_groups: G.

    Returns:
        (G, 8): the number of pixels, then per metric the sum that its mean is taken of (squares for the RMSEs).

    Raises:
        ValueError: if the shapes differ, nothing is there, or a value is not finite or not positive.
    """
    g, p = (as_array(values).astype(np.float64, copy=False) for values in (ground_truth, prediction))
    if g.shape != p.shape:
        raise ValueError(f"ground truth {g.shape} and prediction {p.shape} differ in shape")
    if g.size == 0:
        raise ValueError("no valid pixel to judge")
    for what, values in (("ground truth", g), ("prediction", p)):
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise ValueError(f"{what} has values that are not finite or not positive; mask them first")
    g, p = g.ravel(), p.ravel()
    difference, log_ratio = g - p, np.log(g / p)
    worst, step = np.abs(log_ratio), np.log(1.25)
    terms = (
        np.ones_like(g),
        np.abs(difference) / g,
        difference**2 / g,
        difference**2,
        log_ratio**2,
        *(worst < k * step for k in (1, 2, 3)),
    )
    if groups is None:
        return np.array([[term.sum(dtype=np.float64) for term in terms]])
    index = groups.ravel()
    return np.stack([np.bincount(index, weights=term, minlength=num_groups) for term in terms], axis=1)


def errors_from_sums(sums: Float64) -> DepthErrors:
    """Turn (8,) sums of ``error_sums`` into errors: every pixel weighs the same.

    Raises:
        ValueError: if the sums hold no pixel.
    """
    if sums[0] <= 0:
        raise ValueError("no valid pixel to judge")
    means = sums[1:] / sums[0]
    means[2:4] = np.sqrt(means[2:4])
    return DepthErrors(*means.tolist())


def mean_errors(images: Iterable[DepthErrors]) -> DepthErrors:
    """Average the errors of images: every image weighs the same, as in the published protocols.

    Raises:
        ValueError: if there is no image.
    """
    rows = np.array([astuple(errors) for errors in images])
    if rows.size == 0:
        raise ValueError("no image to average")
    return DepthErrors(*rows.mean(axis=0).tolist())


def confusion_matrix(labels: Array, predicted: Array, num_classes: int) -> npt.NDArray[np.int64]:
    """Count pixels by true and predicted class; matrices of different images may be added.

    Args:
        labels: any shape, integers; values outside [0, C) (255 = ignore) are left out.
        predicted: same shape, integers; values outside [0, C) are left out too.
        num_classes: C.

    Returns:
        (C, C) counts, rows true, columns predicted.

    Raises:
        ValueError: if the shapes differ.
    """
    true, guess = as_array(labels).astype(np.int64), as_array(predicted).astype(np.int64)
    if true.shape != guess.shape:
        raise ValueError(f"labels {true.shape} and prediction {guess.shape} differ in shape")
    kept = (true >= 0) & (true < num_classes) & (guess >= 0) & (guess < num_classes)
    counts = np.bincount(true[kept] * num_classes + guess[kept], minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def class_iou(confusion: npt.NDArray[np.int64]) -> Float64:
    """Return (C,) intersection over union; NaN for classes that are neither true nor predicted anywhere."""
    hit = np.diag(confusion).astype(np.float64)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - hit
    shares = np.full_like(hit, np.nan)
    np.divide(hit, union, out=shares, where=union > 0)
    return shares


def mean_iou(confusion: npt.NDArray[np.int64]) -> float:
    """Return the mean of ``class_iou`` over the classes that occur in the truth; NaN if none does.

    A class that is only predicted lowers the IoU of the classes it was mistaken for, and is not averaged itself.
    """
    occurs = confusion.sum(axis=1) > 0
    return float(class_iou(confusion)[occurs].mean()) if occurs.any() else float("nan")


def calibration_sums(confidence: Array, correct: Array, bins: int = 15) -> Float64:
    """Sum by bin of confidence; sums of different images may be added.

    Args:
        confidence: any shape, probability of the predicted class, in [0, 1].
        correct: same shape, true where the predicted class is right.
        bins: number of bins of equal width.

    Returns:
        (bins, 3): pixels, summed confidence, summed correctness.

    Raises:
        ValueError: if the shapes differ or a confidence is outside [0, 1].
    """
    sure, right = as_array(confidence).astype(np.float64).ravel(), as_array(correct).astype(np.float64).ravel()
    if sure.shape != right.shape:
        raise ValueError(f"confidence ({sure.size} values) and correctness ({right.size}) differ in size")
    if not ((sure >= 0) & (sure <= 1)).all():
        raise ValueError("confidence must lie in [0, 1]")
    index = np.minimum((sure * bins).astype(np.int64), bins - 1)
    return np.stack([np.bincount(index, w, bins) for w in (np.ones_like(sure), sure, right)], axis=1)


def expected_calibration_error(sums: Float64) -> float:
    """Return Σ (n_b / n)·|accuracy_b − confidence_b| of ``calibration_sums`` (Guo et al. 2017); NaN without pixels."""
    total = sums[:, 0].sum()
    return float(np.abs(sums[:, 2] - sums[:, 1]).sum() / total) if total else float("nan")
