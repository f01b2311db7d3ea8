"""The page of `visionlab clean-labels`: objects whose labels are in doubt, each in its room and from near."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from visionlab.data.clouds import class_name
from visionlab.show import theme
from visionlab.show.figure import Figure, figure
from visionlab.show.report import embedded, page

if TYPE_CHECKING:
    from visionlab.points.clean import Cleaned, Doubt

__all__ = ["doubt_figure", "points_report"]

AZIMUTH, ELEVATION = math.radians(30), math.radians(42)
"""From where rooms are seen: over a corner, from above."""
CEILING = 0.8
"""What is higher in the room than this share of it is left out, so that one can look in."""
MARGIN, LEAST = 0.4, 0.7
"""Metres around an object seen from near, and the least half side of that picture."""
DRAWN = 20_000
"""Points of a room that are drawn at most."""
STYLE = """
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(26rem, 1fr)); gap: 1.6rem 1.2rem; }
.grid figure { margin: 0; } .grid img { width: 100%; background: #fff; } figcaption { font-size: .9rem; }
body { max-width: 76rem; } td.n, th.n { text-align: right; }
@media (max-width: 30rem) { .grid { grid-template-columns: 1fr; } }
"""
WORDS = """
<p>Left the room from above, without what hangs high, and the object in orange; right the object from near in its own
colours, with a dark rim, and what lies behind it paler. Doubt is the share of the network's last predictions on the
points of the object, and of others that look like them, that differ from their labels; the most doubtful come
first.</p>
"""
MEANS = """
<h2>What this is, and what it is not</h2>
<p>A network learned the given labels, and what it said of each point in its last epochs was remembered. Where nearly
all of that speaks against the labels of a group of points that look alike, they got the label that it was sure of
(PNAL, arXiv 2107.14230, with our own caution: it corrects late, and not all that it could). The network is wrong now
and then, most of all about rare classes, odd objects, and if rooms are few. <b>Look before you trust</b>: the list is
what to work with. The corrected clouds hold the given labels as well (<code>given</code>), beside
<code>doubt</code>, <code>confidence</code> and <code>given_probability</code>. Probabilities are the network's own, and
not calibrated.</p>
"""


def points_report(summary: Mapping[str, Any], cleaned: Sequence[Cleaned], doubts: Sequence[Doubt]) -> str:
    """Write the page.

    Args:
        summary: names to plain values, which make the table; "changes" are rows of given class, new class and points.
        cleaned: the clouds.
        doubts: the objects to draw, the most doubtful first.
    """
    say = html.escape
    rows = "".join(
        f"<tr><th>{say(name)}</th><td>{say(_plain(value))}</td></tr>"
        for name, value in summary.items()
        if name not in ("changes", "folder", "verdict")
    )
    changes = "".join(
        f'<tr><td>{say(given)}</td><td>{say(new)}</td><td class="n">{count:,}</td></tr>'
        for given, new, count in summary["changes"][:12]
    )
    table = f'<table><tr><th>given</th><th>now</th><th class="n">points</th></tr>{changes}</table>' if changes else ""
    grid = "".join(_entry(rank, cleaned[doubt.cloud], doubt) for rank, doubt in enumerate(doubts, 1))
    return page(
        f"Labels in doubt: {summary['folder']}",
        f'<h1>Labels in doubt: {say(summary["folder"])}</h1><p class="verdict">{say(summary["verdict"])}</p>'
        f"<table>{rows}</table><h2>The {len(doubts)} most doubtful objects</h2>{WORDS}"
        f'<div class="grid">{grid}</div><h2>What changed most</h2>{table or "<p>Nothing.</p>"}{MEANS}',
        STYLE,
    )


def doubt_figure(cleaned: Cleaned, doubt: Doubt) -> Figure:
    """Draw one object in its room, seen from above, and from near.

    Args:
        cleaned: its cloud.
        doubt: the object.
    """
    import matplotlib.pyplot as plt

    cloud = cleaned.cloud
    xyz, rgb = _numbers(cloud.xyz), _numbers(cloud.rgb)
    own = _numbers((cloud.instances == doubt.instance) & (cloud.labels == doubt.given)).astype(bool)
    others = np.flatnonzero(~own)
    others = others[:: max(1, math.ceil(len(others) / DRAWN))]
    u, v, depth = _seen(xyz, xyz)
    fig, (room, near) = plt.subplots(1, 2, figsize=(7.4, 3.5), layout="constrained", width_ratios=(1.15, 1))
    low, high = xyz[:, 2].min(), xyz[:, 2].max()
    inside = others[xyz[others, 2] <= low + CEILING * (high - low)]
    inside = inside[np.argsort(-depth[inside])]
    size = float(np.clip(9000 / max(len(inside), 1), 1.0, 14.0))
    _outline(room, xyz)
    grey = 0.45 + 0.45 * rgb[inside].mean(1, keepdims=True).repeat(3, 1)
    room.scatter(u[inside], v[inside], s=size, c=grey, linewidths=0)
    room.scatter(u[own], v[own], s=1.6 * size, c=theme.color("rival"), linewidths=0)
    _near(near, (u, v, depth), rgb, own, others)
    for axis in (room, near):
        axis.set_aspect("equal")
        axis.axis("off")
    return figure(fig, _words(cleaned, doubt), few_colours=True)


def _near(
    axis: Any, place: tuple[np.ndarray, np.ndarray, np.ndarray], rgb: np.ndarray, own: np.ndarray, others: np.ndarray
) -> None:
    """The object in its colours, and what lies around and behind it, paler."""
    u, v, depth = place
    middle = [float(np.quantile(each[own], (0.02, 0.98)).mean()) for each in (u, v)]
    spread = max(float(np.ptp(np.quantile(each[own], (0.02, 0.98)))) for each in (u, v))
    half = max(spread / 2 + MARGIN, LEAST)
    around = others[(abs(u[others] - middle[0]) < half) & (abs(v[others] - middle[1]) < half)]
    around = around[depth[around] >= np.quantile(depth[own], 0.02) - MARGIN]
    around, first = around[np.argsort(-depth[around])], np.flatnonzero(own)
    first = first[np.argsort(-depth[first])]
    size = float(np.clip(14_000 / (len(around) + len(first) + 1), 4.0, 60.0))
    axis.scatter(u[around], v[around], s=size, c=0.45 * rgb[around] + 0.55, linewidths=0)
    axis.scatter(u[first], v[first], s=size, c=rgb[first], edgecolors="#212121", linewidths=0.5)
    axis.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half))


def _outline(axis: Any, xyz: np.ndarray) -> None:
    """The edges of the floor, and of the corners up to where the ceiling is left out."""
    low, high = xyz.min(0), xyz.max(0)
    top = low[2] + CEILING * (high[2] - low[2])
    ground = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]) * (high - low)[:2] + low[:2]
    floor = _seen(np.column_stack([ground, np.full(5, low[2])]), xyz)
    ends = _seen(np.column_stack([ground, np.full(5, top)]), xyz)
    for u, v in ((floor[0], floor[1]), *(([floor[0][i], ends[0][i]], [floor[1][i], ends[1][i]]) for i in range(4))):
        axis.plot(u, v, color="#C8C8C8", linewidth=0.9, linestyle="-", zorder=0)


def _seen(points: np.ndarray, xyz: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Right, up and away (N,) of points, from the middle of the room, as they are seen over a corner from above."""
    x, y, z = (points - xyz.mean(0)).T
    away = x * math.sin(AZIMUTH) + y * math.cos(AZIMUTH)
    right = x * math.cos(AZIMUTH) - y * math.sin(AZIMUTH)
    sin, cos = math.sin(ELEVATION), math.cos(ELEVATION)
    return right, z * cos + away * sin, away * cos - z * sin


def _entry(rank: int, cleaned: Cleaned, doubt: Doubt) -> str:
    drawn, classes, say = doubt_figure(cleaned, doubt), cleaned.cloud.classes, html.escape
    given, proposed = (say(class_name(classes, label)) for label in (doubt.given, doubt.proposed))
    own = f"{doubt.given_probability:.2f}" if doubt.given >= 0 else "none"
    return (
        f"<figure>{embedded(drawn.png(), drawn.alt)}<figcaption><b>{rank}. given {given}, proposed {proposed}</b><br>"
        f"doubt {doubt.score:.0%}; probability of the given class {own}, of the proposed"
        f' {doubt.proposed_probability:.2f}<br><span class="soft">{say(cleaned.cloud.name)}, instance {doubt.instance},'
        f" {doubt.points:,} points, {doubt.changed:.0%} of them relabelled</span></figcaption></figure>"
    )


def _words(cleaned: Cleaned, doubt: Doubt) -> str:
    classes = cleaned.cloud.classes
    return (
        f"{cleaned.cloud.name}, instance {doubt.instance}: {doubt.points} points given as "
        f"{class_name(classes, doubt.given)}, proposed {class_name(classes, doubt.proposed)} with probability "
        f"{doubt.proposed_probability:.2f}."
    )


def _numbers(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
