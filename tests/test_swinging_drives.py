"""What docs/results/learnt_focal.md rests on: drives that swing, a loss with its minimum at the true focal length."""

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from semdepth.models.network import NetworkConfig, build_depth_network
from semdepth.models.pose_net import build_pose_network
from semdepth.models.weights import save_weights

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("worlds") / "swing"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["swinging_drives.py", str(out), "--factor", "1.3", "--drives", "2"])
        runpy.run_path(str(BENCHMARKS / "swinging_drives.py"), run_name="__main__")
        with pytest.raises(SystemExit):  # nothing is written over, nor is a calibration spoilt twice
            runpy.run_path(str(BENCHMARKS / "swinging_drives.py"), run_name="__main__")
    return out


@pytest.fixture(scope="module")
def diagnosis() -> dict[str, Any]:
    return runpy.run_path(str(BENCHMARKS / "focal_diagnosis.py"))


def test_the_camera_swings_and_its_calibration_is_wrong(world: Path, diagnosis: dict[str, Any]) -> None:
    calibration = (world / "2026_01_01" / "calib_cam_to_cam.txt").read_text()
    assert f"P_rect_02: {1.3 * 0.58 * 192:.6e}" in calibration
    frames = diagnosis["true_frames"](world, 1.3, 8)
    assert frames.intrinsics[0, 0, 0] == pytest.approx(0.58 * 192, rel=1e-5)
    yaw = np.degrees(diagnosis["axis_angles"](frames.source_from_target)[..., 1])
    assert 1.5 < yaw.abs().max() < 4


def test_the_loss_is_smallest_at_the_true_focal_length(world: Path, diagnosis: dict[str, Any]) -> None:
    frames = diagnosis["true_frames"](world, 1.3, 4)
    with torch.no_grad():
        shorter, true, longer = (diagnosis["loss_at"](frames, factor) for factor in (0.92, 1.0, 1.08))
    assert true < min(shorter, longer)


def test_the_networks_of_a_run_are_judged(
    world: Path, diagnosis: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = NetworkConfig(encoder="resnet10-small", decoder_channels=(8, 8, 16, 16, 32), intrinsics="learnt")
    pose = build_pose_network("resnet10-small", learn_focal=True, initial_motion=0.02, seed=0)
    camera = diagnosis["true_frames"](world, 1.0, 1).intrinsics[0].tolist()
    extra = {"image_size": [64, 192], "intrinsics": camera}
    save_weights(tmp_path / "weights.safetensors", build_depth_network(config, seed=0), pose, extra)
    with torch.no_grad():
        diagnosis["judge_run"](diagnosis["true_frames"](world, 1.3, 6), tmp_path / "weights.safetensors")
    told = capsys.readouterr().out
    assert "+30.0%" in told
    slope = float(told.split("yaw |")[1].split("|")[0])
    assert slope == pytest.approx(1 / 1.3, rel=0.1)  # before training all that is known is the shift
