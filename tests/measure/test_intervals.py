"""Intervals: against closed forms, and by how often they hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from visionlab.measure.intervals import Interval, difference, interval


@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_an_interval_is_students(level: float) -> None:
    values = [1.0, 2.0, 4.0, 7.0]
    low, high = stats.t.interval(level, 3, loc=3.5, scale=stats.sem(values))
    found = interval(values, level)
    assert (found.mean, found.low, found.high) == pytest.approx((3.5, low, high))
    assert found.seeds == 4


def test_it_equals_a_table_of_students_t() -> None:
    # Five values with standard deviation 1.5811: mean 3, t(0.975; 4) = 2.7764.
    found = interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (found.low, found.high) == pytest.approx((3 - 2.7764 * 0.70711, 3 + 2.7764 * 0.70711), abs=1e-3)


def test_differences_are_paired_over_shared_seeds() -> None:
    a, b = {0: 10.0, 1: 20.0, 2: 30.5, 9: 99.0}, {0: 9.0, 1: 19.0, 2: 29.0, 7: 0.0}
    test = stats.ttest_rel([10.0, 20.0, 30.5], [9.0, 19.0, 29.0]).confidence_interval(0.95)
    found = difference(a, b)
    assert (found.low, found.high, found.seeds) == pytest.approx((test.low, test.high, 3))
    assert found.high - found.low < 2, "the spread between seeds, far larger, is taken out"
    assert difference(b, a).low == pytest.approx(-found.high)


def test_the_order_of_seeds_does_not_matter() -> None:
    assert difference({0: 1.0, 1: 5.0}, {1: 4.0, 0: 0.5}) == difference({1: 5.0, 0: 1.0}, {0: 0.5, 1: 4.0})


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_without_shared_seeds_it_is_welchs(level: float) -> None:
    a, b = [10.0, 12.0, 15.0], [7.0, 7.5, 9.0, 6.0]
    test = stats.ttest_ind(a, b, equal_var=False).confidence_interval(level)
    found = difference(dict(enumerate(a)), {10 + i: v for i, v in enumerate(b)}, level)
    assert (found.low, found.high) == pytest.approx((test.low, test.high))
    assert found.seeds == 3


def test_one_value_gives_no_certainty() -> None:
    one = interval([3.0])
    assert (one.mean, one.low, one.high, one.seeds) == (3.0, -math.inf, math.inf, 1)
    assert str(one) == "3.0 (one seed)"
    for a, b in (
        ({0: 1.0}, {0: 0.0}),
        ({0: 1.0}, {1: 0.0}),
        ({0: 1.0, 1: 1.0}, {2: 0.0}),
        ({0: 1.0, 1: 5.0}, {1: 4.0, 2: 9.0}),
    ):
        found = difference(a, b)
        assert (found.mean, found.low, found.high, found.seeds) == (1.0, -math.inf, math.inf, 1)


def test_equal_values_give_all_certainty() -> None:
    assert interval([2.0, 2.0]) == Interval(2.0, 2.0, 2.0, 2)
    assert difference({0: 3.0, 1: 4.0}, {0: 1.0, 1: 2.0}) == Interval(2.0, 2.0, 2.0, 2), "paired"
    assert difference({0: 3.0, 1: 3.0}, {2: 1.0, 3: 1.0}) == Interval(2.0, 2.0, 2.0, 2), "Welch's"
    assert str(interval([2.0, 2.0])) == "2.0"
    assert str(interval([1.0, 3.0])) == "2.0 [-10.7, 14.7]"
    assert f"{interval([1.0, 3.0])}" == str(interval([1.0, 3.0]))
    assert f"{interval([1.0, 3.0]):.2f}" == "2.00 [-10.71, 14.71]"


def test_the_interval_holds_the_truth_in_95_of_100_cases() -> None:
    rng, held = np.random.default_rng(0), np.zeros(3)
    for _ in range(2000):
        seeds = rng.normal(0, 9, size=5)
        a, b = rng.normal(5, 2, size=5), rng.normal(3, 1, size=7)
        found = (
            interval((a - 3).tolist()),
            difference(dict(enumerate(seeds + a)), dict(enumerate(seeds + b[:5]))),
            difference(dict(enumerate(a)), dict(enumerate(b, start=5))),
        )
        held += [one.low <= 2 <= one.high for one in found]
    # The standard deviation of 2,000 trials is half a percent.
    assert (held / 2000 > 0.935).all()
    assert (held / 2000 < 0.965).all()


@pytest.mark.parametrize("values", [[], [float("nan")], [1.0, float("inf")]])
def test_no_values_or_infinite_ones_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="values: expected finite numbers"):
        interval(values)
    if values:
        for start in (0, 10):
            other = {start: 1.0, start + 1: 2.0}
            with pytest.raises(ValueError, match="values: expected finite numbers"):
                difference(dict(enumerate(values)), other)
            with pytest.raises(ValueError, match="values: expected finite numbers"):
                difference(other, dict(enumerate(values)))


def test_an_empty_side_is_refused() -> None:
    for a, b in (({}, {0: 1.0}), ({0: 1.0}, {})):
        with pytest.raises(ValueError, match="a, b: expected a value"):
            difference(a, b)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0, -1.0])
def test_a_level_in_percent_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match=r"level: expected a share between 0 and 1"):
        interval([1.0, 2.0], level)
