"""A run of PNAL in a browser: its rooms to turn, its curves, and what decided the label of one point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from visionlab.show import theme
from visionlab.show.clouds import class_colour, clouds_figure, highlighted, inside, mark
from visionlab.show.timeline import Timeline

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = [
    "MIDDLES", "POINTS", "Run", "another", "cluster_figure", "examples", "point_figure", "progress_figure",
    "replay_figure", "told",
]  # fmt: skip

MIDDLES = ("labels in force", "what the network said")
"""What can stand between the given labels and the truth."""
POINTS = ("wrong label, mended", "wrong label, still wrong", "right label, broken", "not trusted")
"""Kinds of points that are worth a look."""


class Run(NamedTuple):
    """A training to replay.

    Attributes:
        timeline: of some of its rooms.
        curves: by method, its own and those of what was trained beside it; then by name, percent in each epoch.
        words: how that went.
        warmup: epochs before labels are corrected, by the method that does.
    """

    timeline: Timeline
    curves: Mapping[str, Mapping[str, Sequence[float]]]
    words: str
    warmup: int

    @property
    def names(self) -> list[str]:
        """Of the rooms."""
        return [self.timeline.name(room) for room in range(self.timeline.rooms)]

    def place(self, name: str | None) -> int:
        """The number of a room.

        Raises:
            ValueError: if there is no such room.
        """
        if name not in self.names:
            raise ValueError(f"room: expected one of {', '.join(self.names)}; got {name!r}")
        return self.names.index(name)


def replay_figure(
    timeline: Timeline, room: int, epoch: int, *, middle: str = MIDDLES[0], colour: str = "class", sized: bool = True
) -> go.Figure:
    """Draw one room by given labels, by what the method makes of them in an epoch, and by the truth, open from above.

    Args:
        timeline: what was recorded.
        room: which, from 0.
        epoch: from 1.
        middle: one of `MIDDLES`.
        colour: "class", "verdict" or "rgb".
        sized: larger points where more of the last predictions agree.

    Raises:
        ValueError: if there is no such room, epoch or middle.
    """
    if middle not in MIDDLES:
        raise ValueError(f"middle: expected one of {', '.join(MIDDLES)}; got {middle!r}")
    timeline.check(room, epoch)
    now = timeline.labels(room, epoch) if middle == MIDDLES[0] else timeline.predicted[epoch - 1, room]
    xyz, truth = timeline.xyz[room], timeline.truth[room]
    shown = inside(xyz)
    _, share = timeline.agreement(room, epoch)
    panels = {"given labels": timeline.given[room], f"{middle}, epoch {epoch}": now, "truth": truth}
    return clouds_figure(
        xyz[shown], {title: labels[shown] for title, labels in panels.items()}, timeline.classes, colour=colour,
        truth=truth[shown], rgb=timeline.rgb[room][shown], size=share[shown] if sized else None,
        ids=np.flatnonzero(shown),
    )  # fmt: skip


def progress_figure(curves: Mapping[str, Mapping[str, Sequence[float]]], *, warmup: int) -> go.Figure:
    """Draw curves over epochs, in percent: one colour a method, one dash a curve.

    Args:
        curves: by method, then by name; they may differ in length.
        warmup: epochs before labels are corrected.
    """
    import plotly.graph_objects as go

    fig = go.Figure()
    roles = {"cross entropy": "rival", "PNAL": "method"}
    dashes: dict[str, str] = {}
    for method, each in curves.items():
        for name, curve in each.items():
            dash = dashes.setdefault(name, ("solid", "dash", "dot")[len(dashes) % 3])
            fig.add_scatter(
                x=list(range(1, len(curve) + 1)), y=list(curve), mode="lines", name=f"{method}: {name}",
                line={"color": theme.color(roles.get(method, "reference")), "dash": dash, "width": 2.5},
                hovertemplate=f"epoch %{{x}}: %{{y:.0f}} %<extra>{method}: {name}</extra>",
            )  # fmt: skip
    longest = max((len(curve) for each in curves.values() for curve in each.values()), default=1)
    fig.add_vrect(x0=0.5, x1=warmup + 0.5, fillcolor="rgba(128,128,128,0.12)", line_width=0, layer="below",
                  annotation={"text": "warm-up", "font": {"size": 13}}, annotation_position="top left")  # fmt: skip
    fig.update_layout(
        height=360, xaxis={"title": {"text": "epoch", "standoff": 4}, "range": [0.5, max(longest, warmup + 1) + 0.5]},
        yaxis={"title": "points (%)", "range": [0, 102]}, margin={"l": 60, "r": 10, "t": 24, "b": 48},
        legend={"orientation": "h", "y": -0.24, "yanchor": "top", "x": 0, "font": {"size": 13}},
    )  # fmt: skip
    return fig


def cluster_figure(timeline: Timeline, room: int, epoch: int, point: int) -> go.Figure:
    """Draw the cluster of a point in its room, by labels in force, all else pale, and the point itself in black."""
    timeline.check(room, epoch, point)
    xyz, labels = timeline.xyz[room], timeline.labels(room, epoch)
    member = timeline.cluster[room] == timeline.cluster[room, point]
    shown = inside(xyz) | member
    fig = highlighted(
        xyz[shown], labels[shown], timeline.classes, member[shown],
        f"{timeline.name(room)}, epoch {epoch}: point {point} and its cluster", what="its cluster",
        ids=np.flatnonzero(shown),
    )  # fmt: skip
    mark(fig, xyz[[point]], "the point", "#0F0F0F", "diamond")
    return fig


def point_figure(timeline: Timeline, room: int, epoch: int, point: int) -> go.Figure:
    """Draw what the network said of a point in each epoch, its labels, and the votes of its cluster.

    The frame is what is remembered in this epoch.
    """
    from plotly.subplots import make_subplots

    timeline.check(room, epoch, point)
    fig = make_subplots(
        1, 2, column_widths=[0.66, 0.34], horizontal_spacing=0.13,
        subplot_titles=["the point, epoch by epoch", f"votes, epoch {epoch}"],
    )  # fmt: skip
    epochs = list(range(1, timeline.epochs + 1))
    rows = {
        "truth": [int(timeline.truth[room, point])] * len(epochs),
        "label in force": [int(timeline.labels(room, e)[point]) for e in epochs],
        "network said": timeline.predicted[:, room, point].tolist(),
        "given": [int(timeline.given[room, point])] * len(epochs),
    }
    for k in sorted({k for row in rows.values() for k in row}):
        places = [(e, name) for name, row in rows.items() for e, label in zip(epochs, row, strict=True) if label == k]
        name = "none" if k < 0 else timeline.classes[k]
        fig.add_scatter(
            x=[e for e, _ in places], y=[row for _, row in places], mode="markers", name=name, row=1, col=1,
            marker={"symbol": "square", "size": 13, "color": class_colour(k)},
            hovertemplate=f"epoch %{{x}}, %{{y}}: {name}<extra></extra>",
        )  # fmt: skip
    first = max(epoch - timeline.slots, 1)
    if epoch > 1:
        fig.add_shape(type="rect", x0=first - 0.5, x1=epoch - 0.5, y0=1.55, y1=2.45, row=1, col=1,
                      line={"color": "#787B80", "width": 2.5})  # fmt: skip
    fig.add_vline(x=epoch, line={"color": "rgba(128,128,128,0.7)", "dash": "dot"}, row=1, col=1)
    votes = timeline.votes(room, epoch, point)
    found = np.flatnonzero(votes).tolist()
    fig.add_bar(
        x=votes[found], y=[timeline.classes[k] for k in found], orientation="h", showlegend=False, row=1, col=2,
        width=0.5, marker_color=[class_colour(k) for k in found], text=votes[found],
    )  # fmt: skip
    if not found:
        fig.add_annotation(text="nobody votes", x=0.5, y=0.5, xref="x2 domain", yref="y2 domain", showarrow=False)
    fig.update_xaxes(title={"text": "epoch", "standoff": 4}, range=[0.3, timeline.epochs + 0.7], row=1, col=1)
    fig.update_xaxes(title={"text": "trusted points", "standoff": 4}, rangemode="tozero", row=1, col=2)
    fig.update_yaxes(categoryorder="array", categoryarray=list(rows), row=1, col=1)
    fig.update_layout(
        height=370, margin={"l": 10, "r": 10, "t": 40, "b": 40},
        legend={"orientation": "h", "y": -0.3, "yanchor": "top", "x": 0, "font": {"size": 13}},
    )  # fmt: skip
    fig.update_annotations(font_size=16)
    return fig


def examples(timeline: Timeline, room: int, epoch: int) -> dict[str, list[int]]:
    """Points of each kind in `POINTS`, in an epoch, those first whose cluster is the largest."""
    given, truth, now = timeline.given[room], timeline.truth[room], timeline.labels(room, epoch)
    known = truth >= 0
    masks = (
        known & (given != truth) & (now == truth), known & (given != truth) & (now != truth),
        known & (given == truth) & (now != truth), ~timeline.reliable(room, epoch),
    )  # fmt: skip
    _, place, sizes = np.unique(timeline.cluster[room], return_inverse=True, return_counts=True)
    order = np.argsort(-sizes[place], kind="stable")
    return {name: order[mask[order]].tolist() for name, mask in zip(POINTS, masks, strict=True)}


def another(timeline: Timeline, room: int, epoch: int, kind: str, point: int) -> int | None:
    """The next point of a kind, of another cluster if there is one; None if there is no point of that kind.

    Raises:
        ValueError: if the kind is unknown.
    """
    if kind not in POINTS:
        raise ValueError(f"kind of point: expected one of {', '.join(POINTS)}; got {kind!r}")
    found, cluster = examples(timeline, room, epoch)[kind], timeline.cluster[room]
    if point not in found:
        return found[0] if found else None
    place = found.index(point)
    after = found[place + 1 :] + found[: place + 1]
    return next((each for each in after if cluster[each] != cluster[point]), after[0])


def told(timeline: Timeline, room: int, epoch: int) -> str:
    """Say how the labels of a room stand in an epoch."""
    right, wrong, none = timeline.score(room, epoch)
    known = timeline.truth[room] >= 0
    begun = 100 * float((timeline.given[room] == timeline.truth[room])[known].mean()) if known.any() else 0.0
    stage = "warm-up, the given labels are trained on" if epoch <= timeline.warmup else "labels are corrected"
    return (
        f"Epoch {epoch} of {timeline.epochs}: {stage}. Labels in force in this room: {right:.0f} % right, {wrong:.0f} %"
        f" wrong, {none:.0f} % none yet. As given, {begun:.0f} % were right."
    )
