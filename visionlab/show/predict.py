"""Predict first: the learner commits to a guess before the answer is shown."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import ipywidgets

from visionlab.show import theme

__all__ = ["Prediction"]


class Prediction(ipywidgets.VBox):
    """A question, a choice or a number to commit to, and then the answer with its explanation.

    Args:
        question: what the learner is asked.
        options: what to choose from, or None to ask for a number.
        answer: the right option, or the right number.
        explanation: why, shown after the commitment whether the guess was right or not.
        unit: printed behind the number.
        tolerance: how far from ``answer`` a number still counts as right.
        bounds: lowest and highest number that can be entered.

    Raises:
        ValueError: ``answer`` is none of the options or not within ``bounds``, there are fewer than two options,
            or ``tolerance`` is negative.
    """

    def __init__(
        self,
        question: str,
        options: Sequence[str] | None,
        answer: str | float,
        explanation: str,
        *,
        unit: str = "",
        tolerance: float = 0.0,
        bounds: tuple[float, float] = (0.0, 100.0),
    ) -> None:
        if tolerance < 0:
            raise ValueError(f"tolerance must be at least 0; got {tolerance}")
        self.question = question
        self.answer = answer
        self.explanation = explanation
        self.unit = unit
        self.tolerance = tolerance
        self.committed = False
        if options is None:
            self.guess = _number_field(answer, unit, bounds)
        else:
            self.guess = _choice(answer, options)
        self.button = ipywidgets.Button(description="commit", tooltip="commit to this guess")
        self.button.add_class("vl-predict-commit")
        self.button.disabled = self.guess.value is None
        self.verdict = ipywidgets.HTML("")
        self.verdict.add_class("vl-predict-verdict")
        self.guess.observe(self._allow, "value")
        self.button.on_click(self._commit)
        row = [self.guess, ipywidgets.HTML(html.escape(unit))] if options is None and unit else [self.guess]
        heading = f'<p style="font-size:15px;font-weight:600;margin:4px 0">{html.escape(question)}</p>'
        super().__init__([ipywidgets.HTML(heading), ipywidgets.HBox(row), self.button, self.verdict])
        self.add_class("vl-predict")

    def __repr__(self) -> str:
        state = f"guessed {self.guess.value!r}" if self.committed else "not committed"
        return f"Prediction({state}: {self.question})"

    @property
    def right(self) -> bool:
        """Whether the guess as it stands is right."""
        if isinstance(self.guess, ipywidgets.RadioButtons):
            return self.guess.value == self.answer
        return abs(self.guess.value - float(self.answer)) <= self.tolerance

    def commit(self) -> None:
        """Fix the guess and show the answer.

        Raises:
            ValueError: nothing has been chosen yet.
        """
        if self.guess.value is None:
            raise ValueError("guess must be chosen before it is committed; nothing is chosen yet")
        self.committed = True
        self.guess.disabled = True
        self.button.disabled = True
        self.verdict.value = self._verdict_html()

    def _allow(self, _change: object) -> None:
        self.button.disabled = self.committed or self.guess.value is None

    def _commit(self, _button: object) -> None:
        self.commit()

    def _verdict_html(self) -> str:
        mark, role = ("✓ Right.", "baseline") if self.right else ("✗ Not quite.", "rival")
        answer = self.answer if isinstance(self.answer, str) else f"{self.answer:g} {self.unit}".strip()
        style = (
            f"border-left:4px solid {theme.color(role)};padding:6px 12px;margin:4px 0;max-width:860px;"
            "font-size:15px;line-height:1.45;white-space:normal;"
            "background:var(--jp-layout-color2,#eee);color:var(--jp-content-font-color1,#212121)"
        )
        said = f"<b>{mark}</b> The answer: <b>{html.escape(answer)}</b>. {html.escape(self.explanation)}"
        return f'<div role="status" style="{style}">{said}</div>'


def _choice(answer: Any, options: Sequence[str]) -> ipywidgets.RadioButtons:
    if len(options) < 2:
        raise ValueError(f"options must hold at least two choices; got {len(options)}")
    if answer not in options:
        raise ValueError(f"answer must be one of the options {list(options)}; got {answer!r}")
    # No option is chosen at first: a default would be taken for a guess.
    return ipywidgets.RadioButtons(options=list(options), value=None, layout=ipywidgets.Layout(width="max-content"))


def _number_field(answer: Any, unit: str, bounds: tuple[float, float]) -> ipywidgets.BoundedFloatText:
    low, high = bounds
    if not low <= float(answer) <= high:
        raise ValueError(f"answer must lie within bounds {bounds}; got {answer}")
    return ipywidgets.BoundedFloatText(
        value=low, min=low, max=high, step=(high - low) / 100, tooltip=f"your guess {unit}".strip()
    )
