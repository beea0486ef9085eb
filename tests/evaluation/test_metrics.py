from dataclasses import astuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semdepth.evaluation.metrics import (
    calibration_sums,
    class_iou,
    confusion_matrix,
    depth_errors,
    error_sums,
    errors_from_sums,
    expected_calibration_error,
    mean_errors,
    mean_iou,
)

depths = st.lists(st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)), min_size=1, max_size=40).map(np.array)


def test_errors_by_hand() -> None:
    errors = depth_errors(np.array([2.0, 4.0]), np.array([3.0, 4.0]))
    assert errors.abs_rel == pytest.approx(0.25)
    assert errors.sq_rel == pytest.approx(0.25)
    assert errors.rmse == pytest.approx(np.sqrt(0.5))
    assert errors.rmse_log == pytest.approx(np.log(1.5) / np.sqrt(2))
    assert (errors.delta1, errors.delta2, errors.delta3) == (0.5, 1.0, 1.0)  # 1.25 < 1.5 < 1.5625


def test_tensors_and_arrays_of_any_shape_agree() -> None:
    truth, guess = np.random.default_rng(0).uniform(1, 80, (2, 3, 4, 5)).astype(np.float32)
    as_tensors = depth_errors(torch.from_numpy(truth), torch.from_numpy(guess).requires_grad_())
    assert as_tensors == depth_errors(truth.reshape(3, 20), guess.reshape(3, 20))


@settings(max_examples=50, deadline=None)
@given(depths)
def test_bounds_and_order(pairs: np.ndarray) -> None:
    errors = depth_errors(pairs[:, 0], pairs[:, 1])
    assert min(errors.abs_rel, errors.sq_rel, errors.rmse, errors.rmse_log) >= 0
    assert 0 <= errors.delta1 <= errors.delta2 <= errors.delta3 <= 1
    np.testing.assert_array_equal(
        astuple(depth_errors(pairs[:, 0], pairs[:, 0])), [0, 0, 0, 0, 1, 1, 1], err_msg="a perfect prediction"
    )


@settings(max_examples=50, deadline=None)
@given(depths, st.integers(1, 4))
def test_sums_by_group_add_up(pairs: np.ndarray, num_groups: int) -> None:
    groups = np.arange(len(pairs)) % num_groups
    sums = error_sums(pairs[:, 0], pairs[:, 1], groups, num_groups)
    assert sums.shape == (num_groups, 8)
    np.testing.assert_allclose(sums.sum(axis=0), error_sums(pairs[:, 0], pairs[:, 1])[0], rtol=1e-12)
    first = groups == 0
    np.testing.assert_allclose(
        astuple(errors_from_sums(sums[0])), astuple(depth_errors(pairs[first, 0], pairs[first, 1])), rtol=1e-9
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0])
def test_refuses_values_that_are_no_depths(bad: float) -> None:
    good, spoilt = np.array([1.0, 2.0]), np.array([1.0, bad])
    with pytest.raises(ValueError, match="ground truth has"):
        depth_errors(spoilt, good)
    with pytest.raises(ValueError, match="prediction has"):
        depth_errors(good, spoilt)


def test_refuses_nothing_and_mismatch() -> None:
    with pytest.raises(ValueError, match="no valid pixel"):
        depth_errors(np.ones(0), np.ones(0))
    with pytest.raises(ValueError, match="no valid pixel"):
        errors_from_sums(np.zeros(8))
    with pytest.raises(ValueError, match="differ in shape"):
        depth_errors(np.ones(3), np.ones((3, 1)))
    with pytest.raises(ValueError, match="no image"):
        mean_errors([])


def test_images_and_pixels_are_averaged_differently() -> None:
    small, large = (np.array([2.0]), np.array([4.0])), (np.full(9, 2.0), np.full(9, 2.0))
    assert mean_errors([depth_errors(*small), depth_errors(*large)]).abs_rel == pytest.approx(0.5)
    pooled = error_sums(*small)[0] + error_sums(*large)[0]
    assert errors_from_sums(pooled).abs_rel == pytest.approx(0.1)


def test_iou_by_hand() -> None:
    labels = np.array([[0, 0, 0, 1], [1, 1, 255, 255]])
    predicted = np.array([[0, 0, 1, 1], [1, 2, 0, 2]], dtype=np.uint8)
    matrix = confusion_matrix(labels, predicted, 4)
    np.testing.assert_array_equal(matrix, [[2, 1, 0, 0], [0, 2, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(class_iou(matrix), [2 / 3, 2 / 4, 0.0, np.nan])
    assert mean_iou(matrix) == pytest.approx((2 / 3 + 2 / 4) / 2)
    assert np.isnan(mean_iou(np.zeros((3, 3), dtype=np.int64)))


def test_confusion_leaves_out_predictions_without_a_class_and_refuses_mismatch() -> None:
    assert confusion_matrix(np.array([0, 1]), np.array([255, 1]), 2).sum() == 1
    with pytest.raises(ValueError, match="differ"):
        confusion_matrix(np.zeros(3), np.zeros(4), 2)


def test_a_calibrated_coin_has_no_calibration_error_and_a_boaster_has() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1.0, 200_000)
    honest = calibration_sums(confidence, rng.uniform(size=confidence.size) < confidence)
    boaster = calibration_sums(np.full(1000, 0.9), np.arange(1000) < 600)
    assert honest.shape == (15, 3)
    assert expected_calibration_error(honest) < 0.005
    assert expected_calibration_error(boaster) == pytest.approx(0.3)
    assert expected_calibration_error(calibration_sums(np.ones(5), np.ones(5))) == 0
    both = calibration_sums(np.array([0.6] * 10 + [0.9] * 10), np.array([1] * 9 + [0] + [1] * 6 + [0] * 4))
    assert expected_calibration_error(both) == pytest.approx(0.3), "too shy here and too bold there do not cancel"
    assert np.isnan(expected_calibration_error(np.zeros((15, 3))))


def test_calibration_refuses_what_is_no_probability() -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        calibration_sums(np.array([0.5, 1.5]), np.array([True, True]))
    with pytest.raises(ValueError, match="size"):
        calibration_sums(np.ones(2), np.ones(3))
