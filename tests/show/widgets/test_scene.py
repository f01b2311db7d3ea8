from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import traitlets
from PIL import Image

from visionlab.data.world.explore import CONTROLS, Choice, SceneView, Slider, view_of
from visionlab.show.widgets.scene import SceneExplorer

CONTROLS_HERE = (Slider("light", "light", 0.0, 10.0, 1.0, 4.0), Choice("style", "style", ("clean", "night"), "clean"))


def respond(values: Mapping[str, Any]) -> SceneView:
    if values["light"] == 7:
        raise ValueError("nobody likes seven")
    image = np.full((4, 6, 3), int(values["light"]), np.uint8)
    return SceneView(image, (("half", image // 2),), (((1, 0, 3, 2), "a cube"),), f"light {values['light']}", "one box")


def test_the_first_message_holds_all_that_is_shown() -> None:
    state = SceneExplorer(CONTROLS_HERE, respond).get_state()
    assert (np.asarray(Image.open(io.BytesIO(state["picture"]))) == 4).all()
    assert state["size"] == [4, 6]
    assert [panel["title"] for panel in state["panels"]] == ["half"]
    assert state["boxes"] == [{"box": [1, 0, 3, 2], "name": "a cube"}]
    assert state["values"] == {"light": 4.0, "style": "clean"}
    assert [control["kind"] for control in state["controls"]] == ["slider", "choice"]
    assert [state["_esm"].count(once) for once in ("export default", "function questions(")] == [1, 1]


def test_new_values_bring_a_new_answer() -> None:
    widget = SceneExplorer(CONTROLS_HERE, respond)
    widget.values = {"light": 9.0, "style": "night"}
    assert widget.answers == 1
    assert widget.caption == "light 9.0"
    assert (np.asarray(Image.open(io.BytesIO(widget.picture))) == 9).all()


def test_a_failure_is_an_answer_too() -> None:
    widget = SceneExplorer(CONTROLS_HERE, respond)
    with pytest.raises(ValueError, match="nobody likes seven"):
        widget.values = {"light": 7.0, "style": "clean"}
    assert widget.answers == 1
    assert widget.readout == "No picture: nobody likes seven"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"light": 11.0, "style": "clean"}, "light must lie in 0.0 to 10.0; got 11.0"),
        ({"light": 1.0, "style": "fog"}, "style must be one of clean, night; got 'fog'"),
        ({"light": 1.0}, "values must name light, style; got light"),
    ],
)
def test_values_that_no_control_could_give_are_refused(values: dict[str, Any], words: str) -> None:
    widget = SceneExplorer(CONTROLS_HERE, respond)
    with pytest.raises((ValueError, traitlets.TraitError), match=words):
        widget.values = values
    assert widget.answers == 0


def test_controls_and_responses_are_checked() -> None:
    with pytest.raises(ValueError, match="different names"):
        SceneExplorer((*CONTROLS_HERE, CONTROLS_HERE[0]), respond)
    with pytest.raises(TypeError):
        SceneExplorer(CONTROLS_HERE, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="light must lie in"):
        SceneExplorer((Slider("light", "light", 0.0, 1.0, 1.0, 4.0),), respond)


def test_the_world_answers_every_control_at_both_ends() -> None:
    start: dict[str, Any] = {control.name: control.start for control in CONTROLS}
    first = view_of(start, size=32)
    for control in CONTROLS:
        ends = control.options if isinstance(control, Choice) else (control.low, control.high)
        views = [view_of(start | {control.name: end}, size=32) for end in ends]
        assert any((view.image != first.image).any() for view in views), control.name
        for view in views:
            assert view.image.shape == (32, 32, 3)
            assert all(
                0 <= left < right <= 32 and 0 <= top < bottom <= 32 for (left, top, right, bottom), _ in view.boxes
            )
            assert f"{len(view.boxes)} of" in view.readout
