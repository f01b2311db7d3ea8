from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import traitlets
from PIL import Image

from visionlab.show import theme
from visionlab.show.widgets.stripes import HeadGroup, Stage, StageView, StripesInspector

HEIGHT, WIDTH = 48, 64
STAGES = [Stage("stage 1", 12, 16), Stage("stage 2", 6, 8)]
IMAGE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def group(name: str, mask: np.ndarray, seed: int) -> HeadGroup:
    weights = mask * np.random.default_rng(seed).random(mask.shape)
    return HeadGroup(name, weights / weights.sum(), mask)


def respond(y: int, x: int) -> list[StageView]:
    (first, second), views = STAGES, []
    token = (y * first.height // HEIGHT, x * first.width // WIDTH)
    rows, columns = np.indices((first.height, first.width))
    pair = [group("vertical stripe", columns == token[1], y), group("horizontal stripe", rows == token[0], x)]
    views.append(StageView(token, pair, f"stage 1 at {token}"))
    token = (y * second.height // HEIGHT, x * second.width // WIDTH)
    whole = group("whole map", np.ones((second.height, second.width), dtype=bool), y + x)
    return [*views, StageView(token, [whole], f"stage 2 at {token}")]


def inspector(**more: Any) -> StripesInspector:
    return StripesInspector(**{"image": IMAGE, "stages": STAGES, "respond": respond, **more})


def array(packed: bytes, stage: Stage) -> np.ndarray:
    return np.frombuffer(packed, dtype=np.uint8).reshape(stage.height, stage.width)


def test_the_first_message_holds_the_whole_picture() -> None:
    state = inspector(query=(10, 20), stage=1).get_state()
    shown = np.asarray(Image.open(io.BytesIO(state["image_png"])))
    assert (shown == IMAGE).all()
    assert state["query"] == [10, 20]
    assert state["readout"] == "stage 2 at (1, 2)"
    assert [stage["title"] for stage in state["stages"]] == ["stage 1", "stage 2"]
    assert len(state["views"]) == 2
    assert len(state["colormap"]) == 256 * 3
    assert [state["_esm"].count(once) for once in ("export default", "function questions(")] == [1, 1]


def test_the_query_starts_in_the_middle_unless_it_is_given() -> None:
    assert inspector().query == [HEIGHT // 2, WIDTH // 2]


def test_weights_travel_as_bytes_beside_their_strongest() -> None:
    widget = inspector(query=(10, 20))
    for packed, view, stage in zip(widget.views, respond(10, 20), STAGES, strict=True):
        assert packed["token"] == list(view.token)
        for sent, meant in zip(packed["groups"], view.groups, strict=True):
            weights = array(sent["weights"], stage) / 255 * sent["peak"]
            assert np.abs(weights - meant.weights).max() <= sent["peak"] / 255 / 2 + 1e-12
            assert (array(sent["mask"], stage) == meant.mask).all()
            assert sent["tokens"] == meant.mask.sum()


def test_directions_have_the_colours_of_the_palette() -> None:
    colors = [[sent["color"] for sent in view["groups"]] for view in inspector().views]
    assert colors == [[theme.color("vertical"), theme.color("horizontal")], [theme.color("whole")]]


def test_a_moved_query_is_answered_and_said() -> None:
    widget = inspector()
    widget.query = (47, 0)
    assert widget.readout == "stage 1 at (11, 0)"
    assert widget.views[0]["token"] == [11, 0]
    widget.stage = 1
    assert widget.readout == "stage 2 at (5, 0)"


def test_every_question_of_the_page_gets_an_answer_even_within_one_token() -> None:
    widget = inspector(respond=lambda y, x: respond(y // 8 * 8, x // 8 * 8))
    widget.set_state({"query": [0, 0]})
    before = widget.answers, widget.views
    widget.set_state({"query": [0, 1]})
    assert widget.answers == before[0] + 1
    assert widget.views == before[1]


def test_an_answer_travels_in_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    widget = inspector()
    messages: list[set[str]] = []
    monkeypatch.setattr(widget, "send_state", lambda key=None: messages.append(set(key)))
    widget.query = (0, 0)
    assert {"views", "readout", "answers"} in messages
    assert sum("views" in message for message in messages) == 1


def test_a_failing_network_is_an_answer_too_and_still_raises() -> None:
    def fails(y: int, x: int) -> list[StageView]:
        if y == 0:
            raise RuntimeError("out of memory")
        return respond(y, x)

    widget = inspector(respond=fails)
    with pytest.raises(RuntimeError, match="out of memory"):
        widget.query = (0, 5)
    assert widget.readout == "No answer for row 0, column 5: out of memory"
    assert widget.answers == 1
    widget.query = (1, 5)
    assert widget.readout == "stage 1 at (0, 1)"


def test_the_repr_says_where_the_query_is_and_what_it_sees() -> None:
    widget = inspector(query=(10, 20))
    assert repr(widget) == "StripesInspector(query=(10, 20), stage=0: stage 1 at (2, 5))"
    assert widget._repr_mimebundle_()[0]["text/plain"] == repr(widget)


def test_stages_may_be_mappings() -> None:
    widget = inspector(stages=[{"title": s.title, "height": s.height, "width": s.width} for s in STAGES])
    assert widget.stages == inspector().stages


def test_weights_may_sum_to_less_than_one_where_padding_takes_a_share() -> None:
    assert inspector(respond=changed(weights=lambda w: w * 0.8)).views[0]["groups"][0]["peak"] > 0


def changed(weights: Any = lambda w: w, mask: Any = lambda m: m, token: Any = lambda t: t, groups: Any = lambda g: g):
    """A respond whose first head group of the first stage is changed."""

    def answer(y: int, x: int) -> list[StageView]:
        first, second = respond(y, x)
        group = first.groups[0]
        group = HeadGroup(group.name, weights(group.weights), mask(group.mask))
        return [StageView(token(first.token), groups([group, first.groups[1]]), first.text), second]

    return answer


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"image": IMAGE.tolist()}, TypeError, "image"),
        ({"image": IMAGE[..., 0]}, ValueError, r"image must be \(H, W, 3\) of uint8; got \(48, 64\) of uint8"),
        ({"image": IMAGE / 255}, ValueError, r"image must be \(H, W, 3\) of uint8; got .* of float64"),
        ({"respond": None}, TypeError, "respond"),
        ({"respond": lambda y, x: respond(y, x)[:1]}, ValueError, "respond must return 2 views, one a stage; got 1"),
        ({"query": (48, 0)}, ValueError, r"query must be \(y, x\) inside the 48 x 64 image; got \(48, 0\)"),
        ({"query": (0, -1)}, ValueError, r"query must be \(y, x\) inside the 48 x 64 image; got \(0, -1\)"),
        ({"stage": 2}, ValueError, "stage must be an index into the 2 stages; got 2"),
        ({"stages": [Stage("s", 0, 4)]}, ValueError, r"stages\[0\] must have a map of at least 1 x 1; got 0 x 4"),
        ({"stages": []}, ValueError, "stage must be an index into the 0 stages; got 0"),
        ({"respond": changed(weights=lambda w: w[:-1])}, ValueError, r"\[0\].groups\[0\].weights must have the shape"),
        ({"respond": changed(mask=lambda m: m.T)}, ValueError, r"\[0\].groups\[0\].mask must have the shape"),
        ({"respond": changed(mask=lambda m: ~m)}, ValueError, "weights must be zero outside the mask"),
        ({"respond": changed(weights=lambda w: -w)}, ValueError, "weights must be finite and at least 0"),
        ({"respond": changed(weights=lambda w: w * np.nan)}, ValueError, "weights must be finite and at least 0"),
        ({"respond": changed(weights=lambda w: w * 2)}, ValueError, "weights must sum to 1 over the stripe.*got 2"),
        ({"respond": changed(weights=lambda w: w * 0)}, ValueError, "weights must sum to 1 over the stripe.*got 0"),
        (
            {"respond": changed(token=lambda t: (12, 0))},
            ValueError,
            r"token must lie in the 12 x 16 map; got \(12, 0\)",
        ),
        ({"respond": changed(groups=lambda g: [])}, ValueError, "groups must hold one or two head groups; got 0"),
    ],
)
def test_what_does_not_fit_is_named(wrong: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        inspector(**wrong)


@pytest.mark.parametrize(("name", "value"), [("query", (0, 64)), ("query", (1,)), ("stage", 5), ("stage", -1)])
def test_a_wrong_setting_later_is_refused_and_changes_nothing(name: str, value: Any) -> None:
    widget = inspector()
    before = list(widget.query), widget.stage, widget.readout
    with pytest.raises((ValueError, traitlets.TraitError), match=name):
        setattr(widget, name, value)
    assert (list(widget.query), widget.stage, widget.readout) == before
