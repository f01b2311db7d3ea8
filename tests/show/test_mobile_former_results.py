"""Figures of Mobile-Former's results: their words are the numbers, and marks stand where they say."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from visionlab.experiments.result import Result, Row
from visionlab.show import theme
from visionlab.show.mobile_former_results import (
    PUBLISHED,
    arms_figure,
    boxes_figure,
    majority_figure,
    time_figure,
    tokens_figure,
)


def made(values: dict[str, dict[str, float]], spread: float = 1.0) -> Result:
    rows = [
        Row(variant, seed, metric, value + (spread * (seed - 1) if "%" in metric or "images/s" in metric else 0))
        for seed in range(3)
        for variant, metrics in values.items()
        for metric, value in metrics.items()
    ]
    return Result("x/y", "long", "none", "0", rows=rows)


def test_every_network_and_every_cut_has_a_bar() -> None:
    result = made({
        "Mobile alone": {"accuracy (%)": 76.0},
        "both bridges": {"accuracy (%)": 98.0, "accuracy without reading (%)": 60.0, "multiply-adds (M)": 2.4},
    })  # fmt: skip
    fig = majority_figure(result)
    assert repr(fig) == (
        "Squares answered rightly in percent. Mobile alone 76.0; both bridges 98.0; reading cut after training 60.0;"
        " always “most” 61.5."
    )
    axis = fig.fig.axes[0]
    assert axis.texts[0].get_text() == "always “most”: 61.5"
    assert max(line.get_xdata()[0] for line in axis.lines if line.get_marker() != "o") == pytest.approx(800 / 13)
    assert [bar.get_width() for bar in axis.patches] == pytest.approx([76, 98, 60])
    dots = [line.get_xdata() for line in axis.lines if line.get_marker() == "o"]
    assert np.allclose(dots, [[75, 76, 77], [97, 98, 99], [59, 60, 61]])
    heights = [line.get_ydata() for line in axis.lines if line.get_marker() == "o"]
    assert all(len(set(own)) == 3 and abs(own - place).max() < 0.25 for place, own in enumerate(heights))
    assert [label.get_text() for label in axis.get_yticklabels()][-1] == "… reading cut after training"


def test_colours_say_who_has_tokens() -> None:
    names = ("Mobile alone", "wide Mobile", "squeeze-excite", "read only", "both bridges")
    fig = majority_figure(made({name: {"accuracy (%)": 76.0} for name in names})).fig
    bars = [to_hex(bar.get_facecolor()).upper() for bar in fig.axes[0].patches]
    assert bars == [theme.color("baseline")] * 3 + [theme.color("method")] * 2
    patches = {patch.get_label(): to_hex(patch.get_facecolor()).upper() for patch in fig.legends[0].get_patches()}
    assert patches["with tokens"] == bars[-1]
    assert patches["without tokens"] == bars[0]
    assert [text.get_text() for text in fig.legends[0].texts][2:] == [
        "pale: cut or held after training", "dot: one seed",
    ]  # fmt: skip


def test_arms_are_named_with_their_cost() -> None:
    result = made({
        "Mobile alone": {"accuracy (%)": 70.0, "multiply-adds (M)": 1.1},
        "full": {"accuracy (%)": 74.0, "multiply-adds (M)": 1.42},
    })  # fmt: skip
    fig = arms_figure(result, ["Mobile alone", "full"], "A gain?")
    assert repr(fig) == (
        "Multiply-adds and accuracy. Mobile alone: 1.10 M, 70.0 [67.5, 72.5] %; full: 1.42 M, 74.0 [71.5, 76.5] %."
    )
    bare, full = (fig.fig.axes[0].lines[i : i + 3] for i in (0, 3))
    assert [line.get_color() for line in bare[:2]] == [theme.color("baseline")] * 2
    assert [line.get_color() for line in full[:2]] == [theme.color("method")] * 2
    assert full[2].get_xdata().tolist() == [73, 74, 75], "a dot for each seed"
    assert [text.get_text() for text in fig.fig.legends[0].texts] == [
        "with tokens", "without tokens", "mean, 95 % interval", "dot: one seed",
    ]  # fmt: skip
    with pytest.raises(KeyError, match="wide"):
        arms_figure(result, ["wide"], "A gain?")


def test_ours_stand_above_the_papers() -> None:
    result = made({name: {"accuracy (%)": 70.0 + i} for i, name in enumerate(("none", "one", "three", "narrow"))})
    fig = tokens_figure(result, {0: "none", 1: "one", 3: "three"}, {16: "narrow", 32: "three"})
    assert repr(fig) == (
        "Accuracy in percent. By number of tokens, here 0: 70.0, 1: 71.0, 3: 72.0; published 1: 77.1, 3: 77.6, 6: 77.8,"
        " 9: 77.7. By width of a token, here 16: 73.0, 32: 72.0; published 64: 76.8, 128: 77.3, 192: 77.8, 256: 77.8,"
        " 320: 77.6."
    )
    titles = [fig.fig.axes[i].get_title(loc="left") for i in (0, 2)]
    assert titles == ["Here: satellite tiles, the small network", "Published: ImageNet, Mobile-Former-294M"]
    for above, under in ((0, 2), (1, 3)):
        assert fig.fig.axes[above].get_xlim() == fig.fig.axes[under].get_xlim()
    assert "another scale" in fig.fig.axes[2].get_ylabel()
    below = fig.fig.axes[3]
    assert below.lines[0].get_xdata().tolist() == list(PUBLISHED["width"])


def test_time_stands_over_multiply_adds() -> None:
    result = made({
        name: {"multiply-adds (M)": cost, "images/s, batch 1": rate, "images/s, batch 8": 2 * rate}
        for name, cost, rate in (("mobile_former_26m", 25.0, 50.0), ("mobilenetv3_large_100", 200.0, 20.0))
    })  # fmt: skip
    fig = time_figure(result)
    assert repr(fig) == (
        "Milliseconds an image on one thread, median of repetitions. batch 1: 26M 20.0, L 50.0;"
        " batch 8: 26M 10.0, L 25.0."
    )
    line = fig.fig.axes[1].lines[-1]
    assert line.get_xdata().tolist() == [25, 200]
    assert line.get_ydata().tolist() == pytest.approx([25 / 8, 25])
    assert len(fig.fig.legends) == 1
    assert all(axis.get_legend() is None for axis in fig.fig.axes)
    large = fig.fig.axes[0].texts[1]
    assert large.get_text() == "L"
    assert large.xyann[0] > 0 > large.xyann[1], "right of the line, which rises through the mark"


def ground_and_dashes(shade: float) -> bool:
    """Whether the box of what is there is seen on a ground of one shade: it has pixels of both extremes."""
    boxes = {"what is there": np.array([[0, 2, 2, 6, 6, 0.0]]), "none": np.zeros((0, 6))}
    fig = boxes_figure(np.full((1, 8, 8, 3), shade), boxes, ("sphere",)).fig
    canvas, axis = FigureCanvasAgg(fig), fig.axes[0]
    canvas.draw()
    (left, low), (right, high) = axis.transData.transform([(1, 6), (6, 1)])
    pixels = np.asarray(canvas.buffer_rgba())[::-1][int(low) : int(high), int(left) : int(right), 0]
    return bool((pixels < 60).mean() > 0.01 and (pixels > 195).mean() > 0.01)


def test_each_row_has_the_truth_and_what_one_network_found() -> None:
    truth = np.array([[0, 2, 2, 6, 4, 0], [1, 1, 1, 3, 3, 1.0]])
    found = {"what is there": truth, "tokens": truth[:1], "none": np.zeros((0, 6))}
    fig = boxes_figure(np.full((2, 8, 8, 3), 0.5), found, ("sphere", "cube"))
    assert repr(fig) == (
        "2 scenes; dashed what is there, solid what was found with a score of 0.5 or more."
        " what is there: 2 boxes; tokens: 1 boxes; none: 0 boxes."
    )
    axes = np.array(fig.fig.axes).reshape(2, 2)
    assert [[len(axis.patches) for axis in row] for row in axes] == [[2, 1], [1, 1]]
    one, there = axes[0, 0].patches
    assert one.get_bbox().extents.tolist() == there.get_bbox().extents.tolist() == [1.5, 1.5, 5.5, 3.5]
    assert one.get_linewidth() > 2 * there.get_linewidth(), "the truth on top must not hide what was found"
    assert [axis.get_title(loc="left") for axis in axes[0]] == ["sphere", "cube"]
    assert [text.get_text() for text in fig.fig.legends[0].get_texts()] == ["what is there", "sphere", "cube"]
    assert [ground_and_dashes(shade) for shade in (0.0, 1.0)] == [True, True]
    with pytest.raises(ValueError, match="classes: expected 4 at most, got 5"):
        boxes_figure(np.full((2, 8, 8, 3), 0.5), found, ("sphere", "cube", "cone", "ring", "star"))
