"""Pictures of masks and boxes: scenes, what is there, and what networks found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from visionlab.show import theme
from visionlab.show.figure import Figure, figure

__all__ = ["masks_and_boxes"]

COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#FFFFFF")
LINES = {"cswin": ("method", (), 3.4), "shifted window": ("rival", (3, 2), 1.5)}  # colour, dashes, width


def masks_and_boxes(
    images: np.ndarray,
    masks: Mapping[str, np.ndarray],
    boxes: Mapping[str, np.ndarray],
    classes: Sequence[str],
) -> Figure:
    """Draw scenes in columns: above with the boxes that were found, below a row of masks for each name.

    Args:
        images: (n, H, W, 3) in [0, 1].
        masks: by name, (n, H, W) classes from 1 on, 0 for background; the first is the truth.
        boxes: by name, (k, 6): image, left, top, right, bottom in pixels, and class from 0 on.
        classes: their names.
    """
    import matplotlib.pyplot as plt
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    if len(classes) > len(COLOURS):
        raise ValueError(f"classes: expected at most {len(COLOURS)}, one a colour; got {len(classes)}")
    n, rows = len(images), 1 + len(masks)
    fig, axes = plt.subplots(rows, n, figsize=(2.0 * n, 2.0 * rows + 0.6), squeeze=False)
    colours = ListedColormap(["#303030", *COLOURS[: len(classes)]])
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
    for column, image in enumerate(images):
        _boxes(axes[0, column], image, column, boxes)
        for ax, (name, mask) in zip(axes[1:, column], masks.items(), strict=True):
            ax.imshow(mask[column], cmap=colours, vmin=0, vmax=len(classes))
            if column == 0:
                ax.set_ylabel(name)
    axes[0, 0].set_ylabel("boxes")
    # Squares for the classes, lines for whose boxes they are.
    handles: list[Any] = [Patch(color=COLOURS[i], label=name) for i, name in enumerate(classes)]
    for name in boxes:
        role, dashes, width = LINES[name]
        line = plt.Line2D([], [], color=theme.color(role), linewidth=width, label=name)
        line.set_dashes(dashes or (None, None))
        handles.append(line)
    fig.legend(handles=handles, loc="outside upper center", ncols=3)
    truth = next(iter(masks.values()))
    words = [
        f"{name}: {100 * (np.asarray(mask) == truth).mean():.1f} % of the pixels as they are"
        for name, mask in list(masks.items())[1:]
    ]
    words += [f"{name}: {len(found)} boxes" for name, found in boxes.items()]
    return figure(fig, f"{n} scenes with boxes and masks of {', '.join(classes)}. {'; '.join(words)}.")


def _boxes(ax: Any, image: np.ndarray, number: int, boxes: Mapping[str, np.ndarray]) -> None:
    from matplotlib.patches import Rectangle

    ax.imshow(image)
    for name, found in boxes.items():
        for _, left, top, right, bottom, _ in found[found[:, 0] == number]:
            role, dashes, width = LINES[name]
            ax.add_patch(
                Rectangle(
                    (left - 0.5, top - 0.5), right - left, bottom - top,
                    fill=False, linewidth=width, edgecolor=theme.color(role), linestyle=(0, dashes) if dashes else "-",
                )
            )  # fmt: skip
