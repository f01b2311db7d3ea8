"""What was measured over seeds, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from visionlab.experiments.result import Result

__all__ = ["mean_and_interval", "mean_or_nan"]


def mean_and_interval(result: Result, variant: str, metric: str) -> str:
    """Say mean and 95 % interval of a metric over seeds, as "21.0 [18.5, 23.5]"; one seed has no interval.

    Raises:
        KeyError: if the variant or the metric was not measured.
    """
    found = result.summary(variant, metric)
    digits = 3 if metric == "SSIM" else 2 if metric.startswith("score") else 1
    if found.seeds == 1:
        return f"{found.mean:.{digits}f} (one seed)"
    return f"{found.mean:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def mean_or_nan(result: Result, variant: str, metric: str) -> float:
    """Return the mean of a metric over seeds, NaN where nothing was measured."""
    values = [row.value for row in result.rows if row.variant == variant and row.metric == metric]
    return float(np.mean(values)) if values else float("nan")
