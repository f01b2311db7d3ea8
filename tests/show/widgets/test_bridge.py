"""The inspector of the bridge: what travels is what the probe saw, and cuts, pictures and files are answered."""

from __future__ import annotations

import io
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import traitlets
from PIL import Image

from visionlab.experiments.mobile_former_probe import BlockView
from visionlab.show import theme
from visionlab.show.bridge_words import no_cuts
from visionlab.show.widgets.bridge import BridgeInspector

TOKENS = 3
PICTURES = {
    name: np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    for seed, name in enumerate(("field", "river"))
}


def weights(shape: tuple[int, ...], axes: tuple[int, ...], seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).random(shape)
    return drawn / drawn.sum(axis=axes, keepdims=True)


def view(title: str, cuts: Mapping[str, Any], seed: int) -> BlockView:
    tokens = np.random.default_rng(seed).normal(size=(TOKENS, 8))
    unit = tokens / np.linalg.norm(tokens, axis=1, keepdims=True)
    return BlockView(
        name=title,
        title=title,
        reads=None if cuts["reading"] else weights((2, TOKENS, 6, 8), (2, 3), seed),
        hears=None if cuts["writing"] or title == "before the head" else weights((2, TOKENS, 3, 4), (1,), seed),
        tokens=tokens,
        cosine=unit @ unit.T,
        slopes=(),
        votes=None,
    )


def respond(image: np.ndarray, cuts: Mapping[str, Any]) -> tuple[list[BlockView], dict[str, float]]:
    seed = int(image[0, 0, 0])
    share = 0.9 if not any(cuts.values()) else 0.2
    views = [view(title, cuts, seed + i) for i, title in enumerate(("block 1", "block 2", "before the head"))]
    return views, {"field": share, "river": 1 - share}


def inspector(**more: Any) -> BridgeInspector:
    return BridgeInspector(**{"pictures": PICTURES, "respond": respond, **more})


def array(packed: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(packed["weights"], dtype=np.uint8).reshape(TOKENS, *packed["size"])


def test_the_first_message_holds_every_block_of_the_first_picture() -> None:
    state = inspector(block=1, token=2).get_state()
    assert [entry["name"] for entry in state["pictures"]] == ["field", "river"]
    assert (np.asarray(Image.open(io.BytesIO(state["pictures"][1]["png"]))) == PICTURES["river"]).all()
    assert [block["title"] for block in state["blocks"]] == ["block 1", "block 2", "before the head"]
    assert (state["block"], state["token"], state["picture"]) == (1, 2, 0)
    assert state["colours"] == list(theme.TOKENS[:TOKENS])
    assert state["scores"] == [
        {"name": "field", "before": 0.9, "after": 0.9},
        {"name": "river", "before": pytest.approx(0.1), "after": pytest.approx(0.1)},
    ]
    assert len(state["colormap"]) == 256 * 3
    assert [state["_esm"].count(once) for once in ("export default", "function questions(")] == [1, 1]


def test_maps_travel_as_bytes_read_ones_by_their_strongest_and_heard_ones_as_they_are() -> None:
    packed, meant = inspector().blocks, respond(PICTURES["field"], no_cuts())[0]
    for sent, block in zip(packed, meant, strict=True):
        strongest = np.maximum(block.read.max(axis=(1, 2), keepdims=True), 4 / block.read[0].size)
        assert np.abs(array(sent["read"]) / 255 * strongest - block.read).max() <= strongest.max() / 255 / 2 + 1e-9
        if block.hears is not None:
            assert np.abs(array(sent["heard"]) / 255 - block.heard).max() <= 1 / 255 / 2 + 1e-9
        assert np.abs(np.array(sent["cosine"]) - block.cosine).max() <= 0.005 + 1e-9
    assert packed[-1]["heard"] is None


def test_the_line_says_what_token_and_block_do_and_what_is_answered() -> None:
    widget = inspector()
    meant = respond(PICTURES["field"], no_cuts())[0][1]
    widget.block, widget.token = 1, 2
    row, column = np.unravel_index(meant.read[2].argmax(), (6, 8))
    first = int((meant.heard.argmax(0) == 2).sum())
    assert "block 2: token 3 has half of its reading on" in widget.readout
    assert f"most at row {row}, column {column}; {first} of 12 pixels listen to it more" in widget.readout
    assert widget.readout.endswith("Nothing is cut. Answer: field (0.90).")
    assert repr(widget) == f"BridgeInspector(field: {widget.readout})"
    widget.block = 2
    assert "no pixel listens here" in widget.readout


def test_blocks_and_tokens_ask_nothing_of_python() -> None:
    asked: list[object] = []
    widget = inspector(respond=lambda image, cuts: (asked.append(cuts), respond(image, cuts))[1])
    before = len(asked)
    widget.block, widget.token = 2, 1
    assert len(asked) == before
    assert widget.answers == 0


def test_the_network_runs_once_for_each_new_picture_or_cut() -> None:
    asked: list[tuple[int, bool]] = []

    def counted(image: np.ndarray, cuts: Mapping[str, Any]) -> Any:
        asked.append((int(image[0, 0, 0]), cuts["reading"]))
        return respond(image, cuts)

    first, second = (int(image[0, 0, 0]) for image in PICTURES.values())
    widget = inspector(respond=counted)
    assert asked == [(first, False)]
    widget.cuts = no_cuts() | {"reading": True}
    assert asked.pop() == (first, True)
    widget.set_state({"picture": 1, "cuts": no_cuts()})  # one message, one answer
    assert asked.pop() == (second, False)
    assert widget.answers == 2
    widget.picture = 0
    assert asked == [(first, False)]
    assert widget.readout == inspector().readout


def test_a_cut_is_answered_beside_the_uncut_answer() -> None:
    widget = inspector()
    widget.cuts = widget.cuts | {"reading": True}
    assert widget.answers == 1
    assert [score["after"] for score in widget.scores] == [0.2, 0.8]
    assert [score["before"] for score in widget.scores] == [0.9, pytest.approx(0.1)]
    assert widget.blocks[0]["read"] is None
    assert "token 1 reads nothing, for reading is cut" in widget.readout
    assert "Cut: reading (Mobile→Former). Answer: river (0.80); uncut it was field (0.90)." in widget.readout
    widget.cuts = no_cuts() | {"writing": True, "silent": [1]}
    assert widget.cuts["silent"] == (1,)
    assert widget.blocks[0]["heard"] is None
    assert "nobody hears it, for writing is cut" in widget.readout
    assert "the voice of token 2" in widget.readout
    widget.cuts = no_cuts() | {"silent": (0,)}
    assert "it is silenced" in widget.readout
    widget.cuts = no_cuts()
    assert widget.readout == inspector().readout


def test_an_answer_travels_in_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    widget = inspector()
    messages: list[set[str]] = []
    monkeypatch.setattr(
        widget, "send_state", lambda key=None: messages.append({key} if isinstance(key, str) else set(key))
    )
    widget.cuts = no_cuts() | {"reading": True}
    assert [message >= {"scores", "answers"} for message in messages if "blocks" in message] == [True]


def file_of(image: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format=kind)
    return buffer.getvalue()


def test_a_picture_of_ones_own_is_made_small_and_replaced_by_the_next() -> None:
    widget = inspector()
    widget.own = file_of(np.full((300, 600, 3), 9, np.uint8))
    assert [entry["name"] for entry in widget.pictures] == ["field", "river", "yours"]
    assert widget.picture == 2
    assert Image.open(io.BytesIO(widget.pictures[2]["png"])).size == (128, 64)
    first, answers = widget.blocks, widget.answers
    widget.set_state({"own": memoryview(file_of(np.full((20, 10), 99, np.uint8), "GIF"))})  # as from the page
    assert Image.open(io.BytesIO(widget.pictures[2]["png"])).size == (10, 20)
    assert len(widget.pictures) == 3
    assert widget.blocks != first
    assert widget.answers == answers + 1


def test_the_same_file_can_be_sent_again() -> None:
    widget, file = inspector(), memoryview(file_of(np.full((20, 10), 99, np.uint8)))
    for answers in (1, 3):
        widget.set_state({"own": file})
        assert (widget.picture, widget.answers, widget.own) == (2, answers, b"")
        widget.picture = 0


def test_a_file_that_is_no_image_is_told_and_changes_no_picture() -> None:
    widget = inspector()
    with pytest.raises(ValueError, match="own must hold the bytes of an image file"):
        widget.own = b"no image"
    assert widget.said.startswith("No answer: ")
    assert widget.picture == 0
    assert len(widget.pictures) == 2


def test_a_failing_network_is_an_answer_too() -> None:
    def fails(image: np.ndarray, cuts: Mapping[str, Any]) -> Any:
        if cuts["former"]:
            raise RuntimeError("out of memory")
        return respond(image, cuts)

    widget = inspector(respond=fails)
    with pytest.raises(RuntimeError, match="out of memory"):
        widget.cuts = widget.cuts | {"former": True}
    assert widget.answers == 1
    assert "No answer: out of memory" in widget.readout
    widget.cuts = no_cuts()
    assert "Answer: field" in widget.readout


def changed(**fields: Any) -> Any:
    """A respond whose first block is changed."""

    def answer(image: np.ndarray, cuts: Mapping[str, Any]) -> Any:
        (first, *others), scores = respond(image, cuts)
        parts = {
            name: getattr(first, name) for name in ("title", "reads", "hears", "read", "heard", "tokens", "cosine")
        }
        parts |= {name: change(parts[name]) for name, change in fields.items()}
        return [SimpleNamespace(**parts), *others], scores

    return answer


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"respond": None}, TypeError, "respond"),
        ({"pictures": {}}, ValueError, "pictures must hold one picture or more"),
        ({"pictures": {"a": [[0]]}}, TypeError, "pictures"),
        (
            {"pictures": {"a": np.zeros((4, 4), np.uint8)}},
            ValueError,
            r"'a' must be \(H, W, 3\) of uint8; got \(4, 4\)",
        ),
        ({"pictures": {"a": np.zeros((4, 4, 3))}}, ValueError, "got .* of float64"),
        ({"block": 3}, ValueError, "block must be 0 to 2; got 3"),
        ({"token": -1}, ValueError, "token must be 0 to 2; got -1"),
        (
            {"respond": changed(read=lambda r: r[:2])},
            ValueError,
            r"views\[0\].read must have the shape \(3, h, w\)",
        ),
        ({"respond": changed(read=lambda r: 2 * r)}, ValueError, r"views\[0\].read must hold weights .* sum to 1"),
        ({"respond": changed(heard=lambda h: -h)}, ValueError, r"views\[0\].heard must hold weights"),
        ({"respond": changed(heard=lambda h: h * np.nan)}, ValueError, r"views\[0\].heard must hold weights"),
        ({"respond": changed(cosine=lambda c: c[:2])}, ValueError, r"views\[0\].cosine must be \(3, 3\); got \(2, 3\)"),
        ({"respond": changed(tokens=lambda t: t.repeat(3, 0))}, ValueError, "must show 1 to 6 tokens; got 9"),
        ({"respond": lambda i, c: (respond(i, c)[0], {})}, ValueError, r"named scores in \[0, 1\]"),
        ({"respond": lambda i, c: (respond(i, c)[0], {"a": 1.5})}, ValueError, r"named scores in \[0, 1\]"),
    ],
)
def test_what_does_not_fit_is_named(wrong: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        inspector(**wrong)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("picture", 2),
        ("block", -1),
        ("token", 3),
        ("cuts", {"reading": True}),
        ("cuts", no_cuts() | {"silent": (3,)}),
        ("cuts", no_cuts() | {"silent": (0, 1, 2)}),
    ],
)
def test_a_wrong_setting_later_is_refused_and_changes_nothing(name: str, value: Any) -> None:
    widget = inspector()
    before = repr(widget), widget.cuts
    with pytest.raises((ValueError, traitlets.TraitError), match=name):
        setattr(widget, name, value)
    assert (repr(widget), widget.cuts) == before
