"""Depth of video without flicker: each frame is brought to the running scale and blended with the past along the flow.

Nothing is learnt. Between two frames of one network, depth jumps mostly in scale (Luo et al., "Consistent video depth
estimation", 2020, align scales likewise before they refine), and then in detail. What a camera's own motion does to depth
is kept out of both: driving on brings everything nearer by the same distance, so the past is compared with the present
up to scale and shift, and a shift is no flicker.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from semdepth.runtime import InputError
from semdepth.structures import Prediction

LONG_SIDE = 384
"""Pixels of the longer side at which flow is sought."""
SAME_SCENE = 0.5
"""Correlation of a frame with the one before, brought onto it, below which there was a cut."""
SAME_GREY = 0.05
"""Difference of luma, of 1, at which the past counts 1/e: there the flow is wrong, or something came into view."""
SAME_DEPTH = 0.15
"""Difference of log depth at which the past counts 1/e: something moves on its own, or the flow is wrong."""
LEAK = 0.1
"""Share of its correction that the running scale gives up each frame, so that errors do not add up."""
SAMPLES = 4000
Depth = npt.NDArray[np.float32]
Grey = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Past:
    grey: Grey
    depth: Depth


class Stabiliser:
    """Takes the frames of one video in order; after a cut it starts anew. Its memory is one frame."""

    def __init__(self, memory: float = 0.6) -> None:
        """Begin a video.

        Args:
            memory: weight in [0, 1) of the past, where it is sure; 0 only evens out the scale.

        Raises:
            InputError: if ``memory`` is out of range.
        """
        if not 0 <= memory < 1:
            raise InputError(f"stabilise: memory {memory} must lie in [0, 1); 0.6 halves most flicker")
        import cv2

        self._memory = memory
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._past: _Past | None = None

    def __call__(self, pixels: npt.NDArray[np.uint8], prediction: Prediction) -> Prediction:
        """Return the prediction of the next frame, steadied.

        Args:
            pixels: (H, W, 3) uint8, the frame.
            prediction: of that frame, in the network's own unit.

        Returns:
            The same with another depth and disparity; labels and uncertainty stay as they are.
        """
        grey, depth = _small(pixels), prediction.depth
        if self._past is not None and self._past.depth.shape == depth.shape:
            depth = self._blend(grey, depth, self._past)
        self._past = _Past(grey, depth)
        return replace(prediction, depth=depth, disparity=np.float32(1) / depth)

    def _blend(self, grey: Grey, depth: Depth, past: _Past) -> Depth:
        flow = self._flow.calc(grey, past.grey, None)
        brought = _follow(past.grey, flow)
        if _correlation(brought, grey) < SAME_SCENE:
            return depth
        seen = np.exp(-(((brought.astype(np.float32) - grey) / (255 * SAME_GREY)) ** 2)) * _inside(flow)
        before = _follow(past.depth, _enlarged(flow, depth.shape))
        sure = _enlarged(seen, depth.shape)
        scale, nearer = fit_scale_and_shift(depth, before, sure)
        present, expected = depth * np.float32(scale), before - np.float32(nearer)
        difference = np.log(np.maximum(expected, 1e-3 * present) / present)
        weight = self._memory * sure * np.exp(-((difference / SAME_DEPTH) ** 2))
        steady: Depth = (present * np.exp(weight * difference) * scale**-LEAK).astype(np.float32)
        return steady


def fit_scale_and_shift(depth: Depth, before: Depth, sure: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Return (s, d) with ``s·depth + d = before`` for most pixels: least squares of relative errors, outliers reweighted.

    Args:
        depth: (H, W) of the present frame, up to scale.
        before: (H, W) of the past frame at the same points of the scene.
        sure: (H, W) in [0, 1], how much a pixel counts.

    Returns:
        The scale, within a factor 2 of 1, and the distance by which the camera came nearer. (1, 0) where too little is
        sure to tell.
    """
    step = max(round((depth.size / SAMPLES) ** 0.5), 1)
    now, then, weight = (a[::step, ::step].ravel().astype(np.float64) for a in (depth, before, sure))
    if weight.sum() < 0.1 * weight.size:
        return 1.0, 0.0
    columns = np.stack((now / then, 1 / then), axis=1)
    # Where all is equally far, scale and shift cannot be told apart: then the shift stays small.
    unit = float(np.median(then))
    ridge = np.diag((0.0, 1e-3 * weight.sum() / unit**2))
    kept, scale, shift = weight, 1.0, 0.0
    for _ in range(8):
        gram = (columns * kept[:, None]).T @ columns + ridge
        scale, shift = np.linalg.solve(gram, columns.T @ kept)
        error = np.abs(columns @ (scale, shift) - 1)
        spread = max(float(np.median(error)), 1e-4)
        kept = weight / (1 + (error / (2 * spread)) ** 2)
    return float(np.clip(scale, 0.5, 2)), float(shift)


def _small(pixels: npt.NDArray[np.uint8]) -> Grey:
    height, width = pixels.shape[:2]
    factor = min(LONG_SIDE / max(height, width), 1)
    size = max(round(width * factor), 16), max(round(height * factor), 16)
    return np.array(Image.fromarray(pixels).convert("L").resize(size, Image.Resampling.BOX))


def _follow(picture: npt.NDArray, flow: Depth) -> npt.NDArray:
    """Return the past picture's values at where each present pixel was."""
    import cv2

    height, width = picture.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    followed: npt.NDArray = cv2.remap(
        picture, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return followed


def _inside(flow: Depth) -> npt.NDArray[np.bool_]:
    height, width = flow.shape[:2]
    y, x = np.mgrid[:height, :width]
    x, y = x + flow[..., 0], y + flow[..., 1]
    inside: npt.NDArray[np.bool_] = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    return inside


def _enlarged(values: npt.NDArray, size: tuple[int, ...]) -> Depth:
    """Return flow (h, w, 2), in pixels, or weights (h, w) at ``size`` (H, W)."""
    import cv2

    height, width = values.shape[:2]
    large: Depth = cv2.resize(values.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)
    return large * np.float32((size[1] / width, size[0] / height)) if values.ndim == 3 else large


def _correlation(first: Grey, second: Grey) -> float:
    a, b = (p.astype(np.float64) - p.mean() for p in (first, second))
    contrast = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / contrast if contrast else 1.0
