"""Lab 08: other right ways to fill its gaps are right, shortcuts are not, and solutions do what the library does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from visionlab.exercises import pnal
from visionlab.exercises.exercise import Exercise, check
from visionlab.exercises.pnal import LOSS, TRUSTED, VOTE
from visionlab.points.pnal import Cleaning, LabelMemory


def by_counter(history: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    labels, sure = [], []
    for point in history.tolist():
        votes = Counter(sorted(k for k in point if 0 <= k < classes))
        label, most = votes.most_common(1)[0] if votes else (-1, 0)
        labels.append(label)
        sure.append(most == len(point))
    return torch.tensor(labels), torch.tensor(sure)


def by_spread(history: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    counts = torch.nn.functional.one_hot(history.long() + 1, classes + 1).sum(1)[:, 1:]
    return counts.argmax(1), (history.amin(1) == history.amax(1)) & (history.amin(1) >= 0)


def by_cluster(label: Tensor, trusted: Tensor, cluster: Tensor, classes: int) -> Tensor:
    found = torch.full_like(label, -1)
    for k in cluster.unique():
        votes = torch.bincount(label[(cluster == k) & trusted], minlength=classes)
        if votes.any():
            found[cluster == k] = votes.argmax()
    return found


def by_pairs(label: Tensor, trusted: Tensor, cluster: Tensor, classes: int) -> Tensor:
    together = (cluster[:, None] == cluster).float()
    votes = together @ (torch.nn.functional.one_hot(label, classes) * trusted[:, None]).float()
    return votes.argmax(1).masked_fill(votes.sum(1) == 0, -1)


def by_selection(logits: Tensor, target: Tensor) -> Tensor:
    chosen = target >= 0
    if not chosen.any():
        return 0 * logits.sum()
    return torch.nn.functional.cross_entropy(logits[chosen], target[chosen])


RIGHT = [
    (TRUSTED, by_counter), (TRUSTED, by_spread), (VOTE, by_cluster), (VOTE, by_pairs), (LOSS, by_selection),
]  # fmt: skip


def solution(exercise: Exercise) -> Callable[..., Any]:
    namespace: dict[str, Any] = {}
    exec(exercise.hints[2], namespace)
    return namespace[exercise.library[0].__name__]


@pytest.mark.parametrize(("exercise", "answer"), RIGHT, ids=[answer.__name__ for _, answer in RIGHT])
def test_another_right_way_is_right(exercise: Exercise, answer: Callable[..., Any]) -> None:
    found = check(exercise, [answer])
    assert found.right, found


def test_an_answer_that_changes_what_it_is_given_does_not_change_what_is_right() -> None:
    def emptied(history: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        history[history < 0] = 0
        return by_counter(history, classes)

    def filled(logits: Tensor, target: Tensor) -> Tensor:
        target[target < 0] = 0
        return by_selection(logits, target)

    assert "empty slots are no class" in check(TRUSTED, [emptied]).message
    assert "points without a target have no say" in check(LOSS, [filled]).message


@pytest.mark.parametrize("pick", [0, -1], ids=["the first", "the last"])
def test_one_point_of_a_cluster_does_not_decide(pick: int) -> None:
    def alone(label: Tensor, trusted: Tensor, cluster: Tensor, classes: int) -> Tensor:
        found = torch.full_like(label, -1)
        for k in cluster[trusted].unique():
            found[cluster == k] = label[(cluster == k) & trusted][pick]
        return found

    assert "the majority of each cluster" in check(VOTE, [alone]).message


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda logits, target: by_selection(logits, target).item(), "it returns 1.17"),
        (lambda logits, target: by_selection(logits, target).detach(), "not made of the logits"),
        (lambda logits, target: torch.nn.functional.cross_entropy(logits, target, ignore_index=-1), "gives nan"),
        (
            lambda logits, target: by_selection(logits, target) + logits.sum() - logits.sum().detach(),
            "its gradient [1.0",
        ),
    ],
    ids=["a number", "no gradient", "the usual way", "a gradient out of nothing"],
)
def test_a_loss_that_does_not_train_is_refused(answer: Callable[..., Any], words: str) -> None:
    assert words in check(LOSS, [answer]).message


@pytest.mark.parametrize("seed", range(4))
def test_solutions_correct_labels_as_the_library_does(seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    cluster = torch.randint(-5, 25, (300,), generator=g) * 1_000_003
    memory = LabelMemory(cluster, 5, slots=3)
    for _ in range(3 + seed):
        ids = torch.randperm(300, generator=g)[:200]
        memory.record(ids, torch.randint(2 + seed, (200,), generator=g))
    label, sure = solution(TRUSTED)(memory.history, 5)
    assert 0 < sure.sum() < 300
    expected = memory.correct(torch.arange(300), Cleaning(slots=3))
    assert (expected >= 0).any()
    assert torch.equal(solution(VOTE)(label, sure, cluster, 5), expected)


def test_the_solution_of_the_loss_has_the_gradient_of_the_library() -> None:
    g = torch.Generator().manual_seed(0)
    logits, target = torch.randn(40, 6, generator=g).requires_grad_(), torch.randint(-1, 6, (40,), generator=g)
    found, expected = (torch.autograd.grad(f(logits, target), logits)[0] for f in (solution(LOSS), pnal.masked_loss))
    torch.testing.assert_close(found, expected)
    assert not found[target < 0].any()
    assert found[target >= 0].any(1).all()
