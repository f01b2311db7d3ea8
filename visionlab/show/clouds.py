"""Labelled points to turn in a browser: plotly pictures for apps, one scene or several side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from visionlab.data.clouds import class_name
from visionlab.show.pnal import NONE
from visionlab.show.points_report import CEILING, DRAWN
from visionlab.show.widgets.room import CLASS_COLOURS, COLOURINGS, VERDICTS

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from torch import Tensor

    from visionlab.data.clouds import Cloud

__all__ = [
    "class_colour", "cloud_figure", "clouds_figure", "clusters_figure", "highlighted", "inside", "linked",
    "mark", "object_figure", "thinned",
]  # fmt: skip

DIAGONAL = 1.9
"""Of what is shown, in the units of a scene, so that rooms of any shape fit in."""
EYE = {"x": 1.04, "y": -1.38, "z": 1.16}
"""From where scenes are seen at first, in these units."""
EDGE = "#9C9C9C"
SCRIPT = """() => {
    const views = {};
    let clicked = null;
    // The field may be in a tab that was never opened, and is not on the page until then.
    const fill = () => {
        const input = document.querySelector('#FIELD input');
        if (clicked === null || !input) return;
        input.value = clicked;
        input.dispatchEvent(new Event('input', { bubbles: true }));
        clicked = null;
    };
    const relaid = (plot, change) => {
        plot.turning = true;
        Plotly.relayout(plot, change).then(() => { plot.turning = false; });
    };
    setInterval(() => document.querySelectorAll('.js-plotly-plot').forEach(plot => {
        if (plot.linked || !plot.on || !plot.offsetParent || !plot._fullLayout?._size) return;
        plot.linked = true;
        const layout = plot._fullLayout, scenes = layout._subplots.gl3d ?? [], first = {};
        const own = plot.closest('[id$=_plot]')?.id;
        for (const name of scenes) {
            const { x, y } = layout[name].domain, { eye } = layout[name].camera;
            const away = 1.15 * (y[1] - y[0]) * layout._size.h / ((x[1] - x[0]) * layout._size.w);
            if (views[own]) first[`${name}.camera`] = views[own];
            else if (away > 1) for (const axis of 'xyz') first[`${name}.camera.eye.${axis}`] = away * eye[axis];
        }
        if (Object.keys(first).length) relaid(plot, first);
        plot.on('plotly_relayout', change => {
            const [turned] = Object.keys(change).filter(key => key.endsWith('.camera'));
            if (!turned || plot.turning) return;
            views[own] = change[turned];
            relaid(plot, Object.fromEntries(scenes.map(name => [`${name}.camera`, change[turned]])));
        });
        plot.on('plotly_click', event => {
            if (plot.closest('#PLOT')) clicked = event.points[0].customdata ?? clicked;
            fill();
        });
    }), 100);
    setInterval(fill, 100);
}"""


def class_colour(k: int) -> str:
    """The colour of a class, the same as in `visionlab.show.widgets.room`; grey for -1."""
    return NONE if k < 0 else CLASS_COLOURS[k % len(CLASS_COLOURS)]


def thinned(n: int, most: int = DRAWN) -> np.ndarray:
    """Which of n points to draw: all, or as many as may be, evenly chosen, in order; always the same."""
    return np.arange(n) if n <= most else np.sort(np.random.default_rng(0).permutation(n)[:most])


def inside(xyz: np.ndarray) -> np.ndarray:
    """Which points (N,) leave a room open from above: all but the highest."""
    low, high = xyz[:, 2].min(), xyz[:, 2].max()
    below = xyz[:, 2] <= low + CEILING * (high - low)
    return below if high > low else np.ones(len(xyz), bool)


def linked(plot: str, field: str) -> str:
    """Script for a page: what is missing in plotly's pictures as Gradio shows them.

    Scenes fit into narrow pages, those of one picture turn together and stay turned when it is drawn anew, and a click
    on a point fills in a number.

    Args:
        plot: id of the element with the picture whose points can be clicked.
        field: id of the element with the field.
    """
    return SCRIPT.replace("PLOT", plot).replace("FIELD", field)


def clouds_figure(
    xyz: np.ndarray,
    panels: Mapping[str, np.ndarray],
    classes: Sequence[str],
    *,
    colour: str = "class",
    truth: np.ndarray | None = None,
    rgb: np.ndarray | None = None,
    size: np.ndarray | None = None,
    ids: np.ndarray | None = None,
) -> go.Figure:
    """Draw the same points in scenes side by side, each by labels of its own.

    Args:
        xyz: (N, 3) places in metres, z up.
        panels: title of each scene and its labels (N,), -1 where there is none.
        classes: names.
        colour: one of `COLOURINGS`: by class, by right or wrong, or as the points were scanned.
        truth: (N,) labels that are right, for "verdict".
        rgb: (N, 3) in [0, 1], for "rgb".
        size: (N,) of the points, 0 to 1; all the same if not given.
        ids: (N,) numbers of the points, that the pointer shows.

    Raises:
        ValueError: if there is no panel, or what the colouring needs is not there.
    """
    from plotly.subplots import make_subplots

    if colour not in COLOURINGS or not panels:
        raise ValueError(f"colour, panels: expected one of {', '.join(COLOURINGS)}, a panel or more; got {colour!r}")
    if (colour == "verdict" and truth is None) or (colour == "rgb" and rgb is None):
        raise ValueError(f"truth, rgb: the colouring {colour!r} needs it")
    ids = np.arange(len(xyz)) if ids is None else ids
    base = float(np.clip(190 / np.sqrt(max(len(xyz), 1)), 1.8, 6.0))
    sizes = np.full(len(xyz), base) if size is None else base * (0.45 + 0.85 * size)
    fig = make_subplots(
        1, len(panels), specs=[[{"type": "scene"}] * len(panels)], subplot_titles=list(panels), horizontal_spacing=0.01
    )
    named: set[str] = set()
    for column, labels in enumerate(panels.values(), 1):
        words = [class_name(classes, k) for k in labels.tolist()]
        for name, mask, paint in _groups(labels, classes, colour, truth, rgb):
            _scatter(fig, column, xyz[mask], sizes[mask], paint, name, [words[i] for i in np.flatnonzero(mask)],
                     ids[mask], name not in named and colour != "rgb")  # fmt: skip
            named.add(name)
        fig.add_trace(_outline(xyz), row=1, col=column)
    fig.update_scenes(_scene(xyz))
    fig.update_layout(
        height=520 - 40 * len(panels), margin={"l": 0, "r": 0, "t": 32, "b": 0},
        legend={"orientation": "h", "y": -0.02, "yanchor": "top", "x": 0.5, "xanchor": "center",
                "itemsizing": "constant", "font": {"size": 14}},
    )  # fmt: skip
    fig.update_annotations(font_size=16)
    return fig


def highlighted(
    xyz: np.ndarray, labels: np.ndarray, classes: Sequence[str], which: np.ndarray, title: str, *, what: str,
    ids: np.ndarray,
) -> go.Figure:  # fmt: skip
    """Draw some points by their labels, and all others pale.

    Args:
        xyz: (N, 3) places in metres.
        labels: (N,) -1 where there is none.
        classes: names.
        which: (N,) the points.
        title: of the scene.
        what: they are, for the legend.
        ids: as in `clouds_figure`.
    """
    fig = clouds_figure(xyz, {title: labels}, classes, ids=ids)
    fig.update_traces(marker_opacity=0.2, hoverinfo="skip", hovertemplate=None, selector={"mode": "markers"})
    for k in np.unique(labels[which]).tolist():
        mark(fig, xyz[which & (labels == k)], f"{what}: {class_name(classes, k)}", class_colour(k))
    return fig


def mark(fig: go.Figure, xyz: np.ndarray, name: str, colour: str, symbol: str = "circle") -> None:
    """Add large points to a picture of one scene."""
    import plotly.graph_objects as go

    x, y, z = xyz.astype(np.float32).T
    marker = {"size": 6, "color": colour, "symbol": symbol, "line": {"width": 1, "color": "#333333"}}
    hover = f"{name}<extra></extra>"
    fig.add_trace(go.Scatter3d(x=x, y=y, z=z, mode="markers", name=name, marker=marker, hovertemplate=hover))


def cloud_figure(cloud: Cloud, panels: Mapping[str, Tensor], *, colour: str = "class") -> go.Figure:
    """Draw a cloud open from above and with at most `DRAWN` points, by several labels.

    Args:
        cloud: whose own labels are the truth.
        panels: title of each scene and its labels (N,).
        colour: as in `clouds_figure`.
    """
    shown = _drawn(cloud, len(panels))
    return clouds_figure(
        cloud.xyz.numpy()[shown], {title: labels.numpy()[shown] for title, labels in panels.items()}, cloud.classes,
        colour=colour, truth=cloud.labels.numpy()[shown], rgb=cloud.rgb.numpy()[shown], ids=shown,
    )  # fmt: skip


def clusters_figure(cloud: Cloud, cluster: Tensor) -> go.Figure:
    """Draw the clusters (N,) of a cloud, from 0 on, each in a colour of its own."""
    shown, count = _drawn(cloud), int(cluster.max()) + 1
    paint = np.random.default_rng(3).uniform(0.12, 0.92, (count, 3))
    return clouds_figure(
        cloud.xyz.numpy()[shown], {f"{count:,} clusters": cloud.labels.numpy()[shown]}, cloud.classes, colour="rgb",
        rgb=paint[cluster.numpy()[shown]], ids=shown,
    )  # fmt: skip


def object_figure(cloud: Cloud, which: Tensor, title: str) -> go.Figure:
    """Draw one object (N,) of a cloud, all else pale."""
    own = which.numpy()
    shown = np.union1d(_drawn(cloud), np.flatnonzero(own))
    return highlighted(
        cloud.xyz.numpy()[shown], cloud.labels.numpy()[shown], cloud.classes, own[shown], title, what="the object",
        ids=shown,
    )  # fmt: skip


def _drawn(cloud: Cloud, scenes: int = 1) -> np.ndarray:
    below = np.flatnonzero(inside(cloud.xyz.numpy()))
    return below[thinned(len(below), DRAWN // scenes)]


def _groups(
    labels: np.ndarray, classes: Sequence[str], colour: str, truth: np.ndarray | None, rgb: np.ndarray | None
) -> list[tuple[str, np.ndarray, Any]]:
    """Name, points and colour of each trace."""
    everything = np.ones(len(labels), bool)
    if colour == "rgb" and rgb is not None:
        return [("as scanned", everything, [f"rgb({r}, {g}, {b})" for r, g, b in np.rint(255 * rgb).astype(int)])]
    if colour == "verdict" and truth is not None:
        known = (labels >= 0) & (truth >= 0)
        parts = {"right": known & (labels == truth), "wrong": known & (labels != truth)}
        found = [(f"{name} label", mask, VERDICTS[name]) for name, mask in parts.items()]
        found.append(("no label", ~known, NONE))
    else:
        found = [(name, labels == k, class_colour(k)) for k, name in enumerate(classes)]
        found.append(("no label", labels < 0, NONE))
    return [each for each in found if each[1].any()]


def _scatter(
    fig: Any, column: int, xyz: np.ndarray, sizes: np.ndarray, paint: Any, name: str, words: list[str],
    ids: np.ndarray, in_legend: bool,
) -> None:  # fmt: skip
    import plotly.graph_objects as go

    x, y, z = xyz.astype(np.float32).T
    fig.add_trace(
        go.Scatter3d(
            x=x, y=y, z=z, mode="markers", name=name, legendgroup=name, showlegend=in_legend, text=words,
            customdata=ids,
            marker={"size": sizes.astype(np.float32), "color": paint, "opacity": 1.0, "line": {"width": 0}},
            hovertemplate="point %{customdata}: %{text}<br>x %{x:.2f}, y %{y:.2f}, z %{z:.2f} m<extra></extra>",
        ),
        row=1, col=column,
    )  # fmt: skip


def _outline(xyz: np.ndarray) -> Any:
    """The edges of the floor, and up from its corners, as far as there are points."""
    import plotly.graph_objects as go

    low, high = xyz.min(0), xyz.max(0)
    path = [(x, y, up) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1), (0, 0)) for up in (0, 1, 0)]
    x, y, z = (low + np.array(path) * (high - low)).astype(np.float32).T
    line = {"color": EDGE, "width": 2}
    return go.Scatter3d(x=x, y=y, z=z, mode="lines", line=line, hoverinfo="skip", showlegend=False, name="edges")


def _scene(xyz: np.ndarray) -> dict[str, Any]:
    span = np.maximum(np.ptp(xyz, axis=0), 1e-3)
    sides = DIAGONAL * span / np.linalg.norm(span)
    axes = {f"{axis}axis": {"visible": False} for axis in "xyz"}
    return {
        **axes, "aspectmode": "manual", "aspectratio": dict(zip("xyz", sides.tolist(), strict=True)),
        "dragmode": "orbit",
        "camera": {"eye": EYE, "center": {"x": 0, "y": 0, "z": -0.14}},
    }  # fmt: skip
