"""Dynamic Shift-Max as a function to play with: four coefficients, what they make of a channel and its neighbour.

y = max(a1 x + b1 x~, a2 x + b2 x~), where x~ is the channel that the shift puts beside x. The page computes it all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import anywidget
import traitlets as t

from visionlab.show.widgets.packed import module

__all__ = ["PRESETS", "ShiftMaxBoard"]

PRESETS: dict[str, tuple[float, float, float, float]] = {
    "identity (start of M0 to M2)": (1.0, 0.0, 1.0, 0.0),
    "start of M3": (1.0, 0.0, 0.5, 0.5),
    "ReLU": (1.0, 0.0, 0.0, 0.0),
    "leaky ReLU": (1.0, 0.0, 0.2, 0.0),
    "absolute value": (1.0, 0.0, -1.0, 0.0),
    "larger of the two": (1.0, 0.0, 0.0, 1.0),
    "linear mix": (0.5, 0.5, 0.5, 0.5),
}
"""(a1, b1, a2, b2) by name."""

LOW, HIGH = (-1.0, -2.0, -1.0, -2.0), (3.0, 2.0, 3.0, 2.0)


class ShiftMaxBoard(anywidget.AnyWidget):
    """The map of y over x and its neighbour, cuts through it, and the two branches as points that can be dragged.

    ``values``, (a1, b1, a2, b2), is what is on show. The page changes it, and Python may: a in [-1, 3], b in [-2, 2].

    Args:
        values: to start with.
        measured: coefficients (a1, b1, a2, b2) of one channel for some images, drawn as a cloud, each to be chosen.
        labels: what each of these images is.

    Raises:
        ValueError: a row has not four finite numbers, or there are not as many labels as rows.
    """

    _esm = module("redraw.js", "shiftmax.js")

    presets = t.Dict().tag(sync=True)
    measured = t.List(t.List(t.Float())).tag(sync=True)
    labels = t.List(t.Unicode()).tag(sync=True)
    values = t.List(t.Float(), minlen=4, maxlen=4).tag(sync=True)

    def __init__(
        self,
        values: Sequence[float] = PRESETS["ReLU"],
        *,
        measured: Sequence[Sequence[float]] = (),
        labels: Sequence[str] = (),
    ) -> None:
        if len(labels) != len(measured):
            raise ValueError(f"labels must be one a row of measured, {len(measured)}; got {len(labels)}")
        super().__init__(
            presets={name: list(row) for name, row in PRESETS.items()},
            measured=[_four(f"measured[{i}]", row) for i, row in enumerate(measured)],
            labels=list(labels),
            values=_within(values),
        )

    def __repr__(self) -> str:
        a1, b1, a2, b2 = self.values
        cloud = f", {len(self.measured)} images" if self.measured else ""
        return f"ShiftMaxBoard(max({a1:g} x + {b1:g} x~, {a2:g} x + {b2:g} x~){cloud})"

    @t.validate("values")
    def _valid_values(self, proposal: Any) -> list[float]:
        return _within(proposal["value"])


def _four(name: str, row: Sequence[float]) -> list[float]:
    if len(row) != 4 or not all(math.isfinite(value) for value in row):
        raise ValueError(f"{name} must be four numbers a1, b1, a2, b2; got {list(row)}")
    return [float(value) for value in row]


def _within(row: Sequence[float]) -> list[float]:
    values = _four("values", row)
    for name, value, low, high in zip(("a1", "b1", "a2", "b2"), values, LOW, HIGH, strict=True):
        if not low <= value <= high:
            raise ValueError(f"{name} must lie in {low:g} to {high:g}; got {value:g}")
    return values
