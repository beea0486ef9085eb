"""Sparsification and reliability, on numbers worked out by hand and on properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semdepth.evaluation.metrics import calibration_sums, expected_calibration_error
from semdepth.evaluation.uncertainty import reliability, sparsification

ERRORS = st.lists(st.floats(0, 10), min_size=1, max_size=20)


def test_by_hand() -> None:
    found = sparsification([4.0, 1.0, 3.0, 0.0], [0.1, 0.9, 0.5, 0.2], steps=4)
    np.testing.assert_allclose(found.removed, [0, 0.25, 0.5, 0.75])
    np.testing.assert_allclose(found.by_uncertainty, [2, 7 / 3, 2, 4])  # taken away: 1, then 3, then 0
    np.testing.assert_allclose(found.by_error, [2, 4 / 3, 0.5, 0])
    assert found.area == pytest.approx(np.mean([0, 1, 1.5, 4]) / 2)
    assert found.area_of_chance == pytest.approx(np.mean([0, 2 / 3, 1.5, 2]) / 2)


@settings(max_examples=50, deadline=None)
@given(ERRORS)
def test_a_perfect_order_has_no_area(errors: list[float]) -> None:
    found = sparsification(errors, errors)
    np.testing.assert_allclose(found.by_uncertainty, found.by_error, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(ERRORS)
def test_no_order_at_all_is_chance(errors: list[float]) -> None:
    found = sparsification(errors, np.full(len(errors), 0.3))
    np.testing.assert_allclose(found.by_uncertainty, np.mean(errors), rtol=1e-6, atol=1e-9)
    if found.by_error[0] > 1e-6:
        assert found.area == pytest.approx(found.area_of_chance, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(ERRORS, st.integers(0, 2**32 - 1))
def test_no_order_beats_the_true_error(errors: list[float], seed: int) -> None:
    found = sparsification(errors, np.random.default_rng(seed).random(len(errors)))
    assert (found.by_uncertainty >= found.by_error - 1e-9).all()


@settings(max_examples=50, deadline=None)
@given(ERRORS, st.integers(0, 2**32 - 1))
def test_only_the_order_of_the_uncertainty_matters(errors: list[float], seed: int) -> None:
    unsure = np.random.default_rng(seed).integers(0, 5, len(errors)) / 4
    one, other = sparsification(errors, unsure), sparsification(errors, np.exp(3 * unsure))
    np.testing.assert_allclose(one.by_uncertainty, other.by_uncertainty)


def test_without_error_there_is_no_area() -> None:
    assert np.isnan(sparsification(np.zeros(5), np.arange(5)).area)


@pytest.mark.parametrize(
    ("error", "uncertainty", "said"),
    [
        ([1.0], [1.0, 2.0], "differ in size"),
        ([], [], "no pixel"),
        ([np.nan], [1.0], "finite"),
        ([1.0], [np.inf], "finite"),
    ],
)
def test_bad_input(error: list[float], uncertainty: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        sparsification(error, uncertainty)


def test_reliability_holds_what_the_calibration_error_is_made_of() -> None:
    rng = np.random.default_rng(0)
    sure = rng.random(500)
    sums = calibration_sums(sure, rng.random(500) < sure**2)
    bins = reliability(sums)
    assert sum(share for *_, share in bins) == pytest.approx(1)
    error = sum(share * abs(confidence - right) for confidence, right, share in bins)
    assert error == pytest.approx(expected_calibration_error(sums))
    assert reliability(np.zeros((15, 3))) == []
