"""The schedule, step by step."""

from __future__ import annotations

import math

import pytest

from visionlab.train.schedule import cosine_with_warmup


def rates(**changes: float) -> list[float]:
    settings = {"steps": 11, "warmup": 4, "peak": 2.0, "floor": 0.5} | changes
    return [cosine_with_warmup(step, **settings) for step in range(int(settings["steps"]))]


def test_it_rises_linearly_to_the_peak_and_falls_along_a_cosine_to_the_floor() -> None:
    found = rates()
    assert found[:4] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert found[4] == pytest.approx(2.0)
    assert found[7] == pytest.approx(0.5 + 1.5 * (1 + math.cos(math.pi / 2)) / 2)
    assert found[-1] == pytest.approx(0.5)
    assert found[4:] == sorted(found[4:], reverse=True)


def test_without_warm_up_it_starts_at_the_peak_and_one_step_is_the_peak() -> None:
    assert rates(warmup=0)[0] == pytest.approx(2.0)
    assert rates(steps=1, warmup=0) == pytest.approx([2.0])


@pytest.mark.parametrize(
    ("step", "warmup", "words"),
    [(-1, 0, "step: expected"), (11, 0, "step: expected"), (0, 11, "warmup: expected"), (0, -1, "warmup")],
)
def test_steps_outside_the_run_are_refused(step: int, warmup: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        cosine_with_warmup(step, steps=11, warmup=warmup, peak=1.0)
