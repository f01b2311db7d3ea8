"""A panel of curves against the strength of something, chosen from a list; Python computes them when it is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import ipywidgets

from visionlab.show.widgets.curves import Curves

__all__ = ["SweepPanel"]

Answer = Callable[[str], tuple[str, Sequence[float], Mapping[str, Sequence[float]]]]


class SweepPanel(ipywidgets.VBox):
    """A choice above a chart: ``answer(choice)`` gives the name of the horizontal axis, its values, and the curves.

    Args:
        title: heading of the chart.
        choices: to choose from; the first is shown at once.
        answer: computes the curves of a choice; asked once for each, then remembered.
        series: names of the curves.
        y_label: name of the vertical axis, with its unit.
        y_range: lowest and highest value shown.

    Raises:
        ValueError: there is nothing to choose from.
    """

    def __init__(
        self,
        title: str,
        choices: Sequence[str],
        answer: Answer,
        *,
        series: Sequence[str],
        y_label: str,
        y_range: tuple[float, float],
    ) -> None:
        if not choices:
            raise ValueError("choices must hold at least one; got none")
        self._answer = answer
        self._title, self._y_label, self._y_range, self._series = title, y_label, y_range, list(series)
        self._charts: dict[str, Curves] = {}
        self.choice = ipywidgets.Dropdown(options=list(choices), description="change")
        self.choice.add_class("vl-sweep-choice")
        super().__init__([self.choice, self._chart(choices[0])])
        self.choice.observe(self._show, "value")
        self.add_class("vl-sweep")

    def __repr__(self) -> str:
        return f"SweepPanel({self._title!r}: {', '.join(self._series)} against {self.choice.value})"

    @property
    def chart(self) -> Curves:
        """The chart on show."""
        return self._chart(self.choice.value)

    def _show(self, _change: object) -> None:
        self.children = (self.choice, self._chart(self.choice.value))

    def _chart(self, choice: str) -> Curves:
        if choice not in self._charts:
            x_label, xs, curves = self._answer(choice)
            chart = Curves(self._title, x_label, self._y_label, self._y_range, self._series)
            for name in self._series:
                for x, y in zip(xs, curves[name], strict=True):
                    chart.add(name, x, y)
            chart.flush()
            self._charts[choice] = chart
        return self._charts[choice]
