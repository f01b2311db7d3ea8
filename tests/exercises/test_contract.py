"""Every gap of every lab: its solution passes, its wrong answers are told apart, an empty one raises nothing."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest

from visionlab.exercises.exercise import Exercise, check, find
from visionlab.papers import PAPERS

EXERCISES = [
    exercise for paper in PAPERS for exercise in importlib.import_module(f"visionlab.exercises.{paper.key}").EXERCISES
]


@pytest.fixture(params=EXERCISES, ids=lambda exercise: exercise.name)
def exercise(request: pytest.FixtureRequest) -> Exercise:
    return request.param


def answers(exercise: Exercise, source: str) -> list[Callable[..., Any]]:
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    return [namespace[function.__name__] for function in exercise.library]


def test_the_solution_passes(exercise: Exercise) -> None:
    found = check(exercise, answers(exercise, exercise.hints[2]))
    assert found.right, found
    assert found.answers[0] not in exercise.library


def test_the_library_passes_its_own_check(exercise: Exercise) -> None:
    assert check(exercise, exercise.library).right


def test_each_wrong_answer_is_rejected_with_a_telling_message(exercise: Exercise) -> None:
    assert len(exercise.wrong_answers) >= 3
    messages = set()
    for source, words in exercise.wrong_answers:
        found = check(exercise, answers(exercise, source))
        assert not found.right
        assert words in found.message
        assert found.answers == exercise.library
        messages.add(found.message)
    assert len(messages) == len(exercise.wrong_answers)


def test_an_empty_gap_is_no_error(exercise: Exercise) -> None:
    for empty in (None, ...):
        found = check(exercise, [lambda *_, value=empty: value for _ in exercise.library])
        assert found.message.startswith("not answered yet")
        assert found.answers == exercise.library


def test_an_answer_that_raises_is_told_not_raised(exercise: Exercise) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("oops")

    assert "your code raised ZeroDivisionError: oops" in check(exercise, [broken for _ in exercise.library]).message


def test_another_number_of_functions_is_refused(exercise: Exercise) -> None:
    with pytest.raises(TypeError, match=r"answers: .* takes the functions"):
        check(exercise, [])


def test_hints_lead_to_the_solution(exercise: Exercise) -> None:
    assert len(exercise.hints) == 3
    assert all(len(hint) > 40 for hint in exercise.hints)


def test_exercises_are_found_by_name(exercise: Exercise) -> None:
    assert find(exercise.name) is exercise
    with pytest.raises(ValueError, match="exercise: no 'cswin/nothing'"):
        find("cswin/nothing")
