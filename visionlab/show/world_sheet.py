"""A contact sheet of a task: samples of a set of the world, each with its answer drawn on it, beside it or over it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from visionlab.show import theme
from visionlab.show.figure import Figure, figure

if TYPE_CHECKING:
    from visionlab.data.world import WorldSet

__all__ = ["sheet"]

COLUMNS = 6
WIDTH = 26  # letters of a caption's line


def sheet(found: WorldSet, question: str, count: int = 24) -> Figure:
    """Draw the first samples of a set, with classes and captions above them, boxes on them and maps to their right.

    Args:
        found: the set.
        question: the task's, for the heading.
        count: how many samples, at most.
    """
    import matplotlib.pyplot as plt

    count = min(count, len(found))
    rows, text = -(-count // COLUMNS), found.targets.dtype.kind == "S"
    wide = found.targets.shape[-2:] == found.images.shape[-2:]
    size = (2 * COLUMNS * (2 if wide else 1), (2.65 if text else 2.3) * rows + 0.5)
    fig, axes = plt.subplots(rows, COLUMNS, figsize=size, layout="constrained", squeeze=False)
    words = []
    for axis in axes.flat:
        axis.axis("off")
    for i, axis in zip(range(count), axes.flat, strict=False):
        words.append(_draw(axis, found, i, wide))
        if found.task != "detection":
            axis.set_title(textwrap.fill(words[-1], WIDTH), fontsize=9, fontweight="normal", loc="center")
    heading = f"{found.task}, {found.split}, {found.style}: {question}"
    fig.suptitle(heading, fontsize=13, fontweight="bold", wrap=True)
    answers = "; ".join(filter(None, words)) or "the answer is a picture"
    return figure(fig, f"{count} samples of {heading} Answers: {answers}.")


def _draw(axis: Any, found: WorldSet, i: int, wide: bool) -> str:
    """Draw one sample and return its answer in words, if words can say it."""
    image, target = found.images[i].transpose(1, 2, 0) / 255, found.targets[i]
    axis.imshow(np.concatenate([image, _as_colours(found, target)], axis=1) if wide else image)
    if wide:
        labels = np.unique(target[target > 0]) if found.classes else ()
        return ", ".join(found.classes[label] for label in labels)
    if found.targets.dtype.kind == "S":
        return str(target.decode())
    if found.targets.ndim == 1:
        return found.classes[target]
    return ", ".join(_box(axis, box, found.classes) for box in target if box[4] >= 0)


def _as_colours(found: WorldSet, target: np.ndarray) -> np.ndarray:
    """An answer that is a map or an image, as (H, W, 3)."""
    import matplotlib as mpl

    if target.ndim == 3:
        return target.transpose(1, 2, 0) / 255
    if found.classes:
        colours = np.vstack([np.full(3, 0.15), mpl.colormaps["tab20"](np.arange(20))[:, :3]])
        return colours[target]
    nearness = 1 / target  # else a far plain takes all the colours; 0 in the sky
    return mpl.colormaps[theme.SEQUENTIAL](nearness / nearness.max())[..., :3]


def _box(axis: Any, box: np.ndarray, classes: tuple[str, ...]) -> str:
    left, top, right, bottom, label = box.tolist()
    # Pixel (0, 0) is drawn from -0.5 to 0.5.
    frame = (left - 0.5, top - 0.5), right - left, bottom - top
    axis.add_patch(_rectangle(*frame, linewidth=3, edgecolor="white"))
    axis.add_patch(_rectangle(*frame, linewidth=1.5, edgecolor=theme.color("rival")))
    axis.text(left, top - 1, classes[label], fontsize=7, va="bottom", bbox={"pad": 0.5, "fc": "white", "lw": 0})
    return classes[label]


def _rectangle(*where: Any, **look: Any) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(*where, fill=False, **look)
