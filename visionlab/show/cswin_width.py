"""How wide should a stripe be? What a token sees against what it costs, with a slider that works in a saved page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from visionlab.show import theme

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["Width", "width_slider"]


@dataclass(frozen=True)
class Width:
    """One stripe width.

    Args:
        width: of the stripes, in tokens.
        seen: (h, w), 0 where the token sees nothing, 1 in its vertical stripe, 2 in its horizontal one, 3 in both.
        cost: multiply-adds in millions.
    """

    width: int
    seen: np.ndarray
    cost: float

    @property
    def share(self) -> float:
        """What the token sees in one block, in percent."""
        return round(100 * float((self.seen > 0).mean()), 1)


def width_slider(widths: Sequence[Width], token: tuple[int, int], full_cost: float) -> go.Figure:
    """Draw the cross of a token beside reach against cost; a slider, drawn beforehand, chooses the width.

    Args:
        widths: from narrow to wide.
        token: (row, column) of the token that looks.
        full_cost: of attention to the whole map, in millions of multiply-adds.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    fig = make_subplots(1, 2, column_widths=[0.45, 0.55], horizontal_spacing=0.12)
    first = widths[0]
    fig.add_trace(_cross(first), 1, 1)
    fig.add_trace(_plus(token), 1, 1)
    costs, shares = [round(w.cost, 1) for w in widths], [w.share for w in widths]
    line = {"color": theme.color("method")}
    names = [str(w.width) for w in widths]
    fig.add_trace(
        go.Scatter(x=costs, y=shares, mode="lines+markers+text", line=line, text=names, textposition="top left"), 1, 2
    )
    fig.add_trace(_chosen(first), 1, 2)
    fig.frames = [
        go.Frame(name=str(w.width), data=[_cross(w), _chosen(w)], traces=[0, 3], layout={"title": _title(w)})
        for w in widths
    ]
    fig.add_vline(x=round(full_cost, 1), line={"color": theme.color("reference"), "dash": "dot"}, row=1, col=2)
    fig.update_yaxes(autorange="reversed", visible=False, scaleanchor="x", constrain="domain", row=1, col=1)
    fig.update_xaxes(visible=False, constrain="domain", row=1, col=1)
    fig.update_xaxes(title="multiply-adds (M)", title_standoff=5, rangemode="tozero", row=1, col=2)
    fig.update_yaxes(title="seen in one block (%)", range=[0, 118], row=1, col=2)
    still = {"duration": 0, "redraw": True}
    steps = [
        {
            "label": str(w.width),
            "method": "animate",
            "args": [[str(w.width)], {"mode": "immediate", "frame": still, "transition": {"duration": 0}}],
        }
        for w in widths
    ]
    slider = {"active": 0, "currentvalue": {"prefix": "stripe width: "}, "pad": {"t": 65}, "steps": steps}
    fig.update_layout(
        title=_title(first), showlegend=False, height=430, margin={"t": 60, "b": 10, "l": 10}, sliders=[slider]
    )
    return fig


def _title(width: Width) -> dict[str, object]:
    return {
        "text": f"Width {width.width}: {width.share:.1f} % of the map in one block, {width.cost:.1f} M multiply-adds",
        "font": {"size": 15},
    }


def _cross(width: Width) -> go.Heatmap:
    import plotly.graph_objects as go

    colours = ["#EDEDED", theme.color("vertical"), theme.color("horizontal"), theme.color("whole")]
    scale = [[edge / 4, colour] for i, colour in enumerate(colours) for edge in (i, i + 1)]
    z = width.seen.tolist()
    return go.Heatmap(z=z, zmin=-0.5, zmax=3.5, colorscale=scale, showscale=False, hoverinfo="skip", xgap=1, ygap=1)


def _plus(token: tuple[int, int]) -> go.Scatter:
    import plotly.graph_objects as go

    marker = {"symbol": "cross-thin", "size": 11, "line": {"width": 2.5, "color": "black"}}
    return go.Scatter(x=[token[1]], y=[token[0]], mode="markers", marker=marker, hoverinfo="skip")


def _chosen(width: Width) -> go.Scatter:
    import plotly.graph_objects as go

    marker = {"size": 15, "color": theme.color("rival")}
    return go.Scatter(x=[round(width.cost, 1)], y=[width.share], mode="markers", marker=marker)
