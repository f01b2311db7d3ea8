from __future__ import annotations

from typing import Any

import pytest

from visionlab.show.predict import Prediction

QUESTION = "How many blocks until a token has heard from all?"


def choice(**more: Any) -> Prediction:
    settings = {"options": ["one", "two"], "answer": "two", "explanation": "Row, then column: <2>."} | more
    return Prediction(QUESTION, **settings)


def number(**more: Any) -> Prediction:
    settings = {"unit": "%", "tolerance": 1.5, "bounds": (0.0, 100.0)} | more
    return Prediction("Which share?", None, 13.8, "Two stripes.", **settings)


def test_nothing_is_chosen_or_told_before_the_commitment() -> None:
    prediction = choice()
    assert prediction.guess.value is None
    assert prediction.button.disabled
    assert prediction.verdict.value == ""
    assert repr(prediction) == f"Prediction(not committed: {QUESTION})"


def test_a_choice_opens_the_commitment_but_tells_nothing() -> None:
    prediction = choice()
    prediction.guess.value = "one"
    assert not prediction.button.disabled
    assert prediction.verdict.value == ""
    assert repr(prediction) == f"Prediction(not committed: {QUESTION})"


@pytest.mark.parametrize(("guess", "mark"), [("two", "✓ Right."), ("one", "✗ Not quite.")])
def test_the_commit_button_fixes_the_guess_and_explains_right_or_wrong(guess: str, mark: str) -> None:
    prediction = choice()
    prediction.guess.value = guess
    prediction.button.click()
    assert mark in prediction.verdict.value
    assert "Row, then column: &lt;2&gt;." in prediction.verdict.value
    assert prediction.right == (guess == "two")
    assert prediction.guess.disabled
    assert prediction.button.disabled
    assert repr(prediction) == f"Prediction(guessed {guess!r}: {QUESTION})"


def test_a_commitment_needs_a_choice() -> None:
    with pytest.raises(ValueError, match="guess must be chosen before it is committed"):
        choice().commit()


@pytest.mark.parametrize(
    ("guess", "right"), [(13.8, True), (12.31, True), (12.29, False), (15.29, True), (15.31, False)]
)
def test_a_number_is_right_within_the_tolerance(guess: float, right: bool) -> None:
    prediction = number()
    prediction.guess.value = guess
    prediction.commit()
    assert prediction.right == right
    assert "<b>13.8 %</b>" in prediction.verdict.value


def test_a_number_stays_within_its_bounds() -> None:
    prediction = number()
    prediction.guess.value = 250
    assert prediction.guess.value == 100


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: choice(answer="three"), r"answer must be one of the options \['one', 'two'\]; got 'three'"),
        (lambda: choice(options=["two"]), "options must hold at least two choices; got 1"),
        (lambda: number(bounds=(20.0, 100.0)), r"answer must lie within bounds \(20\.0, 100\.0\); got 13.8"),
        (lambda: number(tolerance=-1.0), "tolerance must be at least 0; got -1.0"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
