"""Figures and tables that carry their own words.

A picture alone says nothing to a screen reader, and a test that replays a notebook does not compare it. A
:class:`Figure` therefore has a text that states what is drawn; the text is shown where the picture cannot be, and
it is what the replay compares.
"""

from __future__ import annotations

import base64
import html
import io
import json
import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import matplotlib.figure
    import plotly.graph_objects as go

__all__ = ["Cell", "Figure", "Interactive", "Table", "enlarged", "figure"]

Cell = str | int | float | bool | np.number | None

_DPI = 110


class Figure:
    """A matplotlib figure with an obligatory text that says what it shows.

    Args:
        fig: the figure to show.
        alt: what a reader would say about it, with the numbers that matter.
        few_colours: keep 256 colours only: panels of photographs take a third of the room.

    Raises:
        TypeError: ``fig`` is no matplotlib figure.
        ValueError: ``alt`` is empty.
    """

    def __init__(self, fig: matplotlib.figure.Figure, alt: str, *, few_colours: bool = False) -> None:
        if not hasattr(fig, "savefig"):
            raise TypeError(f"fig must be a matplotlib figure; got {type(fig).__name__}")
        if not alt.strip():
            raise ValueError("alt must say what the figure shows; got an empty text")
        self.fig = fig
        self.alt = alt.strip()
        self.few_colours = few_colours

    def __repr__(self) -> str:
        return self.alt

    def png(self) -> bytes:
        """The figure as a PNG file, cut to what is drawn."""
        buffer = io.BytesIO()
        # Without the Software entry the bytes do not change with matplotlib's version alone.
        self.fig.savefig(buffer, format="png", dpi=_DPI, bbox_inches="tight", metadata={"Software": None})
        if self.few_colours:
            buffer.seek(0)
            picture = Image.open(buffer).convert("RGB").quantize(256, dither=Image.Dither.NONE)
            buffer = io.BytesIO()
            picture.save(buffer, format="png", optimize=True)
        return buffer.getvalue()

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        data = {"image/png": base64.b64encode(self.png()).decode(), "text/plain": self.alt}
        return data, {"image/png": {"alt": self.alt}}


def figure(fig: matplotlib.figure.Figure, alt: str, *, few_colours: bool = False) -> Figure:
    """Wrap a matplotlib figure with its text, and close it so that the notebook does not show it a second time.

    Args:
        fig: the figure to show.
        alt: what a reader would say about it, with the numbers that matter.
        few_colours: keep 256 colours only.

    Raises:
        TypeError: ``fig`` is no matplotlib figure.
        ValueError: ``alt`` is empty.
    """
    import matplotlib.pyplot as plt

    shown = Figure(fig, alt, few_colours=few_colours)
    plt.close(fig)
    return shown


class Interactive:
    """A plotly figure with an obligatory text that says what it shows.

    Round what it draws: its numbers are compared, too, when a notebook is replayed.

    Args:
        fig: the figure to show.
        alt: what a reader would say about it, with the numbers that matter.

    Raises:
        TypeError: ``fig`` is no plotly figure.
        ValueError: ``alt`` is empty.
    """

    def __init__(self, fig: go.Figure, alt: str) -> None:
        if not hasattr(fig, "to_plotly_json"):
            raise TypeError(f"fig must be a plotly figure; got {type(fig).__name__}")
        if not alt.strip():
            raise ValueError("alt must say what the figure shows; got an empty text")
        self.fig = fig
        self.alt = alt.strip()

    def __repr__(self) -> str:
        return self.alt

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return {"application/vnd.plotly.v1+json": json.loads(self.fig.to_json()), "text/plain": self.alt}


def enlarged(picture: np.ndarray, side: int = 320) -> Image.Image:
    """Return a small picture (H, W, 3) in [0, 1] enlarged to a square, so that its pixels can be seen."""
    image = Image.fromarray((np.clip(picture, 0, 1) * 255).round().astype(np.uint8))
    return image.resize((side, side), Image.Resampling.NEAREST)


class Table:
    """A small table of verdicts, costs or scores, as aligned text and as HTML.

    Numbers are set flush right; floats show four significant digits, so round where fewer are known. ``None`` is
    an empty cell.

    Args:
        rows: one sequence of cells a row; the first cell names the row.
        columns: one heading a column.
        caption: what the table says.

    Raises:
        ValueError: there are no columns, the caption is empty, or a row has another length than ``columns``.
    """

    def __init__(self, rows: Sequence[Sequence[Cell]], columns: Sequence[str], caption: str) -> None:
        if not columns:
            raise ValueError("columns must name at least one column; got none")
        if not caption.strip():
            raise ValueError("caption must say what the table shows; got an empty text")
        for index, row in enumerate(rows):
            if len(row) != len(columns):
                raise ValueError(f"rows[{index}] must have {len(columns)} cells, one a column; got {len(row)}")
        self.columns = [str(column) for column in columns]
        self.caption = caption.strip()
        self.cells = [[_cell_text(cell) for cell in row] for row in rows]
        self.right = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(columns))]

    def __repr__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.columns, *self.cells, strict=True)]

        def line(cells: Sequence[str]) -> str:
            padded = [
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(cells, widths, self.right, strict=True)
            ]
            return "  ".join(padded).rstrip()

        rule = "  ".join("-" * width for width in widths)
        return "\n".join([self.caption, line(self.columns), rule, *map(line, self.cells)])

    def to_html(self) -> str:
        """The table as an HTML element that follows JupyterLab's light and dark themes."""
        sides = ["right" if right else "left" for right in self.right]
        head = "".join(
            f'<th scope="col" style="text-align:{side}">{html.escape(name)}</th>'
            for side, name in zip(sides, self.columns, strict=True)
        )
        body = "".join(f"<tr>{_html_row(row, sides)}</tr>" for row in self.cells)
        caption_style = (
            "caption-side:top;text-align:left;font-weight:600;padding:4px 0;color:var(--jp-content-font-color1,inherit)"
        )
        return (
            '<table class="vl-table" style="font-size:14px;color:var(--jp-content-font-color1,inherit)">'
            f'<caption style="{caption_style}">{html.escape(self.caption)}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self.to_html()}


def _html_row(cells: Sequence[str], sides: Sequence[str]) -> str:
    first, *others = [f'style="text-align:{side}">{html.escape(cell)}' for cell, side in zip(cells, sides, strict=True)]
    return f'<th scope="row" {first}</th>' + "".join(f"<td {cell}</td>" for cell in others)


def _is_number(cell: Any) -> bool:
    return cell is None or (isinstance(cell, numbers.Real) and not isinstance(cell, bool))


def _cell_text(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    exact = isinstance(cell, numbers.Integral) or not isinstance(cell, numbers.Real)
    return str(cell) if exact else f"{cell:.4g}"
