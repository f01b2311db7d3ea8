"""Lab 03: what its predictions reveal is what the library computes."""

from __future__ import annotations

import pytest

from visionlab.exercises.cswin import REVEALED
from visionlab.experiments.experiment import recorded


def test_the_revealed_answers_are_the_computed_ones() -> None:
    result = recorded("cswin/reach")
    after = [result.values("cswin", f"reach on 56x56, {n} blocks (%)")[0] for n in (1, 2)]
    answer, words = REVEALED["blocks"]
    assert after[0] < 100 == after[1]
    assert answer == "2"
    assert "two steps" in words
    answer, words = REVEALED["windows"]
    assert answer == pytest.approx(result.values("shifted window", "reach on 56x56, 2 blocks (%)")[0], abs=0.05)
    assert f"{100 * (14 / 56) ** 2:.2f} %" in words
