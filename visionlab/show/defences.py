"""What a check of a network found, as one figure: a panel for each of its details."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from visionlab.show import theme
from visionlab.show.figure import Figure, figure

if TYPE_CHECKING:
    from visionlab.protection.defences import Finding

__all__ = ["finding_figure"]


def finding_figure(finding: Finding, classes: Sequence[str], settings: Sequence[str] = ()) -> Figure:
    """Draw each detail of a finding: bars of one value a class or setting, curves, histograms, or small pictures.

    The detail that is the score of each class comes first, and says that it is.

    Args:
        finding: of a check.
        classes: of the network.
        settings: names of the changes, where a detail has one value for each.
    """
    import matplotlib.pyplot as plt

    details = {name: value.detach().cpu().numpy() for name, value in finding.details.items()}
    across = {name: value for name, value in details.items() if name in ("share pruned", "epochs")}
    shown = {name: value for name, value in details.items() if name not in across}
    if finding.by_class is not None:
        score = finding.by_class.detach().cpu().numpy()
        first = {f"{name} (the score)": value for name, value in shown.items() if np.array_equal(value, score)}
        shown = first | {name: value for name, value in shown.items() if f"{name} (the score)" not in first}
    fig = plt.figure(figsize=(4.6 * min(len(shown), 2), 3.3 * -(-len(shown) // 2)), layout="constrained")
    grid = fig.add_gridspec(-(-len(shown) // 2), min(len(shown), 2))
    for i, (name, value) in enumerate(shown.items()):
        cell = grid[i // 2, i % 2]
        if value.ndim > 1:
            _pictures(fig, cell, value, classes, name)
        else:
            _chart(fig.add_subplot(cell), name, value, across, classes, settings)
    return figure(fig, f"{finding.check}: {finding.meaning} is {finding.score:.2f}.")


def _chart(
    axis: Any,
    name: str,
    value: np.ndarray,
    across: dict[str, np.ndarray],
    classes: Sequence[str],
    settings: Sequence[str],
) -> None:
    if across:
        label, x = next(iter(across.items()))
        axis.plot(x, value, color=theme.color("method"), marker="o")
        axis.set(xlabel=label, ylim=(min(0.0, value.min()), max(1.0, value.max()) * 1.03))
    elif len(value) in (len(classes), len(settings)):
        names = classes if len(value) == len(classes) else settings
        axis.barh(range(len(value)), value, color=theme.color("method"))
        axis.set_yticks(range(len(value)), names, fontsize=9)
        axis.invert_yaxis()
    else:
        axis.hist(value, bins=30, color=theme.color("method"))
        axis.set(ylabel="images")
    axis.set_title(name, fontsize=11)


def _pictures(fig: Any, cell: Any, value: np.ndarray, classes: Sequence[str], name: str) -> None:
    columns = min(5, len(value))
    inner = cell.subgridspec(-(-len(value) // columns), columns)
    for i, picture in enumerate(value):
        axis = fig.add_subplot(inner[i // columns, i % columns])
        axis.imshow(picture.transpose(1, 2, 0) if picture.ndim == 3 else picture, vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[])
        axis.set_title(classes[i][:9], fontsize=7, fontweight="normal", loc="center")
        if i == 0:
            axis.set_ylabel(name, fontsize=9)
