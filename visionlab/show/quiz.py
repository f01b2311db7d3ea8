"""Which one is it? Two pictures a round, one of them changed; the score at the end, beside that of guessing."""

from __future__ import annotations

import io

import ipywidgets
import numpy as np
from PIL import Image

__all__ = ["PairQuiz"]


class PairQuiz(ipywidgets.VBox):
    """Pairs of pictures; the reader says which of the two was changed.

    Args:
        question: asked in every round.
        clean: pictures (n, H, W, 3) in [0, 1].
        changed: the same, changed.
        seed: decides on which side the changed one is shown.
        side: of a picture on the page, in pixels.

    Raises:
        ValueError: there are no pairs, or not as many of one as of the other.
    """

    def __init__(
        self, question: str, clean: np.ndarray, changed: np.ndarray, *, seed: int = 0, side: int = 192
    ) -> None:
        if len(clean) != len(changed) or len(clean) == 0:
            raise ValueError(f"clean, changed: expected as many of each, and some; got {len(clean)} and {len(changed)}")
        self.question = question
        self.answers: list[bool] = []
        self._right = np.random.default_rng(seed).random(len(clean)) < 0.5  # the changed one is on the right
        self._pairs = [
            (_png(a, side), _png(b, side)) if right else (_png(b, side), _png(a, side))
            for a, b, right in zip(clean, changed, self._right, strict=True)
        ]
        layout = ipywidgets.Layout(width=f"{side}px", height=f"{side}px")
        self.pictures = [ipywidgets.Image(format="png", layout=layout) for _ in range(2)]
        self.buttons = [ipywidgets.Button(description=name) for name in ("left", "right")]
        self.status = ipywidgets.HTML()
        for i, button in enumerate(self.buttons):
            button.add_class(f"vl-quiz-{button.description}")
            button.on_click(lambda _, i=i: self.answer(bool(i)))
        self.status.add_class("vl-quiz-status")
        heading = ipywidgets.HTML(f'<p style="font-size:15px;font-weight:600;margin:4px 0">{question}</p>')
        columns = [ipywidgets.VBox(pair) for pair in zip(self.pictures, self.buttons, strict=True)]
        super().__init__([heading, ipywidgets.HBox(columns), self.status])
        self.add_class("vl-quiz")
        self._show()

    def __repr__(self) -> str:
        return f"PairQuiz({len(self.answers)} of {len(self._pairs)} answered: {self.question})"

    @property
    def score(self) -> int:
        """How many answers were right so far."""
        return sum(given == right for given, right in zip(self.answers, self._right.tolist(), strict=False))

    def answer(self, right: bool) -> None:
        """Say that the changed one is on the right, or on the left."""
        if len(self.answers) < len(self._pairs):
            self.answers.append(right)
            self._show()

    def _show(self) -> None:
        done, total = len(self.answers), len(self._pairs)
        if done < total:
            for picture, png in zip(self.pictures, self._pairs[done], strict=True):
                picture.value = png
        for button in self.buttons:
            button.disabled = done == total
        last = ""
        if done:
            last = "Right. " if self.answers[-1] == self._right[done - 1] else "No, it was the other one. "
        end = f" A guess is right {total / 2:g} times on average." if done == total else f" Pair {done + 1} of {total}."
        self.status.value = f'<p role="status">{last}{self.score} of {done} right.{end}</p>'


def _png(picture: np.ndarray, side: int) -> bytes:
    times = max(1, side // max(picture.shape[:2]))
    pixels = (np.clip(picture, 0, 1) * 255).round().astype(np.uint8).repeat(times, 0).repeat(times, 1)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
