"""The scene explorer: sliders for objects, camera, light and style, and all that is aligned with the picture.

Python renders (a callable from the controls' values to a `SceneView`), the page shows. As in the inspector of stripes,
at most one question is on the way, and the newest waits for its turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anywidget
import traitlets as t

from visionlab.data.world.explore import Choice, SceneView, Slider
from visionlab.show.widgets.packed import module, png

__all__ = ["SceneExplorer"]


class SceneExplorer(anywidget.AnyWidget):
    """Controls beside a picture, its aligned panels below, and its caption.

    ``values`` may be set from Python as well; ``caption`` and ``readout`` are what is on show.

    Args:
        controls: sliders and choices, in order.
        respond: called with the values by name, returns what to show.

    Raises:
        TypeError: ``respond`` cannot be called.
        ValueError: a control starts outside its range, or two share a name.
    """

    _esm = module("questions.js", "scene.js")

    controls = t.List(t.Dict()).tag(sync=True)
    values = t.Dict().tag(sync=True)
    picture = t.Bytes().tag(sync=True)
    size = t.List(t.Int()).tag(sync=True)
    panels = t.List(t.Dict()).tag(sync=True)
    boxes = t.List(t.Dict()).tag(sync=True)
    caption = t.Unicode().tag(sync=True)
    readout = t.Unicode().tag(sync=True)
    answers = t.Int(0).tag(sync=True)

    def __init__(self, controls: Sequence[Slider | Choice], respond: Callable[[Mapping[str, Any]], SceneView]) -> None:
        if not callable(respond):
            raise TypeError(f"respond must be a callable values -> SceneView; got {type(respond).__name__}")
        self._controls = {control.name: control for control in controls}
        if len(self._controls) != len(controls):
            raise ValueError(f"controls must have different names; got {[control.name for control in controls]}")
        self._respond = respond
        values = _checked({name: control.start for name, control in self._controls.items()}, self._controls)
        specs = [vars(c) | {"kind": type(c).__name__.lower()} for c in controls]
        super().__init__(controls=specs, values=values, **_packed(respond(values)))
        self.observe(self._answer, "values")

    def __repr__(self) -> str:
        values = ", ".join(f"{k}={v if isinstance(v, str) else f'{v:g}'}" for k, v in self.values.items())
        return f"SceneExplorer({values}: {self.caption}. {self.readout})"

    @t.validate("values")
    def _valid_values(self, proposal: Any) -> dict[str, Any]:
        return _checked(proposal["value"], self._controls)

    def _answer(self, _change: object) -> None:
        try:
            shown = _packed(self._respond(self.values))
        except Exception as error:
            # The page waits for an answer: a failure is one, and the learner must see it.
            with self.hold_sync():
                self.readout = f"No picture: {error}"
                self.answers += 1
            raise
        with self.hold_sync():
            for name, value in shown.items():
                setattr(self, name, value)
            self.answers += 1


def _checked(values: Mapping[str, Any], controls: Mapping[str, Slider | Choice]) -> dict[str, Any]:
    if set(values) != set(controls):
        raise ValueError(f"values must name {', '.join(controls)}; got {', '.join(values)}")
    for name, control in controls.items():
        value = values[name]
        if isinstance(control, Choice) and value not in control.options:
            raise ValueError(f"{name} must be one of {', '.join(control.options)}; got {value!r}")
        if isinstance(control, Slider) and not control.low <= value <= control.high:
            raise ValueError(f"{name} must lie in {control.low} to {control.high}; got {value}")
    return dict(values)


def _packed(view: SceneView) -> dict[str, Any]:
    """The view in the form that travels."""
    return {
        "picture": png(view.image),
        "size": list(view.image.shape[:2]),
        "panels": [{"title": title, "png": png(panel)} for title, panel in view.panels],
        "boxes": [{"box": [int(x) for x in box], "name": name} for box, name in view.boxes],
        "caption": view.caption,
        "readout": view.readout,
    }
