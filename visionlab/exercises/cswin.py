"""Lab 03: what its predictions reveal, and its gaps: cut a map into stripes and back; LePE within a stripe."""

from __future__ import annotations

import torch
import torch.nn.functional as F
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


def lepe(values: Tensor, kernel: Tensor, height: int, width: int) -> Tensor:
    """Convolve the values (n, height * width, C) of each window with kernels (C, 1, 3, 3); the same shape comes out."""
    n, _, c = values.shape
    images = values.transpose(1, 2).reshape(n, c, height, width)
    return F.conv2d(images, kernel, padding=1, groups=c).flatten(2).transpose(1, 2)


def _kernel(channels: int, row: int, column: int) -> Tensor:
    """Kernels that fetch each token's neighbour at (row - 1, column - 1)."""
    kernel = torch.zeros(channels, 1, 3, 3)
    kernel[:, :, row, column] = 1
    return kernel


def _lepe_shape(own: Answer) -> str | None:
    for n, c, h, w in ((3, 4, 5, 2), (2, 3, 2, 6), (1, 2, 1, 1)):
        got = written(own(torch.ones(n, h * w, c), _kernel(c, 1, 1), h, w))
        if problem := shapes(got, (n, h * w, c), f"values {(n, h * w, c)} of windows of {h}x{w}"):
            return problem
    return None


def _fetched(what: str, row: int, column: int, own: Answer) -> str | None:
    values = torch.arange(1.0, 7).view(1, 6, 1)
    got = own(values, _kernel(1, row, column), 3, 2).flatten().tolist()
    expected = lepe(values, _kernel(1, row, column), 3, 2).flatten().tolist()
    return (
        None
        if got == expected
        else (
            f"in a window of 3x2 tokens with values 1 to 6, a kernel that fetches the neighbour {what} gives {got},"
            f" expected {expected}"
        )
    )


def _apart(own: Answer) -> str | None:
    values = torch.zeros(2, 4, 1)
    values[1] = 5
    got = own(values, torch.ones(1, 1, 3, 3), 2, 2)[0].flatten().tolist()
    return None if got == [0, 0, 0, 0] else f"a window of zeros beside one of fives gives {got}, expected zeros"


def _channels(own: Answer) -> str | None:
    values = torch.tensor([1.0, 10.0]).expand(1, 4, 2)
    kernel = torch.stack([_kernel(1, 1, 1)[0], 2 * _kernel(1, 1, 1)[0]])
    got = own(values, kernel, 2, 2)[0, 0].tolist()
    return None if got == [1, 20] else f"channels 1 and 10 with kernels 1 and 2 give {got}, expected [1, 20]"


LEPE_SOLUTION = """
def lepe(values, kernel, height, width):
    n, _, c = values.shape
    images = values.transpose(1, 2).reshape(n, c, height, width)
    images = torch.nn.functional.conv2d(images, kernel, padding=1, groups=c)
    return images.flatten(2).transpose(1, 2)
"""

LEPE = Exercise(
    name="cswin/lepe",
    task="write lepe.",
    library=(lepe,),
    properties=(
        Property("the shape that comes out", _lepe_shape),
        Property("the neighbour above", lambda own: _fetched("above", 0, 1, own)),
        Property("the neighbour on the right", lambda own: _fetched("on the right", 1, 2, own)),
        Property("one window knows nothing of the next", _apart),
        Property("each channel has its own kernel", _channels),
    ),
    hints=(
        "The tokens of a window are the pixels of a small image, row by row. `torch.nn.functional.conv2d` takes images"
        " as (n, C, height, width).",
        "Bring the channels forward first, `values.transpose(1, 2)`, then reshape. With `groups=C` each channel meets"
        " its own kernel only, and `padding=1` puts zeros around each image. Then all the way back.",
        "import torch\n" + LEPE_SOLUTION,
    ),
    wrong_answers=tuple(
        ("import torch\n" + LEPE_SOLUTION.replace(right, wrong), words)
        for right, wrong, words in (
            ("values.transpose(1, 2).reshape(n, c, height, width)", "values.reshape(n, c, height, width)", "[1, 20]"),
            ("reshape(n, c, height, width)", "reshape(n, c, width, height)", "gives [0.0, 0.0, 0.0, 1.0, 2.0, 3.0]"),
            (
                "transpose(1, 2).reshape(n, c, height, width)",
                "permute(2, 0, 1).reshape(1, c, n * height, width)",
                "expected (3, 10, 4)",
            ),
            ("padding=1, ", "", "your code raised RuntimeError"),
            (".flatten(2).transpose(1, 2)", ".flatten(2)", "expected (3, 10, 4)"),
        )
    ),
)

EXERCISES = (STRIPES, LEPE)
