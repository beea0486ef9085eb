"""Holes counted by hand."""

from dataclasses import replace

import numpy as np
import pytest

from semdepth.evaluation import report
from semdepth.evaluation.evaluator import DepthEvaluator
from semdepth.evaluation.holes import HoleCount, count_holes, share_of_movable_holes, total
from semdepth.evaluation.protocols import kitti_eigen, synthetic
from semdepth.labels import TRAIN_ID

METRIC = replace(synthetic, median_scaling=False)
CAR = TRAIN_ID["car"]


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, prediction and labels: a car that is a hole, one that has a small hole, a speck, and a parked car, all at 8 m."""
    truth, labels = np.full((40, 100), 20.0), np.zeros((40, 100), dtype=np.uint8)
    for left in (5, 30, 70):
        truth[10:20, left : left + 10], labels[10:20, left : left + 10] = 8.0, CAR
    truth[30:33, 50:53], labels[30:33, 50:53] = 8.0, CAR
    prediction = truth.copy()
    prediction[10:16, 5:15] = 70.0
    prediction[10:13, 30:40] = 16.1
    prediction[30:33, 50:53] = 70.0
    prediction[0, 0] = 79.0  # not on an object
    return truth, prediction, labels


def test_pixels_and_objects() -> None:
    truth, prediction, labels = scene()
    moving = labels == CAR
    moving[:, 70:] = False
    aligned = METRIC.align(truth, prediction)
    expected = HoleCount(pixels=209, hole_pixels=60 + 30 + 9, objects=2, holed_objects=1)
    assert count_holes(aligned, moving) == expected
    ids = moving.astype(np.int32)
    ids[:, 30:] *= 2
    assert count_holes(aligned, ids) == expected
    assert share_of_movable_holes(aligned, labels) == pytest.approx(99 / 309)
    assert count_holes(aligned, np.zeros_like(moving)) == HoleCount()
    assert np.isnan(share_of_movable_holes(aligned, np.zeros_like(labels)))


def test_what_is_not_judged_does_not_count() -> None:
    truth, prediction, labels = scene()
    truth[10:20, 5:15] = 0.0
    assert count_holes(METRIC.align(truth, prediction), labels == CAR).holed_objects == 0


def test_overall_counts_are_sums_over_images() -> None:
    truth, prediction, labels = scene()
    evaluator = DepthEvaluator(METRIC, resamples=10)
    for k in range(3):
        row = evaluator.update(str(k), truth, depth=prediction if k else truth, labels=labels, moving=labels == CAR)
        assert row is not None
        assert row.measures["holed_objects"] == (1 if k else 0)
        assert row.measures["movable_holes"] == pytest.approx(99 / 309 if k else 0)
    result = evaluator.result()
    assert result.holes == HoleCount(3 * 309, 2 * 99, 9, 2)
    assert report.hole_rows(result)[1] == [["pixels", "198 of 927 (21.4%)"], ["objects", "2 of 9"]]
    assert result.measures["holed_objects"] == pytest.approx(2 / 3)
    assert total([]) == HoleCount()


def test_nothing_is_said_where_it_is_not_known_what_moves() -> None:
    evaluator = DepthEvaluator(kitti_eigen)
    evaluator.update("a", np.full((40, 60), 9.0), depth=np.ones((40, 60)))
    result = evaluator.result()
    assert result.holes is None
    assert report.hole_rows(result)[1] == []
