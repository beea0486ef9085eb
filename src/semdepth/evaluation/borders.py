"""Where things end: borders of label maps, edges of depth maps, distances to them, and separate objects."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from semdepth.labels import IGNORE

Mask = npt.NDArray[np.bool_]
Map = npt.NDArray[np.float64]

_BLUR_SIGMA = 2**0.5  # pixels; that of the edge detector in Koch et al. 2018


def label_borders(labels: npt.NDArray[Any]) -> Mask:
    """Return the (H, W) mask of pixels on either side of a change of label; ignored pixels (255) make no border."""
    borders = np.zeros(labels.shape, dtype=np.bool_)
    for axis in (0, 1):
        one, two = _neighbours(labels, axis)
        change = (one != two) & (one != IGNORE) & (two != IGNORE)
        first, second = _neighbours(borders, axis)  # views: writing to them writes to the mask
        first |= change
        second |= change
    return borders


def border_density(labels: npt.NDArray[Any]) -> float:
    """Return the share of labelled pixels that lie on a label border, in [0, 1]; NaN without a labelled pixel."""
    labelled = labels != IGNORE
    return float(label_borders(labels)[labelled].mean()) if labelled.any() else float("nan")


def depth_edges(depth: npt.NDArray[Any], ratio: float = 1.25) -> Mask:
    """Return the (H, W) mask of one-pixel-wide edges of a dense depth map, as a Canny detector finds them.

    Log-depth is blurred (σ = √2 px); kept are the local maxima of its gradient along the gradient's direction, as steep
    as a clean step by ``ratio`` comes out. Logarithms make it blind to the map's scale; taking maxima keeps slanted
    planes, whose gradient only grows steadily, from counting. Blurred edges are less steep and need a larger step.

    Args:
        depth: (H, W), all > 0, metres or up to scale.
        ratio: far over near depth, > 1.

    Raises:
        ValueError: if a depth is not finite and positive, or ``ratio`` is not above 1.
    """
    if not ratio > 1:
        raise ValueError(f"ratio must be above 1, not {ratio}")
    if not (np.isfinite(depth).all() and (depth > 0).all()):
        raise ValueError("depth edges need a dense map of finite, positive depths")
    log_depth = _blur(np.log(depth.astype(np.float64)))
    down, right = (np.asarray(np.gradient(log_depth, axis=axis)) for axis in (0, 1))
    steepness = np.hypot(down, right)
    clean_step = float(np.max(np.gradient(_blur(np.repeat([0.0, 1.0], 16)))))
    steep: Mask = steepness >= np.log(ratio) * clean_step
    return steep & _ridges(steepness, down, right)


def distance_within(mask: Mask, reach: int) -> Map:
    """Return (H, W) Euclidean distances in pixels to the nearest true pixel of ``mask``, inf beyond ``reach``.

    Exact, in two passes (along rows, then columns) of 2·reach + 1 shifts each.
    """
    squared = np.where(mask, 0.0, np.inf).astype(np.float32)
    for axis in (1, 0):
        nearest = squared.copy()
        for shift in range(1, min(reach, mask.shape[axis] - 1) + 1):
            here, there = _neighbours(nearest, axis, shift)
            before, after = _neighbours(squared, axis, shift)
            np.minimum(here, after + shift**2, out=here)
            np.minimum(there, before + shift**2, out=there)
        squared = nearest
    return np.where(squared <= reach**2, np.sqrt(squared, dtype=np.float64), np.inf)


def boundary_errors(true_edges: Mask, predicted_edges: Mask, reach: int = 10) -> tuple[float, float]:
    """Depth-boundary errors in pixels, after Koch et al. 2018 (iBims-1, section 4.3).

    Args:
        true_edges: (H, W).
        predicted_edges: (H, W).
        reach: pixels; farther is no match.

    Returns:
        Accuracy: mean distance of predicted edge pixels to the nearest true one, among those within ``reach`` of one
        (``reach`` where none is). Completeness: mean distance of true edge pixels to the nearest predicted one, each
        cut at ``reach``. Both in [0, reach], lower is better; both NaN where the truth has no edge.
    """
    if not true_edges.any():
        return float("nan"), float("nan")
    from_truth = distance_within(true_edges, reach)[predicted_edges]
    matched = from_truth[np.isfinite(from_truth)]
    to_prediction = np.minimum(distance_within(predicted_edges, reach)[true_edges], reach)
    return float(matched.mean()) if matched.size else float(reach), float(to_prediction.mean())


def connected_objects(mask: Mask) -> npt.NDArray[np.int64]:
    """Number the connected regions (4 neighbours) of ``mask``: (H, W), 0 outside, one positive number a region.

    Objects that touch in the image count as one.
    """
    regions = np.zeros(mask.shape, dtype=np.int64)
    rows = np.flatnonzero(mask.any(axis=1))
    columns = np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return regions
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    inner = np.where(mask[box], np.arange(1, mask[box].size + 1).reshape(mask[box].shape), 0)
    while True:  # the highest number of a region spreads along rows and columns until nothing changes
        spread = _spread(_spread(inner).T).T
        if np.array_equal(spread, inner):
            break
        inner = spread
    regions[box] = inner
    return regions


def count_objects(mask: Mask, min_pixels: int = 20) -> int:
    """Count the regions of ``connected_objects`` with at least ``min_pixels`` pixels."""
    _, sizes = np.unique(connected_objects(mask)[mask], return_counts=True)
    return int((sizes >= min_pixels).sum())


def _spread(regions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Give every horizontal run of non-zero pixels its highest number."""
    flat = np.pad(regions, ((0, 0), (0, 1))).ravel()  # a zero column keeps runs from going on in the next row
    inside = flat > 0
    starts = np.flatnonzero(np.diff(inside.astype(np.int8), prepend=0))
    if starts.size == 0:
        return regions
    lengths = np.diff(starts, append=flat.size)
    out = flat.copy()
    out[starts[0] :] = np.repeat(np.maximum.reduceat(flat, starts), lengths)
    return out.reshape(regions.shape[0], -1)[:, :-1]


def _neighbours(values: npt.NDArray[Any], axis: int, shift: int = 1) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Views of a map without its last and without its first ``shift`` rows (axis 0) or columns (axis 1)."""
    if axis == 0:
        return values[:-shift], values[shift:]
    return values[:, :-shift], values[:, shift:]


def _blur(values: Map) -> Map:
    """Gaussian blur along every axis; maps go on beyond their border with the slope that they have there."""
    reach = 5
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / _BLUR_SIGMA) ** 2)
    taps /= taps.sum()
    for _ in range(values.ndim):
        values = np.moveaxis(values, -1, 0)  # after one round per axis the order is the old one again
        sides = [(reach, reach)] + [(0, 0)] * (values.ndim - 1)
        padded = np.pad(values, sides, mode="reflect", reflect_type="odd")
        blurred = np.zeros_like(values)
        for k, tap in enumerate(taps):
            blurred += tap * padded[k : k + len(values)]
        values = blurred
    return values


def _ridges(height: Map, down: Map, right: Map) -> Mask:
    """True where ``height`` is highest among its neighbours along the direction (down, right), cut to 45° steps.

    Never on the outermost pixels, whose neighbours are not known.
    """
    padded = np.pad(height, 1, constant_values=np.inf)
    rows, columns = height.shape
    sector = np.round(np.arctan2(down, right) / (np.pi / 4)).astype(np.int64) % 4
    ridge = np.zeros(height.shape, dtype=np.bool_)
    for k, (dy, dx) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        ahead = padded[1 + dy : 1 + dy + rows, 1 + dx : 1 + dx + columns]
        behind = padded[1 - dy : 1 - dy + rows, 1 - dx : 1 - dx + columns]
        ridge |= (sector == k) & (height > behind) & (height >= ahead)  # of two equal neighbours, one
    return ridge
