"""Depth in metres from the camera's height: the predictor, and its parts."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from semdepth.geometry.camera import intrinsics_from_fov
from semdepth.inference.metric import RoadCamera, in_metres, road_plane
from semdepth.inference.predictor import Predictor
from semdepth.models.network import NetworkConfig, build_depth_network
from semdepth.runtime import InputError
from semdepth.structures import NetworkOutput, Prediction

SMALL = NetworkConfig(encoder="resnet10-small", decoder_channels=(8, 8, 16, 16, 32))
SIZE = (64, 96)


def street(unit: float = 0.1) -> Prediction:
    """A road 1.65 m below the camera, sky above it, in a unit of ten metres."""
    rows = torch.arange(SIZE[0])[:, None] - (SIZE[0] - 1) / 2
    focal = float(intrinsics_from_fov(80, SIZE)[1, 1])
    depth = np.broadcast_to(np.where(rows > 2, 1.65 * focal / np.maximum(rows, 1), 50) * unit, SIZE).astype(np.float32)
    labels = np.broadcast_to(np.where(rows > 2, 0, 10), SIZE).astype(np.uint8)
    return Prediction(depth, 1 / depth, labels, np.zeros(SIZE, np.float32))


@pytest.mark.parametrize(
    "camera", [RoadCamera(1.65, fov_deg=80), RoadCamera(1.65, intrinsics=(57.2042, 57.2042, 47.5, 31.5))]
)
def test_a_street(camera: RoadCamera) -> None:
    prediction = street()
    scale = road_plane(prediction, camera).scale(camera.height)
    assert scale == pytest.approx(10, rel=1e-4)
    metric = in_metres(prediction, scale)
    np.testing.assert_allclose(metric.depth, street(1.0).depth, rtol=1e-4)
    np.testing.assert_allclose(metric.depth * metric.disparity, 1, rtol=1e-5)
    assert metric.scale == pytest.approx(10, rel=1e-4)
    assert prediction.scale is None
    assert in_metres(metric, 0.1).scale == pytest.approx(1, rel=1e-4)


class Street(torch.nn.Module):
    """Says the street, whatever the image; ``road`` False: nothing is road."""

    def __init__(self, road: bool = True) -> None:
        super().__init__()
        self.config = replace(SMALL, fusion="none", min_depth=0.1, max_depth=100.0)
        self.road = road

    def forward(self, image: torch.Tensor) -> NetworkOutput:
        found = street()
        sigma = torch.from_numpy((found.disparity - 0.01) / (10 - 0.01))[None, None]
        assert found.labels is not None
        labels = torch.from_numpy(found.labels if self.road else np.full(SIZE, 10, np.uint8)).long()
        logits = 20.0 * torch.nn.functional.one_hot(labels, 19).permute(2, 0, 1)[None]
        return NetworkOutput((sigma,), (logits,))


def test_the_predictor_speaks_metres_where_it_sees_road() -> None:
    image, camera = np.zeros((*SIZE, 3), np.uint8), RoadCamera(1.65, fov_deg=80)
    plain = Predictor(Street(), SIZE, "cpu").predict(image)
    metric = Predictor(Street(), SIZE, "cpu", camera).predict(image)
    assert plain.scale is None
    assert metric.scale == pytest.approx(10, rel=1e-3)
    np.testing.assert_allclose(metric.depth, plain.depth * metric.scale, rtol=1e-5)
    without = Predictor(Street(road=False), SIZE, "cpu", camera).predict(image)
    assert without.scale is None
    np.testing.assert_allclose(without.depth, plain.depth)


def test_a_depth_only_network_sees_no_road() -> None:
    network = build_depth_network(replace(SMALL, fusion="depth-only"), seed=0)
    with pytest.raises(InputError, match="depth-only"):
        Predictor(network, SIZE, "cpu", RoadCamera(1.65, fov_deg=80))
    with pytest.raises(InputError, match="no labels"):
        road_plane(replace(street(), labels=None), RoadCamera(1.65, fov_deg=80))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"height": 0.0, "fov_deg": 80}, "camera height"),
        ({"height": math.nan, "fov_deg": 80}, "camera height"),
        ({"height": 1.65}, "intrinsics"),
        ({"height": 1.65, "fov_deg": 80, "intrinsics": (1, 1, 1, 1)}, "not both"),
        ({"height": 1.65, "fov_deg": 180}, "fov_deg"),
        ({"height": 1.65, "intrinsics": (0, 1, 1, 1)}, "focal"),
    ],
)
def test_bad_cameras(options: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        RoadCamera(**options)


def test_intrinsics_of_another_size_and_no_scale() -> None:
    with pytest.raises(InputError, match="outside the image of 96×64"):
        road_plane(street(), RoadCamera(1.65, intrinsics=(721.5, 721.5, 609.6, 172.9)))
    for wrong in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="scale"):
            in_metres(street(), wrong)
