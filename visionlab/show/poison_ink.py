"""Pictures of lab 09: an image on its way through the ink, what triggers leave behind, and how long they last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from visionlab.show import theme
from visionlab.show.figure import Figure, Table, figure
from visionlab.show.measured import mean_and_interval
from visionlab.show.pictures import picture_grid

if TYPE_CHECKING:
    from visionlab.experiments.result import Result

__all__ = [
    "STYLE",
    "budget_map",
    "clusters",
    "defence_table",
    "ink_strip",
    "measured_table",
    "residual_rows",
    "spectra",
    "success_curves",
    "success_grid",
]

STYLE = {
    "Poison Ink": "method",
    "BadNets": "rival",
    "Blend": "baseline",
    "Poison Ink, no interference": "variant",
    "clean": "reference",
}
"""Roles of the attacks in every figure."""


def ink_strip(views: Mapping[str, Any]) -> Figure:
    """Show images on their way, one a row: clean, structure, ink, poisoned, residual, changed, and two drawings."""
    parts = {
        "clean": "clean", "structure": "structure", "pattern": "in ink", "poisoned": "poisoned",
        "residual": "difference ×8", "changed": "changed", "drawing": "read from it", "clean_drawing": "without ink",
    }  # fmt: skip
    rows = {name: {title: getattr(view, part) for part, title in parts.items()} for name, view in views.items()}
    fig, axes = picture_grid(rows)
    for axis, view in zip(axes[:, 4], views.values(), strict=True):
        axis.set_xlabel(f"{view.psnr:.1f} dB", fontsize=9, labelpad=2)
    words = "; ".join(f"{name}: {_found(view.found)}" for name, view in views.items())
    return figure(fig, f"Structure, ink, poisoned image and what is read from it. {words}.", few_colours=True)


def residual_rows(rows: Mapping[str, tuple[np.ndarray, np.ndarray, float]], alt: str) -> Figure:
    """Show attacks side by side: above the images that carry a trigger, below what was changed, amplified.

    Args:
        rows: by attack: image and residual (H, W, 3) in [0, 1], and the PSNR.
        alt: what the figure shows.
    """
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(2, len(rows), figsize=(1.5 * len(rows), 3.4), squeeze=False)
    for (top, bottom), (name, (image, changes, psnr)) in zip(axes.T, rows.items(), strict=True):
        top.imshow(image)
        bottom.imshow(changes)
        top.set_title(name.replace(", ", ",\n"), fontsize=10, fontweight="normal", loc="center")
        bottom.set_xlabel("as it came" if psnr >= 99 else f"{psnr:.1f} dB", fontsize=10)
        for axis in (top, bottom):
            axis.set(xticks=[], yticks=[])
    axes[0, 0].set_ylabel("image", fontsize=10)
    axes[1, 0].set_ylabel("difference ×8", fontsize=10)
    return figure(fig, alt, few_colours=True)


def spectra(rows: Mapping[str, np.ndarray], title: str) -> Figure:
    """Show what triggers change as waves, side by side on one logarithmic scale that spans a factor of 1000.

    Args:
        rows: by trigger: mean amplitudes (H, W) in units of the image, the constant part at (H // 2, W // 2).
        title: of the figure.
    """
    import matplotlib.pyplot as plt
    from matplotlib.colors import LogNorm

    highest = 255 * max(1e-6, *(values.max() for values in rows.values()))
    scale = LogNorm(highest / 1000, highest, clip=True)
    fig, axes = plt.subplots(1, len(rows), figsize=(2.3 * len(rows) + 0.9, 2.9), sharey=True, squeeze=False)
    words = []
    for axis, (name, values) in zip(axes[0], rows.items(), strict=True):
        height, width = values.shape
        left, top = -(width // 2) - 0.5, -(height // 2) - 0.5
        drawn = axis.imshow(255 * values, norm=scale, extent=(left, left + width, top + height, top))
        axis.set_title(name, fontsize=11, fontweight="normal", loc="center")
        axis.set_xlabel("waves across")
        axis.grid(visible=False)
        down, across = np.unravel_index(values.argmax(), values.shape)
        place = f"at {abs(across - width // 2)} waves across and {abs(down - height // 2)} down"
        words.append(
            f"{name} changes nothing" if not values.any() else f"{name} at most {255 * values.max():.2g} {place}"
        )
    axes[0, 0].set_ylabel("waves down")
    fig.colorbar(drawn, ax=axes[0], label="amplitude, of 255")
    fig.suptitle(title, x=0, ha="left", fontsize=13, fontweight="bold")
    return figure(fig, f"{title}: mean amplitude of each wave, of 255. {'; '.join(words)}.")


def success_curves(
    curves: Mapping[str, Sequence[float]], amounts: Sequence[float], x_label: str, title: str, chance: float
) -> Figure:
    """Draw the attack success of each attack against the strength of a transform."""
    import matplotlib.pyplot as plt

    fig, axis = plt.subplots(figsize=(7.2, 3.8))
    for name, values in curves.items():
        role = STYLE.get(name, "reference")
        axis.plot(
            amounts,
            values,
            label=name,
            color=theme.color(role),
            linestyle=theme.dash(role),
            marker="o",
        )
    axis.axhline(chance, color="grey", linewidth=1, linestyle=":", label="clean images")
    axis.set(xlabel=x_label, ylabel="attack success (%)", ylim=(-3, 103), title=title)
    if amounts[0] > amounts[-1]:
        axis.invert_xaxis()
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    ends = ", ".join(f"{name} {values[0]:.0f} to {values[-1]:.0f} %" for name, values in curves.items())
    return figure(fig, f"{title}, from {amounts[0]:g} to {amounts[-1]:g} ({x_label}): {ends}.")


def success_grid(result: Result, settings: Sequence[str], title: str) -> Figure:
    """Show how often each trigger opens the class under each change: means over seeds, as colours.

    Below, as a yardstick, what a clean network does without a trigger: how often it names the class, and its accuracy.
    """
    import matplotlib.pyplot as plt

    rows = {name: (name, "success") for name in result.variants if name != "clean"}
    rows |= {"clean, no trigger": ("clean", "success"), "clean, accuracy": ("clean", "accuracy")}
    means = np.array([[result.summary(v, f"{kind}, {s} (%)").mean for s in settings] for v, kind in rows.values()])
    fig, axis = plt.subplots(figsize=(0.82 * len(settings) + 2.4, 0.5 * len(rows) + 1.4))
    axis.imshow(means, cmap=theme.SEQUENTIAL_TWIN, vmin=0, vmax=100, aspect="auto")
    axis.axhline(len(rows) - 2.5, color="white", linewidth=4)
    axis.set_xticks(range(len(settings)), settings, rotation=35, ha="right")
    axis.set_yticks(range(len(rows)), list(rows))
    axis.grid(visible=False)
    for (i, j), value in np.ndenumerate(means):
        axis.text(j, i, f"{value:.0f}", ha="center", va="center", color="white" if value < 60 else "black", fontsize=10)
    axis.set_title(title)
    words = "; ".join(
        f"{name}: " + ", ".join(f"{s} {value:.0f}" for s, value in zip(settings, row, strict=True))
        for name, row in zip(rows, means, strict=True)
    )
    return figure(fig, f"{title}, in %: {words}.")


def budget_map(result: Result, cells: Sequence[Sequence[str]], ratios: Sequence[str], gains: Sequence[str]) -> Figure:
    """Show how often ink opens the class, and what it costs, for each share of poison and strength: means over seeds.

    Args:
        result: of the experiment.
        cells: names of its variants, a row for each share, a column for each strength.
        ratios: names of the rows.
        gains: names of the columns.
    """
    import matplotlib.pyplot as plt

    metrics = {"attack success (%)": "success, none (%)", "accuracy (%)": "accuracy (%)", "PSNR (dB)": "PSNR (dB)"}
    fig, axes = plt.subplots(1, len(metrics), figsize=(11, 3.2))
    words = []
    for axis, (title, metric) in zip(axes, metrics.items(), strict=True):
        means = np.array([[result.summary(cell, metric).mean for cell in row] for row in cells])
        low, high = (0, 100) if metric.startswith("success") else (means.min() - 2, means.max() + 2)
        axis.imshow(means, cmap=theme.SEQUENTIAL_TWIN, vmin=low, vmax=high, aspect="auto")
        for (i, j), value in np.ndenumerate(means):
            dark = value < low + 0.6 * (high - low)
            axis.text(j, i, f"{value:.0f}", ha="center", va="center", color="white" if dark else "black")
        axis.set_xticks(range(len(gains)), gains)
        axis.set_yticks(range(len(ratios)), ratios)
        axis.grid(visible=False)
        axis.set(title=title, xlabel="ink strength")
        rows = (f"{ratio}: " + ", ".join(f"{v:.0f}" for v in row) for ratio, row in zip(ratios, means, strict=True))
        words.append(f"{title}, strengths {', '.join(gains)}: " + "; ".join(rows))
    axes[0].set_ylabel("share of images poisoned")
    return figure(fig, f"Share of poison against strength of the ink. {'. '.join(words)}.")


def measured_table(result: Result, metrics: Sequence[str], caption: str) -> Table:
    """Tabulate metrics of all variants: mean and 95 % interval; empty for the closeness of an image to itself."""
    closeness = ("PSNR (dB)", "SSIM", "feature distance (%)")

    def told(name: str, metric: str) -> str:
        untold = name.startswith("clean") and metric in closeness
        return "" if untold else mean_and_interval(result, name, metric)

    rows = [[name, *(told(name, metric) for metric in metrics)] for name in result.variants]
    return Table(rows, ["attack", *metrics], caption)


def defence_table(result: Result, metrics: Sequence[str], caption: str) -> Table:
    """Tabulate what defences measured of each attack: means over seeds; empty where there is nothing to measure."""
    have = {(row.variant, row.metric) for row in result.rows}
    rows = [
        [metric, *(f"{result.summary(v, metric).mean:.1f}" if (v, metric) in have else "" for v in result.variants)]
        for metric in metrics
    ]
    return Table(rows, ["measured", *result.variants], caption)


def clusters(points: np.ndarray, poisoned: np.ndarray, groups: np.ndarray, title: str, alt: str) -> Figure:
    """Draw the features of one class in two dimensions: who is poisoned by colour, in which group by mark."""
    import matplotlib.pyplot as plt

    fig, axis = plt.subplots(figsize=(7.6, 4.2))
    for is_poisoned, role, word in ((False, "reference", "honest"), (True, "rival", "poisoned")):
        for group, mark in ((False, "o"), (True, "^")):
            chosen = (poisoned == is_poisoned) & (groups == group)
            axis.scatter(
                points[chosen, 0], points[chosen, 1], s=22, marker=mark, color=theme.color(role), alpha=0.7,
                label=f"{word}, {'farther' if group else 'nearer'} group" if chosen.any() else None,
            )  # fmt: skip
    axis.set(xlabel="first component", ylabel="second component", title=title)
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure(fig, alt)


def _found(found: bool | None) -> str:
    return {True: "ink found", False: "no ink found", None: "hardly an edge"}[found]
