from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semdepth.inference.cameras import Cameras
from semdepth.inference.drive_cloud import DriveCloud, drive_cloud
from semdepth.inference.predictor import Predictor
from semdepth.labels import TRAIN_ID
from semdepth.models.network import NetworkConfig, build_depth_network
from semdepth.runtime import InputError
from semdepth.structures import Prediction

HEIGHT, WIDTH, FOCAL, CAMERA_HEIGHT, STEP, HORIZON = 48, 96, 60.0, 1.5, 0.7, 15.5
ROAD, BUILDING, SKY, CAR = (TRAIN_ID[name] for name in ("road", "building", "sky", "car"))
CAMERAS = Cameras(intrinsics=(FOCAL, FOCAL, (WIDTH - 1) / 2, HORIZON))
UNIT = 0.02  # of the network, per metre


class Road(Predictor):
    """Sees a flat road, a car on it, buildings at its end, and sky, in a unit of its own."""

    def predict(self, image: object, *, flip: bool = False) -> Prediction:
        below = np.arange(HEIGHT) - HORIZON
        depth = np.where(below > 1, CAMERA_HEIGHT * FOCAL / np.maximum(below, 1), 60.0)[:, None].repeat(WIDTH, 1)
        labels = np.full((HEIGHT, WIDTH), ROAD, dtype=np.uint8)
        labels[below <= 1], labels[:8] = BUILDING, SKY
        labels[30:40, 60:70], depth[30:40, 60:70] = CAR, 5.0
        depth = (depth * UNIT).astype(np.float32)
        return Prediction(depth, 1 / depth, self.labels(labels), None)

    def labels(self, seen: np.ndarray) -> np.ndarray | None:
        return seen


class DepthOnly(Road):
    def labels(self, seen: np.ndarray) -> np.ndarray | None:
        return None


@pytest.fixture
def frames(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{k}.png" for k in range(3)]
    for k, path in enumerate(paths):
        Image.new("RGB", (WIDTH, HEIGHT), (40 * k, 0, 0)).save(path)
    return paths


def survey(frames: list[Path], camera_height: float | None = None, of: type[Road] = Road) -> DriveCloud:
    network = build_depth_network(NetworkConfig(encoder="resnet10-small", pretrained=False))
    path = np.tile(np.eye(4), (len(frames), 1, 1))
    path[:, 2, 3] = STEP * UNIT * np.arange(len(frames))
    return drive_cloud(of(network, (32, 64), "cpu"), frames, path, CAMERAS, camera_height)


def test_all_frames_show_one_road_in_metres(frames: list[Path]) -> None:
    found = survey(frames, CAMERA_HEIGHT)
    assert found.scale == pytest.approx(1 / UNIT, rel=0.01)
    x, y, z = found.cloud.points.T
    np.testing.assert_allclose(y, CAMERA_HEIGHT, rtol=0.01)  # the road alone: no car, no sky, and buildings are far
    for k in range(len(frames)):
        own = found.cloud.colours[:, 0] == 40 * k
        nearest = CAMERA_HEIGHT * FOCAL / (HEIGHT - 1 - HORIZON) + k * STEP
        assert z[own].min() == pytest.approx(nearest, rel=0.01)
        assert np.abs(x[own]).max() < 60


def test_without_a_height_the_cloud_has_the_unit_of_the_path(frames: list[Path]) -> None:
    found, metres = survey(frames), survey(frames, CAMERA_HEIGHT)
    assert found.scale is None
    assert metres.scale is not None
    np.testing.assert_allclose(found.cloud.points * metres.scale, metres.cloud.points, rtol=1e-5)
    np.testing.assert_array_equal(found.cloud.colours, metres.cloud.colours)


def test_what_can_move_gives_points_only_where_nobody_sees_what_it_is(frames: list[Path]) -> None:
    assert len(survey(frames).cloud) < len(survey(frames, of=DepthOnly).cloud)
    with pytest.raises(InputError, match="labels"):
        survey(frames, CAMERA_HEIGHT, of=DepthOnly)


def test_a_long_drive_has_no_more_points_than_viewers_take(frames: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = len(survey(frames).cloud)
    monkeypatch.setattr("semdepth.inference.drive_cloud.POINTS", 500)
    assert 100 < len(survey(frames).cloud) < 600 < whole


def test_frames_of_two_sizes_are_no_drive(frames: list[Path]) -> None:
    Image.new("RGB", (2 * WIDTH, 2 * HEIGHT)).save(frames[1])
    with pytest.raises(InputError, match=r"1\.png: is of 192×96, the frames before it of 96×48"):
        survey(frames)
