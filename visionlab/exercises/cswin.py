"""Lab 03: what its predictions reveal, and its gap: cut a map into stripes, and put it together again."""

from __future__ import annotations

import torch
from torch import Tensor

from visionlab.backbones.cswin_attention import from_stripes, to_stripes
from visionlab.exercises.exercise import Answer, Exercise, Property, shapes, written

__all__ = ["EXERCISES", "REVEALED"]

REVEALED: dict[str, tuple[str | float, str]] = {
    "blocks": (
        "2",
        "Go along your row to the column of the other token, then along that column: two steps, on a map of any size.",
    ),
    "windows": (
        5.5,
        "In the middle of the map it is 14×14 tokens, 6.25 %; at the border the shifted windows are cut off. Each block"
        " lets news travel at most one window further, so the field creeps.",
    ),
}
"""Answer and explanation of each prediction; kept here, so that the lab's own cell does not give them away."""

CASES = ((2, 4, 6, 3, 4, 2), (2, 4, 6, 3, 2, 6), (1, 6, 6, 2, 3, 2), (3, 5, 4, 1, 5, 1))
"""Batch, height, width, channels of a map, and the height and width of a window."""


def _map(batch: int, height: int, width: int, channels: int) -> Tensor:
    return torch.arange(batch * height * width * channels).view(batch, height, width, channels)


def _shape(to: Answer, _from: Answer) -> str | None:
    for b, h, w, c, p, q in CASES:
        got = written(to(_map(b, h, w, c), p, q))
        expected = (b * (h // p) * (w // q), p * q, c)
        if problem := shapes(got, expected, f"a map {(b, h, w, c)} and windows of {p}x{q}"):
            return problem
    return None


def _window(number: int, p: int, q: int, what: str, to: Answer) -> str | None:
    tokens = torch.arange(16).view(1, 4, 4, 1)
    got = to(tokens, p, q)[number].flatten().tolist()
    expected = to_stripes(tokens, p, q)[number].flatten().tolist()
    if got == expected:
        return None
    return f"on a 4x4 map numbered row by row, {what} {number} holds tokens {got}, expected {expected}"


def _horizontal(to: Answer, _from: Answer) -> str | None:
    return _window(0, 2, 4, "horizontal stripe", to) or _window(1, 2, 4, "horizontal stripe", to)


def _vertical(to: Answer, _from: Answer) -> str | None:
    return _window(0, 4, 2, "vertical stripe", to) or _window(1, 4, 2, "vertical stripe", to)


def _batch(to: Answer, _from: Answer) -> str | None:
    maps = torch.tensor([0, 1]).view(2, 1, 1, 1).expand(2, 4, 4, 1)
    got = to(maps, 4, 2).amax(dim=(1, 2)).tolist()
    return None if got == [0, 0, 1, 1] else f"the four windows of two maps come from maps {got}, expected [0, 0, 1, 1]"


def _inverse(to: Answer, back: Answer) -> str | None:
    for b, h, w, c, p, q in CASES:
        x = _map(b, h, w, c)
        got = written(back(to_stripes(x, p, q), (h, w), p, q))
        given = f"the windows of {p}x{q} of a map {(b, h, w, c)}"
        if problem := shapes(got, (b, h, w, c), given):
            return problem
        if not torch.equal(got, x):
            wrong = int((got != x).any(dim=-1).sum())
            return f"for {given}, {wrong} of {b * h * w} tokens come back in another place"
    return None


SOLUTION = """
def to_stripes(x, height, width):
    b, h, w, c = x.shape
    x = x.reshape(b, h // height, height, w // width, width, c)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, height * width, c)


def from_stripes(windows, size, height, width):
    (h, w), c = size, windows.shape[-1]
    x = windows.reshape(-1, h // height, w // width, height, width, c)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, h, w, c)
"""

_BACK = SOLUTION[SOLUTION.index("def from_stripes") :]
_TO = SOLUTION[: SOLUTION.index("def from_stripes")]

STRIPES = Exercise(
    name="cswin/stripes",
    task="write to_stripes and from_stripes.",
    library=(to_stripes, from_stripes),
    properties=(
        Property("the shape of the windows", _shape),
        Property("horizontal stripes", _horizontal),
        Property("vertical stripes", _vertical),
        Property("batch first", _batch),
        Property("putting the map together again", _inverse),
    ),
    hints=(
        "Split both axes: a map of (B, H, W, C) is also (B, rows, height, columns, width, C). Which of these six axes"
        " belong to one window?",
        "A window's tokens must be neighbours in memory before they are flattened: bring `height` and `width` next to"
        " each other with `permute(0, 1, 3, 2, 4, 5)`, then `reshape(-1, height * width, C)`; the same permutation"
        " undoes itself.",
        SOLUTION,
    ),
    wrong_answers=(
        (
            "def to_stripes(x, height, width):\n    return x.reshape(-1, height * width, x.shape[-1])\n" + _BACK,
            "vertical stripe 0 holds tokens [0, 1, 2, 3, 4, 5, 6, 7]",
        ),
        (
            _TO.replace("(0, 1, 3, 2, 4, 5)", "(0, 1, 3, 4, 2, 5)") + _BACK,
            "horizontal stripe 0 holds tokens [0, 4, 1, 5, 2, 6, 3, 7]",
        ),
        (
            _TO.replace("(0, 1, 3, 2, 4, 5)", "(1, 3, 0, 2, 4, 5)") + _BACK,
            "the four windows of two maps come from maps [0, 1, 0, 1]",
        ),
        (
            _TO + "def from_stripes(windows, size, height, width):\n"
            "    return windows.reshape(-1, *size, windows.shape[-1])\n",
            "tokens come back in another place",
        ),
        (
            _TO.replace("-1, height * width, c", "-1, height, width, c") + _BACK,
            "expected (6, 8, 3)",
        ),
    ),
)

EXERCISES = (STRIPES,)
