"""Lab 01: what its predictions reveal, and its gaps: the shuffle, the groups, and Shift-Max."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from visionlab.backbones.micronet_factorized import channel_shuffle, wiring
from visionlab.backbones.micronet_shiftmax import circular_shift
from visionlab.backbones.micronet_shiftmax import shift_max as mixes
from visionlab.exercises.exercise import Answer, Exercise, Property, shapes, written

__all__ = ["EXERCISES", "REVEALED"]

REVEALED: dict[str, tuple[str, str]] = {
    "groups": (
        "8",
        "Each output adds up 64/G hidden channels, and the shuffle fetches them from as many different groups. To hear"
        " all G groups it needs 64/G = G: eight. With sixteen it hears 4 of 16 groups, with four every input by four"
        " paths.",
    ),
    "time": (
        "slower",
        "Little more than a third of the multiply-adds, and yet it takes longer: small grouped convolutions, shuffles"
        " and gathers wait for memory, and multiply-adds do not count that. Section 7 has the measured times.",
    ),
}
"""Answer and explanation of each prediction; kept here, so that the lab's own cell does not give them away."""

# --- The shuffle ------------------------------------------------------------------------------------------------------

SHUFFLED = ((1, 6, 2), (2, 12, 3), (1, 12, 4), (3, 8, 8), (2, 8, 1), (1, 15, 5))
"""Batch, channels, groups."""


def _numbered(batch: int, channels: int, height: int = 1, width: int = 1) -> Tensor:
    return torch.arange(batch * channels * height * width).view(batch, channels, height, width)


def _shuffle_shape(own: Answer) -> str | None:
    for batch, channels, groups in SHUFFLED:
        x = _numbered(batch, channels, 2, 3)
        got = written(own(x, groups))
        if problem := shapes(got, tuple(x.shape), f"a map {tuple(x.shape)} and {groups} groups"):
            return problem
    return None


def _order(channels: int, groups: int, own: Answer) -> str | None:
    got = own(_numbered(1, channels), groups).flatten().tolist()
    expected = channel_shuffle(_numbered(1, channels), groups).flatten().tolist()
    if got == expected:
        return None
    return f"channels 0 to {channels - 1} in {groups} groups come out as {got}, expected {expected}"


def _dealt(own: Answer) -> str | None:
    return _order(6, 2, own) or _order(12, 4, own)


def _pixels_stay(own: Answer) -> str | None:
    for batch, channels, groups in SHUFFLED:
        x = _numbered(batch, channels, 2, 3)
        if not torch.equal(own(x, groups), channel_shuffle(x, groups)):
            return f"of a map {tuple(x.shape)} in {groups} groups pixels or images come out in another place"
    return None


SHUFFLE_SOLUTION = """
def channel_shuffle(x, groups):
    b, c, h, w = x.shape
    return x.reshape(b, groups, c // groups, h, w).transpose(1, 2).reshape(b, c, h, w)
"""

SHUFFLE = Exercise(
    name="micronet/shuffle",
    task="write channel_shuffle.",
    library=(channel_shuffle,),
    properties=(
        Property("the shape", _shuffle_shape),
        Property("one channel of each group in turn", _dealt),
        Property("pixels and images stay in place", _pixels_stay),
    ),
    hints=(
        "Think of the channels as a deck of cards in `groups` heaps of C/groups. The shuffle takes the top card of each"
        " heap, then the second of each, and so on. Which two axes have to change places for that?",
        "Split the channel axis: `x.reshape(b, groups, c // groups, h, w)`. Swap the two new axes with"
        " `transpose(1, 2)`, and `reshape` back to (b, c, h, w).",
        SHUFFLE_SOLUTION,
    ),
    wrong_answers=(
        ("def channel_shuffle(x, groups):\n    return x\n", "come out as [0, 1, 2, 3, 4, 5], expected"),
        (
            SHUFFLE_SOLUTION.replace("groups, c // groups", "c // groups, groups"),
            "come out as [0, 2, 4, 1, 3, 5], expected [0, 3, 1, 4, 2, 5]",
        ),
        (
            "def channel_shuffle(x, groups):\n    return x.roll(-x.shape[1] // groups, 1)\n",
            "come out as [3, 4, 5, 0, 1, 2], expected",
        ),
        (
            SHUFFLE_SOLUTION.replace("(b, groups, c // groups, h, w)", "(groups, c // groups, b, h, w)").replace(
                "transpose(1, 2)", "transpose(0, 1)"
            ),
            "pixels or images come out in another place",
        ),
    ),
)

# --- The groups: how many paths, and when exactly one ----------------------------------------------------------------

WIRED = ((18, 9, 3), (18, 9, 1), (32, 16, 8), (32, 16, 2), (72, 36, 6), (24, 12, 3), (36, 12, 4))
"""Channels, hidden channels, groups."""


def paths(channels: int, hidden: int, groups: int) -> Tensor:
    """Return how many paths lead to each output (row) from each input (column)."""
    return wiring(channels, hidden, groups).paths


def one_path_groups(hidden: int) -> int:
    """Return the number of groups with which each input reaches each output by exactly one path; -1 for none."""
    root = math.isqrt(hidden)
    return root if root * root == hidden else -1


def _paths_shape(own: Answer, _groups: Answer) -> str | None:
    for channels, hidden, groups in WIRED:
        got = written(own(channels, hidden, groups))
        if problem := shapes(got, (channels, channels), f"{channels} channels"):
            return problem
    return None


def _paths_count(own: Answer, _groups: Answer) -> str | None:
    for channels, hidden, groups in WIRED:
        got, expected = torch.as_tensor(own(channels, hidden, groups)), paths(channels, hidden, groups)
        if not torch.equal(got.to(expected.dtype), expected):
            given = f"for {channels} channels, {hidden} hidden, {groups} groups"
            if int(got.sum()) != int(expected.sum()):
                return f"{given} {int(got[0].sum())} paths end in output 0, expected {int(expected[0].sum())}"
            heard = [int(n) for n in expected[0].nonzero().flatten()]
            return f"{given} output 0 hears inputs {got[0].nonzero().flatten().tolist()}, expected {heard}"
    return None


def _groups_found(_paths: Answer, own: Answer) -> str | None:
    for hidden in (9, 16, 36, 64):
        got, expected = written(own(hidden)), math.isqrt(hidden)
        if got != expected:
            found = paths(2 * hidden, hidden, int(got)) if got in range(1, hidden + 1) and hidden % got == 0 else None
            why = "" if found is None else f"; with {got} a pair has {int(found.min())} to {int(found.max())} paths"
            return f"for {hidden} hidden channels you say {got} groups, expected {expected}{why}"
    return None


def _groups_none(_paths: Answer, own: Answer) -> str | None:
    for hidden in (12, 8, 72):
        got = written(own(hidden))
        if got != -1:
            return f"for {hidden} hidden channels you say {got}, but no number of groups gives every pair one path: -1"
    return None


PATHS_SOLUTION = """
import math
import torch


def paths(channels, hidden, groups):
    block = torch.ones(channels // groups, hidden // groups)
    p = torch.block_diag(*[block] * groups)
    order = torch.arange(hidden).reshape(groups, -1).T.flatten()
    return p @ p.T[order]


def one_path_groups(hidden):
    root = math.isqrt(hidden)
    return root if root * root == hidden else -1
"""

PATHS = Exercise(
    name="micronet/paths",
    task="write paths and one_path_groups.",
    library=(paths, one_path_groups),
    properties=(
        Property("the shape of the map", _paths_shape),
        Property("the paths", _paths_count),
        Property("exactly one path", _groups_found),
        Property("no such number", _groups_none),
    ),
    hints=(
        "Put a 1 wherever a factor has a weight: then a product of matrices counts paths. Qᵀ (hidden x channels) and P"
        " (channels x hidden) are block-diagonal, and P is Qᵀ turned over. For the second function: an output adds up"
        " hidden/G channels, each from another group, and there are G groups.",
        "`torch.block_diag(*[block] * groups)` builds P from a block of ones of channels/groups x hidden/groups. Φ puts"
        " row `order[j]` of Qᵀ in place j, where `order` is what your shuffle does to 0, 1, 2 …:"
        " `torch.arange(hidden).reshape(groups, -1).T.flatten()`. One path each needs hidden/G = G.",
        PATHS_SOLUTION,
    ),
    wrong_answers=(
        (
            PATHS_SOLUTION.replace("p.T[order]", "p.T"),
            "for 18 channels, 9 hidden, 3 groups output 0 hears inputs [0, 1, 2, 3, 4, 5], expected [0, 1, 2",
        ),
        (
            PATHS_SOLUTION.replace("return p @ p.T[order]", "return (p @ p.T[order] > 0).float()"),
            "for 18 channels, 9 hidden, 1 groups 18 paths end in output 0, expected 162",
        ),
        (
            PATHS_SOLUTION.replace("block_diag(*[block] * groups)", "ones(channels, hidden)"),
            "for 18 channels, 9 hidden, 3 groups 162 paths end in output 0, expected 18",
        ),
        (
            PATHS_SOLUTION.replace("root if root * root == hidden else -1", "hidden // 2"),
            "for 9 hidden channels you say 4 groups, expected 3",
        ),
        (PATHS_SOLUTION.replace("root if root * root == hidden else -1", "root"), "for 12 hidden channels you say 3"),
    ),
)

# --- Shift-Max --------------------------------------------------------------------------------------------------------

MIXED = ((1, 6, 3), (2, 8, 2), (2, 8, 4), (1, 12, 3))
"""Batch, channels, groups."""


def shift_max(x: Tensor, a: Tensor, groups: int) -> Tensor:
    """Return max over k of a[:, k, 0] * x + a[:, k, 1] * shifted x, for coefficients (B, K, 2, C)."""
    return mixes([x, circular_shift(x, groups)], a)


def _coefficients(batch: int, channels: int, *rows: tuple[float, float]) -> Tensor:
    """The same coefficients (a, b) for every image and channel, a row a branch."""
    return torch.tensor(rows)[None, :, :, None].expand(batch, -1, -1, channels)


def _mix_shape(own: Answer) -> str | None:
    for batch, channels, groups in MIXED:
        x = torch.ones(batch, channels, 2, 3)
        got = written(own(x, _coefficients(batch, channels, (1.0, 0.0), (0.0, 0.0)), groups))
        if problem := shapes(got, tuple(x.shape), f"a map {tuple(x.shape)}"):
            return problem
    return None


def _told(what: str, own: Answer, x: Tensor, a: Tensor, groups: int) -> str | None:
    got, expected = (f(x, a, groups) for f in (own, shift_max))
    wrong = ~torch.isclose(got, expected).all(dim=1)
    if not wrong.any():
        return None
    image, row, column = wrong.nonzero()[0].tolist()
    given, *shown = ([round(v, 2) + 0.0 for v in y[image, :, row, column].tolist()] for y in (x, got, expected))
    channels = [int(value) for value in given]
    where = f"channels {channels}" if len(x) == 1 else f"channels {channels} of image {image}"
    return f"{what}: {where} in {groups} groups give {shown[0]}, expected {shown[1]}"


def _relu(own: Answer) -> str | None:
    x = torch.tensor([-3.0, 1, -2, 4, 5, -6]).view(1, 6, 1, 1)
    return _told("a ReLU is a1 = 1, the rest 0", own, x, _coefficients(1, 6, (1.0, 0.0), (0.0, 0.0)), 3)


def _neighbour(own: Answer) -> str | None:
    x, a = torch.arange(6.0).view(1, 6, 1, 1), _coefficients(1, 6, (0.0, 1.0), (0.0, 1.0))
    problem = _told("both branches fetch the shifted channel", own, x, a, 3)
    if problem is not None and torch.equal(own(x, a, 3), x.roll(-2, 1)):
        return f"{problem}. Yours is the paper's formula; the published networks roll by one inside the group, too"
    return problem


def _own_numbers(own: Answer) -> str | None:
    rng = torch.Generator().manual_seed(0)
    for batch, channels, groups in MIXED:
        x = torch.randint(-5, 6, (batch, channels, 2, 2), generator=rng).float()
        a = torch.randint(-2, 3, (batch, 2, 2, channels), generator=rng).float()
        if problem := _told("each image and channel has coefficients of its own", own, x, a, groups):
            return problem
    return None


SHIFT_MAX_SOLUTION = """
import torch


def shift_max(x, a, groups):
    b, c, h, w = x.shape
    shifted = x.reshape(b, groups, c // groups, h, w).roll((-1, -1), (1, 2)).reshape(b, c, h, w)
    a = a[..., None, None]
    first = a[:, 0, 0] * x + a[:, 0, 1] * shifted
    second = a[:, 1, 0] * x + a[:, 1, 1] * shifted
    return torch.maximum(first, second)
"""

SHIFT_MAX = Exercise(
    name="micronet/shift_max",
    task="write shift_max.",
    library=(shift_max,),
    properties=(
        Property("the shape", _mix_shape),
        Property("a ReLU is one case", _relu),
        Property("the shifted channel", _neighbour),
        Property("coefficients of its own", _own_numbers),
    ),
    hints=(
        "First the shifted copy: in the place of channel v of group u stands channel v + 1 of group u + 1, both counted"
        " in a circle. As in the shuffle it helps to see the channel axis as two axes. Then two mixes, and their"
        " maximum.",
        "`x.reshape(b, groups, c // groups, h, w).roll((-1, -1), (1, 2))` moves along the groups and inside them, then"
        " `reshape` back. A branch is `a[:, k, 0]` times x plus `a[:, k, 1]` times the shifted copy; give the"
        " coefficients two axes for the pixels: `a[..., None, None]`. Last, `torch.maximum`.",
        SHIFT_MAX_SOLUTION,
    ),
    wrong_answers=(
        (SHIFT_MAX_SOLUTION.replace("(-1, -1), (1, 2)", "-1, 1"), "Yours is the paper's formula"),
        (SHIFT_MAX_SOLUTION.replace("(-1, -1)", "(1, 1)"), "give [5.0, 4.0, 1.0, 0.0, 3.0, 2.0], expected [3.0"),
        (SHIFT_MAX_SOLUTION.replace("torch.maximum(first, second)", "first + second"), "give [-3.0, 1.0, -2.0, 4.0"),
        (
            SHIFT_MAX_SOLUTION.replace("    a = a[..., None, None]\n", "    a = a[:1, ..., None, None]\n"),
            "each image and channel has coefficients of its own: channels [",
        ),
    ),
)

EXERCISES = (SHUFFLE, PATHS, SHIFT_MAX)
