from __future__ import annotations

import pytest

from visionlab.show.live import LiveCurves


def live() -> LiveCurves:
    return LiveCurves("Accuracy", ["CSWin", "shifted windows"], "accuracy", y_range=(0.0, 1.0))


def test_the_hook_draws_the_chosen_metric_against_the_step() -> None:
    chart = live()
    hook = chart.callback("CSWin")
    for step in range(1, 5):
        hook(step, 4, {"loss": 9.0, "accuracy": step / 10})
    assert chart.curves.points["CSWin"] == [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)]
    assert chart.curves.y_label == "accuracy"


def test_steps_without_the_metric_only_move_the_progress() -> None:
    chart = live()
    hook = chart.callback("CSWin")
    hook(1, 2, {"loss": 1.0})
    hook(2, 2, {"loss": 1.0, "accuracy": 0.5})
    assert chart.curves.points["CSWin"] == [(2, 0.5)]
    assert chart.curves.progress == 0.5


def test_progress_runs_over_all_series_and_ends_at_one() -> None:
    chart = live()
    first, second = chart.callback("CSWin"), chart.callback("shifted windows")
    seen = []
    for hook in (first, second):
        for step in range(1, 11):
            hook(step, 10, {"accuracy": 0.5})
            chart.curves.flush()
            seen.append(chart.curves.progress)
    assert seen == pytest.approx([step / 20 for step in range(1, 21)])
    assert chart.curves.status.startswith("done in ")


def test_the_status_names_the_run_the_step_and_the_time_left() -> None:
    chart = live()
    chart.callback("shifted windows")(3, 10, {"accuracy": 0.5})
    chart.curves.flush()
    assert chart.curves.status.startswith("shifted windows: step 3 of 10, about ")
    assert chart.curves.status.endswith(" s left")


def test_the_last_step_is_on_the_page_although_pushes_are_spaced_out() -> None:
    chart = live()
    hook = chart.callback("CSWin")
    for step in range(1, 101):
        hook(step, 100, {"accuracy": 0.5})
    assert len(chart.curves.lines[0]["x"]) == 100 * 4


def test_looks_follow_the_order_of_the_names_not_of_the_runs() -> None:
    one, other = live(), live()
    one.callback("CSWin")(1, 1, {"accuracy": 0.5})
    other.callback("shifted windows")(1, 1, {"accuracy": 0.5})
    assert [line["color"] for line in one.curves.lines] == [line["color"] for line in other.curves.lines]
    assert [line["name"] for line in other.curves.lines] == ["CSWin", "shifted windows"]


def test_the_axis_shows_the_whole_run_from_its_first_step() -> None:
    chart = live()
    chart.callback("CSWin")(1, 500, {"accuracy": 0.5})
    assert chart.curves.x_range == [0, 500]


def test_a_live_chart_is_shown_as_its_widget_and_its_words_hold_no_trained_number() -> None:
    chart = live()
    chart.callback("CSWin")(1, 1, {"accuracy": 0.123})
    data = chart._repr_mimebundle_()[0]
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/plain"] == repr(chart) == "Curves('Accuracy': CSWin 1 points, shifted windows 0 points)"


def test_an_unknown_or_doubled_series_is_named() -> None:
    with pytest.raises(ValueError, match=r"series must be one of \['CSWin', 'shifted windows'\]; got 'Swin'"):
        live().callback("Swin")
    with pytest.raises(ValueError, match=r"series must name at least one run, each once; got \['a', 'a'\]"):
        LiveCurves("t", ["a", "a"], "loss")


def test_smoothing_draws_the_mean_of_the_latest_values() -> None:
    live = LiveCurves("title", ["a"], "accuracy", smooth=3)
    drawn = []
    live.curves.add = lambda series, x, y: drawn.append(y)  # type: ignore[method-assign]
    hook = live.callback("a")
    for step, value in enumerate([3.0, 6.0, 9.0, 0.0], start=1):
        hook(step, 4, {"accuracy": value})
    assert drawn == [3.0, 4.5, 6.0, 5.0]
    with pytest.raises(ValueError, match="smooth must be at least 1"):
        LiveCurves("title", ["a"], "accuracy", smooth=0)
