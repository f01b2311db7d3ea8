"""A claim that nothing is lost: how wide an interval may be, and where it must lie."""

from __future__ import annotations

import pytest

from visionlab.experiments.claim import Claim, Kept
from visionlab.experiments.result import Result, Row

TERMS = {
    "name": "kept", "statement": "s", "source": "p", "metric": "accuracy (%)", "method": "a", "rival": "b",
    "margin": 2.0,
}  # fmt: skip


def result(differences: list[float]) -> Result:
    rows = [
        Row(variant, seed, "accuracy (%)", 80.0 + (gap if variant == "a" else 0.0))
        for seed, gap in enumerate(differences)
        for variant in "ab"
    ]
    return Result("x/y", "long", "none", "0", rows=rows)


@pytest.mark.parametrize(
    ("differences", "status"),
    [
        ([0.1, -0.1, 0.2, -0.2, 0.0], "shown"),
        ([3.0, 3.1, 2.9, 3.0, 3.0], "shown"),
        ([-1.0, -1.1, -0.9, -1.0, -1.0], "shown"),
        ([-4.0, 4.0, -3.0, 3.0, 0.0], "not shown"),
        ([-2.0, -2.1, -1.9, -2.0, -2.0], "not shown"),
        ([-3.0, -3.1, -2.9, -3.0, -3.0], "contradicted"),
    ],
)
def test_the_whole_interval_decides(differences: list[float], status: str) -> None:
    assert Kept(**TERMS).judge(result(differences)).status == status


def test_it_is_another_claim_than_that_of_being_better() -> None:
    assert Kept(**TERMS).terms() != Claim(**TERMS).terms()
    assert Claim(**TERMS).judge(result([0.1, -0.1, 0.2, -0.2, 0.0])).status == "not shown"
