"""Can the uncertainty be trusted: does it tell where depth is wrong, and is it as sure as it is right?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from semdepth.evaluation.metrics import Array, Float64, as_array


@dataclass(frozen=True)
class Sparsification:
    """The mean error of the pixels that are left when the least sure ones are taken away (Ilg et al. 2018)."""

    removed: Float64
    """(N,) shares of the pixels taken away, from 0 up, below 1."""
    by_uncertainty: Float64
    """(N,) mean error of the rest, the most uncertain pixels taken away first."""
    by_error: Float64
    """(N,) the same with the largest errors taken away first: no order is better."""

    @property
    def area(self) -> float:
        """AUSE: mean over the shares of the two curves' difference, over the mean error of all pixels. 0: a perfect order;
        negative never. NaN where there is no error at all."""
        whole = float(self.by_error[0])
        return float((self.by_uncertainty - self.by_error).mean()) / whole if whole > 0 else float("nan")

    @property
    def area_of_chance(self) -> float:
        """What ``area`` would be for an order that knows nothing: below it, the uncertainty tells something."""
        whole = float(self.by_error[0])
        return float((whole - self.by_error).mean()) / whole if whole > 0 else float("nan")


def sparsification(error: Array, uncertainty: Array, steps: int = 20) -> Sparsification:
    """Take pixels away by uncertainty and by error, and look at what is left.

    Args:
        error: N ≥ 1 values ≥ 0 (any shape), e.g. |g − p| / g.
        uncertainty: same shape, any scale; only its order matters. Pixels of equal uncertainty each count with their mean
            error: no order among them is the uncertainty's merit.
        steps: how many shares, 0, 1/steps … (steps − 1)/steps.

    Raises:
        ValueError: if the shapes differ, nothing is there, or a value is not finite.
    """
    wrong, unsure = as_array(error).astype(np.float64).ravel(), as_array(uncertainty).astype(np.float64).ravel()
    if wrong.shape != unsure.shape:
        raise ValueError(f"error ({wrong.size} values) and uncertainty ({unsure.size}) differ in size")
    if wrong.size == 0:
        raise ValueError("no pixel to look at")
    if not (np.isfinite(wrong).all() and np.isfinite(unsure).all()):
        raise ValueError("error and uncertainty must be finite; mask them first")
    removed = np.arange(steps) / steps
    order = np.argsort(-unsure, kind="stable")
    return Sparsification(
        removed, _means_of_rest(_level(wrong[order], unsure[order]), removed), _means_of_rest(-np.sort(-wrong), removed)
    )


def reliability(sums: Float64) -> list[tuple[float, float, float]]:
    """Turn (bins, 3) sums of ``metrics.calibration_sums`` into what a reliability diagram shows.

    Returns:
        For every bin with pixels: mean confidence, share that is right, share of all pixels.
    """
    total = sums[:, 0].sum()
    return [(sure / n, right / n, n / total) for n, sure, right in sums.tolist() if n > 0]


def _level(values: Float64, keys: Float64) -> Float64:
    """Give all values of one key (keys are sorted) their mean: the order among them is nobody's merit."""
    starts = np.flatnonzero(np.diff(keys, prepend=np.nan) != 0)
    counts = np.diff(starts, append=len(keys))
    return np.repeat(np.add.reduceat(values, starts) / counts, counts)


def _means_of_rest(values: npt.NDArray[np.float64], removed: Float64) -> Float64:
    first = np.minimum((removed * len(values)).astype(np.int64), len(values) - 1)
    sums = np.cumsum(values[::-1])[::-1]
    means: Float64 = sums[first] / (len(values) - first)
    return means
