"""Pictures of lab 10: what they say, and that they draw what they are given."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from IPython.core.formatters import DisplayFormatter

from visionlab.experiments.result import Result, Row
from visionlab.protection.structure import HUES
from visionlab.show import theme
from visionlab.show import watermark as draw
from visionlab.show.figure import Interactive
from visionlab.show.pictures import picture_grid

PICTURE = np.zeros((8, 8, 3))
INKS = np.array(HUES) / 255
OWN = 3


def view(**changed: Any) -> SimpleNamespace:
    names = ("clean", "pattern", "marked", "residual", "changed", "drawing", "clean_drawing")
    told = {"psnr": 34.26, "score": 0.831, "clean_score": 0.024, "found": True}
    return SimpleNamespace(**dict.fromkeys(names, PICTURE), **(told | changed))


def recorded(seeds: int = 3) -> Result:
    levels = {
        "structure: none": 90, "structure: all": 80, "structure: clean thief, all": 1,
        "logo: none": 90, "logo: all": 5, "logo: stamped after, all": 70,
    }  # fmt: skip
    metrics = [f"held at {n} (%)" for n in (8, 16, 32)]
    metrics += [f"held at 32, {change} (%)" for change in ("none", "JPEG 75")] + ["PSNR (dB)"]
    rows = [
        Row(variant, seed, metric, float(level + seed - 1))
        for variant, level in levels.items()
        for seed in range(seeds)
        for metric in metrics
    ]
    rows += [Row("structure: all", seed, "score", 0.5) for seed in range(seeds)]
    return Result("watermark/theft", "long", "none", "0", rows=rows)


def cloud(ink: int, share: float, n: int = 10) -> np.ndarray:
    """Colours on the way from white to an ink."""
    return np.repeat(1 - share * (1 - INKS[ink])[None], n, 0)


# --- Pictures ---------------------------------------------------------------------------------------------------------


def test_a_strip_says_what_was_read_with_the_mark_and_without() -> None:
    shown = draw.mark_strip({"logo, mirrored": view(), "flat": view(found=None, score=0.0)})
    assert "logo, mirrored: 34.3 dB, score 0.83, without mark 0.02, found; flat:" in shown.alt
    assert shown.alt.endswith("too little structure to look at.")
    labels = [[axis.get_xlabel() for axis in shown.fig.axes[start : start + 6]] for start in (0, 6)]
    assert labels[0] == ["", "", "", "34.3 dB", "score 0.83", "score 0.02"]
    assert labels[1][4] == "score 0.00"
    assert shown.fig.axes[6].get_ylabel() == "flat"
    assert "not found" in draw.mark_strip({"logo": view(found=False)}).alt


def test_rows_are_drawn_where_they_belong() -> None:
    rows = {
        name: {thief: np.full((4, 4, 3), value) for thief in ("none", "all")}
        for name, value in (("thief's answers", 0.2), ("logo: read", 0.8))
    }
    shown = draw.theft_rows(rows, "two thieves")
    assert shown.alt == "two thieves"
    assert [axis.get_title(loc="center") for axis in shown.fig.axes] == ["none", "all", "", ""]
    assert [float(axis.images[0].get_array().max()) for axis in shown.fig.axes] == [0.2, 0.2, 0.8, 0.8]
    assert shown.png()[:4] == b"\x89PNG"


def test_a_message_stands_below_what_carries_it() -> None:
    shown = draw.code_strip(
        {"forest": {"image": (PICTURE, ""), "edges": (PICTURE, "011"), "2 regions": (PICTURE, "011110")}}, "a forest"
    )
    assert [axis.get_xlabel() for axis in shown.fig.axes] == ["", "011", "011110"]


def test_rows_with_other_columns_or_without_a_picture_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected the columns \['a'\] in each, got \['b'\] in 'second'"):
        picture_grid({"first": {"a": PICTURE}, "second": {"b": PICTURE}})
    for empty in ({}, {"first": {}}):
        with pytest.raises(ValueError, match="rows: expected a row with a picture or more"):
            draw.theft_rows(empty, "nothing")


# --- Evidence ---------------------------------------------------------------------------------------------------------


def test_curves_leave_out_what_can_hold_no_claim_and_dot_the_innocent() -> None:
    variants = {"structure": "structure: all", "logo": "logo: all", "innocent": "structure: clean thief, all"}
    shown = draw.evidence_curves(recorded(), variants, (1, 4, 8, 16, 32))
    assert shown.alt == (
        "Percent of sets of 8, 16, 32 answers for which theft is claimed. structure: 80, 80, 80; logo: 5, 5, 5;"
        " innocent: 1, 1, 1."
    )
    (axis,) = shown.fig.axes
    assert [line.get_linestyle() for line in axis.lines] == ["-", "-", ":"]
    assert [line.get_color() for line in axis.lines] == [theme.color(x) for x in ("method", "rival", "method")]
    assert len(axis.collections) == 3
    low, high = axis.collections[2].get_paths()[0].get_extents().get_points()[:, 1]
    assert low == 0, "a share is never less than none"
    assert high == pytest.approx(1 + 4.303 / 3**0.5, abs=0.01)


def test_one_seed_has_no_band() -> None:
    assert not draw.evidence_curves(recorded(1), {"logo": "logo: all"}, [8]).fig.axes[0].collections


def test_curves_need_a_variant_and_enough_answers() -> None:
    for variants, counts in (({"logo": "logo: all"}, [4]), ({}, [8])):
        with pytest.raises(ValueError, match="expected a variant, and a number of 8 or more"):
            draw.evidence_curves(recorded(), variants, counts)
    with pytest.raises(KeyError, match="nobody"):
        draw.evidence_curves(recorded(), {"x": "logo: nobody"}, [8])


def test_the_map_holds_the_means_of_both_marks_and_leaves_open_what_was_not_measured() -> None:
    rows = {"all three": "all", "stamped": "stamped after, all"}
    shown = draw.theft_map(recorded(), rows, ["none", "JPEG 75"])
    assert shown.alt == (
        "Percent of sets of 32 answers for which theft is claimed. structure, all three: none 80, JPEG 75 80;"
        " logo, all three: none 5, JPEG 75 5; logo, stamped: none 70, JPEG 75 70."
    )
    structure, logo = shown.fig.axes
    assert [text.get_text() for text in structure.texts] == ["80", "80", "", ""]
    assert [text.get_text() for text in logo.texts] == ["5", "5", "70", "70"]
    with pytest.raises(ValueError, match="rows, settings: expected one or more"):
        draw.theft_map(recorded(), rows, [])


def test_the_table_is_empty_where_a_mark_has_no_such_metric() -> None:
    table = draw.theft_table(recorded(), ["structure: all", "logo: all"], ["PSNR (dB)", "score"], "Found")
    assert table.cells == [
        ["structure: all", "80.0 [77.5, 82.5]", "0.50 [0.50, 0.50]"],
        ["logo: all", "5.0 [2.5, 7.5]", ""],
    ]
    named = draw.theft_table(recorded(1), {"a thief": "logo: all"}, ["PSNR (dB)"], "Found")
    assert named.cells == [["a thief", "4.0 (one seed)"]]
    with pytest.raises(KeyError, match="nobody"):
        draw.theft_table(recorded(), ["nobody"], ["PSNR (dB)"], "Found")


def test_what_was_published_says_what_is_missing() -> None:
    cells = {row[0]: row[1:] for row in draw.published_table().cells}
    assert cells["X-rays"][0] == "93 / 100"
    assert cells["X-rays, without adversarial stage"][6:8] == ["27 / 88", "44 / 96"]
    assert cells["rain, without adversarial stage"][-1] == "0 / 54"
    assert cells["structure mark: its tables are not at hand"] == [""] * 9


# --- Colours ----------------------------------------------------------------------------------------------------------


def test_colours_fall_to_an_ink_as_the_owner_decodes_them() -> None:
    clouds = {
        "pale": cloud(OWN, 0.3),
        "half": np.concatenate([cloud(OWN, 1.0, 5), cloud(0, 1.0, 5)]),
        "white": cloud(OWN, 0.01),
    }
    shown = draw.colour_plane(clouds, INKS, OWN, "What is read")
    assert shown.alt == (
        "What is read: ink 3 of 8. pale: 100 % of 10 colours read as the own ink, 0 % not read; half: 50 % of 10"
        " colours read as the own ink, 0 % not read; white: 0 % of 10 colours read as the own ink, 100 % not read."
    )
    assert [axis.get_title(loc="center").split("\n")[1] for axis in shown.fig.axes[:3]] == [
        "100 % own ink", "50 % own ink", "0 % own ink",
    ]  # fmt: skip


@pytest.mark.parametrize("own", range(len(INKS)))
def test_the_own_sector_holds_its_ink_and_no_other(own: int) -> None:
    shown = draw.colour_plane({"inks": INKS}, INKS, own, "Inks")
    axis = shown.fig.axes[0]
    (sector,) = axis.patches
    places = axis.collections[-1].get_offsets()
    angles = np.rad2deg(np.arctan2(places[:, 1], places[:, 0]))
    inside = ((angles - sector.theta1) % 360) < ((sector.theta2 - sector.theta1) % 360)
    assert np.flatnonzero(inside).tolist() == [own]
    assert len(axis.lines) == len(INKS)


def test_the_plane_keeps_lengths_and_knows_no_brightness() -> None:
    across, up, reach = draw._chroma(np.array([[1.0, 0, 0], [0.2, 0.2, 0.2], [0.7, 0.9, 0.6]]))
    assert up[0] == pytest.approx(0)
    assert reach == across[0] == pytest.approx((2 / 3) ** 0.5)
    np.testing.assert_allclose([across[1], up[1]], 0, atol=1e-12)
    again = draw._chroma(np.array([[0.8, 1.0, 0.7]]))
    np.testing.assert_allclose([across[2], up[2]], [again[0][0], again[1][0]], atol=1e-12)


def test_many_clouds_go_on_in_a_second_row() -> None:
    clouds = {str(i): cloud(i, 0.5) for i in range(5)}
    axes = draw.colour_plane(clouds, INKS, 0, "Five").fig.axes
    assert [axis.get_visible() for axis in axes] == [True] * 5 + [False] * 3


def test_wrong_clouds_and_inks_are_named() -> None:
    with pytest.raises(ValueError, match=r"own: expected 0 to 7, one of the inks, got 8"):
        draw.colour_plane({"a": cloud(0, 1.0)}, INKS, 8, "title")
    for wrong in (np.ones((4, 2)), np.ones(3), np.ones((0, 3))):
        with pytest.raises(ValueError, match=r"clouds: expected colours \(N, 3\) of 'a'"):
            draw.colour_cube({"a": wrong}, INKS)


def test_the_cube_is_shown_with_its_words_and_repeats_itself() -> None:
    clouds = {"own answers": cloud(OWN, 1 / 3), "clean thief": cloud(OWN, 0.0)}
    shown = draw.colour_cube(clouds, INKS)
    assert repr(shown) == (
        "Colours read, in the cube of red, green and blue, and 8 inks. own answers: 10 colours, in the mean"
        " (0.72, 0.93, 0.77), 100 % read as an ink; clean thief: 10 colours, in the mean (1.00, 1.00, 1.00), 0 % read"
        " as an ink."
    )
    data, _ = DisplayFormatter().format(shown)
    assert set(data) == {"application/vnd.plotly.v1+json", "text/plain"}
    drawn = data["application/vnd.plotly.v1+json"]["data"]
    assert [trace["name"] for trace in drawn] == ["own answers", "clean thief", "inks"]
    assert drawn[0]["x"][0] == 0.72, "rounded, so that another processor gives the same"
    assert drawn[2]["marker"]["color"][OWN] == "rgb(41, 204, 82)"
    again, _ = DisplayFormatter().format(draw.colour_cube(clouds, INKS))
    assert json.dumps(data) == json.dumps(again)


def test_an_interactive_figure_has_to_be_one_and_to_have_words() -> None:
    with pytest.raises(TypeError, match="fig must be a plotly figure; got dict"):
        Interactive({}, "words")
    with pytest.raises(ValueError, match="alt must say what the figure shows"):
        Interactive(go.Figure(), "  ")
