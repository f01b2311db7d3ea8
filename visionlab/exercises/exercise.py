"""Exercises that check themselves: the properties of a right answer are tried, and the first that fails is named."""

from __future__ import annotations

import html
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from visionlab.papers import PAPERS

__all__ = ["Check", "Exercise", "Property", "check", "find", "shapes"]

Answer = Callable[..., Any]


@dataclass(frozen=True)
class Property:
    """One thing that must hold of the answers: ``test(*answers)`` returns None, or what is wrong and on which input."""

    name: str
    test: Callable[..., str | None]


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """A gap in a lab.

    Args:
        name: "paper/what".
        task: what to write, in a sentence.
        library: the library's own functions, with which the lab goes on if there is no right answer.
        properties: in the order in which they are tried.
        hints: two hints and the solution, which defines functions named as the library's.
        wrong_answers: (source, part of the message it must get): held to it by the tests.
    """

    name: str
    task: str
    library: tuple[Answer, ...]
    properties: tuple[Property, ...]
    hints: tuple[str, str, str]
    wrong_answers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Check:
    """What a check found: ``answers`` are the learner's where all is right, else the library's."""

    right: bool
    message: str
    answers: tuple[Answer, ...]

    def __repr__(self) -> str:
        return self.message

    def _repr_html_(self) -> str:
        colour = "var(--jp-success-color1, #2e7d32)" if self.right else "var(--jp-warn-color1, #b26a00)"
        message = html.escape(self.message, quote=False)
        return f'<div class="vl-check" style="border-left:4px solid {colour};padding:4px 10px">{message}</div>'


def check(exercise: Exercise, answers: Sequence[Answer]) -> Check:
    """Try an exercise's properties on the learner's functions; never raises for what they do.

    A function that returns None or ``...`` counts as not written yet.

    Raises:
        TypeError: if the number of functions is another than the exercise's.
    """
    wanted = [function.__name__ for function in exercise.library]
    if len(answers) != len(wanted) or not all(callable(answer) for answer in answers):
        raise TypeError(f"answers: {exercise.name} takes the functions {', '.join(wanted)}, in this order")
    for item in exercise.properties:
        try:
            problem = item.test(*answers)
        except _NotWrittenError:
            return Check(
                False, f"not answered yet: {exercise.task} The lab goes on with the library's.", exercise.library
            )
        except Exception as error:
            problem = f"your code raised {type(error).__name__}: {error}"
        if problem is not None:
            return Check(False, f"not yet, {item.name}: {problem}", exercise.library)
    names = ", ".join(item.name for item in exercise.properties)
    return Check(True, f"right: {len(exercise.properties)} properties hold ({names})", tuple(answers))


class _NotWrittenError(Exception):
    pass


def written(value: Any) -> Any:
    """Return what an answer gave; properties call it, so that an empty gap is told from a wrong answer."""
    if value is None or value is ...:
        raise _NotWrittenError
    return value


def shapes(got: Any, expected: tuple[int, ...], given: str) -> str | None:
    """Say how a shape differs from the expected one, if it does."""
    shape = tuple(getattr(got, "shape", ()))
    return None if shape == expected else f"for {given} the shape is {shape}, expected {expected}"


def find(name: str) -> Exercise:
    """Return an exercise by name.

    Raises:
        ValueError: if there is none; the message lists those of the paper, or the papers.
    """
    key, papers = name.partition("/")[0], [paper.key for paper in PAPERS]
    if key not in papers:
        raise ValueError(f"exercise: no {name!r}; there are some of {', '.join(papers)}")
    by_name = {exercise.name: exercise for exercise in importlib.import_module(f"visionlab.exercises.{key}").EXERCISES}
    if name not in by_name:
        raise ValueError(f"exercise: no {name!r}; there are {', '.join(by_name)}")
    return by_name[name]
