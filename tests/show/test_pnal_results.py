"""Figures of what was measured: their words are the numbers."""

from __future__ import annotations

import pytest

from visionlab.experiments.result import Result, Row
from visionlab.show.measured import measured_table
from visionlab.show.pnal_results import classes_figure, rates_figure


@pytest.fixture
def result() -> Result:
    rows = []
    for seed in range(3):
        for method, falls in (("cross entropy", 1.0), ("PNAL", 0.5)):
            for rate in (20, 60):
                rows.append(Row(f"{method}, {rate} %", seed, "accuracy (%)", 80 - falls * rate + seed - 1))
        rows.append(Row("clean labels", seed, "accuracy (%)", 81.0 + seed))
        rows += [Row("clean labels", seed, f"IoU, class {k} (%)", 10.0 * k + seed) for k in (0, 2)]
    return Result("x/y", "long", "rooms", "0", rows=rows)


def test_rates_are_said(result: Result) -> None:
    fig = rates_figure(result, ["cross entropy", "PNAL"], (20, 60), "clean labels", "accuracy (%)")
    assert repr(fig) == (
        "Accuracy (%) with 20, 60 % of wrong labels. clean labels: 82; cross entropy: 60, 20; PNAL: 70, 50."
    )


def test_nothing_to_draw_is_refused(result: Result) -> None:
    with pytest.raises(ValueError, match="methods, rates"):
        rates_figure(result, [], (20,), "clean labels", "accuracy (%)")
    with pytest.raises(KeyError):
        rates_figure(result, ["SCE"], (20,), "clean labels", "accuracy (%)")
    with pytest.raises(ValueError, match="variants: expected 1 to 4"):
        classes_figure(result, {}, ("floor",))


def test_a_class_that_never_occurs_has_no_bar(result: Result) -> None:
    fig = classes_figure(result, {"clean": "clean labels"}, ("floor", "lamp", "door"))
    assert repr(fig) == "Intersection over union of each class in percent. clean: floor 1, lamp nan, door 21."


def test_the_table_names_rows_and_columns_and_leaves_gaps(result: Result) -> None:
    table = measured_table(
        result, {"bound": "clean labels", "usual": "cross entropy, 20 %"},
        {"right (%)": "accuracy (%)", "floor (%)": "IoU, class 0 (%)"}, "All", head="labels",
    )  # fmt: skip
    said = repr(table)
    assert said.splitlines()[1].split("  ")[0] == "labels"
    assert "82.0 [79.5, 84.5]" in said
    assert said.splitlines()[-1].startswith("usual")
    with pytest.raises(KeyError, match="no 'SCE'"):
        measured_table(result, ["SCE"], ["accuracy (%)"], "All")
