from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semdepth.inference.motion import load_motion
from semdepth.models.network import NetworkConfig, build_depth_network
from semdepth.models.pose_net import build_pose_network
from semdepth.models.weights import save_weights
from semdepth.runtime import InputError

SMALL = NetworkConfig(encoder="resnet10-small", decoder_channels=(8, 8, 16, 16, 32))


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("frames")
    random = np.random.default_rng(0)
    paths = [folder / f"{k}.png" for k in range(3)]
    for path in paths:
        Image.fromarray(random.integers(0, 255, (40, 90, 3), dtype=np.uint8)).save(path)
    return paths


def test_motions_are_rigid_and_each_is_of_its_own_pair(frames: list[Path], tmp_path: Path) -> None:
    pose = build_pose_network("resnet10-small", seed=1)
    save_weights(tmp_path / "w.safetensors", build_depth_network(SMALL, seed=0), pose, {"image_size": [64, 96]})
    predictor, done = load_motion(tmp_path / "w.safetensors", "cpu"), []
    motions = predictor.motions(frames, progress=lambda: done.append(1))
    assert motions.shape == (2, 4, 4)
    assert motions.dtype == np.float64
    assert len(done) == 2
    rotations = motions[:, :3, :3]
    np.testing.assert_allclose(rotations @ rotations.transpose(0, 2, 1), np.tile(np.eye(3), (2, 1, 1)), atol=1e-12)
    assert not np.allclose(motions[0], motions[1])
    np.testing.assert_array_equal(predictor.motions(frames[1:])[0], motions[1])
    with pytest.raises(InputError, match="at least two"):
        predictor.motions(frames[:1])


def test_a_learnt_focal_length_tells_turns(tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (16, 28, 3), dtype=np.uint8)).resize((112, 64))
    for k, left in enumerate((8, 0)):  # things move right by eight pixels
        noise.crop((left, 0, left + 96, 64)).save(tmp_path / f"{k}.png")
    pose = build_pose_network("resnet10-small", learn_focal=True, initial_motion=0.02, seed=1)
    depth = build_depth_network(replace(SMALL, intrinsics="learnt"), seed=0)
    camera = [[80.0, 0, 47.5], [0, 80.0, 31.5], [0, 0, 1]]
    save_weights(tmp_path / "w.safetensors", depth, pose, {"image_size": [64, 96], "intrinsics": camera})
    motion = load_motion(tmp_path / "w.safetensors", "cpu").motions([tmp_path / "0.png", tmp_path / "1.png"])[0]
    assert np.arctan2(motion[0, 2], motion[2, 2]) == pytest.approx(0.1, abs=0.01)
    save_weights(tmp_path / "bare.safetensors", depth, pose, {"image_size": [64, 96]})
    with pytest.raises(InputError, match="focal length was learnt but is not stated"):
        load_motion(tmp_path / "bare.safetensors", "cpu")


def test_weights_without_a_pose_network(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", build_depth_network(SMALL, seed=0), extra={"image_size": [64, 96]})
    with pytest.raises(InputError, match="holds no pose network"):
        load_motion(tmp_path / "w.safetensors", "cpu")
    with pytest.raises(InputError, match="no such run"):
        load_motion(tmp_path / "gone")
