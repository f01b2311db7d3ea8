from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from visionlab.show.widgets import curves as module
from visionlab.show.widgets.curves import Curves


def coordinates(chart: Curves, index: int, axis: str) -> list[float]:
    return np.frombuffer(chart.lines[index][axis], dtype="<f4").tolist()


def test_points_arrive_as_they_were_added() -> None:
    chart = Curves("t", "step", "loss")
    for step in range(5):
        chart.add("a", float(step), 1 / (1 + step))
    chart.add("b", 2.0, 7.0)
    chart.flush()
    assert [line["name"] for line in chart.lines] == ["a", "b"]
    assert coordinates(chart, 0, "x") == [0, 1, 2, 3, 4]
    assert coordinates(chart, 0, "y") == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5])
    assert coordinates(chart, 1, "y") == [7]


def test_pushes_are_spaced_out_and_flush_sends_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    chart = Curves("t", "step", "loss")
    pushes = []
    chart.observe(lambda change: pushes.append(len(change["new"][0]["x"]) // 4), "lines")
    for step in range(1000):
        now += 0.003  # three seconds altogether
        chart.add("a", float(step), 0.0)
    assert 28 <= len(pushes) <= 31
    assert pushes[-1] < 1000
    chart.flush()
    assert pushes[-1] == 1000


def test_a_value_that_is_not_finite_travels_and_leaves_a_gap() -> None:
    chart = Curves("t", "step", "loss")
    for step, loss in enumerate((1.0, math.nan, math.inf, 2.0)):
        chart.add("a", float(step), loss)
    chart.flush()
    assert np.isfinite(coordinates(chart, 0, "y")).tolist() == [True, False, False, True]


def test_series_differ_in_colour_and_pattern() -> None:
    chart = Curves("t", "step", "loss", series=("a", "b", "c", "d", "e"))
    chart.flush()
    assert len({line["color"] for line in chart.lines}) == 5
    assert len({tuple(line["dash"]) for line in chart.lines}) == 5


def test_the_repr_counts_points_and_names_no_value() -> None:
    chart = Curves("Loss", "step", "loss")
    assert repr(chart) == "Curves('Loss': no points yet)"
    chart.add("a", 0.0, 0.5)
    assert repr(chart) == "Curves('Loss': a 1 points)"


def test_progress_outside_its_range_and_a_range_upside_down_are_refused() -> None:
    chart = Curves("t", "step", "loss")
    with pytest.raises(ValueError, match=r"progress must lie in 0 to 1; got 1\.5"):
        chart.report(1.5, "late")
    with pytest.raises(ValueError, match=r"y_range must be \(lowest, highest\) with lowest < highest"):
        Curves("t", "step", "loss", y_range=(1.0, 0.0))


def test_the_first_message_holds_everything_that_is_shown() -> None:
    state = Curves("t", "step", "loss", y_range=(0.0, 1.0)).get_state()
    shown = {"title": "t", "x_label": "step", "y_label": "loss", "y_range": [0, 1], "lines": [], "progress": 0}
    assert {name: state[name] for name in shown} == shown
    assert "export default" in state["_esm"]


@pytest.mark.parametrize("path", sorted(Path(module.__file__).parent.glob("*.js")), ids=lambda path: path.name)
def test_scripts_are_small_and_fetch_nothing(path: Path) -> None:
    script = path.read_text()
    assert len(script.encode()) < 20_000
    for word in ("import ", "fetch(", "XMLHttpRequest", "https://", "innerHTML", "@import"):
        assert word not in script, word
