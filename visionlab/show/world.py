"""Pictures of the world: the gallery of its factors, and sheets of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from visionlab.show.figure import Figure, figure

__all__ = ["framed", "gallery", "samples"]

Named = tuple[str, Any]  # a name and an image (3, H, W) in [0, 1]


def gallery(factors: Mapping[str, Sequence[Named]], columns: int = 8) -> Figure:
    """Show every value of every factor on one page; a factor that fits beside the one before shares its row."""
    import matplotlib.pyplot as plt

    rows: list[list[tuple[str, Named | None]]] = []  # of (factor where it begins, picture)
    for factor, values in factors.items():
        cells: list[tuple[str, Named | None]] = [(factor if i == 0 else "", value) for i, value in enumerate(values)]
        if rows and len(rows[-1]) + 1 + len(cells) <= columns:
            rows[-1] += [("", None), *cells]
        else:
            rows += [cells[i : i + columns] for i in range(0, len(cells), columns)]
    fig, axes = plt.subplots(len(rows), columns, figsize=(1.2 * columns, 1.5 * len(rows)), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for row, line in zip(rows, axes, strict=True):
        for (factor, value), axis in zip(row, line, strict=False):
            if value is not None:
                name, image = value
                axis.imshow(image.permute(1, 2, 0).clamp(0, 1).numpy())
                axis.set_title(name, fontsize=9.5, fontweight="normal", loc="center", pad=3)
            if factor:
                axis.text(0, 1.23, factor.upper(), transform=axis.transAxes, fontsize=9, fontweight="bold")
    said = "; ".join(f"{len(values)} of {factor}" for factor, values in factors.items())
    return figure(fig, f"every factor of the world, one picture a value: {said}")


def samples(images: Any, words: Sequence[str], alt: str, columns: int = 8) -> Figure:
    """Show images (n, 3, H, W) in [0, 1] with a few words below each."""
    import matplotlib.pyplot as plt

    count = -(-len(images) // columns)
    fig, axes = plt.subplots(count, columns, figsize=(1.5 * columns, 1.75 * count), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, image, text in zip(axes.flat, images, words, strict=False):
        axis.imshow(image.permute(1, 2, 0).clamp(0, 1).numpy())
        axis.set_title(text, fontsize=9, fontweight="normal", loc="center", pad=3)
    return figure(fig, alt)


def framed(image: Any, boxes: Sequence[Sequence[int]]) -> Any:
    """Draw boxes (left, top, right, bottom; right and bottom outside) into an image (3, H, W), one white pixel wide."""
    frame = torch.zeros(image.shape[1:], dtype=torch.bool)
    for left, top, right, bottom in boxes:
        if right > left and bottom > top:
            frame[[top, bottom - 1], left:right] = True
            frame[top:bottom, [left, right - 1]] = True
    return torch.where(frame, 1.0, image)
