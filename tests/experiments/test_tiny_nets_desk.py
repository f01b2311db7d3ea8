"""The desk of tiny networks: races are run and told, budgets have winners, dials are counted."""

from __future__ import annotations

import pytest

from visionlab import programs
from visionlab.experiments import tiny_nets_desk as desk
from visionlab.experiments.tiny_nets import CONVENTIONS, NETWORKS
from visionlab.experiments.tiny_nets_desk import Entry, Race

MADE_UP = Race(
    tuple(
        Entry(NETWORKS[name], form, ms, 0.5)
        for name, form, ms in (
            ("micronet_m3", "as written", 9.0), ("micronet_m3", "fast form", 6.0),
            ("mobile_former_26m", "as written", 12.0), ("mobilenetv3_small_075", "as written", 5.0),
            ("tinynet_e", "as written", 3.0),
        )
    ),
    batch=8, threads=2, turns=7, where="a machine",
)  # fmt: skip


# --- Races ------------------------------------------------------------------------------------------------------------


def test_a_race_measures_what_is_chosen_and_says_how_far_it_is() -> None:
    heard: list[tuple[str, float]] = []
    found = desk.race(
        ["ghostnet_050", "micronet_m0"], forms=["fast form"], batch=2, rounds=2,
        hook=lambda what, share: heard.append((what, share)),
    )  # fmt: skip
    assert [(e.network.name, e.form) for e in found.entries] == [
        ("micronet_m0", "fast form"), ("ghostnet_050", "as written"),
    ], "in the order of the table; who has no fast form runs as written"  # fmt: skip
    assert (found.batch, found.threads, found.turns) == (2, 1, 2)
    assert all(entry.milliseconds > 0 for entry in found.entries)
    assert heard[0] == ("preparing MicroNet-M0", 0.0)
    assert heard[-1] == ("measuring", 1.0)


@pytest.mark.parametrize(
    ("chosen", "measured"),
    [
        (["as written"], ["PyTorch"]),
        (["as written", "fast form"], ["PyTorch", "folded"]),
        (["onnxruntime"], ["onnxruntime"]),
        (["fast form", "onnxruntime"], ["onnxruntime", "folded", "folded, onnxruntime"]),
    ],
)
def test_forms_are_those_that_were_chosen(chosen: list[str], measured: list[str]) -> None:
    there = ["PyTorch", "onnxruntime", "folded", "folded, onnxruntime"]
    assert sorted(desk._wanted(chosen, there)) == sorted(measured)
    assert desk._wanted(chosen, ["PyTorch"]) == ["PyTorch"]


def test_what_cannot_be_raced_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"networks: expected some of micronet_m0, .*; got none"):
        desk.race([])
    with pytest.raises(ValueError, match=r"networks: expected some of .*; got resnet50"):
        desk.race(["resnet50"])
    with pytest.raises(ValueError, match="forms: expected some of as written, fast form, onnxruntime; got faster"):
        desk.race(["micronet_m0"], forms=["faster"])
    monkeypatch.setattr(programs, "missing", lambda *_: "onnxscript")
    with pytest.raises(ValueError, match="forms: onnxscript is not installed: pip install 'visionlab\\[onnx\\]'"):
        desk.race(["micronet_m0"], forms=["onnxruntime"])


def test_two_winners_are_named() -> None:
    words = desk.told(MADE_UP, "as published", 60.0)
    assert words.startswith(
        "Of 3 networks with 60 % or more, MicroNet-M3 wins on MAdds (21 M, 6.00 ms), and MobileNetV3-S ×0.75 wins on"
        " time (5.00 ms, 44 M MAdds)."
    )
    assert "In 3 of all 6 pairs, the network with fewer MAdds is the slower one." in words
    assert words.endswith("Measured on a machine; batch 8, 2 threads, float32, untrained, median of 7 turns.")


def test_one_winner_or_none_is_said_as_well() -> None:
    assert (
        "Of 1 network with 65 % or more, MobileNetV3-S ×0.75 wins on both: 44 M MAdds, 5.00 ms an image."
        in desk.told(MADE_UP, "as published", 65.0)
    )
    assert desk.told(MADE_UP, "counted", 79.0).startswith("None of the 4 networks reaches 79 %: lower the accuracy")


def test_charts_and_table_show_what_was_measured() -> None:
    counted, measured = desk.marks(MADE_UP, "counted")
    assert [mark.label for mark in counted] == [
        "MicroNet-M3", "Mobile-Former-26M", "MobileNetV3-S ×0.75", "TinyNet-E",
    ]  # fmt: skip
    assert counted[0].cost == NETWORKS["micronet_m3"].counted / 1e6
    assert [(mark.cost, mark.form, mark.front) for mark in measured] == [
        (9.0, "as written", False), (6.0, "fast form", False), (12.0, "as written", False),
        (5.0, "as written", True), (3.0, "as written", True),
    ]  # fmt: skip
    assert desk.rows(MADE_UP)[1] == [
        "MicroNet-M3", "fast form", "2.62", "21", "18.2", "2.6", "6.00 ± 0.50", "62.5", "paper", "224",
    ]  # fmt: skip


# --- Budgets and dials ------------------------------------------------------------------------------------------------


def test_budgets_have_winners_among_all_and_among_the_raced() -> None:
    words, by_cost, by_time = desk.told_of_budget(MADE_UP, "as published", 30.0, 5.5)
    assert (by_cost, by_time) == ("Mobile-Former-26M", "MobileNetV3-S ×0.75")
    first, second = words.splitlines()
    assert first == (
        "Within 30 M MAdds, of all 30 networks of the table: Mobile-Former-26M, 64 % (26 M MAdds, 12.00 ms, 3.2 M"
        " parameters)."
    )
    assert second.startswith("Within 5.5 ms an image on this machine, of the 4 that were raced: MobileNetV3-S ×0.75")
    words, *winners = desk.told_of_budget(MADE_UP, "as published", 3.0, 1.0)
    assert winners == ["", ""]
    assert words.splitlines()[1] == "Within 1 ms an image on this machine, none of the 4 that were raced."


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_chart_of_budgets_joins_what_wins(convention: str) -> None:
    marks = desk.budget_marks(convention)
    assert len(marks) == len(NETWORKS)
    front = sorted((mark.cost, mark.top1) for mark in marks if mark.front)
    assert front == sorted(front, key=lambda point: point[1])
    assert {"MicroNet-M0", "Mobile-Former-508M"} <= {mark.label for mark in marks if mark.front}


def test_shift_max_fills_the_gap_to_what_was_published() -> None:
    parts, published = desk.activation_rows()
    assert list(parts) == ["MicroNet-M0", "MicroNet-M1", "MicroNet-M2", "MicroNet-M3"]
    for name, row in parts.items():
        assert abs(sum(row.values()) - published[name]) < 0.75
        assert row["convolutions, linear layers"] < published[name]


def test_dials_are_told() -> None:
    rows = desk.dial_rows("52m", 6, 128)
    assert list(rows) == ["published: 3 × 128", "yours: 6 × 128"]
    assert rows["yours: 6 × 128"]["Mobile"] == rows["published: 3 × 128"]["Mobile"]
    words = desk.told_of_dials("52m", 6, 128)
    total = sum(rows["yours: 6 × 128"].values())
    assert words.startswith(f"Mobile-Former-52M with 6 tokens of width 128: {round(1e6 * total):,} MAdds")
    assert "Published: 3 of width 128, 50,927,488 MAdds; this is +" in words
    assert desk.told_of_dials("52m", 3, 128).endswith("3,469,092 parameters. These are the published tokens.")
