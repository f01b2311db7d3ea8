"""Tables of claims: a verdict stands beside what was measured and what was needed."""

from __future__ import annotations

from typing import Any

from visionlab.experiments.claim import Claim, Closed, Kept
from visionlab.experiments.result import Result, Row
from visionlab.show.figure import Table
from visionlab.show.verdicts import verdict_table

VALUES = {
    "new": {"hits (%)": 80.0, "cost (M)": 2.0, "cut (%)": 50.0, "ratio": -1.75, "share (%)": 0.5},
    "old": {"hits (%)": 70.0, "cost (M)": 5.0, "ratio": 1.0, "share (%)": 1.0},
}
ROWS = [
    Row(variant, seed, metric, value + (seed if variant == "new" else 0))
    for seed in range(3)
    for variant, metrics in (VALUES | {"best": {"hits (%)": 90.0}}).items()
    for metric, value in metrics.items()
]
RESULT = Result("x/y", "long", "none", "0", rows=ROWS)
TERMS: dict[str, Any] = {
    "name": "n", "statement": "New is better", "source": "here", "metric": "hits (%)", "method": "new", "rival": "old",
    "margin": 5.0,
}  # fmt: skip


def table(claim: Claim) -> Table:
    return verdict_table([claim.judge(RESULT)], "Verdicts")


def cell(claim: Claim, column: str) -> str:
    found = table(claim)
    return found.cells[0][found.columns.index(column)]


def test_a_verdict_has_its_metric_its_difference_and_what_was_needed() -> None:
    found = table(Claim(**TERMS))
    assert found.columns == ["claim", "metric", "method", "rival", "difference [95 % interval]", "needed", "verdict"]
    assert found.cells == [
        ["New is better", "hits (%)", "81.0", "70.0", "11.0 [8.5, 13.5]", "≥ 5, interval > 0", "shown"]
    ]


def test_what_is_needed_is_the_rule_of_the_claim() -> None:
    assert cell(Claim(**TERMS | {"margin": 0.5, "exact": True}), "needed") == "≥ 0.5"
    assert cell(Kept(**TERMS), "needed") == "> -5, the whole interval"
    assert cell(Closed(**TERMS | {"margin": 0.0}, bound="best", share=0.5), "needed") == "≥ 0, interval > 0"
    assert cell(Claim(**TERMS | {"rival": "new", "rival_metric": "cut (%)"}), "needed") == "≥ 5, interval > 0"


def test_less_can_be_better() -> None:
    cheap = Claim(**TERMS | {"metric": "cost (M)", "margin": 1.0, "higher_is_better": False})
    assert cell(cheap, "metric") == "cost (M); less is better"
    assert cell(cheap, "difference [95 % interval]") == "2.0 [-0.5, 4.5]", "in the claimed direction: old - new"
    assert cell(cheap, "needed") == "≥ 1, interval > 0"
    assert cell(cheap, "verdict") == "not shown"


def test_ratios_near_one_have_two_decimals_and_percents_one() -> None:
    ratio = table(Claim(**TERMS | {"metric": "ratio"})).cells[0]
    assert ratio[2:5] == ["-0.75", "1.00", "-1.75 [-4.23, 0.73]"]
    assert table(Claim(**TERMS | {"metric": "share (%)"})).cells[0][2:4] == ["1.5", "1.0"]


def test_another_metric_of_the_rival_is_named() -> None:
    own = Claim(**TERMS | {"rival": "new", "rival_metric": "cut (%)"})
    assert cell(own, "metric") == "hits (%); rival: cut (%)"
