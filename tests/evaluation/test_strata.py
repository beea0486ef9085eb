"""Drawn scenes whose strata are known by construction."""

from dataclasses import replace

import numpy as np
import pytest

from semdepth.evaluation.metrics import errors_from_sums
from semdepth.evaluation.protocols import synthetic
from semdepth.evaluation.strata import Annotations, analyse, complexity_strata, summarise
from semdepth.labels import TRAIN_ID

METRIC = replace(synthetic, median_scaling=False)
SPARSE = replace(METRIC, dense=False)
CAR = (slice(20, 40), slice(30, 60))


def draw() -> tuple[np.ndarray, np.ndarray]:
    """A wall at 20 m, a car at 8 m before it, sky above."""
    depth, labels = np.full((50, 90), 20.0), np.full((50, 90), TRAIN_ID["building"], dtype=np.uint8)
    depth[CAR], labels[CAR] = 8.0, TRAIN_ID["car"]
    depth[:10], labels[:10] = 0.0, TRAIN_ID["sky"]
    return depth, labels


def test_errors_are_sorted_by_class() -> None:
    truth, labels = draw()
    prediction = np.where(labels == TRAIN_ID["car"], truth * 1.5, np.where(truth > 0, truth * 1.1, 80.0))
    labels[30, 30:40] = 255
    sums, _ = analyse(METRIC.align(truth, prediction), Annotations(labels), METRIC)
    classes = {name: errors_from_sums(s).abs_rel for name, s in sums.items() if name.startswith("class/")}
    assert classes == pytest.approx({"class/car": 0.5, "class/building": 0.1})
    assert sums["class/car"][0] == 20 * 30 - 10, "ignored pixels are of no class"


def test_border_errors_are_those_within_five_pixels() -> None:
    truth, labels = np.full((20, 40), 10.0), np.zeros((20, 40), dtype=np.uint8)
    labels[:, 20:] = TRAIN_ID["car"]  # the border's pixels are columns 19 and 20
    prediction = truth.copy()
    prediction[:, 14:26] *= 1.2
    sums, measures = analyse(SPARSE.align(truth, prediction), Annotations(labels), SPARSE)
    assert measures["border_abs_rel"] == pytest.approx(0.2)
    assert errors_from_sums(sums["inside"]).abs_rel == 0
    assert (sums["border"][0], sums["inside"][0]) == (20 * 12, 20 * 28)


def test_depth_borders_count_without_labels_where_the_truth_is_dense() -> None:
    truth, _ = draw()
    filled = np.where(truth > 0, truth, 80.0)
    sums, measures = analyse(METRIC.align(truth, filled), Annotations(), METRIC)
    assert sums["border"][0] > 0
    assert measures["border_abs_rel"] == pytest.approx(0)
    assert (measures["boundary_accuracy"], measures["boundary_completeness"]) == (0.0, 0.0)
    sums, measures = analyse(SPARSE.align(truth, filled), Annotations(), SPARSE)
    assert not sums
    assert np.isnan(list(measures.values())).all()


def test_decimal_errors_only_where_the_protocol_asks_for_them() -> None:
    truth = np.array([[10.0, 10.0, 10.0, 10.0]])
    aligned = METRIC.align(truth, np.array([[1.0, 10.0, 10.0, 10.0]]))
    _, measures = analyse(aligned, Annotations(), replace(SPARSE, log10=True))
    assert measures["log10"] == pytest.approx(1 / 4)
    assert measures["rmse_log10"] == pytest.approx(1 / 2)
    _, measures = analyse(aligned, Annotations(), SPARSE)
    assert np.isnan([measures["log10"], measures["rmse_log10"]]).all()


def test_boundaries_shifted_by_three_pixels_are_three_pixels_off() -> None:
    truth = np.full((40, 60), 30.0)
    truth[:, 20:40] = 10.0
    _, measures = analyse(METRIC.align(truth, np.roll(truth, 3, axis=1)), Annotations(), METRIC)
    assert measures["boundary_accuracy"] == pytest.approx(3.0)
    assert measures["boundary_completeness"] == pytest.approx(3.0)
    _, measures = analyse(METRIC.align(truth, np.full_like(truth, 20.0)), Annotations(), METRIC)
    assert measures["boundary_accuracy"] == measures["boundary_completeness"] == 10.0


def test_holes_on_moving_cars_are_counted() -> None:
    truth, labels = draw()
    prediction = np.where(truth > 0, truth, 80.0)
    prediction[20:25, 30:60] = 70.0  # the upper quarter of the car is a hole
    moving = labels == TRAIN_ID["car"]
    sums, measures = analyse(METRIC.align(truth, prediction), Annotations(labels, moving), METRIC)
    assert measures["moving_holes"] == pytest.approx(0.25)
    assert measures["moving_objects"] == 1
    assert errors_from_sums(sums["still"]).abs_rel == pytest.approx(0)
    assert errors_from_sums(sums["moving"]).abs_rel == pytest.approx(0.25 * 62 / 8)


def test_instances_that_touch_are_told_apart_by_their_ids() -> None:
    truth, labels = draw()
    moving = labels == TRAIN_ID["car"]
    ids = moving.astype(np.int32)
    ids[:, 45:] *= 2
    aligned = METRIC.align(truth, np.where(truth > 0, truth, 80.0))
    assert analyse(aligned, Annotations(moving=moving), METRIC)[1]["moving_objects"] == 1
    assert analyse(aligned, Annotations(moving=ids), METRIC)[1]["moving_objects"] == 2
    still = analyse(aligned, Annotations(moving=np.zeros_like(ids)), METRIC)[1]
    assert still["moving_objects"] == 0
    assert np.isnan(still["moving_holes"])


def test_images_are_sorted_by_complexity() -> None:
    density = np.array([0.1, 0.3, 0.2, np.nan, 0.6, 0.5, 0.4])
    objects = np.array([0, 1, 2, 3, np.nan, 7, 0])
    strata = complexity_strata(density, objects)
    assert {name: np.flatnonzero(chosen).tolist() for name, chosen in strata.items()} == {
        "scene/few borders": [0, 2],
        "scene/some borders": [1, 6],
        "scene/many borders": [4, 5],
        "scene/0 moving": [0, 6],
        "scene/1-2 moving": [1, 2],
        "scene/3+ moving": [3, 5],
    }
    assert complexity_strata(np.full(4, np.nan), np.full(4, np.nan)) == {}
    assert complexity_strata(np.full(4, 0.3), np.full(4, np.nan)) == {}, "all alike"


def test_strata_are_averaged_by_image_and_by_pixel() -> None:
    small, large = np.array([1, 0.5, *[0.0] * 6]), np.array([9, 0.9, *[0.0] * 6])
    errors = summarise(np.stack([small, large]))
    assert (errors.images, errors.pixels) == (2, 10)
    assert errors.per_image.abs_rel == pytest.approx(0.3)
    assert errors.per_pixel.abs_rel == pytest.approx(0.14)
