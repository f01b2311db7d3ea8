"""The majority board: what is counted, what is said, and that clicks, cuts and puzzles are answered."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import traitlets
from PIL import Image

from visionlab.show.widgets.majority import MajorityBoard

FIRST = np.array([[1, 1, 0], [2, 1, 2], [0, 0, 2]])
SECOND = np.array([[2, 0, 0], [2, 2, 2], [1, 0, 0]])


def respond(board: np.ndarray, cuts: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Takes every red square for the majority's, with a cut every square."""
    if (board == 1).all():
        raise RuntimeError("too red")
    picture = np.repeat(np.stack([board] * 3, -1), 2, axis=0).astype(np.uint8)
    return picture, np.full(board.shape, 0.7) if cuts["writing"] else np.where(board == 1, 0.8, 0.1)


def widget_of(**more: Any) -> MajorityBoard:
    return MajorityBoard(**{"boards": [FIRST, SECOND], "respond": respond, **more})


def test_the_first_message_holds_puzzle_and_answer() -> None:
    state = widget_of(boards=[SECOND]).get_state()
    assert state["side"] == 3
    assert state["board"] == SECOND.ravel().tolist()
    assert (np.asarray(Image.open(io.BytesIO(state["picture"]))) == respond(SECOND, {"writing": False})[0]).all()
    assert state["sure"] == [0.1, 0, 0, 0.1, 0.1, 0.1, 0.8, 0, 0]
    assert state["majority"] == 2
    assert state["readout"] == (
        "Cut: nothing. 1 red, 4 green: green is the majority. The network labels 0 of 5 squares right."
    )
    assert list(state["wires"]) == ["reading", "writing"]
    assert [state["_esm"].count(once) for once in ("export default", "function questions(")] == [1, 1]


def test_a_flipped_square_is_answered_and_may_turn_the_majority() -> None:
    widget = widget_of()
    assert "3 red, 3 green: a tie" in widget.readout
    assert widget.majority == 0
    board = list(widget.board)
    board[3] = 1
    widget.board = board
    assert widget.answers == 1
    assert "4 red, 2 green: red is the majority. The network labels 6 of 6" in widget.readout
    assert repr(widget) == f"MajorityBoard({widget.readout})"


def test_a_cut_and_the_next_puzzle_are_answered() -> None:
    widget = widget_of()
    widget.puzzle = 1
    assert widget.board == SECOND.ravel().tolist()
    widget.cuts = {"writing": True}
    assert widget.answers == 2
    assert widget.readout.startswith("Cut: writing (Former→Mobile). 1 red, 4 green")
    assert widget.readout.endswith("labels 4 of 5 squares right.")
    assert widget.cuts["reading"] is False


def test_a_failure_is_an_answer_too() -> None:
    widget = widget_of()
    with pytest.raises(RuntimeError, match="too red"):
        widget.board = [1] * 9
    assert (widget.answers, widget.readout) == (1, "No answer: too red")


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"respond": None}, TypeError, "respond"),
        ({"boards": []}, ValueError, "boards must be one or more of one size"),
        ({"boards": [FIRST, np.eye(2, dtype=int)]}, ValueError, "boards must be one or more of one size"),
        ({"boards": [FIRST[:2]]}, ValueError, r"boards\[0\] must be square, of 0, 1 and 2; got \(2, 3\)"),
        ({"boards": [FIRST + 1]}, ValueError, r"boards\[0\] must be square, of 0, 1 and 2; got .*3"),
        ({"boards": [0 * FIRST]}, ValueError, r"boards\[0\] must hold one square or more"),
        ({"wires": ("reading", "legs")}, ValueError, "wires must be some of .*; got 'legs'"),
        ({"respond": lambda b, c: (respond(b, c)[0], np.ones((2, 2)))}, ValueError, r"got \(2, 2\)"),
        ({"respond": lambda b, c: (respond(b, c)[0], b * 1.0)}, ValueError, r"shares in \[0, 1\]"),
    ],
)
def test_what_does_not_fit_is_named(wrong: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        widget_of(**wrong)


@pytest.mark.parametrize(
    ("name", "value"),
    [("puzzle", 2), ("board", [1, 2]), ("board", [3] * 9), ("board", [0] * 9), ("cuts", {"slopes": True})],
)
def test_a_wrong_setting_later_is_refused_and_changes_nothing(name: str, value: Any) -> None:
    widget = widget_of()
    before = repr(widget), widget.puzzle, list(widget.board), widget.cuts
    with pytest.raises((ValueError, traitlets.TraitError), match=name):
        setattr(widget, name, value)
    assert (repr(widget), widget.puzzle, list(widget.board), widget.cuts) == before
