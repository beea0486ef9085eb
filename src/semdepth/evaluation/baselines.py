"""What a model must beat: predictions that never look at the image, only at the training set's ground truth.

Under median scaling one constant depth is like any other: every flat prediction becomes the median of the truth. The
per-pixel map is stronger: driving scenes have the road below and the far end in the middle, whatever the image shows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import interpolate

from semdepth.evaluation.metrics import Array, Float64, as_array

_BINS = 256
_SPAN = 50.0  # normalised depths are kept between 1/50 and 50 times the image's median: bins of 3 %


def constant_depth(height: int, width: int, depth: float = 10.0) -> npt.NDArray[np.float32]:
    """Return (height, width) filled with ``depth`` metres; under median scaling the value makes no difference."""
    return np.full((height, width), depth, dtype=np.float32)


class MeanDepthMap:
    """The best depth map that is the same for every image, learnt from the training set's ground truth.

    Each depth is divided by its image's median (median scaling takes the scale away again) and counted by grid cell in
    a histogram over log-depth, weighted by one over the depth. The weighted median of a cell is the constant that
    minimises Σ |g − p| / g there: best in AbsRel, up to the bins' width and to the scaling of single test images. Cells
    that never had ground truth take their row's value, rows without any take the whole image's.

    Args:
        height: of the grid; images of any size are counted on it by relative position.
        width: of the grid.
    """

    def __init__(self, height: int = 48, width: int = 160) -> None:
        self._counts = np.zeros((height, width, _BINS), dtype=np.float64)

    def update(self, ground_truth: Array) -> None:
        """Count one training image: (H, W) metres, 0 = unknown. An image without truth counts for nothing."""
        truth = as_array(ground_truth).astype(np.float64)
        known = np.isfinite(truth) & (truth > 0)
        if not known.any():
            return
        rows, columns = np.nonzero(known)
        height, width, _ = self._counts.shape
        normalised = np.clip(truth[known] / np.median(truth[known]), 1 / _SPAN, _SPAN)
        level = np.minimum((np.log(normalised * _SPAN) / (2 * np.log(_SPAN)) * _BINS).astype(np.int64), _BINS - 1)
        cell = (rows * height // truth.shape[0], columns * width // truth.shape[1], level)
        np.add.at(self._counts, cell, 1 / normalised)

    def depth(self, height: int, width: int) -> npt.NDArray[np.float32]:
        """Return the map at (height, width), up to scale (1 = the image's median).

        Raises:
            ValueError: if no image with ground truth has been counted.
        """
        if not self._counts.any():
            raise ValueError("no training image with ground truth has been counted")
        log_map = torch.from_numpy(_weighted_medians(self._counts))
        resized = interpolate(log_map[None, None], size=(height, width), mode="bilinear", align_corners=False)
        return resized[0, 0].exp().to(torch.float32).numpy()


def _weighted_medians(counts: Float64) -> Float64:
    """(h, w, bins) -> (h, w) log-depths; the faint prior of the row and the whole speaks where a cell is empty."""
    everything = counts.sum(axis=(0, 1), keepdims=True)
    row = counts.sum(axis=1, keepdims=True)
    filled = counts + 1e-6 * row / max(row.max(), 1.0) + 1e-12 * everything / everything.max()
    below = np.cumsum(filled, axis=-1)
    middle = (below < below[..., -1:] / 2).sum(axis=-1)
    levels: Float64 = (2 * (middle + 0.5) / _BINS - 1) * np.log(_SPAN)
    return levels
