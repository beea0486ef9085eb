"""Which intrinsics an image has: those given, those of a field of view, or those that the weights know."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from semdepth.inference.metric import RoadCamera
from semdepth.inference.predictor import Predictor
from semdepth.runtime import InputError

SAME_FRAMING = 0.05
"""How much an image's width over height may differ from the training images' for their intrinsics to hold (log)."""
MEND = "give --intrinsics '[fx,fy,cx,cy]' or --fov_deg"


@dataclass(frozen=True)
class Cameras:
    """Intrinsics by image size."""

    intrinsics: tuple[float, float, float, float] | None = None
    """fx, fy, cx, cy in pixels of the images; None: by the field of view, else those that the weights know."""
    fov_deg: float | None = None
    """Horizontal field of view in degrees."""
    learnt: Callable[[tuple[int, int]], npt.NDArray[np.float64] | None] = lambda size: None
    """(H, W) → (3, 3) of the weights' own camera, if they know it (``Predictor.intrinsics_for``)."""
    trained_size: tuple[int, int] | None = None
    """(H, W) that the weights were trained at."""

    def __post_init__(self) -> None:
        if self.intrinsics is not None and self.fov_deg is not None:
            raise InputError("give intrinsics or fov_deg, not both")
        if self.intrinsics is not None or self.fov_deg is not None:
            RoadCamera(1.0, self.intrinsics, self.fov_deg)  # refuses what is no camera

    def matrix(self, size: tuple[int, int]) -> npt.NDArray[np.float64]:
        """Return the (3, 3) intrinsics in pixels of an image of ``size`` (H, W).

        Raises:
            InputError: if they are unknown, or those given are of another size.
        """
        if self.intrinsics is not None or self.fov_deg is not None:
            return RoadCamera(1.0, self.intrinsics, self.fov_deg).matrix(size).double().numpy()
        known = self.learnt(size)
        if known is None:
            raise InputError(f"the camera's intrinsics are unknown to these weights; {MEND}")
        assert self.trained_size is not None
        height, width = self.trained_size
        if abs(math.log(size[1] / size[0] * height / width)) > SAME_FRAMING:
            raise InputError(
                f"an image of {size[1]}×{size[0]} is framed otherwise than the {width}×{height} that the weights know "
                f"the intrinsics of; {MEND}"
            )
        return known

    def road_camera(self, height: float, size: tuple[int, int]) -> RoadCamera:
        """Return the camera of an image of ``size`` (H, W), ``height`` metres above the road.

        Raises:
            InputError: as ``matrix`` does.
        """
        k = torch.from_numpy(self.matrix(size))
        return RoadCamera(height, (float(k[0, 0]), float(k[1, 1]), float(k[0, 2]), float(k[1, 2])))


def cameras_of(
    predictor: Predictor, intrinsics: tuple[float, float, float, float] | None, fov_deg: float | None
) -> Cameras:
    """Return the intrinsics that a user gave, else the predictor's own.

    Raises:
        InputError: if those given contradict each other or are no camera's.
    """
    return Cameras(intrinsics, fov_deg, predictor.intrinsics_for, predictor.image_size)
