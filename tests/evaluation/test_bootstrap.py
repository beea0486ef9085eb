import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semdepth.evaluation.bootstrap import bootstrap_interval, bootstrap_intervals, paired_bootstrap

values = st.lists(st.floats(0, 10), min_size=2, max_size=60)


@settings(max_examples=40, deadline=None)
@given(values, st.integers(0, 1000))
def test_the_interval_contains_the_mean_and_stays_within_the_values(numbers: list[float], seed: int) -> None:
    interval = bootstrap_interval(numbers, seed=seed, resamples=500)
    assert interval.mean == pytest.approx(np.mean(numbers))
    slack = 1e-9
    assert min(numbers) - slack <= interval.low <= interval.high <= max(numbers) + slack
    if len(numbers) >= 20:  # a single outlier among few may well be missed by half of the resamples
        assert interval.low - slack <= interval.mean <= interval.high + slack


def test_same_seed_same_interval() -> None:
    numbers = np.random.default_rng(0).normal(size=30)
    assert bootstrap_interval(numbers, seed=3) == bootstrap_interval(numbers, seed=3)
    assert bootstrap_interval(numbers, seed=3) != bootstrap_interval(numbers, seed=4)


def test_the_width_is_that_of_the_normal_theory() -> None:
    numbers = np.random.default_rng(0).normal(5, 2, 400)
    interval = bootstrap_interval(numbers)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * numbers.std() / np.sqrt(400), rel=0.1)


def test_copies_within_groups_do_not_narrow_the_interval() -> None:
    numbers = np.random.default_rng(0).normal(5, 2, 20)
    copies, groups = np.repeat(numbers, 25), [f"drive {k}" for k in range(20) for _ in range(25)]
    once, grouped, naive = bootstrap_interval(numbers), bootstrap_interval(copies, groups), bootstrap_interval(copies)
    assert grouped.high - grouped.low == pytest.approx(once.high - once.low, rel=0.15)
    assert naive.high - naive.low < 0.4 * (grouped.high - grouped.low)


def test_images_weigh_the_same_in_groups_of_any_size() -> None:
    interval = bootstrap_interval([1.0, 1.0, 1.0, 5.0], ["a", "a", "a", "b"])
    assert interval.mean == pytest.approx(2.0)
    assert (interval.low, interval.high) == (1.0, 5.0)


def test_one_group_has_no_interval() -> None:
    interval = bootstrap_interval([1.0, 2.0, 3.0], ["a", "a", "a"])
    assert interval.mean == 2.0
    assert np.isnan([interval.low, interval.high]).all()


def test_unknown_values_are_left_out_by_column() -> None:
    table = np.array([[1.0, np.nan, np.nan], [2.0, 4.0, np.nan], [3.0, 6.0, np.nan]])
    first, second, third = bootstrap_intervals(table)
    assert (first.mean, second.mean) == (2.0, 5.0)
    assert 4.0 <= second.low <= second.high <= 6.0
    assert np.isnan([third.mean, third.low]).all()


def test_pairing_sees_what_the_spread_of_images_hides() -> None:
    rng = np.random.default_rng(0)
    hard = rng.uniform(0.05, 0.5, 100)
    better, worse = hard + rng.normal(0, 0.002, 100), hard + 0.005 + rng.normal(0, 0.002, 100)
    apart = [bootstrap_interval(numbers) for numbers in (better, worse)]
    assert apart[0].high > apart[1].low, "separate intervals overlap"
    verdict = paired_bootstrap(better, worse)
    assert verdict.difference.high < 0
    assert verdict.share_below == 1.0
    assert verdict.images == 100


def test_a_model_is_as_good_as_itself() -> None:
    numbers = np.random.default_rng(0).uniform(size=10)
    verdict = paired_bootstrap(numbers, numbers)
    assert verdict.difference.mean == 0
    assert verdict.share_below == 0.5


def test_a_single_drive_is_never_sure() -> None:
    verdict = paired_bootstrap([1.0, 2.0, 3.0], [2.0, 3.0, 4.0], ["a"] * 3)
    assert verdict.difference.mean == -1
    assert np.isnan([verdict.difference.low, verdict.share_below]).all()


def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="N > 0"):
        bootstrap_interval([])
    with pytest.raises(ValueError, match="groups"):
        bootstrap_interval([1.0, 2.0], ["a"])
    with pytest.raises(ValueError, match="different numbers"):
        paired_bootstrap([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="no image"):
        paired_bootstrap([1.0, np.nan], [np.nan, 2.0])
