"""Live curves of a training run: what a lab shows while a network learns."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from visionlab.show.widgets.curves import Curves

__all__ = ["Hook", "LiveCurves"]

Hook = Callable[[int, int, Mapping[str, float]], None]
"""``hook(step, steps, values)``: called after each of ``steps`` steps, counted from 1, with named values."""


class LiveCurves:
    """One metric of several training runs, one after the other, in one chart with progress and time left.

    Args:
        title: heading of the chart.
        series: names of the runs in the order in which they are trained; the first is the method.
        metric: which of the values handed to the hook is drawn.
        y_label: name of the vertical axis, ``metric`` unless given.
        y_range: lowest and highest value shown; follows the data unless given.
        smooth: how many of the latest values each point is the mean of; values of single batches are noisy.

    Raises:
        ValueError: ``series`` is empty or names a run twice, or ``smooth`` is below 1.
    """

    def __init__(
        self,
        title: str,
        series: Sequence[str],
        metric: str,
        y_label: str | None = None,
        y_range: tuple[float, float] | None = None,
        smooth: int = 1,
    ) -> None:
        if smooth < 1:
            raise ValueError(f"smooth must be at least 1; got {smooth}")
        if not series or len(set(series)) != len(series):
            raise ValueError(f"series must name at least one run, each once; got {list(series)}")
        self.series = list(series)
        self.metric = metric
        self.curves = Curves(title, "step", y_label or metric, y_range, self.series)
        self._done = dict.fromkeys(self.series, 0.0)
        self._latest = {name: deque[float](maxlen=smooth) for name in self.series}
        self._start: float | None = None

    def __repr__(self) -> str:
        return repr(self.curves)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Any:
        return self.curves._repr_mimebundle_()

    def callback(self, series: str) -> Hook:
        """A hook for the training loop that draws this run.

        Steps at which the metric is missing only move the progress bar.

        Raises:
            ValueError: ``series`` was not named at construction.
        """
        if series not in self.series:
            raise ValueError(f"series must be one of {self.series}; got {series!r}")

        def hook(step: int, steps: int, values: Mapping[str, float]) -> None:
            if self._start is None:
                self._start = time.monotonic()
            if steps > self._longest():
                self.curves.x_range = [0.0, float(steps)]
            self._done[series] = min(1.0, step / steps)
            if self.metric in values:
                latest = self._latest[series]
                latest.append(values[self.metric])
                self.curves.add(series, float(step), sum(latest) / len(latest))
            self.curves.report(self._progress(), self._status(series, step, steps))
            if step >= steps:
                self.curves.flush()

        return hook

    def _longest(self) -> float:
        return self.curves.x_range[1] if self.curves.x_range else 0.0

    def _progress(self) -> float:
        return sum(self._done.values()) / len(self._done)

    def _status(self, series: str, step: int, steps: int) -> str:
        progress, seconds = self._progress(), time.monotonic() - (self._start or 0.0)
        if progress == 1:
            return f"done in {seconds:.0f} s"
        left = seconds * (1 - progress) / progress if progress else 0.0
        return f"{series}: step {step} of {steps}, about {left:.0f} s left"
