"""What data sets need of OpenCV: how far a small picture has moved, and straightening what a lens has bent."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from semdepth.runtime import InputError

Picture = npt.NDArray[np.uint8]
Matrix = npt.NDArray[np.float64]


class MotionMeter:
    """Dense flow between two small grey pictures (DIS, Kroeger et al., ECCV 2016), boiled down to two numbers."""

    def __init__(self) -> None:
        """Set up the flow at its fastest preset: some milliseconds for 256 × 144 pixels."""
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)

    def measure(self, earlier: Picture, later: Picture) -> tuple[float, float]:
        """Compare two pictures.

        Args:
            earlier: (h, w) uint8.
            later: (h, w) uint8, the same size, at least 12 pixels each way.

        Returns:
            The median length of the flow over the half of the pixels with more texture, as a share of the longer side;
            and the correlation, in [−1, 1], between ``later`` and ``earlier`` brought onto it by the flow: near 1 for two
            pictures of one scene whatever their exposure, low across a cut. Pictures of one grey correlate fully.
        """
        flow = self._flow.calc(later, earlier, None)
        height, width = later.shape
        x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        brought = cv2.remap(
            earlier, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        length = np.hypot(flow[..., 0], flow[..., 1])[_textured(later)]
        return float(np.median(length)) / max(height, width), _correlation(brought, later)


def _textured(picture: Picture) -> npt.NDArray[np.bool_]:
    """Return (h, w), true for the half of the pixels with the steeper gradient: flow is a guess where there is none."""
    slope = np.hypot(cv2.Sobel(picture, cv2.CV_32F, 1, 0), cv2.Sobel(picture, cv2.CV_32F, 0, 1))
    return np.asarray(slope >= np.median(slope))


def _correlation(first: Picture, second: Picture) -> float:
    a, b = (p.astype(np.float64) - p.mean() for p in (first, second))
    contrast = np.sqrt((a * a).sum() * (b * b).sum())
    if contrast == 0:
        return 1.0 if a.any() == b.any() else 0.0
    return float((a * b).sum() / contrast)


class Straightener:
    """Undoes the distortion of a lens: pictures come out as an ideal pinhole with ``intrinsics`` would take them."""

    def __init__(self, intrinsics: Matrix, distortion: Sequence[float], size: tuple[int, int]) -> None:
        """Work out where every pixel comes from.

        Args:
            intrinsics: (3, 3) in pixels, pixel centres at integer coordinates (as in OpenCV's calibration).
            distortion: k1, k2, p1, p2 and perhaps k3 of the Brown–Conrady model, as OpenCV's calibration gives them.
            size: (H, W) of the pictures.

        Raises:
            InputError: if no lens bends a picture like that.
        """
        coefficients = np.array(distortion, dtype=np.float64)
        # alpha = 0: every pixel of the straight picture was seen; what lies outside it is cut off.
        matrix, _ = cv2.getOptimalNewCameraMatrix(intrinsics, coefficients, size[::-1], 0.0)
        self.intrinsics: Matrix = np.asarray(matrix, dtype=np.float64)
        """(3, 3) of the straightened pictures, which keep their size."""
        self._map = cv2.initUndistortRectifyMap(
            intrinsics, coefficients, None, self.intrinsics, size[::-1], cv2.CV_32FC1
        )
        x, y = self._map
        orderly = (
            np.isfinite(x).all() and np.isfinite(y).all() and (np.diff(x) > 0).all() and (np.diff(y, axis=0) > 0).all()
        )
        if not orderly or self.intrinsics[0, 0] <= 0 or self.intrinsics[1, 1] <= 0:
            raise InputError(
                f"distortion {','.join(f'{c:g}' for c in distortion)}: folds the picture over itself; give the coefficients "
                "that belong to these intrinsics, in OpenCV's order k1,k2,p1,p2[,k3]"
            )

    def __call__(self, picture: Picture) -> Picture:
        """Return the straightened (H, W, 3) or (H, W) uint8 picture."""
        return np.asarray(cv2.remap(picture, *self._map, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
