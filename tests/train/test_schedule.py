"""The schedule, step by step."""

from __future__ import annotations

import math

import pytest

from visionlab.train.schedule import cosine_with_warmup


def rates(steps: int = 11, warmup: int = 4, peak: float = 2.0, floor: float = 0.5) -> list[float]:
    return [cosine_with_warmup(step, steps=steps, warmup=warmup, peak=peak, floor=floor) for step in range(steps)]


def test_it_rises_linearly_to_the_peak_and_falls_along_a_cosine_to_the_floor() -> None:
    found = rates()
    assert found[:4] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert found[4:] == pytest.approx([1.25 + 0.75 * math.cos(math.pi * i / 6) for i in range(7)])


@pytest.mark.parametrize(("steps", "warmup"), [(11, 4), (2, 0), (3, 1), (300, 20), (977, 0)])
def test_the_peak_and_the_floor_are_reached_exactly(steps: int, warmup: int) -> None:
    found = rates(steps, warmup, peak=3e-3, floor=1e-5)
    assert found[warmup] == max(found) == 3e-3
    assert found[-1] == min(found[warmup:]) == 1e-5
    assert rates(steps, warmup, floor=0.0)[-1] == 0.0
    assert found[:warmup] == sorted(set(found[:warmup]))
    assert found[warmup:] == sorted(set(found[warmup:]), reverse=True)


def test_a_run_with_no_step_left_to_fall_stays_at_the_peak() -> None:
    assert rates(1, 0) == [2.0]
    assert rates(3, 2) == [1.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("step", "warmup", "words"),
    [
        (-1, 0, "step: expected 0 <= step < 11, got -1"),
        (11, 0, "step: expected 0 <= step < 11, got 11"),
        (0, 11, "warmup: expected 0 <= warmup < steps = 11, got 11"),
        (0, -1, "warmup: expected 0 <= warmup < steps = 11, got -1"),
    ],
)
def test_steps_outside_the_run_are_refused(step: int, warmup: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        cosine_with_warmup(step, steps=11, warmup=warmup, peak=1.0)
