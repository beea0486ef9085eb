"""How good a trajectory is. The one door to ``evo`` (alignment, ATE, RPE); KITTI's and the field's own figures are here.

Trajectories are (N, 4, 4) ``world_from_camera``, one pose a frame. Those of a single camera know no scale: they are
aligned to the ground truth by a similarity (rotation, translation, one scale) before they are judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from semdepth.runtime import InputError

Poses = npt.NDArray[np.float64]
"""(N, 4, 4) ``world_from_camera``."""
KITTI_LENGTHS = (100.0, 200.0, 300.0, 400.0, 500.0, 600.0, 700.0, 800.0)
"""Metres of the segments of the KITTI odometry benchmark."""
SEGMENT_STEP = 10
"""A segment starts at every so-many-th frame, as in KITTI's benchmark."""
SNIPPET = 5
"""Frames of a snippet (Zhou et al. 2017)."""
_TIE_BREAK = 1e-3
"""Length, as a share of the path, of the axes that settle the roll about a straight path."""


@dataclass(frozen=True)
class SegmentError:
    """Mean errors over the segments of one length."""

    length: float
    """Metres along the ground truth."""
    segments: int
    translation_percent: float
    rotation_deg_per_100m: float


@dataclass(frozen=True)
class SnippetError:
    """Errors of short snippets, each with a scale of its own."""

    mean: float
    """Metres."""
    std: float
    """Metres."""
    snippets: int


@dataclass(frozen=True)
class OdometryErrors:
    """All figures of one trajectory."""

    frames: int
    path_length: float
    """Metres, of the ground truth."""
    scale: float
    """What the prediction was multiplied by to lie on the ground truth."""
    straight: bool
    """Whether the path is a straight line, so that the cameras' axes had to settle the roll about it."""
    ate_rmse: float
    """Metres, after alignment."""
    ate_max: float
    """Metres, after alignment."""
    rpe_translation_rmse: float
    """Metres a frame, after alignment."""
    rpe_rotation_rmse: float
    """Degrees a frame."""
    segments: tuple[SegmentError, ...]
    """The lengths that fit into the sequence; empty: none does."""
    lengths: tuple[float, ...]
    """All lengths that were asked for."""
    segment_translation_percent: float
    """Mean over all segments of all lengths, as KITTI's table gives it; NaN without segments."""
    segment_rotation_deg_per_100m: float
    """Mean over all segments of all lengths; NaN without segments."""
    snippet: SnippetError | None
    """None: the sequence is shorter than a snippet."""


def chain_motions(motions: Sequence[Poses] | Poses) -> Poses:
    """Return the trajectory that relative motions make; the first camera is the world.

    Args:
        motions: (N − 1, 4, 4), ``later_from_earlier`` of consecutive frames: points of the earlier camera into the later.

    Returns:
        (N, 4, 4) ``world_from_camera``, the first one the identity.

    Raises:
        ValueError: if the shape is wrong.
    """
    steps = np.asarray(motions, dtype=np.float64)
    if steps.ndim != 3 or steps.shape[1:] != (4, 4):
        raise ValueError(f"motions: expected (N, 4, 4), got {steps.shape}")
    poses = [np.eye(4)]
    for later_from_earlier in steps:
        poses.append(poses[-1] @ _invert(later_from_earlier))
    return np.stack(poses)


def check_lengths(lengths: Sequence[float]) -> None:
    """Refuse lengths of segments that are none.

    Raises:
        InputError: if one is not above 0.
    """
    if not all(length > 0 and math.isfinite(length) for length in lengths):
        raise InputError(f"lengths {list(lengths)}: give metres above 0, e.g. [100,200]")


def align(truth: Poses, prediction: Poses) -> tuple[Poses, float, bool]:
    """Lay a trajectory on the ground truth by the similarity of least squares (Umeyama, PAMI 1991; evo).

    A straight path leaves the roll about itself open; there, and only there, short axes of the cameras settle it.

    Args:
        truth: (N, 4, 4) metres.
        prediction: (N, 4, 4) up to scale.

    Returns:
        The aligned prediction (N, 4, 4), the scale, and whether the path is straight.

    Raises:
        InputError: if they differ in length, have fewer than 2 poses, are not finite, or stand still.
    """
    from evo.core.geometry import umeyama_alignment

    truth, prediction = _checked(truth, "ground truth"), _checked(prediction, "predicted trajectory")
    if len(truth) != len(prediction):
        raise InputError(f"trajectory of {len(prediction)} poses, ground truth of {len(truth)}; give one pose a frame")
    straight = _is_straight(truth) or _is_straight(prediction)
    points = _with_axes if straight else _places
    rotation, translation, scale = umeyama_alignment(points(prediction).T, points(truth).T, with_scale=True)
    aligned = prediction.copy()
    aligned[:, :3, :3] = rotation @ prediction[:, :3, :3]
    aligned[:, :3, 3] = scale * prediction[:, :3, 3] @ rotation.T + translation
    return aligned, float(scale), straight


def judge_trajectory(
    truth: Poses, prediction: Poses, lengths: Sequence[float] = KITTI_LENGTHS
) -> tuple[OdometryErrors, Poses]:
    """Judge a trajectory that knows no scale.

    Args:
        truth: (N, 4, 4) ``world_from_camera`` in metres.
        prediction: (N, 4, 4), in any world and scale.
        lengths: metres of the segments.

    Returns:
        The figures, and the prediction aligned to the truth.

    Raises:
        InputError: as ``align``, or if a length is not above 0.
    """
    from evo.core.metrics import APE, RPE, PoseRelation, StatisticsType
    from evo.core.trajectory import PosePath3D

    check_lengths(lengths)
    aligned, scale, straight = align(truth, prediction)
    pair = (PosePath3D(poses_se3=list(truth)), PosePath3D(poses_se3=list(aligned)))

    def measured(metric: Any, statistic: StatisticsType = StatisticsType.rmse) -> float:
        metric.process_data(pair)
        return float(metric.get_statistic(statistic))

    found = segment_errors(truth, aligned, lengths)
    segments = tuple(_mean_segment(length, rows) for length, rows in found.items() if len(rows))
    everything = np.concatenate([rows for rows in found.values() if len(rows)] or [np.full((1, 2), np.nan)])
    return OdometryErrors(
        frames=len(truth),
        path_length=float(travelled(truth)[-1]),
        scale=scale,
        straight=straight,
        ate_rmse=measured(APE(PoseRelation.translation_part)),
        ate_max=measured(APE(PoseRelation.translation_part), StatisticsType.max),
        rpe_translation_rmse=measured(RPE(PoseRelation.translation_part)),
        rpe_rotation_rmse=measured(RPE(PoseRelation.rotation_angle_deg)),
        segments=segments,
        lengths=tuple(lengths),
        segment_translation_percent=float(everything[:, 0].mean()) * 100,
        segment_rotation_deg_per_100m=math.degrees(float(everything[:, 1].mean())) * 100,
        snippet=snippet_error(truth, prediction),
    ), aligned


def straight_ahead(frames: int) -> Poses:
    """Return what a path must beat: (N, 4, 4), straight along the optical axis, the same step at every frame."""
    poses = np.tile(np.eye(4), (frames, 1, 1))
    poses[:, 2, 3] = np.arange(frames)
    return poses


def segment_errors(
    truth: Poses, prediction: Poses, lengths: Iterable[float] = KITTI_LENGTHS, step: int = SEGMENT_STEP
) -> dict[float, npt.NDArray[np.float64]]:
    """Return the errors of all segments (Geiger et al., CVPR 2012, and the benchmark's development kit).

    A segment starts at every ``step``-th frame and ends at the first frame that is farther than its length along the
    ground truth. Its error is the motion between where prediction and truth end, seen from the common start.

    Args:
        truth: (N, 4, 4) metres.
        prediction: (N, 4, 4) metres, of the truth's scale; the world does not matter.
        lengths: of the segments, metres.
        step: frames between the starts.

    Returns:
        By length: (K, 2) translation error as a share of the length, rotation error in radians per metre; K may be 0.
    """
    distances = travelled(truth)
    found: dict[float, npt.NDArray[np.float64]] = {}
    for length in lengths:
        rows = []
        for first in range(0, len(truth), step):
            last = int(np.searchsorted(distances, distances[first] + length, side="right"))
            if last == len(truth):
                break
            expected, got = (_invert(poses[first]) @ poses[last] for poses in (truth, prediction))
            error = _invert(got) @ expected
            cosine = np.clip((np.trace(error[:3, :3]) - 1) / 2, -1, 1)
            rows.append((np.linalg.norm(error[:3, 3]) / length, np.arccos(cosine) / length))
        found[float(length)] = np.array(rows, dtype=np.float64).reshape(-1, 2)
    return found


def snippet_error(truth: Poses, prediction: Poses, frames: int = SNIPPET) -> SnippetError | None:
    """Return the field's short-range figure (Zhou et al., CVPR 2017, section 4.3).

    Every run of ``frames`` frames is seen from its first camera and scaled by itself (least squares, Σ g·p / Σ p²). Its
    error is ``sqrt(Σ |s·p − g|²) / frames``, as the field computes it: not a root *mean* square, which would be larger.

    Args:
        truth: (N, 4, 4) metres.
        prediction: (N, 4, 4) in any world and scale.
        frames: of a snippet.

    Returns:
        Mean and standard deviation over all N − frames + 1 snippets; None if there is none.
    """
    errors = []
    for first in range(len(truth) - frames + 1):
        goal, path = (_seen_from_first(poses[first : first + frames]) for poses in (truth, prediction))
        square = float((path**2).sum())
        scale = float((goal * path).sum()) / square if square > 0 else 0.0
        errors.append(float(np.sqrt(((scale * path - goal) ** 2).sum())) / frames)
    return SnippetError(float(np.mean(errors)), float(np.std(errors)), len(errors)) if errors else None


def _mean_segment(length: float, rows: npt.NDArray[np.float64]) -> SegmentError:
    share, turn = rows.mean(axis=0).tolist()
    return SegmentError(length, len(rows), share * 100, math.degrees(turn) * 100)


def _checked(poses: Poses, what: str) -> Poses:
    poses = np.asarray(poses, dtype=np.float64)
    if poses.ndim != 3 or poses.shape[1:] != (4, 4) or len(poses) < 2 or not np.isfinite(poses).all():
        raise InputError(f"{what} of shape {poses.shape}: give at least two finite (4, 4) poses")
    if travelled(poses)[-1] <= 1e-9:
        raise InputError(f"{what}: the camera stands still, which leaves nothing to judge; choose frames with motion")
    return poses


def _places(poses: Poses) -> npt.NDArray[np.float64]:
    return np.asarray(poses[:, :3, 3])


def _is_straight(poses: Poses) -> bool:
    """Return whether the positions lie on a line, as far as double precision can tell."""
    spread = np.linalg.svd(_places(poses) - _places(poses).mean(axis=0), compute_uv=False)
    return bool(spread[1] <= 1e-9 * spread[0])


def _with_axes(poses: Poses) -> npt.NDArray[np.float64]:
    """Return (3N, 3): the positions, and points a little to the right of and below each camera."""
    reach = _TIE_BREAK * travelled(poses)[-1]
    places = _places(poses)
    return np.concatenate((places, places + reach * poses[:, :3, 0], places + reach * poses[:, :3, 1]))


def travelled(poses: Poses) -> npt.NDArray[np.float64]:
    """Return (N,) the length of the path up to each pose, in its unit."""
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    return np.concatenate(([0.0], np.cumsum(steps)))


def _seen_from_first(poses: Poses) -> npt.NDArray[np.float64]:
    return np.asarray((poses[:, :3, 3] - poses[0, :3, 3]) @ poses[0, :3, :3])


def _invert(pose: Poses) -> Poses:
    """Return the inverse of one rigid motion in double precision."""
    inverse = np.eye(4)
    inverse[:3, :3] = pose[:3, :3].T
    inverse[:3, 3] = -pose[:3, :3].T @ pose[:3, 3]
    return inverse
