"""How sure a mean is: percentile bootstrap over images, or over groups of images that resemble each other.

Consecutive frames of one drive are near copies, so that resampling single images makes intervals too narrow. Give the
drive (or a block of consecutive frames) as the group: whole groups are then drawn (cluster bootstrap).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from semdepth.evaluation.metrics import Float64

_CHUNK = 200  # resamples at a time: bounds the memory at _CHUNK × groups


@dataclass(frozen=True)
class Interval:
    """A mean with its bootstrap interval; the ends are NaN where fewer than two groups carry values."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedDifference:
    """How model A differs from model B on the same images."""

    difference: Interval
    """of mean(A − B)"""
    share_below: float
    """share of the resamples in which A's mean is below B's: near 1 or near 0 where the difference is sure; NaN where
    fewer than two groups carry values"""
    images: int
    """number of images compared"""


def bootstrap_intervals(
    values: npt.ArrayLike,
    groups: Sequence[str] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> list[Interval]:
    """Bootstrap the means of M quantities at once, with the same resamples for all.

    Args:
        values: (N, M), one row an image; NaN where a quantity does not apply to an image.
        groups: N names; images of one name are drawn together. None: every image for itself.
        confidence: coverage of the interval, in (0, 1).
        resamples: number of bootstrap samples.
        seed: of the drawing; same seed, same interval.

    Returns:
        M intervals. Images weigh the same in the mean, however large their group.

    Raises:
        ValueError: if ``values`` is not (N, M) with N > 0, or ``groups`` has another length.
    """
    table = np.asarray(values, dtype=np.float64)
    sums, counts = _group_sums(table, groups)
    low, high = np.full(table.shape[1], np.nan), np.full(table.shape[1], np.nan)
    known = (counts > 0).sum(axis=0) > 1
    if known.any():
        means = _resampled_means(sums[:, known], counts[:, known], resamples, seed)
        tail = 50 * (1 - confidence)
        low[known], high[known] = np.nanpercentile(means, [tail, 100 - tail], axis=0)
    total = _ratio(sums.sum(axis=0), counts.sum(axis=0))
    return [Interval(*row) for row in np.stack([total, low, high], axis=1).tolist()]


def bootstrap_interval(
    values: npt.ArrayLike,
    groups: Sequence[str] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Bootstrap the mean of N values; arguments and errors as for ``bootstrap_intervals``."""
    column = np.asarray(values, dtype=np.float64)[:, None]
    return bootstrap_intervals(column, groups, confidence=confidence, resamples=resamples, seed=seed)[0]


def paired_bootstrap(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    groups: Sequence[str] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> PairedDifference:
    """Compare two models on the same N images; what makes an image hard for both cancels out.

    Args:
        a: N values of model A; NaN where the quantity does not apply.
        b: N values of model B, same order of images.
        groups: as for ``bootstrap_intervals``.
        confidence: as for ``bootstrap_intervals``.
        resamples: as for ``bootstrap_intervals``.
        seed: as for ``bootstrap_intervals``.

    Raises:
        ValueError: if the lengths differ or no image has both values.
    """
    one, two = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if one.shape != two.shape:
        raise ValueError(f"the models were judged on different numbers of images: {one.size} and {two.size}")
    difference = (one - two)[:, None]
    if not np.isfinite(difference).any():
        raise ValueError("no image has a value of both models")
    interval = bootstrap_intervals(difference, groups, confidence=confidence, resamples=resamples, seed=seed)[0]
    means = _resampled_means(*_group_sums(difference, groups), resamples, seed)
    # Of a single group every resample is the same: they say nothing, as the interval does not.
    below = (means < 0).mean() + 0.5 * (means == 0).mean() if np.isfinite(interval.low) else np.nan
    return PairedDifference(interval, float(below), int(np.isfinite(difference).sum()))


def _group_sums(table: Float64, groups: Sequence[str] | None) -> tuple[Float64, Float64]:
    if table.ndim != 2 or table.shape[0] == 0:
        raise ValueError(f"values must be (N, M) with N > 0, not {table.shape}")
    known = np.isfinite(table)
    filled = np.where(known, table, 0.0)
    if groups is None:
        return filled, known.astype(np.float64)
    if len(groups) != len(table):
        raise ValueError(f"{len(table)} images, but {len(groups)} groups")
    names, index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    sums, counts = np.zeros((len(names), table.shape[1])), np.zeros((len(names), table.shape[1]))
    np.add.at(sums, index, filled)
    np.add.at(counts, index, known)
    return sums, counts


def _resampled_means(sums: Float64, counts: Float64, resamples: int, seed: int) -> Float64:
    """(resamples, M): drawing G groups with replacement is one multinomial draw of their weights."""
    rng, number = np.random.default_rng(seed), len(sums)
    share = np.full(number, 1 / number)
    means = []
    for start in range(0, resamples, _CHUNK):
        weights = rng.multinomial(number, share, size=min(_CHUNK, resamples - start)).astype(np.float64)
        means.append(_ratio(weights @ sums, weights @ counts))
    return np.concatenate(means)


def _ratio(sums: Float64, counts: Float64) -> Float64:
    out = np.full_like(sums, np.nan)
    np.divide(sums, counts, out=out, where=counts > 0)
    return out
