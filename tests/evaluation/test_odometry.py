"""evo's figures and KITTI's on trajectories whose error is known."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semdepth.evaluation.odometry import (
    KITTI_LENGTHS,
    align,
    chain_motions,
    judge_trajectory,
    segment_errors,
    snippet_error,
    straight_ahead,
)
from semdepth.evaluation.trajectory_files import kitti_lines, plot_paths, quaternion, tum_lines
from semdepth.runtime import InputError

Array = np.ndarray


def rotation(axis_angle: Array) -> Array:
    """Rodrigues, written out apart from the code under test."""
    angle = float(np.linalg.norm(axis_angle))
    x, y, z = axis_angle / max(angle, 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def winding(frames: int = 300, step: float = 1.0) -> Array:
    """A drive that turns left and right and goes over hills, looking where it goes."""
    poses = [np.eye(4)]
    for k in range(frames - 1):
        motion = np.eye(4)
        motion[:3, :3] = rotation(np.array([0.004 * np.cos(k / 15), 0.03 * np.sin(k / 20), 0.002]))
        motion[2, 3] = step
        poses.append(poses[-1] @ motion)
    return np.stack(poses)


def similar(poses: Array, scale: float, axis_angle: Array, translation: Array) -> Array:
    turn, moved = rotation(axis_angle), poses.copy()
    moved[:, :3, :3] = turn @ poses[:, :3, :3]
    moved[:, :3, 3] = scale * poses[:, :3, 3] @ turn.T + translation
    return moved


@settings(max_examples=5, deadline=None)
@given(
    st.floats(0.01, 100), st.lists(st.floats(-1.5, 1.5), min_size=3, max_size=3),
    st.lists(st.floats(-50, 50), min_size=3, max_size=3),
)  # fmt: skip
def test_a_scaled_and_rotated_copy_has_no_error(scale: float, turn: list[float], shift: list[float]) -> None:
    truth = winding(60)
    moved = similar(truth, 1 / scale, np.array(turn), np.array(shift))
    errors, aligned = judge_trajectory(truth, moved, lengths=(20.0, 40.0))
    assert errors.scale == pytest.approx(scale)
    assert errors.ate_max < 1e-6
    assert errors.rpe_translation_rmse < 1e-6
    assert errors.rpe_rotation_rmse < 1e-4
    assert errors.snippet is not None
    assert errors.snippet.mean < 1e-6
    assert errors.segment_translation_percent < 1e-4
    assert not errors.straight
    np.testing.assert_allclose(aligned, truth, atol=1e-6)


def test_ate_and_rpe_by_hand() -> None:
    """Every other frame 0.1 m beside a curved path: the alignment can take only the mean off."""
    truth = winding(200)
    prediction = truth.copy()
    prediction[::2, 1, 3] += 0.1
    errors, _ = judge_trajectory(truth, prediction)
    assert errors.ate_rmse == pytest.approx(0.05, rel=1e-2)
    assert errors.rpe_translation_rmse == pytest.approx(0.1, rel=1e-2)
    assert errors.rpe_rotation_rmse == pytest.approx(0.0, abs=1e-2)


def test_one_per_cent_of_drift_is_one_per_cent_in_every_segment() -> None:
    truth = straight_ahead(1000)
    longer = truth.copy()
    longer[:, :3, 3] *= 1.01
    for length, rows in segment_errors(truth, longer).items():
        # A segment ends at the first frame beyond its length, here one metre later.
        np.testing.assert_allclose(rows[:, 0], 0.01 * (length + 1) / length, rtol=1e-6)
        np.testing.assert_allclose(rows[:, 1], 0, atol=1e-9)


def test_a_turn_of_one_degree_in_100_m() -> None:
    truth = straight_ahead(200)
    motions = np.tile(np.linalg.inv(truth[1]), (199, 1, 1))
    motions[:, :3, :3] = rotation(np.array([0, np.radians(0.01), 0]))
    rows = segment_errors(truth, chain_motions(motions))[100.0]
    assert len(rows) == 10
    assert np.degrees(rows[:, 1]) * 100 == pytest.approx(1.01, rel=1e-3)


def test_only_the_lengths_that_fit_are_given() -> None:
    truth = winding(250)
    errors, _ = judge_trajectory(truth, truth)
    assert [s.length for s in errors.segments] == [100.0, 200.0]
    assert [s.segments for s in errors.segments] == [15, 5]
    assert errors.lengths == KITTI_LENGTHS
    short, _ = judge_trajectory(truth[:51], truth[:51])
    assert short.segments == ()
    assert np.isnan(short.segment_translation_percent)
    assert np.isnan(short.segment_rotation_deg_per_100m)
    own, _ = judge_trajectory(truth[:51], truth[:51], lengths=(10.0, 500.0))
    assert [s.length for s in own.segments] == [10.0]


def test_snippets_as_the_field_counts_them() -> None:
    """Five frames, the last one 0.2 m to the side: the norm of all errors after scaling, over five."""
    truth, prediction = straight_ahead(5), straight_ahead(5)
    prediction[4, 0, 3] = 0.2
    goal, path = truth[:, :3, 3], prediction[:, :3, 3]
    scale = (goal * path).sum() / (path**2).sum()
    error = snippet_error(truth, prediction * np.array([[1, 1, 1, 7.0]] * 3 + [[1, 1, 1, 1]]))
    assert error is not None
    assert error.mean == pytest.approx(np.linalg.norm(scale * path - goal) / 5)
    assert (error.std, error.snippets) == (0.0, 1)
    assert snippet_error(truth[:4], prediction[:4]) is None


def test_chain_goes_where_the_camera_goes() -> None:
    truth = winding(30)
    later_from_earlier = np.stack([np.linalg.inv(b) @ a for a, b in pairwise(truth)])
    np.testing.assert_allclose(chain_motions(later_from_earlier), truth, atol=1e-9)
    with pytest.raises(ValueError, match="motions"):
        chain_motions(np.eye(4))


def test_a_straight_path_is_judged_too() -> None:
    truth = straight_ahead(60)
    errors, aligned = judge_trajectory(truth, similar(truth, 0.02, np.array([0.3, -0.2, 0.5]), np.ones(3)))
    assert errors.straight
    assert errors.scale == pytest.approx(50, rel=1e-5)
    np.testing.assert_allclose(aligned, truth, atol=1e-3)


@pytest.mark.parametrize(
    ("truth", "prediction", "says"),
    [
        (winding(10), winding(9), "9 poses"),
        (winding(1), winding(1), "at least two"),
        (np.tile(np.eye(4), (5, 1, 1)), winding(5), "ground truth: the camera stands still"),
        (winding(5), np.tile(np.eye(4), (5, 1, 1)), "predicted trajectory: the camera stands still"),
        (winding(5), winding(5) * np.nan, "finite"),
    ],
)
def test_what_cannot_be_judged(truth: Array, prediction: Array, says: str) -> None:
    with pytest.raises(InputError, match=says):
        align(truth, prediction)
    with pytest.raises(InputError, match="lengths"):
        judge_trajectory(winding(9), winding(9), lengths=(0.0,))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_quaternions_turn_as_their_matrices(turn: list[float]) -> None:
    matrix = rotation(np.array(turn))
    x, y, z, w = quaternion(matrix)
    again = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    np.testing.assert_allclose(again, matrix, atol=1e-9)
    assert w >= 0


def test_files_that_evo_reads(tmp_path) -> None:
    file_interface = pytest.importorskip("evo.tools.file_interface")
    truth = winding(12)
    (tmp_path / "kitti.txt").write_text(kitti_lines(truth))
    (tmp_path / "tum.txt").write_text(tum_lines(truth, np.arange(12) / 10))
    kitti = file_interface.read_kitti_poses_file(tmp_path / "kitti.txt")
    tum = file_interface.read_tum_trajectory_file(tmp_path / "tum.txt")
    np.testing.assert_allclose(np.stack(kitti.poses_se3), truth, atol=1e-7)
    np.testing.assert_allclose(np.stack(tum.poses_se3), truth, atol=1e-7)
    np.testing.assert_allclose(tum.timestamps, np.arange(12) / 10)


def test_the_picture_is_written_whole_or_not_at_all(tmp_path) -> None:
    plot_paths({"a": winding(20)}, tmp_path / "below" / "path.png")
    assert (tmp_path / "below" / "path.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        plot_paths({"a": winding(20)}, tmp_path / "file" / "path.png")
