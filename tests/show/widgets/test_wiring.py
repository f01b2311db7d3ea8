"""The wiring board in Python: what it starts with and what it refuses; the browser tests look at what it counts."""

from __future__ import annotations

from typing import Any

import pytest
import traitlets

from visionlab.show.widgets.wiring import REDUCTIONS, WIDTHS, WiringBoard

START = {"channels": 32, "reduction": 2, "groups": 4, "shuffle": True, "picked": -1}


def test_the_first_message_holds_all_that_the_page_needs() -> None:
    state = WiringBoard().get_state()
    assert state["values"] == START
    assert state["widths"] == list(WIDTHS)
    assert state["reductions"] == list(REDUCTIONS)
    for once in ("export default", "function pathTable(", "function render("):
        assert state["_esm"].count(once) == 1, once


def test_every_width_has_a_reduction_and_a_choice_of_groups() -> None:
    for channels in WIDTHS:
        fitting = [r for r in REDUCTIONS if channels % r == 0]
        assert fitting[0] == 2
        for reduction in fitting:
            for groups in range(1, channels // reduction + 1):
                if channels // reduction % groups == 0:
                    board = WiringBoard(channels, reduction, groups)
                    assert board.values["groups"] == groups


def test_the_repr_says_what_is_on_show() -> None:
    board = WiringBoard(72, 2, 6, shuffle=False, picked=71)
    assert repr(board) == "WiringBoard(channels=72, reduction=2, groups=6, shuffle=False, picked=71)"
    board.values = START
    assert repr(board) == "WiringBoard(channels=32, reduction=2, groups=4, shuffle=True, picked=-1)"


def test_the_page_may_change_the_values() -> None:
    board = WiringBoard()
    board.set_state({"values": START | {"channels": 18, "groups": 3, "picked": 17}})
    assert board.values == START | {"channels": 18, "groups": 3, "picked": 17}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"channels": 30}, "channels must be one of 16, 18, .*; got 30"),
        ({"channels": 18, "reduction": 4}, "reduction must be one of 2, 3, 6, for 18 channels; got 4"),
        ({"reduction": 5}, "reduction must be one of 2, 4, 8, for 32 channels; got 5"),
        ({"groups": 3}, "groups must divide the 16 hidden channels; got 3"),
        ({"groups": 0}, "groups must divide the 16 hidden channels; got 0"),
        ({"picked": 32}, "picked must be an output channel below 32, or -1; got 32"),
        ({"picked": -2}, "picked must be an output channel below 32, or -1; got -2"),
    ],
)
def test_what_does_not_fit_is_named_and_changes_nothing(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WiringBoard(**START | wrong)
    board = WiringBoard()
    with pytest.raises((ValueError, traitlets.TraitError), match=message):
        board.values = START | wrong
    assert board.values == START


def test_values_must_be_complete() -> None:
    board = WiringBoard()
    with pytest.raises(ValueError, match="values must be channels, reduction, groups, shuffle, picked; got channels"):
        board.values = {"channels": 32}
    assert board.values == START
