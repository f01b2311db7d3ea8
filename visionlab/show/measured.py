"""What was measured over seeds, in words and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from visionlab.show.figure import Table

if TYPE_CHECKING:
    from visionlab.experiments.result import Result

__all__ = ["mean_and_interval", "mean_or_nan", "measured_table"]


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


def measured_table(
    result: Result,
    variants: Mapping[str, str] | Sequence[str],
    metrics: Mapping[str, str] | Sequence[str],
    caption: str,
    *,
    head: str = "trained by",
) -> Table:
    """Tabulate metrics of variants: mean and 95 % interval; empty where a variant has no such metric.

    Args:
        result: of an experiment.
        variants: by name of the row, or their own names.
        metrics: by name of the column, or their own names.
        caption: what the table says.
        head: what a row is.

    Raises:
        KeyError: if nothing was measured of a variant.
    """
    rows_of, columns = (
        each if isinstance(each, Mapping) else {name: name for name in each} for each in (variants, metrics)
    )
    have = {(row.variant, row.metric) for row in result.rows}
    for variant in rows_of.values():
        if variant not in result.variants:
            raise KeyError(f"no {variant!r}; measured: {result.variants}")
    rows = [
        [name, *(mean_and_interval(result, v, m) if (v, m) in have else "" for m in columns.values())]
        for name, v in rows_of.items()
    ]
    return Table(rows, [head, *columns], caption)
