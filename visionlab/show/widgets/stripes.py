"""The inspector of cross-shaped windows: move a query over an image, see what its token attends to.

Python owns the answer (a callable that runs the network), the page draws it. The page never has more than one
question on the way, and when it gets its answer it asks for the newest query only, so a quick drag cannot flood
the kernel. Everything the first picture needs travels in the first message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anywidget
import numpy as np
import traitlets as t

from visionlab.measure.attention import HeadGroup, StageView
from visionlab.show import theme
from visionlab.show.widgets.packed import check_image, colormap, module, png

__all__ = ["HeadGroup", "Respond", "Stage", "StageView", "StripesInspector"]

_SUM_TOLERANCE = 1e-2  # half precision sums of a thousand weights miss 1 by less


@dataclass(frozen=True)
class Stage:
    """A stage of the network: its title and the size of its token map, which spans the whole image."""

    title: str
    height: int
    width: int


Respond = Callable[[int, int], Sequence[StageView]]


class StripesInspector(anywidget.AnyWidget):
    """Image with a movable query, and the attention of the query's token in every stage.

    The query moves by click, drag, the arrow keys (one token of the selected stage) or two sliders. ``query``
    (y, x in image pixels) and ``stage`` may also be set from Python; ``readout`` is the line on show.

    Args:
        image: (H, W, 3) uint8.
        stages: the stages in order, as :class:`Stage` or as a mapping with the same keys.
        respond: called with the query (y, x) in image pixels, returns one :class:`StageView` a stage.
        query: where to start, the middle of the image unless given.
        stage: index of the stage that the large picture shows first.

    Raises:
        TypeError: ``image`` is no array, or ``respond`` cannot be called.
        ValueError: an argument, or the first answer of ``respond``, does not fit; the message names it.
    """

    _esm = module("questions.js", "stripes.js")

    image_png = t.Bytes().tag(sync=True)
    image_size = t.List(t.Int()).tag(sync=True)
    stages = t.List(t.Dict()).tag(sync=True)
    colormap = t.Bytes().tag(sync=True)
    query = t.List(t.Int(), minlen=2, maxlen=2).tag(sync=True)
    stage = t.Int().tag(sync=True)
    views = t.List(t.Dict()).tag(sync=True)
    readout = t.Unicode().tag(sync=True)
    answers = t.Int(0).tag(sync=True)  # counts up, so that the page hears of an answer that equals the last one

    def __init__(
        self,
        image: np.ndarray,
        stages: Sequence[Stage | Mapping[str, Any]],
        respond: Respond,
        query: tuple[int, int] | None = None,
        stage: int = 0,
    ) -> None:
        check_image("image", image)
        if not callable(respond):
            raise TypeError(f"respond must be a callable (y, x) -> stage views; got {type(respond).__name__}")
        height, width = image.shape[:2]
        start = _checked_query(query if query is not None else (height // 2, width // 2), height, width)
        self._respond = respond
        self._stages = [s if isinstance(s, Stage) else Stage(**s) for s in stages]
        for index, s in enumerate(self._stages):
            if s.height < 1 or s.width < 1:
                raise ValueError(f"stages[{index}] must have a map of at least 1 x 1; got {s.height} x {s.width}")
        if not 0 <= stage < len(self._stages):
            raise ValueError(f"stage must be an index into the {len(self._stages)} stages; got {stage}")
        views = _packed_views(respond(*start), self._stages)
        super().__init__(
            image_png=png(image),
            image_size=[height, width],
            stages=[{"title": s.title, "height": s.height, "width": s.width} for s in self._stages],
            colormap=colormap(),
            query=start,
            stage=stage,
            views=views,
            readout=views[stage]["text"],
        )
        self.observe(self._answer, "query")
        self.observe(self._read, "stage")

    def __repr__(self) -> str:
        return f"StripesInspector(query={tuple(self.query)}, stage={self.stage}: {self.readout})"

    @t.validate("query")
    def _valid_query(self, proposal: Any) -> list[int]:
        return _checked_query(proposal["value"], *self.image_size)

    @t.validate("stage")
    def _valid_stage(self, proposal: Any) -> int:
        if not 0 <= proposal["value"] < len(self._stages):
            raise ValueError(f"stage must be an index into the {len(self._stages)} stages; got {proposal['value']}")
        return proposal["value"]

    def _answer(self, _change: object) -> None:
        y, x = self.query
        try:
            views = _packed_views(self._respond(y, x), self._stages)
        except Exception as error:
            # The page waits for an answer: a failure is one, and the learner must see it.
            with self.hold_sync():
                self.readout = f"No answer for row {y}, column {x}: {error}"
                self.answers += 1
            raise
        with self.hold_sync():
            self.views = views
            self.readout = views[self.stage]["text"]
            self.answers += 1

    def _read(self, _change: object) -> None:
        self.readout = self.views[self.stage]["text"]


def _checked_query(query: Sequence[int], height: int, width: int) -> list[int]:
    if len(query) != 2 or not (0 <= query[0] < height and 0 <= query[1] < width):
        raise ValueError(f"query must be (y, x) inside the {height} x {width} image; got {tuple(query)}")
    return [int(query[0]), int(query[1])]


def _packed_views(views: Sequence[StageView], stages: Sequence[Stage]) -> list[dict[str, Any]]:
    """The answer in the form that travels: small integers and bytes."""
    if len(views) != len(stages):
        raise ValueError(f"respond must return {len(stages)} views, one a stage; got {len(views)}")
    return [
        _packed_view(view, stage, f"respond(...)[{index}]")
        for index, (view, stage) in enumerate(zip(views, stages, strict=True))
    ]


def _packed_view(view: StageView, stage: Stage, where: str) -> dict[str, Any]:
    row, column = (int(index) for index in view.token)
    if not (0 <= row < stage.height and 0 <= column < stage.width):
        raise ValueError(f"{where}.token must lie in the {stage.height} x {stage.width} map; got {(row, column)}")
    if not 1 <= len(view.groups) <= 2:
        raise ValueError(f"{where}.groups must hold one or two head groups; got {len(view.groups)}")
    groups = [_packed_group(g, stage, f"{where}.groups[{index}]") for index, g in enumerate(view.groups)]
    return {"token": [row, column], "text": view.text, "groups": groups}


def _packed_group(group: HeadGroup, stage: Stage, where: str) -> dict[str, Any]:
    """Weights as bytes, 255 being the strongest, beside the strongest weight itself."""
    weights = np.asarray(group.weights, dtype=np.float64)
    mask = np.asarray(group.mask, dtype=bool)
    shape = (stage.height, stage.width)
    for name, array in (("weights", weights), ("mask", mask)):
        if array.shape != shape:
            raise ValueError(f"{where}.{name} must have the shape {shape} of the map; got {array.shape}")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(f"{where}.weights must be finite and at least 0")
    if (weights[~mask] != 0).any():
        raise ValueError(f"{where}.weights must be zero outside the mask")
    total = float(weights.sum())
    if not 0 < total <= 1 + _SUM_TOLERANCE:
        raise ValueError(f"{where}.weights must sum to 1 over the stripe (less with padding); got {total:.4g}")
    peak = float(weights.max())
    return {
        "name": group.name,
        "color": theme.color(_role(group.name)),
        "tokens": int(mask.sum()),
        "peak": peak,
        "weights": np.rint(weights / peak * 255).astype(np.uint8).tobytes(),
        "mask": mask.astype(np.uint8).tobytes(),
    }


def _role(name: str) -> str:
    first = name.split(" ", maxsplit=1)[0]
    return first if first in ("vertical", "horizontal") else "whole"
