"""Charts of tiny networks: accuracy against cost, where multiply-adds go, what networks say of an image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from visionlab.show.figure import Interactive
from visionlab.show.theme import color

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from visionlab.experiments.tiny_nets import Mark

__all__ = ["accuracy_chart", "parts_chart", "probability_chart"]

SYMBOLS = {"as written": "circle", "fast form": "square", "onnxruntime": "triangle-up"}
SYMBOLS["fast form, onnxruntime"] = "diamond"
ROLES = ("method", "variant", "reference", "rival", "baseline")
WIDTH, HEIGHT, LETTER, LINE = 430.0, 300.0, 6.6, 15.0  # pixels of the narrowest chart's inside; of its text
BESIDE: dict[str, tuple[float, float]] = {
    "top left": (1, -0.95), "bottom right": (0, 0.95), "middle left": (1, 0), "middle right": (0, 0),
    "top center": (0.5, -0.95), "bottom center": (0.5, 0.95), "top right": (0, -0.95), "bottom left": (1, 0.95),
}  # fmt: skip
"""Places of a label: what share of it lies left of its mark, and how many lines below it is."""


def accuracy_chart(marks: Sequence[Mark], unit: str, *, budget: float | None = None, winner: str = "") -> Interactive:
    """Draw accuracy on ImageNet against cost, which is on a logarithmic axis; a line joins what nothing beats.

    A label that would lie on another is left out; the pointer shows it.

    Args:
        marks: one or more; several of one label are forms of one network, and are joined.
        unit: of the cost, in words.
        budget: a cost that is marked by a line.
        winner: label of the network that is ringed.

    Raises:
        ValueError: if there is no mark, or a cost is not positive.
    """
    import plotly.graph_objects as go

    if not marks or min(mark.cost for mark in marks) <= 0:
        raise ValueError(f"marks: expected one or more, with positive costs, got {len(marks)}")
    fig = go.Figure()
    low, high = (f([*(m.cost for m in marks), *([budget] if budget else [])]) for f in (min, max))
    pad = 0.1 * max(math.log10(high / low), 0.3)
    x_range = math.log10(low) - pad, math.log10(high) + pad
    ys = [mark.top1 for mark in marks]
    y_range = min(ys) - 3, max(ys) + 4
    _join(fig, marks)
    front = sorted((mark for mark in marks if mark.front), key=lambda mark: mark.cost)
    line = {"color": color("reference"), "width": 1.5, "dash": "dot"}
    fig.add_scatter(
        x=[m.cost for m in front], y=[m.top1 for m in front], mode="lines", line=line, name="nothing is better",
        hoverinfo="skip",
    )  # fmt: skip
    ringed = [mark for mark in marks if mark.label == winner]
    if ringed:
        best = min(ringed, key=lambda mark: mark.cost)
        ring = {"symbol": "circle-open", "size": 24, "color": color("rival"), "line": {"width": 3}}
        fig.add_scatter(x=[best.cost], y=[best.top1], mode="markers", marker=ring, name="the winner", hoverinfo="skip")
    _scatter(fig, marks, _places(marks, x_range, y_range, budget), unit)
    if budget is not None:
        fig.add_vline(x=budget, line={"color": color("rival"), "width": 2, "dash": "dash"})
    steps = (1, 2, 5) if high > 12 * low else (1, 1.5, 2, 3, 4, 5, 6, 8)
    ticks = [step * 10**power for power in range(-3, 7) for step in steps]
    ticks = [tick for tick in ticks if x_range[0] <= math.log10(tick) <= x_range[1]]
    fig.update_xaxes(type="log", range=x_range, title=unit, tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
    fig.update_yaxes(range=y_range, title="ImageNet top-1 (%)")
    fig.update_layout(height=430, legend=ABOVE, margin=EDGE)
    told = [f"{m.label}{f' ({m.form})' if m.form else ''} {m.cost:.3g}, {m.top1:g} %" for m in marks]
    return Interactive(fig, f"Accuracy against {unit}: {'; '.join(told)}.")


ABOVE: dict[str, Any] = {
    "orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"size": 13}, "traceorder": "normal",
}  # fmt: skip
"""The legend: under a chart it would lie on the title of the axis where it needs two lines."""
EDGE = {"l": 10, "r": 10, "t": 10, "b": 10}


def parts_chart(rows: Mapping[str, Mapping[str, float]], dots: Mapping[str, float] | None = None) -> Interactive:
    """Draw the multiply-adds of networks as bars, each made of its parts; all rows have the same parts.

    Args:
        rows: by network, then by part: millions.
        dots: by network: what was published, a mark on the bar.

    Raises:
        ValueError: if there is no row, or more than five parts.
    """
    import plotly.graph_objects as go

    parts = list(next(iter(rows.values()), {}))
    if not 1 <= len(parts) <= len(ROLES):
        raise ValueError(f"rows: expected 1 to {len(ROLES)} parts, got {len(parts)}")
    fig = go.Figure()
    for part, role in zip(parts, ROLES, strict=False):
        values = [row[part] for row in rows.values()]
        fig.add_bar(
            x=values, y=list(rows), orientation="h", name=part, marker_color=color(role),
            hovertemplate="%{y}<br>" + part + ": %{x:.2f} M<extra></extra>",
        )  # fmt: skip
    if dots:
        mark = {"symbol": "line-ns", "size": 26, "line": {"width": 3, "color": color("rival")}}
        fig.add_scatter(x=list(dots.values()), y=list(dots), mode="markers", marker=mark, name="as published")
    fig.update_xaxes(title="multiply-adds (M)")
    fig.update_yaxes(autorange="reversed")
    height = 80 + 46 * len(rows) + 22 * (len(parts) + 1)
    fig.update_layout(barmode="stack", height=height, legend=ABOVE, margin=EDGE)
    told = [f"{name}: " + ", ".join(f"{part} {row[part]:.2f}" for part in parts) for name, row in rows.items()]
    return Interactive(fig, f"Millions of multiply-adds. {'; '.join(told)}.")


def probability_chart(answers: Mapping[str, Mapping[str, float]]) -> Interactive:
    """Draw the probability of each class by each network, as bars.

    Args:
        answers: by network, then by class: in [0, 1]; all have the same classes.

    Raises:
        ValueError: if there is no network, more than five, or the classes of two differ.
    """
    import plotly.graph_objects as go

    classes = list(next(iter(answers.values()), {}))
    if not classes or len(answers) > len(ROLES) or any(set(said) != set(classes) for said in answers.values()):
        raise ValueError(f"answers: expected 1 to {len(ROLES)} networks that know the same classes, got {len(answers)}")
    fig = go.Figure()
    for (name, said), role in zip(answers.items(), ROLES, strict=False):
        fig.add_bar(
            x=[100 * said[kind] for kind in classes], y=classes, orientation="h", name=name, marker_color=color(role),
            hovertemplate="%{y}: %{x:.1f} %<extra>" + name + "</extra>",
        )  # fmt: skip
    fig.update_xaxes(title="probability (%)", range=(0, 100))
    fig.update_yaxes(autorange="reversed")
    height = 100 + (13 * len(answers) + 12) * len(classes)
    fig.update_layout(
        barmode="group", bargap=0.25, height=height, margin=EDGE, showlegend=True, legend=ABOVE,
    )  # fmt: skip
    told = [
        f"{name}: {max(said, key=said.__getitem__)} {100 * max(said.values()):.0f} %" for name, said in answers.items()
    ]
    return Interactive(fig, f"Probabilities. {'; '.join(told)}.")


# --- Parts ------------------------------------------------------------------------------------------------------------


def _join(fig: go.Figure, marks: Sequence[Mark]) -> None:
    """Draw a thin line through the forms of each network."""
    for label in dict.fromkeys(mark.label for mark in marks):
        own = sorted((mark for mark in marks if mark.label == label), key=lambda mark: mark.cost)
        if len(own) > 1:
            fig.add_scatter(
                x=[m.cost for m in own], y=[m.top1 for m in own], mode="lines", hoverinfo="skip", showlegend=False,
                line={"color": color("reference"), "width": 1},
            )  # fmt: skip


def _scatter(fig: go.Figure, marks: Sequence[Mark], places: Mapping[int, str], unit: str) -> None:
    """Draw the marks, a trace for each family and form."""
    several = len({mark.form for mark in marks}) > 1
    families = list(dict.fromkeys(mark.family for mark in marks))
    for family, form in sorted({(m.family, m.form) for m in marks}, key=lambda k: (families.index(k[0]), k[1])):
        own = [i for i, mark in enumerate(marks) if (mark.family, mark.form) == (family, form)]
        shade = color(FAMILY_ROLES.get(family, "reference"))
        fig.add_scatter(
            x=[marks[i].cost for i in own], y=[marks[i].top1 for i in own], mode="markers+text",
            text=[marks[i].label if i in places else "" for i in own], customdata=[marks[i].label for i in own],
            textposition=[places.get(i, "top center") for i in own], textfont={"size": 12},
            marker={"symbol": SYMBOLS.get(form, "circle"), "size": 11, "color": shade},
            name=f"{family}, {form}" if several else family,
            hovertemplate="%{customdata}<br>%{y:.1f} %<br>%{x:.3g} " + unit + "<extra></extra>",
        )  # fmt: skip


FAMILY_ROLES = {"MicroNet": "method", "Mobile-Former": "variant"}


def _places(
    marks: Sequence[Mark], x_range: tuple[float, float], y_range: tuple[float, float], budget: float | None
) -> dict[int, str]:
    """Find a place for the label of each mark where nothing else lies; marks of the front choose first."""

    def across(cost: float) -> float:
        return WIDTH * (math.log10(cost) - x_range[0]) / (x_range[1] - x_range[0])

    at = [(across(m.cost), HEIGHT * (y_range[1] - m.top1) / (y_range[1] - y_range[0])) for m in marks]
    dots = [(x - 7, y - 7, x + 7, y + 7) for x, y in at]
    texts = [(across(budget) - 2, 0.0, across(budget) + 2, HEIGHT)] if budget else []
    path: list[Box] = []
    for (x0, y0), (x1, y1) in pairwise(sorted(at[i] for i, mark in enumerate(marks) if mark.front)):
        line = [(x0 + (x1 - x0) * t / 30, y0 + (y1 - y0) * t / 30) for t in range(3, 28)]
        path += [(x - 1, y - 1, x + 1, y + 1) for x, y in line]
    found: dict[int, str] = {}
    order = sorted(range(len(marks)), key=lambda i: (not marks[i].front, marks[i].cost))
    # A name on the line is better than none, for those that the line joins.
    for which, on in ((order, [*path]), ([i for i in order if marks[i].front], [])):
        for i in which:
            if any(marks[k].label == marks[i].label for k in found):
                continue
            others = [*dots[:i], *dots[i + 1 :], *texts, *on]
            boxes = ((place, _box(marks[i].label, place, *at[i])) for place in BESIDE)
            free = [(p, box) for p, box in boxes if _inside(box) and not any(_meet(box, other) for other in others)]
            if free:
                found[i] = free[0][0]
                texts.append(free[0][1])
    return found


Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""


def _box(label: str, place: str, x: float, y: float) -> Box:
    """Return what a label covers that lies so beside a mark."""
    wide, (left, down) = LETTER * len(label), BESIDE[place]
    x0 = x - left * wide + {"right": 9, "left": -9}.get(place.split()[1], 0) * (down == 0)
    return x0, y + down * LINE - LINE / 2, x0 + wide, y + down * LINE + LINE / 2


def _inside(box: Box) -> bool:
    return box[0] >= 0 and box[1] >= 0 and box[2] <= WIDTH and box[3] <= HEIGHT


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
