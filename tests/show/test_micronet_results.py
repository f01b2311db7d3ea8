"""Figures of what was measured of MicroNet: their words are the numbers."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import pytest

from visionlab.experiments.result import Result, Row
from visionlab.show.micronet_results import BESIDE, budget_figure, ladder_figure, published_figure, time_figure

NETWORKS = {"small": (0.2, 60.0), "MicroNet": (0.4, 70.0), "MobileNet": (0.41, 65.0)}


@pytest.fixture
def result() -> Result:
    rows = []
    for seed in range(3):
        for name, (cost, accuracy) in NETWORKS.items():
            rows += [
                Row(name, seed, "multiply-adds (M)", cost), Row(name, seed, "accuracy (%)", accuracy + seed - 1),
                Row(name, seed, "images/s, batch 1", 1000 * cost + seed - 1),
                Row(name, seed, "images/s, batch 8", 2000 * cost + seed - 1),
            ]  # fmt: skip
    return Result("x/y", "long", "tiles", "0", rows=rows)


def test_accuracy_against_cost_is_said_and_drawn_where_it_is(result: Result) -> None:
    fig = budget_figure(result, {"MicroNet": ["small", "MicroNet"], "MobileNet": ["MobileNet"]})
    assert repr(fig) == (
        "Accuracy against multiply-adds, means over 3 seeds. MicroNet: 0.20 M 60.0 %, 0.40 M 70.0 %;"
        " MobileNet: 0.41 M 65.0 %."
    )
    (axis,) = fig.fig.axes
    assert axis.get_xscale() == "log"
    lines = [container.lines[0] for container in axis.containers]
    # Points of about one cost stand side by side, others at their costs.
    assert [list(line.get_xdata()) for line in lines] == [
        pytest.approx([0.2, 0.4 / BESIDE**0.5]), pytest.approx([0.41 * BESIDE**0.5]),
    ]  # fmt: skip
    assert [list(line.get_ydata()) for line in lines] == [pytest.approx([60, 70]), pytest.approx([65])]
    (bars,) = axis.containers[1].lines[2]
    (low, high) = bars.get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((65 - 4.303 / math.sqrt(3), 65 + 4.303 / math.sqrt(3)), abs=0.01)
    dots = [list(line.get_ydata()) for line in axis.lines if line.get_marker() == "."]
    assert dots == [[59, 60, 61], [69, 70, 71], [64, 65, 66]]
    assert [line.get_linestyle() for line in lines] == ["-", "None"]
    assert axis.get_xlabel().endswith("logarithmic")
    assert "side by side" in fig.fig.get_supxlabel()
    plt.close(fig.fig)


def test_one_seed_has_no_whiskers(result: Result) -> None:
    result.rows = [row for row in result.rows if row.seed == 0]
    fig = budget_figure(result, {"MicroNet": ["MicroNet"]})
    assert fig.fig.axes[0].containers[0].lines[2] == ()
    assert "69.0 %" in repr(fig)
    assert "70.0" not in repr(ladder_figure(result, ["MobileNet", "MicroNet"]))
    plt.close("all")


def test_the_ladder_goes_down_step_by_step_in_dots_with_intervals_and_seeds(result: Result) -> None:
    fig = ladder_figure(result, ["small", "MobileNet", "MicroNet"], title="Which?")
    assert repr(fig) == (
        "Accuracy (and multiply-adds), means over 3 seeds: small 60.0 % (0.20 M), MobileNet 65.0 % (0.41 M),"
        " MicroNet 70.0 % (0.40 M)."
    )
    (axis,) = fig.fig.axes
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert names == ["small · 0.20 M", "MobileNet · 0.41 M", "MicroNet · 0.40 M"]
    assert not axis.patches  # no bars, whose lengths a cut axis would falsify
    assert [text.get_text() for text in axis.texts] == ["60.0", "65.0", "70.0"]
    (bars,) = axis.containers[0].lines[2]
    assert list(bars.get_segments()[0][:, 0]) == pytest.approx([57.516, 62.484], abs=0.01)
    dots = [list(line.get_xdata()) for line in axis.lines if line.get_marker() == "."]
    assert dots == [[59, 60, 61], [64, 65, 66], [69, 70, 71]]
    assert axis.yaxis_inverted()
    assert axis.get_title() + axis.get_title(loc="left") == "Which?"
    plt.close(fig.fig)


def test_published_networks_are_named(result: Result) -> None:
    fig = published_figure(
        {"MicroNet": [("M0", 4.0, 46.6), ("M2", 12.0, 59.4)], "MobileNetV3": [("x 0.5", 21.0, 58.0)]}
    )
    assert repr(fig) == (
        "Published accuracy on ImageNet against multiply-adds. MicroNet: M0 4 M 46.6 %, M2 12 M 59.4 %;"
        " MobileNetV3: x 0.5 21 M 58.0 %."
    )
    assert {text.get_text() for text in fig.fig.axes[0].texts} == {"M0", "M2", "x 0.5"}
    assert fig.fig.axes[0].get_xlabel() == "multiply-adds of an image (M), logarithmic"
    plt.close(fig.fig)


def test_time_has_a_panel_for_each_batch(result: Result) -> None:
    fig = time_figure(result, {"MicroNet": ["small", "MicroNet"], "MobileNetV3": ["MobileNet"]}, (1, 8))
    assert repr(fig) == (
        "Images a second by multiply-adds, on one thread. MicroNet, batch 1: 0.2 M 200, 0.4 M 400;"
        " MobileNetV3, batch 1: 0.4 M 410; MicroNet, batch 8: 0.2 M 400, 0.4 M 800; MobileNetV3, batch 8: 0.4 M 820."
    )
    assert len(fig.fig.axes) == 2
    colours = [container.lines[0].get_color() for container in fig.fig.axes[0].containers]
    assert colours == ["#0072B2", "#009E73"]
    one, eight = fig.fig.axes
    assert one.get_ylim() == eight.get_ylim()
    assert one.get_ylabel() == "images a second, logarithmic"
    assert [text.get_text() for text in fig.fig.legends[0].get_texts()] == ["MicroNet", "MobileNetV3"]
    plt.close(fig.fig)


def test_times_of_rewritten_networks_are_hollow_marks_in_the_colour_of_their_kind_and_all_are_named() -> None:
    families = {
        "MicroNet": ["micronet_m0", "micronet_m3"],
        "M3, inference form": ["micronet_m3, inference form"],
        "MobileNetV3": ["mobilenetv3_small_050", "mobilenetv3_small_100"],
        "MobileNetV3, inference form": ["mobilenetv3_small_100, inference form"],
    }
    metrics = {"multiply-adds (M)": 10.0, "images/s, batch 1": 100.0}
    names = [name for variants in families.values() for name in variants]
    rows = [Row(name, 0, metric, value) for name in names for metric, value in metrics.items()]
    (axis,) = time_figure(Result("x/y", "long", "images", "0", rows=rows), families, (1,)).fig.axes
    assert [text.get_text() for text in axis.texts] == [
        "M0", "M3", "M3,\ninference form", "×0.5", "×1.0", "×1.0,\ninference form",
    ]  # fmt: skip
    points = [container.lines[0] for container in axis.containers]
    assert [point.get_color() for point in points] == ["#0072B2", "#0072B2", "#009E73", "#009E73"]
    assert [point.get_markerfacecolor() == "white" for point in points] == [False, True, False, True]
    assert [point.get_linestyle() == "None" for point in points] == [False, True, False, True]
    assert points[0].get_marker() == points[1].get_marker() != points[2].get_marker() == points[3].get_marker()


def test_nothing_to_draw_is_refused(result: Result) -> None:
    for call in (
        lambda: budget_figure(result, {}),
        lambda: ladder_figure(result, []),
        lambda: published_figure({}),
        lambda: time_figure(result, {"MicroNet": ["MicroNet"]}, ()),
    ):
        with pytest.raises(ValueError, match="expected one"):
            call()
    with pytest.raises(KeyError, match="of 'huge'"):
        budget_figure(result, {"MicroNet": ["huge"]})
