"""Depth of video with less flicker: each frame is blended with the past along the flow.

Nothing is learnt. What a camera's own motion does to depth is no flicker: driving on brings everything nearer by the same
distance. So the past is compared with the present up to scale and shift, and the shift is taken off the past. The scale is
not: its jumps are blended like all else, and the filter forgets them. Bringing every frame to the scale of the one before
instead adds up the errors of the fit, and the scale of a drive wanders.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from semdepth.runtime import InputError
from semdepth.structures import Prediction

LONG_SIDE = 384
"""Pixels of the longer side at which flow is sought; smaller frames are enlarged, up to twice."""
SAME_SCENE = 0.5
"""Share of the pixels whose flow leads back to them, below which there was a cut: on rendered drives it is 0.9 and more
between neighbours, 0.6 and more across three frames, and under 0.4 between different drives."""
SAME_GREY = 0.1
"""Difference of luma, of 1, at which the past counts 1/e: there the flow is wrong, or something came into view."""
SAME_DEPTH = 0.4
"""Difference of log depth at which the past counts 1/e: something moves on its own, or the flow is wrong."""
STAY = 0.05
"""How strongly the scale is held to the network's own, against what the frames say: where depths are all alike, scale and
shift can hardly be told apart, and errors would add up from frame to frame."""
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
            memory: weight in [0, 1) of the past, where it is sure; 0 leaves frames as they are.

        Raises:
            InputError: if ``memory`` is out of range.
        """
        if not 0 <= memory < 1:
            raise InputError(f"stabilise: memory {memory} must lie in [0, 1); 0.6 is the default")
        import cv2

        self._memory = memory
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._flow.setFinestScale(0)
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
        matched = _leads_back(flow, self._flow.calc(past.grey, grey, None))
        if matched.mean() < SAME_SCENE:
            return depth
        change = _follow(past.grey, flow).astype(np.float32) - grey
        seen = np.exp(-((change / (255 * SAME_GREY)) ** 2)) * matched
        before = _follow(past.depth, _enlarged(flow, depth.shape))
        sure = _enlarged(seen, depth.shape)
        _, nearer = fit_scale_and_shift(depth, before, sure)
        expected = before - np.float32(nearer)
        difference = np.log(np.maximum(expected, 1e-3 * depth) / depth)
        weight = self._memory * sure * np.exp(-((difference / SAME_DEPTH) ** 2))
        steady: Depth = (depth * np.exp(weight * difference)).astype(np.float32)
        return steady


def fit_scale_and_shift(
    depth: Depth, before: Depth, sure: npt.NDArray[np.float32], stay: float = STAY
) -> tuple[float, float]:
    """Return (s, d) with ``s·depth + d = before`` for most pixels: least squares of relative errors, outliers reweighted.

    Args:
        depth: (H, W) of the present frame, up to scale.
        before: (H, W) of the past frame at the same points of the scene.
        sure: (H, W) in [0, 1], how much a pixel counts.
        stay: how much a scale of 1 counts, against all pixels together.

    Returns:
        The scale, within a factor 2 of 1, and the distance by which the camera came nearer. (1, 0) where too little is
        sure to tell.
    """
    step = max(round((depth.size / SAMPLES) ** 0.5), 1)
    now, then, weight = (a[::step, ::step].ravel().astype(np.float64) for a in (depth, before, sure))
    if weight.sum() < 0.1 * weight.size:
        return 1.0, 0.0
    columns = np.stack((now / then, 1 / then), axis=1)
    prior = np.diag((stay, 1e-3 / float(np.median(then)) ** 2)) * weight.sum()
    kept, scale, shift = weight, 1.0, 0.0
    for _ in range(8):
        gram = (columns * kept[:, None]).T @ columns + prior
        scale, shift = np.linalg.solve(gram, columns.T @ kept + prior @ (1, 0))
        error = np.abs(columns @ (scale, shift) - 1)
        spread = max(float(np.median(error)), 1e-4)
        kept = weight / (1 + (error / (2 * spread)) ** 2)
    return float(np.clip(scale, 0.5, 2)), float(shift)


def _small(pixels: npt.NDArray[np.uint8]) -> Grey:
    height, width = pixels.shape[:2]
    factor = min(LONG_SIDE / max(height, width), 2)
    size = max(round(width * factor), 16), max(round(height * factor), 16)
    return np.array(Image.fromarray(pixels).convert("L").resize(size, Image.Resampling.BICUBIC))


def _follow(picture: npt.NDArray, flow: Depth) -> npt.NDArray:
    """Return the past picture's values at where each present pixel was."""
    import cv2

    height, width = picture.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    followed: npt.NDArray = cv2.remap(
        picture, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return followed


def _leads_back(flow: Depth, back: Depth) -> npt.NDArray[np.bool_]:
    """Return (h, w), true where the flow to the past and the flow from there cancel: not where something was hidden."""
    there = np.stack([_follow(back[..., axis], flow) for axis in (0, 1)], axis=-1)
    astray = np.hypot(*np.moveaxis(flow + there, -1, 0))
    height, width = flow.shape[:2]
    y, x = np.mgrid[:height, :width]
    x, y = x + flow[..., 0], y + flow[..., 1]
    inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    found: npt.NDArray[np.bool_] = inside & (
        astray < 0.01 * max(height, width) + 0.1 * np.hypot(*np.moveaxis(flow, -1, 0))
    )
    return found


def _enlarged(values: npt.NDArray, size: tuple[int, ...]) -> Depth:
    """Return flow (h, w, 2), in pixels, or weights (h, w) at ``size`` (H, W)."""
    import cv2

    height, width = values.shape[:2]
    large: Depth = cv2.resize(values.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)
    return large * np.array((size[1] / width, size[0] / height), dtype=np.float32) if values.ndim == 3 else large
