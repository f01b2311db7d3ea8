"""Live line chart: curves that grow while a cell runs, with a progress bar.

Points travel from Python as widget traits, so the chart moves while the kernel is busy. Pushes are spaced out
(about ten a second); :meth:`Curves.flush` sends what is left.
"""

from __future__ import annotations

import math
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import anywidget
import numpy as np
import traitlets as t

from visionlab.show import theme

__all__ = ["Curves"]

_SECONDS_BETWEEN_PUSHES = 0.1


class Curves(anywidget.AnyWidget):
    """Line chart that grows point by point.

    Series take the roles of :data:`visionlab.show.theme.SERIES` in the order in which they first appear: colour,
    line pattern and end mark, so that they can be told apart without colour. A value that is not finite leaves a
    gap. The repr counts points and gives no values, since those of a live run differ between machines.

    Args:
        title: heading of the chart.
        x_label: name of the horizontal axis, with its unit.
        y_label: name of the vertical axis, with its unit.
        y_range: lowest and highest value shown; follows the data unless given.
        series: names known beforehand, so that their looks do not depend on which starts first.

    Raises:
        ValueError: ``y_range`` does not run upwards.
    """

    _esm = pathlib.Path(__file__).with_suffix(".js")

    title = t.Unicode().tag(sync=True)
    x_label = t.Unicode().tag(sync=True)
    y_label = t.Unicode().tag(sync=True)
    x_range = t.List(t.Float()).tag(sync=True)  # empty: follows the data
    y_range = t.List(t.Float()).tag(sync=True)
    lines = t.List(t.Dict()).tag(sync=True)
    progress = t.Float(0.0, min=0.0, max=1.0).tag(sync=True)
    status = t.Unicode().tag(sync=True)

    def __init__(
        self,
        title: str,
        x_label: str,
        y_label: str,
        y_range: tuple[float, float] | None = None,
        series: Sequence[str] = (),
    ) -> None:
        if y_range is not None and not y_range[0] < y_range[1]:
            raise ValueError(f"y_range must be (lowest, highest) with lowest < highest; got {y_range}")
        self.points: dict[str, list[tuple[float, float]]] = {name: [] for name in series}
        self._report = (0.0, "")
        self._pushed = -math.inf
        super().__init__(title=title, x_label=x_label, y_label=y_label, y_range=[float(v) for v in y_range or ()])

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {len(points)} points" for name, points in self.points.items())
        return f"Curves({self.title!r}: {counts or 'no points yet'})"

    def add(self, series: str, x: float, y: float) -> None:
        """Append the point (x, y) to a series, which starts with its first point."""
        self.points.setdefault(series, []).append((float(x), float(y)))
        self._push_if_due()

    def report(self, progress: float, status: str) -> None:
        """Set the progress bar (0 to 1) and the line beside it.

        Raises:
            ValueError: ``progress`` is not in 0 to 1.
        """
        if not 0 <= progress <= 1:
            raise ValueError(f"progress must lie in 0 to 1; got {progress}")
        self._report = (float(progress), status)
        self._push_if_due()

    def flush(self) -> None:
        """Send everything that has not been sent."""
        with self.hold_sync():
            self.lines = [_line(name, points, index) for index, (name, points) in enumerate(self.points.items())]
            self.progress, self.status = self._report
        self._pushed = time.monotonic()

    def _push_if_due(self) -> None:
        if time.monotonic() - self._pushed >= _SECONDS_BETWEEN_PUSHES:
            self.flush()


def _line(name: str, points: list[tuple[float, float]], index: int) -> dict[str, Any]:
    """A series in the form that travels: float32 coordinates beside its name and look."""
    role = theme.SERIES[index % len(theme.SERIES)]
    x, y = np.asarray(points, dtype="<f4").reshape(-1, 2).T
    return {
        "name": name,
        "color": theme.color(role),
        "dash": list(theme.DASHES[role]),
        "x": x.tobytes(),
        "y": y.tobytes(),
    }
