"""Pictures in rows and columns that have names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["picture_grid"]


def picture_grid(
    rows: Mapping[str, Mapping[str, np.ndarray]], *, cell: tuple[float, float] = (1.45, 1.6)
) -> tuple[matplotlib.figure.Figure, np.ndarray]:
    """Draw pictures in a grid: the names of columns above, those of rows at the left, broken at ", ".

    Args:
        rows: by row, then by column: (H, W, 3), floats in [0, 1] or bytes. All rows have the same columns.
        cell: width and height of a cell in inches.

    Returns:
        The figure, and its axes (rows, columns).

    Raises:
        ValueError: there is no picture, or the columns of two rows differ.
    """
    import matplotlib.pyplot as plt

    columns = list(next(iter(rows.values()), {}))
    if not columns:
        raise ValueError("rows: expected a row with a picture or more, got none")
    for name, row in rows.items():
        if list(row) != columns:
            raise ValueError(f"rows: expected the columns {columns} in each, got {list(row)} in {name!r}")
    size = (cell[0] * len(columns), cell[1] * len(rows))
    fig, axes = plt.subplots(len(rows), len(columns), figsize=size, squeeze=False)
    for line, (name, row) in zip(axes, rows.items(), strict=True):
        for axis, picture in zip(line, row.values(), strict=True):
            axis.imshow(picture)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set(visible=True, color="#BFBFBF", linewidth=0.8)  # a white picture is seen, too
        line[0].set_ylabel(name.replace(", ", ",\n"), fontsize=10)
    for axis, title in zip(axes[0], columns, strict=True):
        axis.set_title(title, fontsize=10, fontweight="normal", loc="center")
    return fig, axes
