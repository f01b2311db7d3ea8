from __future__ import annotations

import matplotlib.pyplot as plt
import pytest

from visionlab.show.figure import Figure, figure
from visionlab.show.mystery import Mystery


def examine(check: str) -> tuple[Figure, str]:
    return figure(plt.figure(), f"picture of {check}"), f"{check} found <something>"


def game(budget: int = 2) -> Mystery:
    return Mystery("What is it?", ["a", "b"], "b", checks=["one", "two"], examine=examine, budget=budget)


def test_checks_are_spent_and_what_they_found_stays() -> None:
    found = game()
    found.run.click()
    assert "1 checks left" in found.status.value
    assert "one found &lt;something&gt;" in found.found.children[0].value
    found.examine("two")
    found.examine("two")
    assert len(found.found.children) == 4
    assert found.run.disabled
    assert repr(found) == "Mystery(0 checks left: What is it?)"


@pytest.mark.parametrize(("guess", "words"), [("b", "Right: it is b"), ("a", "Not quite: it is b")])
def test_the_answer_comes_after_the_guess_only(guess: str, words: str) -> None:
    found = game()
    found.commit_button.click()
    assert "Choose an answer first" in found.status.value
    assert not found.committed
    found.guess.value = guess
    found.commit()
    assert words in found.status.value
    found.examine("one")
    assert found.found.children == ()
    assert "committed" in repr(found)


def test_a_game_that_cannot_be_played_is_refused() -> None:
    with pytest.raises(ValueError, match="truth must be one of a, b; got 'c'"):
        Mystery("?", ["a", "b"], "c", checks=["one"], examine=examine)
    with pytest.raises(ValueError, match="expected at least one of each; got 1 and 0"):
        Mystery("?", ["a"], "a", checks=["one"], examine=examine, budget=0)
