"""``semdepth benchmark evaluate``: both judge alike; the projection's and the resizing's short cuts change no number."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from semdepth.apps.benchmark_evaluate import evaluate, find_scans, make_scans, ours, street_disparity
from semdepth.apps.benchmark_turns import open_reference
from semdepth.apps.cli import main
from semdepth.data.lidar import velodyne_depth
from semdepth.evaluation.protocols import depth_from_disparity, kitti_eigen
from semdepth.runtime import InputError

from .test_bad_input import complaint


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Path]]:
    return find_scans(make_scans(tmp_path_factory.mktemp("made")))[:3]


def test_projection_is_the_reference_s(scans: list[tuple[Path, Path]]) -> None:
    reference = open_reference("evaluation")
    for calib, scan in scans[:2]:
        expected = reference.lidar_depth(calib, scan)
        assert (expected > 0).sum() > 5000
        np.testing.assert_array_equal(velodyne_depth(calib, scan), expected.astype(np.float32))


def test_both_judge_alike(scans: list[tuple[Path, Path]]) -> None:
    disparities = [street_disparity(seed) for seed in range(2)]
    expected = open_reference("evaluation").evaluate(scans, disparities)
    np.testing.assert_allclose(ours(scans, disparities), expected, rtol=1e-4)


def test_threads_change_nothing(scans: list[tuple[Path, Path]]) -> None:
    threads, disparities = torch.get_num_threads(), [street_disparity(0)]
    try:
        found = []
        for number in (1, 3):
            torch.set_num_threads(number)
            found.append(ours(scans, disparities))
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(*found)


def test_resizing_at_judged_pixels_is_resizing_all(scans: list[tuple[Path, Path]]) -> None:
    truth, disparity = velodyne_depth(*scans[0]), street_disparity(1)
    for protocol in (kitti_eigen, replace(kitti_eigen, median_scaling=False)):
        whole = protocol.align(truth, depth_from_disparity(disparity, *truth.shape))
        found = protocol.align_disparity(truth, disparity)
        np.testing.assert_array_equal(found.mask, whole.mask)
        np.testing.assert_array_equal(found.true, whole.true)
        np.testing.assert_allclose(found.predicted, whole.predicted, rtol=1e-5)
        np.testing.assert_allclose(found.prediction[found.mask], whole.prediction[whole.mask], rtol=1e-5)
        assert found.ratio == pytest.approx(whole.ratio, rel=1e-5)


@pytest.mark.usefixtures("in_this_process")
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "evaluate", "--images=4", "--rounds=1", f"--out={tmp_path}"]) == 0
    found = json.loads((tmp_path / "performance.json").read_text())["evaluate"]
    assert found["ratio"] > 0
    assert found["images"] == 4
    assert "| ours |" in capsys.readouterr().out


def test_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "velodyne" in complaint(["benchmark", "evaluate", f"--data.root={tmp_path}"], capsys)
    with pytest.raises(InputError, match="at least 1"):
        evaluate(None, 0, 1, tmp_path)
