"""Intervals: against closed forms, and by how often they hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from visionlab.measure.intervals import Interval, difference, interval


def test_an_interval_is_students() -> None:
    values = [1.0, 2.0, 4.0, 7.0]
    low, high = stats.t.interval(0.95, 3, loc=3.5, scale=stats.sem(values))
    found = interval(values)
    assert (found.mean, found.low, found.high) == pytest.approx((3.5, low, high))
    assert found.seeds == 4


def test_differences_are_paired_over_shared_seeds() -> None:
    a, b = {0: 10.0, 1: 20.0, 2: 30.5, 9: 99.0}, {0: 9.0, 1: 19.0, 2: 29.0, 7: 0.0}
    found, expected = difference(a, b), interval([1.0, 1.0, 1.5])
    assert (found.low, found.high, found.seeds) == pytest.approx((expected.low, expected.high, 3))


def test_without_shared_seeds_it_is_welchs() -> None:
    a, b = [10.0, 12.0, 15.0], [7.0, 7.5, 9.0, 6.0]
    test = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    found = difference(dict(enumerate(a)), {10 + i: v for i, v in enumerate(b)})
    assert (found.low, found.high) == pytest.approx((test.low, test.high))


def test_one_value_gives_no_certainty_and_equal_values_give_it_all() -> None:
    one = interval([3.0])
    assert (one.low, one.high) == (-math.inf, math.inf)
    assert str(one) == "3.0 (one seed)"
    assert difference({0: 1.0}, {1: 0.0}).low == -math.inf
    assert interval([2.0, 2.0]) == Interval(2.0, 2.0, 2.0, 2)
    assert str(interval([1.0, 3.0])).startswith("2.0 [")


def test_the_interval_holds_the_truth_in_95_of_100_cases() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        found = interval(rng.normal(5, 2, size=5).tolist())
        held += found.low <= 5 <= found.high
    assert 0.935 < held / 2000 < 0.965


@pytest.mark.parametrize("values", [[], [float("nan")], [1.0, float("inf")]])
def test_no_values_or_infinite_ones_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="values: expected finite numbers"):
        interval(values)


def test_an_empty_side_is_refused() -> None:
    with pytest.raises(ValueError, match="a, b: expected a value"):
        difference({}, {0: 1.0})
