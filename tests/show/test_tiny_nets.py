"""Charts of tiny networks say what they draw, keep labels apart, and refuse what they cannot draw."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visionlab.experiments.tiny_nets import FAMILIES, Mark
from visionlab.show import tiny_nets
from visionlab.show.tiny_nets import accuracy_chart, parts_chart, probability_chart

MARKS = [
    Mark("small", 4.0, 50.0, "MicroNet", "as written", True),
    Mark("small", 2.0, 50.0, "MicroNet", "fast form", True),
    Mark("large", 40.0, 70.0, "others", "as written", True),
    Mark("worse", 50.0, 60.0, "others", "as written", False),
]


def test_accuracy_is_drawn_against_cost() -> None:
    chart = accuracy_chart(MARKS, "ms")
    traces = {trace.name: trace for trace in chart.fig.data if trace.name}
    assert set(traces) == {"nothing is better", "MicroNet, as written", "MicroNet, fast form", "others, as written"}
    assert list(traces["others, as written"].x) == [40.0, 50.0]
    assert list(traces["others, as written"].customdata) == ["large", "worse"]
    assert list(traces["nothing is better"].x) == [2.0, 4.0, 40.0]
    assert chart.fig.layout.xaxis.type == "log"
    assert "small (fast form) 2, 50 %" in repr(chart)
    joined = [trace for trace in chart.fig.data if trace.mode == "lines" and not trace.name]
    assert [list(trace.x) for trace in joined] == [[2.0, 4.0]], "forms of one network hang together"


def test_budget_and_winner_are_marked() -> None:
    chart = accuracy_chart([m for m in MARKS if m.form == "as written"], "ms", budget=45.0, winner="large")
    (ring,) = (trace for trace in chart.fig.data if trace.name == "the winner")
    assert (list(ring.x), list(ring.y)) == ([40.0], [70.0])
    assert chart.fig.layout.shapes[0].x0 == 45.0
    low, high = (10**edge for edge in accuracy_chart(MARKS, "ms", budget=900.0).fig.layout.xaxis.range)
    assert low < 2
    assert high > 900


@settings(deadline=None)
@given(
    st.lists(
        st.builds(
            Mark, st.sampled_from([f"a network called {i}" for i in range(30)]), st.floats(1.0, 500.0),
            st.floats(40.0, 80.0), st.sampled_from(FAMILIES), st.just(""), st.booleans(),
        ),
        min_size=1, max_size=30,
    )
)  # fmt: skip
def test_no_label_lies_on_another_or_on_a_mark(marks: list[Mark]) -> None:
    costs = [math.log10(mark.cost) for mark in marks]
    x_range, y_range = (min(costs) - 0.1, max(costs) + 0.1), (37.0, 84.0)
    places = tiny_nets._places(marks, x_range, y_range, 20.0)
    at = [
        (
            tiny_nets.WIDTH * (cost - x_range[0]) / (x_range[1] - x_range[0]),
            tiny_nets.HEIGHT * (y_range[1] - mark.top1) / (y_range[1] - y_range[0]),
        )
        for cost, mark in zip(costs, marks, strict=True)
    ]
    boxes = {i: tiny_nets._box(marks[i].label, place, *at[i]) for i, place in places.items()}
    assert len({marks[i].label for i in places}) == len(places), "a network is named once"
    for first, second in combinations(boxes.values(), 2):
        assert not tiny_nets._meet(first, second)
    for i, box in boxes.items():
        assert all(not tiny_nets._meet(box, (x - 5, y - 5, x + 5, y + 5)) for k, (x, y) in enumerate(at) if k != i)


def test_parts_stack_up_and_probabilities_stand_side_by_side() -> None:
    chart = parts_chart({"a": {"x": 1.0, "y": 2.0}, "b": {"x": 3.0, "y": 0.5}}, {"a": 4.0, "b": 5.0})
    assert [(trace.name, list(trace.x)) for trace in chart.fig.data] == [
        ("x", [1.0, 3.0]), ("y", [2.0, 0.5]), ("as published", [4.0, 5.0]),
    ]  # fmt: skip
    assert chart.fig.layout.barmode == "stack"
    assert "a: x 1.00, y 2.00" in repr(chart)
    said = probability_chart({"one": {"cat": 0.75, "dog": 0.25}, "two": {"cat": 0.4, "dog": 0.6}})
    assert [list(trace.x) for trace in said.fig.data] == [[75.0, 25.0], [40.0, 60.0]]
    assert repr(said) == "Probabilities. one: cat 75 %; two: dog 60 %."


def test_what_cannot_be_drawn_is_refused() -> None:
    for marks in ([], [Mark("free", 0.0, 50.0, "others")]):
        with pytest.raises(ValueError, match="marks: expected one or more, with positive costs"):
            accuracy_chart(marks, "ms")
    with pytest.raises(ValueError, match="rows: expected 1 to 5 parts, got 0"):
        parts_chart({})
    for answers in ({}, {"one": {"cat": 1.0}, "two": {"dog": 1.0}}):
        with pytest.raises(ValueError, match="answers: expected 1 to 5 networks that know the same classes"):
            probability_chart(answers)
