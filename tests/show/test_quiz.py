from __future__ import annotations

import numpy as np
import pytest

from visionlab.show.quiz import PairQuiz


def quiz(n: int = 6) -> PairQuiz:
    return PairQuiz("Which one?", np.zeros((n, 8, 8, 3)), np.ones((n, 8, 8, 3)), seed=1, side=16)


def changed_is_right(found: PairQuiz) -> bool:
    """A white picture is a larger PNG than a black one in no way that one could see: compare the bytes."""
    white = PairQuiz("w", np.ones((1, 8, 8, 3)), np.ones((1, 8, 8, 3)), side=16).pictures[0].value
    return found.pictures[1].value == white


def test_who_sees_the_change_scores_and_who_does_not_does_not() -> None:
    keen, blind = quiz(), quiz()
    sides = []
    for _ in range(6):
        sides.append(changed_is_right(keen))
        keen.answer(sides[-1])
        blind.answer(not sides[-1])
    assert (keen.score, blind.score) == (6, 0)
    assert set(sides) == {True, False}, "the changed one is on either side"
    assert "6 of 6 right. A guess is right 3 times on average." in keen.status.value
    assert "No, it was the other one" in blind.status.value
    keen.answer(True)
    assert len(keen.answers) == 6
    assert all(button.disabled for button in keen.buttons)


def test_buttons_answer() -> None:
    found = quiz(2)
    found.buttons[1].click()
    assert found.answers == [True]
    assert "Pair 2 of 2" in found.status.value
    assert repr(found) == "PairQuiz(1 of 2 answered: Which one?)"


def test_pairs_must_be_pairs() -> None:
    with pytest.raises(ValueError, match="got 2 and 1"):
        PairQuiz("?", np.zeros((2, 4, 4, 3)), np.zeros((1, 4, 4, 3)))
