"""The room of PNAL: labels as given, in force and true, side by side and replayed, and what decided those of a point.

Python sends what was recorded of a run once, packed; votes are counted and points are drawn by the page, so that
slider and clicks need no answer of the kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anywidget
import numpy as np
import traitlets as t

from visionlab.show import theme
from visionlab.show.timeline import Timeline
from visionlab.show.widgets.packed import module

__all__ = ["CLASS_COLOURS", "COLOURINGS", "PANELS", "VERDICTS", "Room"]

CLASS_COLOURS = (
    "#56B4E9", "#C9A46A", "#8C9BB8", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#E3D026", "#7B4FC9",
    "#7FC241", "#C2185B", "#8B5A2B", "#00A3A3", "#B5838D", "#5C6BC0", "#A0A000", "#F28E82", "#3E7D3A", "#B98BE0",
)  # fmt: skip
"""Of classes, by their number; those after the twentieth begin anew."""
VERDICTS = {"right": theme.color("method"), "wrong": theme.color("rival")}
"""Of labels that are right and wrong."""
PANELS = ("given", "in force", "truth", "predicted")
"""What a panel can show: labels as they came, corrected, true, and what the network said last."""
COLOURINGS = ("class", "verdict", "rgb")
"""By class, by right or wrong, and as the points were scanned."""
NIBBLE_CLASSES = 15  # so many classes, and none, fit into four bits


class Room(anywidget.AnyWidget):
    """Rooms to turn, with up to three linked panels, a slider of epochs, and all about the point that is clicked.

    ``room``, ``epoch`` and ``picked`` (room and point, or empty) may be set from Python as well, and tell what the page
    shows; `words` is what it says of the point.

    Args:
        timeline: what was recorded.
        panels: one to three of `PANELS`.
        colour: one of `COLOURINGS`.
        room: to begin with.
        epoch: to begin with; the last one if not given.
        picked: (room, point) to begin with.

    Raises:
        TypeError: ``timeline`` is none.
        ValueError: if a number is out of range, or a panel or colouring unknown.
    """

    _esm = module("cloud.js", "votes.js", "redraw.js", "room.js")

    shape = t.List(t.Int()).tag(sync=True)
    rule = t.Dict().tag(sync=True)
    classes = t.List(t.Unicode()).tag(sync=True)
    colours = t.List(t.Unicode()).tag(sync=True)
    verdicts = t.Dict().tag(sync=True)
    names = t.List(t.Unicode()).tag(sync=True)
    panels = t.List(t.Unicode()).tag(sync=True)
    xyz = t.Bytes().tag(sync=True)
    units = t.List(t.Float()).tag(sync=True)
    rgb = t.Bytes().tag(sync=True)
    given = t.Bytes().tag(sync=True)
    truth = t.Bytes().tag(sync=True)
    cluster = t.Bytes().tag(sync=True)
    clusters = t.Int().tag(sync=True)
    predicted = t.Bytes().tag(sync=True)
    in_force = t.Bytes().tag(sync=True)
    per_cluster = t.Bool().tag(sync=True)
    packed = t.Bool().tag(sync=True)
    colour = t.Unicode().tag(sync=True)
    room = t.Int().tag(sync=True)
    epoch = t.Int().tag(sync=True)
    picked = t.List(t.Int(), maxlen=2).tag(sync=True)

    def __init__(
        self,
        timeline: Timeline,
        *,
        panels: Sequence[str] = PANELS[:3],
        colour: str = COLOURINGS[0],
        room: int = 0,
        epoch: int | None = None,
        picked: tuple[int, int] | None = None,
    ) -> None:
        if not isinstance(timeline, Timeline):
            raise TypeError(f"timeline: expected a Timeline, got {type(timeline).__name__}")
        if not 1 <= len(panels) <= 3 or not set(panels) <= set(PANELS) or len(set(panels)) < len(panels):
            raise ValueError(f"panels: expected one to three different ones of {', '.join(PANELS)}; got {panels}")
        self.timeline = timeline
        epoch = timeline.epochs if epoch is None else epoch
        start = _checked_pick(timeline, picked if picked is not None else ())
        timeline.check(start[0] if start else room, epoch)
        super().__init__(
            panels=list(panels),
            colour=_checked_colour(colour),
            room=start[0] if start else room,
            epoch=epoch,
            picked=start,
            **_packed(timeline),
        )
        self.observe(self._follow, ["picked", "room"])

    def __repr__(self) -> str:
        return f"Room({self.words})"

    @property
    def words(self) -> str:
        """What the page says of the point that is picked, or of the room if none is."""
        if self.picked:
            return self.timeline.describe(self.picked[0], self.epoch, self.picked[1])
        right, wrong, none = self.timeline.score(self.room, self.epoch)
        return (
            f"{self.timeline.name(self.room)}, epoch {self.epoch} of {self.timeline.epochs}: labels in force"
            f" {right:.0f} % right, {wrong:.0f} % wrong, {none:.0f} % none yet"
        )

    @t.validate("room")
    def _valid_room(self, proposal: Any) -> int:
        self.timeline.check(proposal["value"])
        return proposal["value"]

    @t.validate("epoch")
    def _valid_epoch(self, proposal: Any) -> int:
        self.timeline.check(0, proposal["value"])
        return proposal["value"]

    @t.validate("picked")
    def _valid_pick(self, proposal: Any) -> list[int]:
        return _checked_pick(self.timeline, proposal["value"])

    @t.validate("colour")
    def _valid_colour(self, proposal: Any) -> str:
        return _checked_colour(proposal["value"])

    def _follow(self, change: Any) -> None:
        """Show the room of a point that is picked, and let go of the point if another room is shown."""
        if self.picked and self.picked[0] != self.room:
            if change["name"] == "picked":
                self.room = self.picked[0]
            else:
                self.picked = []


def _checked_colour(colour: str) -> str:
    if colour not in COLOURINGS:
        raise ValueError(f"colour: expected one of {', '.join(COLOURINGS)}; got {colour!r}")
    return colour


def _checked_pick(timeline: Timeline, picked: Sequence[int]) -> list[int]:
    if len(picked) not in (0, 2):
        raise ValueError(f"picked: expected (room, point), or nothing; got {tuple(picked)}")
    if picked:
        timeline.check(picked[0], 1, picked[1])
    return [int(number) for number in picked]


def _packed(timeline: Timeline) -> dict[str, Any]:
    """The run in the form that travels: places in 16 bits, colours in 8, classes in 4 if there are few."""
    middle = (timeline.xyz.max(1, keepdims=True) + timeline.xyz.min(1, keepdims=True)) / 2
    places = timeline.xyz - middle
    units = np.maximum(np.abs(places).max((1, 2)), 1e-6) / 32767
    clusters, force, per_cluster = _by_cluster(timeline)
    packed = len(timeline.classes) <= NIBBLE_CLASSES
    count = len(timeline.classes)
    return {
        "shape": [timeline.epochs, timeline.rooms, timeline.points],
        "rule": {name: getattr(timeline, name) for name in ("slots", "warmup", "share", "gamma")},
        "classes": [str(name) for name in timeline.classes],
        "colours": [CLASS_COLOURS[k % len(CLASS_COLOURS)] for k in range(count)],
        "verdicts": VERDICTS,
        "names": [timeline.name(room) for room in range(timeline.rooms)],
        "xyz": np.rint(places / units[:, None, None]).astype("<i2").tobytes(),
        "units": units.tolist(),
        "rgb": np.rint(255 * timeline.rgb).astype(np.uint8).tobytes(),
        "cluster": clusters.astype("<u4").tobytes(),
        "clusters": int(clusters.max()) + 1,
        "per_cluster": per_cluster,
        "packed": packed,
        **{name: _classes(getattr(timeline, name), packed) for name in ("given", "truth", "predicted")},
        "in_force": _classes(force, packed),
    }


def _by_cluster(timeline: Timeline) -> tuple[np.ndarray, np.ndarray, bool]:
    """Clusters numbered through all rooms (R, N), and labels in force, of clusters (E, C) if that loses none."""
    pairs = np.stack([np.repeat(np.arange(timeline.rooms), timeline.points), timeline.cluster.ravel()], 1)
    _, first, number = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
    labels = timeline.in_force.reshape(timeline.epochs, -1)
    table = labels[:, first]
    whole = bool((table[:, number] == labels).all())
    return number.reshape(timeline.given.shape), table if whole else labels, whole


def _classes(labels: np.ndarray, packed: bool) -> bytes:
    """Classes as bytes, -1 for none, or two to a byte, 15 for none."""
    flat = labels.ravel().astype(np.int8)
    if not packed:
        return flat.tobytes()
    pairs = np.concatenate([flat, np.zeros(len(flat) % 2, np.int8)]).view(np.uint8).reshape(-1, 2) & 15
    return (pairs[:, 0] << 4 | pairs[:, 1]).astype(np.uint8).tobytes()
