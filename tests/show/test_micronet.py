"""MicroNet's pictures: their words are the numbers that are drawn, and what does not fit is refused."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from visionlab.backbones.micronet_factorized import MicroDepthwise, wiring
from visionlab.show import micronet as draw
from visionlab.show.widgets.shiftmax import PRESETS


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        (
            (32, 16, 4),
            "32 paths end in an output; 100.0 % of the pairs of channels are connected, by one path each; 256",
        ),
        (
            (32, 16, 8),
            "8 paths end in an output; 25.0 % of the pairs of channels are connected, by one path each; 128",
        ),
        (
            (32, 16, 1),
            "512 paths end in an output; 100.0 % of the pairs of channels are connected, by 16 paths each; 1,024",
        ),
    ],
)
def test_the_words_of_a_wiring_are_its_counts(sizes: tuple[int, int, int], words: str) -> None:
    shown = draw.wiring_figure(*wiring(*sizes))
    assert words in shown.alt
    assert f"{sizes[2]} groups" in shown.alt
    assert len(shown.png()) > 5000


def test_a_wiring_without_its_shuffle_can_be_drawn() -> None:
    made = wiring(32, 16, 4)
    assert "25.0 % of the pairs" in draw.wiring_figure(made.p, np.eye(16), made.q_transposed).alt


def test_a_wiring_reads_as_a_product_whose_single_cells_can_be_seen() -> None:
    axes = draw.wiring_figure(*wiring(32, 16, 4)).fig.axes
    assert [ax.get_ylabel() for ax in axes] == ["", "·", "·", "="]
    titles = [ax.get_title(loc="left") for ax in axes]
    assert titles[0].startswith("last P") and titles[2].startswith("first Qᵀ") and titles[3].startswith("paths")
    assert [len(ax.get_xticks(minor=True)) for ax in axes] == [15, 15, 31, 31]
    fine = draw.wiring_figure(*wiring(128, 64, 8)).fig.axes
    assert all(len(ax.get_xticks(minor=True)) == 0 for ax in fine)


def test_factors_that_do_not_fit_are_refused() -> None:
    made = wiring(32, 16, 4)
    with pytest.raises(ValueError, match=r"expected \(C, M\), \(M, M\) and \(M, C\), got \(32, 16\), \(16, 32\)"):
        draw.wiring_figure(made.p, made.q_transposed, made.phi)


def test_a_factorized_depthwise_kernel_loses_nothing() -> None:
    layer = MicroDepthwise(1, kernel=5)
    with torch.no_grad():
        kernel = (layer.column.weight[0, 0] @ layer.row.weight[0, 0]).numpy()
    near, lost = draw.rank_one(kernel)
    assert lost == pytest.approx(0, abs=1e-9)
    assert near == pytest.approx(kernel, abs=1e-6)


def test_no_column_times_row_is_nearer_than_the_one_found() -> None:
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(5, 5))
    near, lost = draw.rank_one(kernel)
    assert lost == pytest.approx(100 * ((kernel - near) ** 2).sum() / (kernel**2).sum())
    for _ in range(200):
        other = np.outer(rng.normal(size=5), rng.normal(size=5))
        scale = (other * kernel).sum() / (other**2).sum()
        assert ((kernel - scale * other) ** 2).sum() >= ((kernel - near) ** 2).sum()


def test_kernels_are_drawn_with_what_is_lost() -> None:
    shown = draw.rank_figure(
        {"line": np.outer(np.ones(3), [0, 1, 0]), "diagonal": np.eye(5), "nothing": np.zeros((3, 3))}
    )
    assert shown.alt.endswith("line 0 %, diagonal 80 %, nothing 0 %.")


def test_a_kernel_and_its_product_share_a_scale_that_cuts_nothing_and_is_shown() -> None:
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=float)
    above, below, scale = draw.rank_figure({"cross": cross}).fig.axes
    kernel, near = (np.asarray(ax.images[0].get_array()) for ax in (above, below))
    assert near.max() == pytest.approx(1)
    assert near / kernel.max() == pytest.approx(draw.rank_one(cross)[0])
    assert [label.get_text() for label in scale.get_xticklabels()] == ["negative", "0", "positive"]


def test_shift_max_is_told_at_both_sides_and_for_three_neighbours() -> None:
    said = draw.shift_max_figure(PRESETS).alt
    assert "ReLU: 0, 0, 0 at x = -1, 1, 1, 1 at x = 1" in said
    assert "larger of the two: -1, 0, 1 at x = -1, 1, 1, 1 at x = 1" in said
    assert "start of M3: -1, -0.5, 0 at x = -1, 1, 1, 1 at x = 1" in said


def test_curves_of_shift_max_that_coincide_can_all_be_seen() -> None:
    fig = draw.shift_max_figure(PRESETS).fig
    for ax in fig.axes[: len(PRESETS)]:
        widths = [line.get_linewidth() for line in ax.lines]
        assert min(wide / narrow for wide, narrow in pairwise(widths)) > 1.5
        assert len({line.get_color() for line in ax.lines}) == 3
        assert ax.get_legend() is None
    (legend,) = fig.legends
    assert [text.get_text() for text in legend.get_texts()] == ["x̃ = −1", "x̃ = 0", "x̃ = 1"]


def test_panels_of_shift_max_have_their_coefficients_and_numbers_where_nothing_is_below() -> None:
    axes = draw.shift_max_figure(PRESETS).fig.axes
    assert axes[1].get_title(loc="left") == "start of M3\n(1, 0), (0.5, 0.5)"
    assert axes[4].get_title(loc="left") == "absolute value\n(1, 0), (−1, 0)"
    assert [ax.get_xlabel() for ax in axes] == ["", "", "", "x", "x", "x", "x", "x"]
    assert [ax.xaxis.get_tick_params()["labelbottom"] for ax in axes[:7]] == [False] * 3 + [True] * 4
    assert [ax.get_ylabel() for ax in axes[:7]] == ["y", "", "", "", "y", "", ""]
    assert [ax.get_visible() for ax in axes] == [True] * 7 + [False]


def test_strips_have_names_numbers_of_channels_and_a_legend() -> None:
    masks = {"stem": [1, 0, 0], "wide": [True] * 40 + [False] * 60}
    steps = [(name, torch.tensor(mask, dtype=torch.bool)) for name, mask in masks.items()]
    fig = draw.follow_figure({"one": steps}).fig
    (ax,) = fig.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["stem · 3", "wide · 100"]
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["reached", "not reached"]
    colours = [ax.images[0].to_rgba(np.array(value))[:3] for value in (1.0, 0.0)]
    assert colours == [patch.get_facecolor()[:3] for patch in fig.legends[0].get_patches()]
    (lines,) = ax.collections
    assert [segment[0][0] for segment in lines.get_segments()] == pytest.approx([100 / 3, 200 / 3])


def test_a_followed_channel_is_whole_only_if_it_stays_so() -> None:
    masks = {"a": [1, 0], "b": [1, 1], "c": [1, 0, 1], "d": [1, 1, 1]}
    steps = [(name, torch.tensor(mask, dtype=torch.bool)) for name, mask in masks.items()]
    said = draw.follow_figure({"one": steps, "other": steps[:3]}).alt
    assert "one: all from d on; other: 67 % in the end." in said
