"""Charts of tiny networks: accuracy against cost, where multiply-adds go, what networks say of an image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from visionlab.show.figure import Interactive
from visionlab.show.theme import color

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from visionlab.experiments.tiny_nets import Mark

__all__ = ["accuracy_chart", "parts_chart", "probability_chart"]

SYMBOLS = {"": "circle", "PyTorch": "circle", "folded": "square", "onnxruntime": "triangle-up"}
SYMBOLS["folded, onnxruntime"] = "diamond"
ROLES = ("method", "variant", "reference", "rival", "baseline")
WIDTH, HEIGHT, LETTER, LINE = 430, 300, 6.6, 15  # pixels of the narrowest chart's inside; of its text
BESIDE: dict[str, tuple[float, float]] = {
    "top center": (0.5, -0.95), "bottom center": (0.5, 0.95), "middle right": (-0.1, 0), "middle left": (1.1, 0),
    "top right": (0, -0.95), "top left": (1, -0.95), "bottom right": (0, 0.95), "bottom left": (1, 0.95),
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
    _scatter(fig, marks, _places(marks, x_range, y_range), unit)
    if budget is not None:
        fig.add_vline(x=budget, line={"color": color("rival"), "width": 2, "dash": "dash"})
    fig.update_xaxes(type="log", range=x_range, title=unit, dtick="D2" if high / low < 30 else "D1")
    fig.update_yaxes(range=y_range, title="ImageNet top-1 (%)")
    fig.update_layout(height=430, legend=BELOW, margin={"l": 10, "r": 10, "t": 10, "b": 10})
    told = [f"{m.label}{f' ({m.form})' if m.form else ''} {m.cost:.3g}, {m.top1:g} %" for m in marks]
    return Interactive(fig, f"Accuracy against {unit}: {'; '.join(told)}.")


BELOW: dict[str, Any] = {"orientation": "h", "y": -0.22, "yanchor": "top", "x": 0, "font": {"size": 13}}


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
    height = 130 + 52 * len(rows) + 22 * len(parts)
    fig.update_layout(barmode="stack", height=height, legend=BELOW, margin={"l": 10, "r": 10, "t": 10, "b": 10})
    fig.update_layout(legend={"y": -70 / (52 * len(rows)) - 0.1})
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
    height = 110 + (14 * len(answers) + 12) * len(classes)
    fig.update_layout(
        barmode="group", bargap=0.25, height=height, margin={"l": 10, "r": 10, "t": 10, "b": 10},
        legend=BELOW | {"y": -55 / (height - 110)},
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


def _places(marks: Sequence[Mark], x_range: tuple[float, float], y_range: tuple[float, float]) -> dict[int, str]:
    """Find a place for the label of each mark on which no other lies; marks of the front choose first."""
    at = [
        (
            WIDTH * (math.log10(mark.cost) - x_range[0]) / (x_range[1] - x_range[0]),
            HEIGHT * (y_range[1] - mark.top1) / (y_range[1] - y_range[0]),
        )
        for mark in marks
    ]
    taken = [(x - 7, y - 7, x + 7, y + 7) for x, y in at]
    found: dict[int, str] = {}
    labelled: set[str] = set()
    for i in sorted(range(len(marks)), key=lambda i: (not marks[i].front, marks[i].cost)):
        if marks[i].label in labelled:
            continue
        wide, (x, y) = LETTER * len(marks[i].label), at[i]
        for place, (left, down) in BESIDE.items():
            x0 = x - left * wide + (8 if place.endswith("right") else -8 if place.endswith("left") else 0)
            box = (x0, y + down * LINE - LINE / 2, x0 + wide, y + down * LINE + LINE / 2)
            others = taken[:i] + taken[i + 1 :]
            if (
                box[0] >= 0
                and box[2] <= WIDTH
                and box[1] >= 0
                and box[3] <= HEIGHT
                and not any(box[0] < x1 and x0_ < box[2] and box[1] < y1 and y0 < box[3] for x0_, y0, x1, y1 in others)
            ):
                found[i] = place
                labelled.add(marks[i].label)
                taken.append(box)
                break
    return found
