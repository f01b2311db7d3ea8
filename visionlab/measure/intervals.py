"""Means over seeds with their 95 % intervals, and differences of two variants, paired where they share seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

__all__ = ["Interval", "difference", "interval", "whiskers"]


@dataclass(frozen=True)
class Interval:
    """A mean with its two-sided interval (Student's t) over ``seeds`` values; one value gives an infinite interval."""

    mean: float
    low: float
    high: float
    seeds: int

    def __str__(self) -> str:
        return format(self)

    def __format__(self, form: str) -> str:
        form = form or ".1f"
        if self.low == self.high:
            return format(self.mean, form)
        if self.seeds == 1:
            return f"{format(self.mean, form)} (one seed)"
        return f"{format(self.mean, form)} [{format(self.low, form)}, {format(self.high, form)}]"


def interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Return the mean of ``values`` and its interval.

    Raises:
        ValueError: if there is no value, one is not finite, or the level lies outside (0, 1).
    """
    data = _finite(values)
    spread = float(data.std(ddof=1)) / math.sqrt(data.size) if data.size > 1 else math.inf
    return _around(float(data.mean()), spread, float(data.size - 1), level, data.size)


def whiskers(found: Sequence[Interval]) -> np.ndarray | None:
    """Return the distances from each mean down and up to the ends of its interval, (2, n): matplotlib's ``yerr``.

    Nothing if one is of a single seed, whose interval is endless.
    """
    if any(each.seeds == 1 for each in found):
        return None
    return np.array([[each.mean - each.low for each in found], [each.high - each.mean for each in found]])


def difference(a: Mapping[int, float], b: Mapping[int, float], level: float = 0.95) -> Interval:
    """Return the interval of the mean of ``a - b``, each a value by seed.

    Paired over the seeds that both hold (with a seed, variants share data); Welch's interval where they share none.

    Raises:
        ValueError: if either is empty, a value is not finite, or the level lies outside (0, 1).
    """
    if not a or not b:
        raise ValueError("a, b: expected a value for at least one seed each")
    shared = sorted(set(a) & set(b))
    if shared:
        return interval([a[seed] - b[seed] for seed in shared], level)
    one, two = _finite(list(a.values())), _finite(list(b.values()))
    mean = float(one.mean() - two.mean())
    if min(one.size, two.size) < 2:
        return Interval(mean, -math.inf, math.inf, 1)
    parts = one.var(ddof=1) / one.size, two.var(ddof=1) / two.size
    spread = math.sqrt(sum(parts))
    freedom = sum(parts) ** 2 / max(parts[0] ** 2 / (one.size - 1) + parts[1] ** 2 / (two.size - 1), 1e-300)
    return _around(mean, spread, freedom, level, min(one.size, two.size))


def _finite(values: Sequence[float]) -> np.ndarray:
    data = np.asarray(values, dtype=float)
    if data.size == 0 or not np.isfinite(data).all():
        raise ValueError(f"values: expected finite numbers, got {list(values)}")
    return data


def _around(mean: float, spread: float, freedom: float, level: float, seeds: int) -> Interval:
    if not 0 < level < 1:
        raise ValueError(f"level: expected a share between 0 and 1, got {level}")
    reach = math.inf if math.isinf(spread) else spread * float(stats.t.ppf((1 + level) / 2, max(freedom, 1e-9)))
    reach = 0.0 if spread == 0 else reach
    return Interval(mean, mean - reach, mean + reach, seeds)
