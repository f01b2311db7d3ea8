"""Lab 10: other right ways to fill its gaps are right, and what is refused is what would accuse the innocent."""

from __future__ import annotations

import colorsys
import math

import pytest
import torch
from torch import Tensor

from visionlab.exercises.exercise import check
from visionlab.exercises.watermark import CHANCE, DECODE, REVEALED, SYMBOL, chance, nearest_hue
from visionlab.protection.structure import HUES
from visionlab.protection.verification import DOUBT, Calibration, p_value


def by_pixel(drawing: Tensor, labels: Tensor, k: int) -> Tensor:
    colours = []
    for image, which in zip(drawing, labels[:, 0], strict=True):
        chosen = image[:, which == k]
        colours.append(chosen.mean(1) if chosen.numel() else torch.ones(3))
    return torch.stack(colours)


def by_hsv(colour: Tensor, inks: Tensor) -> int:
    hue, saturation, _ = colorsys.rgb_to_hsv(*colour.tolist())
    if saturation < 0.01:
        return -1
    turns = [abs(hue - colorsys.rgb_to_hsv(*ink.tolist())[0]) for ink in inks]
    nearest = min(range(len(inks)), key=lambda i: min(turns[i], 1 - turns[i]))
    way = 1 - inks[nearest]
    return nearest if (1 - colour) @ way > 0.1 * way @ way else -1


def by_sum(found: int, n: int, rate: float) -> float:
    return sum(math.comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(found, n + 1))


@pytest.mark.parametrize(
    ("exercise", "answer"), [(DECODE, by_pixel), (SYMBOL, by_hsv), (CHANCE, by_sum)], ids=["decode", "symbol", "chance"]
)
def test_another_right_way_is_right(exercise, answer) -> None:
    found = check(exercise, [answer])
    assert found.right, found


def test_the_library_reads_inks_of_any_number() -> None:
    inks = torch.tensor(HUES[:3]) / 255
    assert [nearest_hue(1 - 0.4 * (1 - ink), inks) for ink in inks] == [0, 1, 2]


def test_chance_is_the_p_value_but_for_the_doubt_about_the_rate() -> None:
    calibration = Calibration(threshold=0.5, rate=0.05, images=200, false=9)
    assert p_value(9, 32, calibration) == pytest.approx(chance(9, 32, calibration.bound) + DOUBT)


def test_a_prediction_has_an_answer_and_its_reason() -> None:
    assert REVEALED["logo"][0] == "hardly any"
    assert 0 <= REVEALED["cost"][0] <= 100
    assert all(len(words) > 80 for _, words in REVEALED.values())
