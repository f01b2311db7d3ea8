"""The board of Dynamic Shift-Max in Python; the browser tests look at what it draws and says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import traitlets

from visionlab.backbones.micronet import CONFIGURATIONS
from visionlab.backbones.micronet_shiftmax import DynamicShiftMax
from visionlab.show.widgets.shiftmax import PRESETS, ShiftMaxBoard


def test_the_first_message_holds_all_that_the_page_needs() -> None:
    state = ShiftMaxBoard(measured=[(1.5, 0.25, 0.0, -1.0)], labels=["River"]).get_state()
    assert state["values"] == [1, 0, 0, 0]
    assert state["measured"] == [[1.5, 0.25, 0, -1]]
    assert state["labels"] == ["River"]
    assert list(state["presets"]) == list(PRESETS)
    assert "export default" in state["_esm"]


@pytest.mark.parametrize(("size", "preset"), [("m0", "identity (start of M0 to M2)"), ("m3", "start of M3")])
def test_the_presets_named_after_networks_are_their_offsets(size: str, preset: str) -> None:
    published = CONFIGURATIONS[size].get("offsets", ((1.0, 0.0), (1.0, 0.0)))
    assert PRESETS[preset] == tuple(value for row in published for value in row)
    layer = DynamicShiftMax(8, 2, hidden=4, offsets=published)
    torch.nn.init.zeros_(layer.coefficients.fc2.weight)
    torch.nn.init.zeros_(layer.coefficients.fc2.bias)
    assert layer.coefficients(torch.randn(1, 8, 2, 2))[0, :, :, 3].flatten().tolist() == list(PRESETS[preset])


def test_every_preset_can_be_shown() -> None:
    board = ShiftMaxBoard()
    for values in PRESETS.values():
        board.values = list(values)
        assert board.values == list(values)


def test_the_repr_says_the_function() -> None:
    board = ShiftMaxBoard((1.25, 0.5, 0.0, -1.0), measured=[(1.0, 0.0, 1.0, 0.0)] * 3, labels=["a"] * 3)
    assert repr(board) == "ShiftMaxBoard(max(1.25 x + 0.5 x~, 0 x + -1 x~), 3 images)"
    assert repr(ShiftMaxBoard()) == "ShiftMaxBoard(max(1 x + 0 x~, 0 x + 0 x~))"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"values": (1.0, 0.0, 0.0)}, "values must be four numbers a1, b1, a2, b2; got"),
        ({"values": (1.0, 0.0, float("nan"), 0.0)}, "values must be four numbers"),
        ({"values": (3.5, 0.0, 0.0, 0.0)}, "a1 must lie in -1 to 3; got 3.5"),
        ({"values": (1.0, 0.0, 0.0, -2.5)}, "b2 must lie in -2 to 2; got -2.5"),
        ({"measured": [(1.0, 0.0, 1.0)], "labels": ["a"]}, r"measured\[0\] must be four numbers"),
        ({"measured": [(1.0, 0.0, 1.0, 0.0)]}, "labels must be one a row of measured, 1; got 0"),
    ],
)
def test_what_does_not_fit_is_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ShiftMaxBoard(**wrong)


@pytest.mark.parametrize("values", [[1.0, 0.0, 0.0], [9.0, 0.0, 0.0, 0.0]])
def test_a_wrong_setting_later_changes_nothing(values: list[float]) -> None:
    board = ShiftMaxBoard()
    with pytest.raises((ValueError, traitlets.TraitError)):
        board.values = values
    assert board.values == [1, 0, 0, 0]
