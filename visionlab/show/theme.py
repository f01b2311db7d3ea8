"""The house look: one palette by role, matplotlib settings and a plotly template.

Colours name what a thing *is* in a comparison, not how it looks, so that the method of a paper has the same
colour in every lab. The hues follow Okabe and Ito's set for colour-blind readers. Series colours have a contrast
of at least 3 : 1 against white and against the dark theme's background, and each series has a line pattern too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.axes import Axes

__all__ = [
    "DASHES",
    "PALETTE",
    "SEQUENTIAL",
    "SEQUENTIAL_TWIN",
    "SERIES",
    "TOKENS",
    "apply",
    "color",
    "dash",
    "log_axes",
    "plotly_template",
]

PALETTE: dict[str, str] = {
    "method": "#0072B2",  # what the paper proposes
    "rival": "#D55E00",  # what it is measured against
    "baseline": "#009E73",
    "variant": "#CC79A7",
    "reference": "#7F7F7F",  # ceilings, chance levels, published numbers
    "vertical": "#E69F00",  # directions, drawn on photographs: brighter than the series
    "horizontal": "#56B4E9",
    "whole": "#F0A6CE",
}

SERIES: tuple[str, ...] = ("method", "rival", "baseline", "variant", "reference")

TOKENS: tuple[str, ...] = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#CC79A7", "#D55E00")
"""Colours of a few tokens that a picture has to keep apart, by their number; drawn on photographs."""

DASHES: dict[str, tuple[int, ...]] = {
    "method": (),
    "rival": (8, 4),
    "baseline": (2, 3),
    "variant": (10, 3, 2, 3),
    "reference": (1, 4),
}
"""Line pattern of each series role in points, on and off in turn; empty is a solid line."""

SEQUENTIAL = "viridis"
"""Map for amounts from nothing to much."""

SEQUENTIAL_TWIN = "cividis"
"""The second map, for a figure that must keep two amounts apart."""

_TEXT = "#787B80"  # grey that reads on white (4.2 : 1) and on the dark theme (4.5 : 1): plotly cannot ask


def color(role: str) -> str:
    """Hexadecimal colour of a role in :data:`PALETTE`.

    Raises:
        ValueError: the role is unknown.
    """
    if role not in PALETTE:
        raise ValueError(f"role must be one of {', '.join(PALETTE)}; got {role!r}")
    return PALETTE[role]


def dash(role: str) -> Any:
    """Return matplotlib's line style of a series role."""
    return (0, DASHES[role]) if DASHES[role] else "-"


def apply() -> None:
    """Set matplotlib's defaults, register the plotly template "visionlab" and make it the default."""
    import matplotlib as mpl
    import plotly.io
    from cycler import cycler

    lines = [dash(role) for role in SERIES]
    mpl.rcParams.update(
        {
            "figure.figsize": (7.2, 4.0),
            "figure.dpi": 110,
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "font.size": 12,
            "axes.titlesize": 13,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.labelsize": 12,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.prop_cycle": cycler(color=[PALETTE[role] for role in SERIES]) + cycler(linestyle=lines),
            "grid.color": "#D9D9D9",
            "grid.linewidth": 0.6,
            "xtick.labelsize": 11,
            "ytick.labelsize": 11,
            "legend.fontsize": 11,
            "legend.frameon": False,
            "lines.linewidth": 2.2,
            "lines.markersize": 6,
            "lines.scale_dashes": False,  # a pattern is the same in figures and in widgets
            "image.cmap": SEQUENTIAL,
            "image.interpolation": "nearest",
            "svg.hashsalt": "visionlab",  # else every SVG gets new random ids and never compares equal
        }
    )
    plotly.io.templates["visionlab"] = plotly_template()
    plotly.io.templates.default = "visionlab"


def log_axes(ax: Axes, sides: str = "xy", marks: Sequence[int] = (1, 2, 5)) -> None:
    """Make axes logarithmic, with plain numbers at these marks of each decade.

    Args:
        ax: whose.
        sides: "x", "y" or both.
        marks: digits that have a number.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    for side in sides:
        ax.set(**{f"{side}scale": "log"})
        axis = getattr(ax, f"{side}axis")
        axis.set_major_locator(LogLocator(subs=marks))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())


def plotly_template() -> go.layout.Template:
    """Plotly template with transparent backgrounds, readable on light and dark pages."""
    import plotly.graph_objects as go

    axis = {
        "gridcolor": "rgba(128, 128, 128, 0.25)",
        "linecolor": "rgba(128, 128, 128, 0.8)",
        "zerolinecolor": "rgba(128, 128, 128, 0.5)",
        "automargin": True,
    }
    return go.layout.Template(
        layout={
            "font": {"size": 15, "color": _TEXT},
            "title": {"font": {"size": 17}, "x": 0, "xanchor": "left"},
            "paper_bgcolor": "rgba(0, 0, 0, 0)",
            "plot_bgcolor": "rgba(0, 0, 0, 0)",
            "colorway": [PALETTE[role] for role in SERIES],
            "colorscale": {"sequential": SEQUENTIAL.capitalize(), "sequentialminus": SEQUENTIAL_TWIN.capitalize()},
            "xaxis": axis,
            "yaxis": axis,
            "margin": {"l": 56, "r": 24, "t": 48, "b": 48},
            "hovermode": "closest",
            "legend": {"bgcolor": "rgba(0, 0, 0, 0)"},
        }
    )
