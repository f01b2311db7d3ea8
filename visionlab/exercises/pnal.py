"""Lab 08: its gaps: which points agree with themselves, what their cluster makes of it, and a loss for some points."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from visionlab.exercises.exercise import Answer, Exercise, Property, shapes, written
from visionlab.points.robust_losses import cross_entropy
from visionlab.points.robust_losses import masked_mean as mean_where
from visionlab.points.voting import agreement, corrected

__all__ = ["EXERCISES", "REVEALED"]

REVEALED: dict[str, tuple[str | float, str]] = {
    "course": (
        "it rises, then falls",
        "62 % in its best epoch, 48 % in the end, over five seeds. What is common is learned first, and that is the"
        " truth: of all points of a class 40 % have the right name, and 7 % each of the wrong ones. What is rare,"
        " single objects with wrong names, is learned by heart later.",
    ),
    "few": (
        "worse",
        "68 % in new rooms instead of 76. At the end of its warm-up the network is right about seven points in ten;"
        " eight in ten of the labels are right. PNAL puts what the network thinks in the place of all labels.",
    ),
}
"""Answer and explanation of each prediction; kept here, so that the lab's own cell does not give them away."""


# --- Which points are trusted -----------------------------------------------------------------------------------------


def trusted(history: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """The library's `visionlab.points.voting.agreement`, and where its share is 1."""
    label, share = agreement(history, classes)
    return label, share == 1


FULL = [[3, 3, 3, 3], [2, 0, 2, 2], [1, 3, 3, 0], [0, 1, 1, 1], [1, 1, 1, 0], [0, 0, 0, 0]]
TIED = [[2, 1, 2, 1], [3, 2, 1, 0], [0, 3, 3, 0]]
EMPTY = [[2, -1, -1, -1], [3, 1, 1, -1], [2, 2, -1, -1], [-1, -1, -1, -1], [3, 3, 3, 3]]


def _history(points: Sequence[Sequence[int]]) -> Tensor:
    """What is remembered of points, as the library keeps it: one byte a class."""
    return torch.tensor(points, dtype=torch.int8)


def _pair(own: Answer) -> str | None:
    given, history = "a history (7, 3) of 5 classes", torch.arange(21).view(7, 3).remainder(5).to(torch.int8)
    got: Any = written(own(history, 5))
    if not (isinstance(got, (tuple, list)) and len(got) == 2 and all(isinstance(part, Tensor) for part in got)):
        return f"for {given} it returns {type(got).__name__}, expected two tensors, label and trusted"
    label, sure = got
    if sure.dtype != torch.bool or label.is_floating_point() or label.dtype == torch.bool:
        return f"for {given} label is {label.dtype} and trusted {sure.dtype}, expected whole numbers and torch.bool"
    wrong = ((name, shapes(part, (7,), given)) for name, part in (("label", label), ("trusted", sure)))
    return next((f"{name}: {problem}" for name, problem in wrong if problem), None)


def _label(own: Answer, points: Sequence[Sequence[int]], classes: int, why: str) -> str | None:
    """Compare labels of points; one of which nothing is remembered may get any."""
    got, expected = (f(_history(points), classes)[0] for f in (own, trusted))
    wrong = (got != expected) & (_history(points) >= 0).any(1)
    if not wrong.any():
        return None
    i = int(wrong.nonzero()[0, 0])
    return f"{_words(points[i], classes)} has label {int(got[i])}, expected {int(expected[i])}: {why}"


def _trust(own: Answer, points: Sequence[Sequence[int]], classes: int, why: str) -> str | None:
    got, expected = (f(_history(points), classes)[1] for f in (own, trusted))
    if torch.equal(got, expected):
        return None
    i = int((got != expected).nonzero()[0, 0])
    say = ("not trusted", "trusted")
    return f"{_words(points[i], classes)} is {say[bool(got[i])]}, expected {say[bool(expected[i])]}: {why}"


def _words(point: Sequence[int], classes: int) -> str:
    return f"a point remembered as {', '.join(map(str, point))} (of {classes} classes)"


TRUSTED_SOLUTION = """
import torch


def trusted(history, classes):
    counts = (history[:, :, None] == torch.arange(classes)).sum(1)
    label = counts.argmax(1)
    return label, counts.amax(1) == history.shape[1]
"""

TRUSTED = Exercise(
    name="pnal/trusted",
    task="Write the function trusted: from a history (N, q) of predicted classes, -1 in empty slots, the most frequent"
    " class (N,) of each point, the smaller one of equals, and whether all q slots hold it (N,).",
    library=(trusted,),
    properties=(
        Property("what comes out", _pair),
        Property("the most frequent class", lambda own: _label(own, FULL, 4, "the class that most slots hold")),
        Property("the smaller one of equals", lambda own: _label(own, TIED, 4, "the smaller of equals counts")),
        Property("all slots agree", lambda own: _trust(own, FULL, 4, "all slots have to agree")),
        Property("empty slots are no class", lambda own: _label(own, EMPTY, 4, "-1, an empty slot, is no class")),
        Property(
            "empty slots do not agree", lambda own: _trust(own, EMPTY, 4, "-1, an empty slot, agrees with nothing")
        ),
        Property("more classes", lambda own: _label(own, [[12] * 5 + [3], [10] * 6], 13, "classes are 0 to 12")),
        Property("one slot", lambda own: _trust(own, [[5], [-1]], 6, "one slot is all slots")),
    ),
    hints=(
        "Count, for each point and each class from 0 to K - 1, the slots that hold it. Both answers can be read off"
        " these counts (N, K), and a slot with -1 is in none of them.",
        "`history[:, :, None] == torch.arange(classes)` is (N, q, K), and `.sum(1)` counts over the slots. `argmax(1)`"
        " is the first of the largest counts. For trust, compare the largest count with q, which is `history.shape[1]`,"
        " not with the number of slots that are filled.",
        TRUSTED_SOLUTION,
    ),
    wrong_answers=tuple(
        (TRUSTED_SOLUTION.replace(right, wrong), words)
        for right, wrong, words in (
            ("return label, counts.amax(1) == history.shape[1]", "return label", "it returns Tensor, expected two"),
            (".sum(1)", ".sum(0)", "label: for a history (7, 3) of 5 classes the shape is (3,), expected (7,)"),
            ("counts.argmax(1)", "history[:, -1].long()", "remembered as 1, 3, 3, 0 (of 4 classes) has label 0"),
            ("counts.argmax(1)", "classes - 1 - counts.flip(1).argmax(1)", "2, 1, 2, 1 (of 4 classes) has label 2"),
            ("== history.shape[1]", "> history.shape[1] / 2", "2, 0, 2, 2 (of 4 classes) is trusted"),
            ("counts.argmax(1)", "history.long().mode(1).values", "2, -1, -1, -1 (of 4 classes) has label -1"),
            ("history[:, :, None]", "history.clamp(min=0)[:, :, None]", "2, -1, -1, -1 (of 4 classes) has label 0"),
            ("== history.shape[1]", "== (history >= 0).sum(1)", "2, -1, -1, -1 (of 4 classes) is trusted"),
            ("counts.amax(1) == history.shape[1]", "(history == history[:, :1]).all(1)", "-1, -1, -1, -1 (of 4"),
            ("torch.arange(classes)", "torch.arange(4)", "3 (of 13 classes) has label 3, expected 12"),
            ("== history.shape[1]", "== 4", "5 (of 6 classes) is not trusted, expected trusted: one slot"),
        )
    ),
)


# --- What a cluster makes of them -------------------------------------------------------------------------------------


def vote(label: Tensor, trusted: Tensor, cluster: Tensor, classes: int) -> Tensor:
    """The library's `visionlab.points.voting.corrected`, by majority."""
    return corrected(label, trusted, cluster, classes, "majority")


def _vote_shape(own: Answer) -> str | None:
    got = written(own(torch.arange(9) % 5, torch.arange(9) % 2 == 0, torch.arange(9) // 3, 5))
    return shapes(got, (9,), "nine points in three clusters")


def _vote(own: Answer, label: Sequence[int], sure: Sequence[int], cluster: Sequence[int], why: str) -> str | None:
    given = torch.tensor(label), torch.tensor(sure) == 1, torch.tensor(cluster)
    expected = vote(*given, 4).tolist()
    points = f"4 classes, label {label}, trusted {sure}, cluster {cluster}"
    try:
        got = own(*given, 4).tolist()
    except Exception as error:
        return f"for {points} your code raised {type(error).__name__}: {error}"
    return None if got == expected else f"for {points} it gives {got}, expected {expected}: {why}"


VOTES = (
    ("the majority of each cluster", [3, 2, 2, 1, 1, 0], [1] * 6, [0, 0, 0, 1, 1, 1], "2 has most votes, then 1 has"),
    ("points in any order", [3, 0, 2, 1, 3, 0], [1] * 6, [1, 0, 1, 0, 1, 0], "a cluster's points lie anywhere"),
    ("who votes, who gets it", [3, 1, 1, 0], [1, 0, 0, 1], [0, 0, 0, 1], "those trusted vote, all get the label"),
    ("the smaller one of equals", [2, 1, 0, 3, 3, 0], [1] * 6, [0, 0, 1, 1, 1, 1], "of as many votes, the smaller"),
    ("a cluster without a trusted point", [2, 2, 3, 1], [1, 1, 0, 0], [0, 0, 1, 1], "without votes its label is -1"),
    ("no trusted point at all", [2, 2, 3, 1], [0, 0, 0, 0], [0, 0, 1, 1], "without votes labels are -1"),
    ("numbers with gaps", [2, 1, 2, 1, 1, 3], [1] * 5 + [0], [0, 907, 0, 907, 3, 12], "numbers are only names"),
    ("negative numbers", [2, 1, 2, 1, 1, 3], [1] * 5 + [0], [-3, 5, -3, 5, 5, -8], "numbers are only names"),
)

VOTE_SOLUTION = """
import torch


def vote(label, trusted, cluster, classes):
    ids, place = cluster.unique(return_inverse=True)
    votes = place[trusted] * classes + label[trusted]
    table = torch.bincount(votes, minlength=len(ids) * classes).view(-1, classes)
    winner = torch.where(table.amax(1) > 0, table.argmax(1), -1)
    return winner[place]
"""

VOTE = Exercise(
    name="pnal/vote",
    task="Write the function vote: one label (N,) for all points of a cluster, the one that most of its trusted points"
    " have, the smaller one of equals, -1 where none is trusted.",
    library=(vote,),
    properties=(
        Property("the shape that comes out", _vote_shape),
        *(
            Property(name, partial(_vote, label=label, sure=sure, cluster=cluster, why=why))
            for name, label, sure, cluster, why in VOTES
        ),
    ),
    hints=(
        "Make a table of votes (C, K): one row for each cluster, one column for each class. Only trusted points enter"
        " it; its rows give the winners, which then go back to all points.",
        "`ids, place = cluster.unique(return_inverse=True)` gives each point its row, 0 to C - 1. A vote for a class"
        " falls on cell number row * K + class; `torch.bincount(..., minlength=C * K)` counts each cell's votes, and"
        " `.view(-1, K)` makes rows of them. A row whose largest count is 0 had no vote. Winners (C,), indexed by"
        " `place`, are back at the points.",
        VOTE_SOLUTION,
    ),
    wrong_answers=tuple(
        (VOTE_SOLUTION.replace(right, wrong), words)
        for right, wrong, words in (
            ("return winner[place]", "return winner", "for nine points in three clusters the shape is (3,)"),
            ("place[trusted] * classes + label[trusted]", "place * classes + label", "it gives [1, 1, 1, 0]"),
            ("return winner[place]", "return torch.where(trusted, winner[place], -1)", "it gives [3, -1, -1, 0]"),
            ("return winner[place]", "return torch.where(trusted, winner[place], label)", "it gives [3, 1, 1, 0]"),
            ("table.argmax(1), -1", "classes - 1 - table.flip(1).argmax(1), -1", "of as many votes, the smaller"),
            ("torch.where(table.amax(1) > 0, table.argmax(1), -1)", "table.argmax(1)", "it gives [2, 2, 0, 0]"),
            ("winner[place]", "torch.where(winner[place] < 0, label, winner[place])", "it gives [2, 2, 3, 1]"),
            ("cluster.unique(return_inverse=True)", "cluster.unique(), cluster", "numbers with gaps: for 4"),
            ("cluster.unique(return_inverse=True)", "torch.arange(cluster.max() + 1), cluster", "cluster [-3, 5, -3"),
            ("cluster.unique(", "cluster.unique_consecutive(", "a cluster's points lie anywhere"),
            (", minlength=len(ids) * classes", "", "your code raised RuntimeError: shape"),
        )
    ),
)


# --- A loss for some points -------------------------------------------------------------------------------------------


def masked_loss(logits: Tensor, target: Tensor) -> Tensor:
    """The library's `visionlab.points.robust_losses.masked_mean` of its `cross_entropy`."""
    return mean_where(cross_entropy(logits, target), target >= 0)


MEAN = "the mean cross entropy, as each has a target"
DIVIDED = "the sum over points with a target is divided by how many these are"
LARGE = "the softmax of such logits is 0, but log_softmax is finite"


def _points(*target: int, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Logits (N, 3), of which no two points have the same, and targets (N,)."""
    return scale * torch.linspace(-2, 2, 3 * len(target)).square().view(-1, 3), torch.tensor(target)


def _scalar(own: Answer) -> str | None:
    got = written(own(*_points(0, 2, 1, 1)))
    return shapes(got, (), "logits (4, 3)") if isinstance(got, Tensor) else f"it returns {got!r}, expected a tensor"


def _loss(own: Answer, logits: Tensor, target: Tensor, why: str) -> str | None:
    expected, given = float(masked_loss(logits, target)), f"logits {tuple(logits.shape)}, target {target.tolist()}"
    got = float(own(logits, target))
    if abs(got - expected) < 1e-4:
        return None
    return f"for {given} it gives {got:.4f}, expected {expected:.4f}: {why}"


def _no_say(own: Answer) -> str | None:
    logits, target = _points(0, -1, 2, -1, 1)
    other = torch.where(target[:, None] < 0, torch.tensor([3.0, 0.0, -5.0]), logits)
    before, after = float(own(logits, target.clone())), float(own(other, target.clone()))
    if abs(before - after) < 1e-5:
        return None
    return (
        f"for logits (5, 3), target {target.tolist()} it goes from {before:.4f} to {after:.4f} if nothing changes but"
        " the logits of points without a target, -1: these must have no say"
    )


def _none(own: Answer) -> str | None:
    logits, target = _points(-1, -1, -1, -1)
    logits.requires_grad_()
    loss = own(logits, target)
    if loss.detach() != 0:
        return f"for logits (4, 3), none with a target, it gives {loss.detach():.4f}, expected 0"
    if not loss.requires_grad:
        return "for logits (4, 3), none with a target, it is 0, but not made of the logits: backward() would raise"
    (slope,) = torch.autograd.grad(loss, logits)
    if not slope.any():
        return None
    return f"for logits (4, 3), none with a target, the loss is 0 but its gradient {slope[0].tolist()}, expected zeros"


LOSS_SOLUTION = """
import torch.nn.functional as F


def masked_loss(logits, target):
    total = F.cross_entropy(logits, target, ignore_index=-1, reduction="sum")
    return total / (target >= 0).sum().clamp(min=1)
"""

LOSS_BY_HAND = """
import torch


def masked_loss(logits, target):
    has = target >= 0
    losses = -logits.log_softmax(1)[torch.arange(len(target)), target]
    return torch.where(has, losses, 0).sum() / has.sum().clamp(min=1)
"""

LOSS = Exercise(
    name="pnal/masked_loss",
    task="Write the function masked_loss: the mean cross entropy of logits (N, K) over the points whose target (N,) is"
    " not -1; 0, with a gradient of zeros, if there is none.",
    library=(masked_loss,),
    properties=(
        Property("one number", _scalar),
        Property("a target for each point", lambda own: _loss(own, *_points(0, 2, 1, 1), MEAN)),
        Property("points without a target have no say", _no_say),
        Property("the mean over points with a target", lambda own: _loss(own, *_points(0, -1, 2, -1, -1), DIVIDED)),
        Property("large logits", lambda own: _loss(own, *_points(2, 0, -1, scale=100.0), LARGE)),
        Property("no target at all", _none),
    ),
    hints=(
        "A sum over the points that have a target, divided by how many they are. Two things to think of: -1 is a valid"
        " index in Python, the last one; and 0 / 0 is not a number.",
        '`torch.nn.functional.cross_entropy` takes `ignore_index=-1`, and with `reduction="sum"` it leaves the division'
        " to you. `(target >= 0).sum()` is the number of points that count; `.clamp(min=1)` keeps an empty sum 0. The"
        " result has to come from the logits, so that `backward()` works on it: return no constant.",
        LOSS_SOLUTION,
    ),
    wrong_answers=tuple(
        (source.replace(right, wrong), words)
        for source, right, wrong, words in (
            (LOSS_SOLUTION, '"sum"', '"none"', "for logits (4, 3) the shape is (4,), expected ()"),
            (LOSS_SOLUTION, "(logits, target, ", "(logits.softmax(1), target, ", "the mean cross entropy, as each"),
            (LOSS_BY_HAND, "torch.where(has, losses, 0).sum()", "losses.sum()", "these must have no say"),
            (LOSS_BY_HAND, "torch.where(has, losses, 0).sum() / has.sum().clamp(min=1)", "losses.mean()", "no say"),
            (LOSS_SOLUTION, "target, ignore_index=-1", "target.clamp(min=0)", "these must have no say"),
            (LOSS_SOLUTION, "(target >= 0).sum().clamp(min=1)", "len(target)", "is divided by how many these are"),
            (LOSS_SOLUTION, "target >= 0", "target > 0", "each has a target"),
            (LOSS_BY_HAND, "logits.log_softmax(1)", "logits.softmax(1).log()", "it gives inf, expected"),
            (LOSS_SOLUTION, ".clamp(min=1)", "", "none with a target, it gives nan, expected 0"),
            (LOSS_BY_HAND, "return", "if not has.any():\n        return torch.zeros(())\n    return", "would raise"),
        )
    ),
)

EXERCISES = (TRUSTED, VOTE, LOSS)
