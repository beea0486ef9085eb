"""Depth in metres: the camera's height above the road, and the road that the segmentation sees."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from semdepth.geometry.camera import intrinsics_from_fov
from semdepth.geometry.ground import DEFAULT, GroundPlane, GroundPlaneConfig, fit_ground_plane, require_height
from semdepth.models.network import DepthNetwork
from semdepth.runtime import InputError
from semdepth.structures import Prediction


@dataclass(frozen=True)
class RoadCamera:
    """A camera that is fixed to a vehicle: what turns depth up to scale into metres."""

    height: float
    """Metres above the road."""
    intrinsics: tuple[float, float, float, float] | None = None
    """fx, fy, cx, cy in pixels of the images; pixel centres at integer coordinates."""
    fov_deg: float | None = None
    """Horizontal field of view in degrees, in place of intrinsics: square pixels, centred principal point."""

    def __post_init__(self) -> None:
        require_height(self.height)
        if (self.intrinsics is None) == (self.fov_deg is None):
            raise InputError("camera height: give the camera's intrinsics (fx,fy,cx,cy) or fov_deg with it, not both")
        if self.fov_deg is not None and not 0 < self.fov_deg < 180:
            raise InputError(f"fov_deg {self.fov_deg}: give the horizontal field of view in degrees, between 0 and 180")
        numbers = self.intrinsics or (1.0, 1.0, 0.0, 0.0)
        if not all(map(math.isfinite, numbers)) or min(numbers[:2]) <= 0:
            raise InputError(f"intrinsics {list(numbers)}: give fx, fy, cx, cy in pixels, focal lengths above 0")

    def matrix(self, size: tuple[int, int]) -> Tensor:
        """Return the (3, 3) intrinsics in pixels of an image of ``size`` (H, W).

        Raises:
            InputError: if the given intrinsics have their principal point outside the image: they are of another size.
        """
        if self.fov_deg is not None:
            return intrinsics_from_fov(self.fov_deg, size)
        assert self.intrinsics is not None
        fx, fy, cx, cy = self.intrinsics
        height, width = size
        if not (0 <= cx <= width - 1 and 0 <= cy <= height - 1):
            raise InputError(
                f"intrinsics {list(self.intrinsics)}: the principal point lies outside the image of {width}×{height}; "
                "give them in pixels of the images, or fov_deg"
            )
        return torch.tensor([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def require_segmentation(network: DepthNetwork) -> None:
    """Refuse a network that does not see what is road.

    Raises:
        InputError: if it has no segmentation branch.
    """
    if network.config.fusion == "depth-only":
        raise InputError(
            "camera height: this network is depth-only and does not see what is road; use weights trained with a "
            "segmentation branch, e.g. --network.fusion ssfa"
        )


def road_plane(prediction: Prediction, camera: RoadCamera, config: GroundPlaneConfig = DEFAULT) -> GroundPlane:
    """Fit the road's plane to a prediction.

    Args:
        prediction: with labels, in any unit.
        camera: that took the image.
        config: how the plane is found.

    Returns:
        The plane in the unit of the prediction, or the reason why there is none.

    Raises:
        InputError: if the prediction has no labels, or the camera's intrinsics are not of the image's size.
    """
    if prediction.labels is None:
        raise InputError("metric scale: the prediction has no labels, so the road is unknown; use a two-branch network")
    height, width = prediction.depth.shape
    depth, labels = torch.from_numpy(prediction.depth), torch.from_numpy(prediction.labels)
    return fit_ground_plane(depth, labels, camera.matrix((height, width)), config)


def in_metres(prediction: Prediction, scale: float) -> Prediction:
    """Return the prediction with its depth multiplied by ``scale``, and its disparity divided.

    ``Prediction.scale`` is what the network's own depth was multiplied by, over all calls.

    Raises:
        ValueError: if the scale is not a number above 0.
    """
    if not (scale > 0 and math.isfinite(scale)):
        raise ValueError(f"scale: expected a finite number above 0, got {scale}")
    factor = np.float32(scale)
    return replace(
        prediction,
        depth=prediction.depth * factor,
        disparity=prediction.disparity / factor,
        scale=scale * (prediction.scale or 1.0),
    )
