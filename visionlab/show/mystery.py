"""A game: something is hidden, a few checks may be run, then the reader commits to what it is and sees the answer."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

import ipywidgets

from visionlab.show.figure import Figure

__all__ = ["Mystery"]

Check = Callable[[str], tuple[Figure, str]]


class Mystery(ipywidgets.VBox):
    """A hidden thing, a budget of checks, a guess, the answer.

    Args:
        question: what is asked.
        answers: what it may be.
        truth: what it is; one of the answers.
        checks: names of the checks.
        examine: runs a check on the hidden thing, returns a picture and words.
        budget: how many checks may be run.

    Raises:
        ValueError: the truth is none of the answers, or there is no check to run.
    """

    def __init__(
        self,
        question: str,
        answers: Sequence[str],
        truth: str,
        *,
        checks: Sequence[str],
        examine: Check,
        budget: int = 3,
    ) -> None:
        if truth not in answers:
            raise ValueError(f"truth must be one of {', '.join(answers)}; got {truth!r}")
        if not checks or budget < 1:
            raise ValueError(f"checks, budget: expected at least one of each; got {len(checks)} and {budget}")
        self.question, self.left, self.committed = question, budget, False
        self._truth, self._examine = truth, examine
        self.check = ipywidgets.Dropdown(options=list(checks), description="check")
        self.run = ipywidgets.Button(description="examine")
        self.found = ipywidgets.VBox([])
        self.guess = ipywidgets.RadioButtons(
            options=list(answers), value=None, layout=ipywidgets.Layout(width="max-content")
        )
        self.commit_button = ipywidgets.Button(description="commit", tooltip="commit to this guess")
        self.status = ipywidgets.HTML()
        for widget, name in ((self.run, "examine"), (self.commit_button, "commit"), (self.status, "status")):
            widget.add_class(f"vl-mystery-{name}")
        self.run.on_click(lambda _: self.examine(self.check.value))
        self.commit_button.on_click(lambda _: self.commit())
        heading = ipywidgets.HTML(f'<p style="font-size:15px;font-weight:600;margin:4px 0">{html.escape(question)}</p>')
        row = ipywidgets.HBox([self.check, self.run])
        super().__init__([heading, row, self.found, self.guess, self.commit_button, self.status])
        self.add_class("vl-mystery")
        self._tell(f"{budget} checks left.")

    def __repr__(self) -> str:
        return f"Mystery({'committed' if self.committed else f'{self.left} checks left'}: {self.question})"

    def examine(self, check: str) -> None:
        """Spend one of the checks; what it found is added below the ones before."""
        if self.left == 0 or self.committed:
            return
        picture, words = self._examine(check)
        self.left -= 1
        image = ipywidgets.Image(value=picture.png(), format="png", layout=ipywidgets.Layout(max_width="640px"))
        said = ipywidgets.HTML(f"<p><b>{html.escape(check)}</b>: {html.escape(words)}</p>")
        self.found.children = (*self.found.children, said, image)
        self.run.disabled = self.left == 0
        self._tell(f"{self.left} checks left.")

    def commit(self) -> None:
        """Fix the guess and show the answer."""
        if self.guess.value is None:
            self._tell("Choose an answer first.")
            return
        self.committed = True
        for widget in (self.guess, self.commit_button, self.run):
            widget.disabled = True
        mark = "✓ Right" if self.guess.value == self._truth else "✗ Not quite"
        self._tell(f"{mark}: it is {self._truth}.")

    def _tell(self, words: str) -> None:
        self.status.value = f'<p role="status">{html.escape(words)}</p>'
