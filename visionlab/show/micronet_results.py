"""Results of the experiments on MicroNet: accuracy against multiply-adds, one ingredient after another, and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from visionlab.measure.intervals import Interval, whiskers
from visionlab.show import theme
from visionlab.show.figure import Figure, figure

if TYPE_CHECKING:
    from visionlab.experiments.result import Result

__all__ = ["budget_figure", "ladder_figure", "published_figure", "time_figure"]

ROLES = {"MicroNet": "method", "MobileNet": "rival", "MobileNetV3": "baseline"}
"""Colours of families; others are grey."""
MARKS = {"method": "o", "rival": "s", "baseline": "^", "reference": "D"}
MARKED = (1, 2, 3, 5)
"""Digits with a number on a logarithmic axis."""
COST, ACCURACY = "multiply-adds (M)", "accuracy (%)"


def budget_figure(result: Result, families: Mapping[str, Sequence[str]]) -> Figure:
    """Draw accuracy against multiply-adds of small networks: means over seeds with their 95 % intervals.

    Args:
        result: of "micronet/ingredients".
        families: by name, variants that a line joins, in the order of their cost.

    Raises:
        ValueError: if there is no variant.
        KeyError: if a variant was not measured.
    """
    import matplotlib.pyplot as plt

    if not any(families.values()):
        raise ValueError("families: expected one variant or more, got none")
    fig, ax = plt.subplots()
    words = []
    for family, variants in families.items():
        role = _role(family)
        costs = [result.summary(variant, COST).mean for variant in variants]
        found = [result.summary(variant, ACCURACY) for variant in variants]
        means = [each.mean for each in found]
        ax.errorbar(
            costs, means, yerr=whiskers(found), label=family, color=theme.color(role), linestyle=theme.dash(role),
            marker=MARKS[role], markersize=8, capsize=4, elinewidth=1.4,
        )  # fmt: skip
        said = ", ".join(f"{cost:.2f} M {mean:.1f} %" for cost, mean in zip(costs, means, strict=True))
        words.append(f"{family}: {said}")
    theme.log_axes(ax, "x", MARKED)
    ax.set(xlabel="multiply-adds of a tile (M), with those of Shift-Max", ylabel="accuracy on tiles (%)")
    ax.set_title("What is a multiply-add worth?")
    ax.margins(0.12)
    ax.legend(loc="lower right")
    seeds = found[0].seeds
    return figure(fig, f"Accuracy against multiply-adds, means over {seeds} seeds. {'; '.join(words)}.")


def published_figure(families: Mapping[str, Sequence[tuple[str, float, float]]]) -> Figure:
    """Draw published networks: accuracy on ImageNet against multiply-adds.

    Args:
        families: by name, (network, multiply-adds in M, top-1 in percent) in the order of their cost.

    Raises:
        ValueError: if there is no network.
    """
    import matplotlib.pyplot as plt

    if not any(families.values()):
        raise ValueError("families: expected one network or more, got none")
    fig, ax = plt.subplots()
    words = []
    for family, networks in families.items():
        role = _role(family)
        names, costs, accuracies = zip(*networks, strict=True)
        ax.plot(
            costs, accuracies, label=family, color=theme.color(role), linestyle=theme.dash(role), marker=MARKS[role],
            markersize=8,
        )  # fmt: skip
        # The method's names stand above its line and the others' below theirs, which lie lower.
        side = -8 if role == "method" else 8
        for name, cost, accuracy in networks:
            ax.annotate(
                name, (cost, accuracy), xytext=(side, -side), textcoords="offset points", fontsize=10,
                ha="right" if side < 0 else "left", va="bottom" if side < 0 else "top", color=theme.color(role),
            )  # fmt: skip
        said = zip(names, costs, accuracies, strict=True)
        words.append(f"{family}: " + ", ".join(f"{name} {cost:g} M {top1:.1f} %" for name, cost, top1 in said))
    theme.log_axes(ax, "x", MARKED)
    ax.set(xlabel="multiply-adds of an image (M)", ylabel="top-1 on ImageNet (%)")
    ax.set_title("What the papers report")
    ax.margins(0.2)
    ax.legend(loc="lower right")
    return figure(fig, f"Published accuracy on ImageNet against multiply-adds. {'; '.join(words)}.")


def ladder_figure(result: Result, steps: Sequence[str], *, title: str = "") -> Figure:
    """Draw the accuracy of networks as bars, from top to bottom: means over seeds with their 95 % intervals.

    Args:
        result: of "micronet/ingredients".
        steps: variants, each with one ingredient more than the one before.
        title: what the figure asks; by default, what each ingredient gives.

    Raises:
        ValueError: if there is no step.
        KeyError: if a variant was not measured.
    """
    import matplotlib.pyplot as plt

    if not steps:
        raise ValueError("steps: expected one variant or more, got none")
    fig, ax = plt.subplots(figsize=(8.2, 0.9 + 0.46 * len(steps)))
    found = [result.summary(variant, ACCURACY) for variant in steps]
    means = [each.mean for each in found]
    for y, (variant, each) in enumerate(zip(steps, found, strict=True)):
        role = "method" if variant == steps[-1] else "rival"
        ax.barh(y, each.mean, height=0.66, color=theme.color(role))
        ax.errorbar(each.mean, y, xerr=whiskers([each]), color="black", capsize=4, elinewidth=1.4)
        # Inside the bar, where no whisker of any length can cross it.
        ax.text(0.4 + _left(found), y, f"{each.mean:.1f}", va="center", color="white", fontweight="bold")
    ax.set_yticks(range(len(steps)), steps)
    ax.invert_yaxis()
    ax.set_xlim(left=_left(found))
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("accuracy on tiles (%), the axis is cut on the left")
    ax.set_title(title or "What does each ingredient give?")
    costs = [result.summary(variant, COST).mean for variant in steps]
    said = zip(steps, means, costs, strict=True)
    words = ", ".join(f"{variant} {mean:.1f} % ({cost:.2f} M)" for variant, mean, cost in said)
    return figure(fig, f"Accuracy (and multiply-adds), means over {found[0].seeds} seeds: {words}.")


def time_figure(result: Result, families: Mapping[str, Sequence[str]], batches: Sequence[int] = (1, 8)) -> Figure:
    """Draw images a second against multiply-adds, a panel for each batch; both axes are logarithmic.

    Args:
        result: of "micronet/time".
        families: by name, networks that a line joins.
        batches: that were measured.

    Raises:
        ValueError: if there is no network or no batch.
        KeyError: if a network was not measured.
    """
    import matplotlib.pyplot as plt

    if not any(families.values()) or not batches:
        raise ValueError("families, batches: expected one or more of each")
    fig, axes = plt.subplots(1, len(batches), figsize=(5.6 * len(batches), 4.4), squeeze=False, sharex=True)
    words = []
    for ax, batch in zip(axes[0], batches, strict=True):
        for family, variants in families.items():
            role = _role(family)
            costs = [result.summary(variant, COST).mean for variant in variants]
            found = [result.summary(variant, f"images/s, batch {batch}") for variant in variants]
            ax.errorbar(
                costs, [each.mean for each in found], yerr=whiskers(found), label=family, color=theme.color(role),
                linestyle=theme.dash(role), marker=MARKS[role], markersize=8, capsize=4, elinewidth=1.4,
            )  # fmt: skip
            rates = ", ".join(f"{cost:.1f} M {each.mean:.0f}" for cost, each in zip(costs, found, strict=True))
            words.append(f"{family}, batch {batch}: {rates}")
        theme.log_axes(ax, marks=MARKED)
        ax.set(xlabel="multiply-adds of an image (M)", title=f"Batch {batch}, one thread")
        ax.margins(0.15)
    axes[0, 0].set_ylabel("images a second")
    axes[0, 0].legend(loc="lower left", fontsize=10)
    return figure(fig, f"Images a second by multiply-adds, on one thread. {'; '.join(words)}.")


def _role(family: str) -> str:
    return next((role for name, role in reversed(ROLES.items()) if family.startswith(name)), "reference")


def _left(found: Sequence[Interval]) -> float:
    """Where a cut axis may begin: below all intervals, at a multiple of five."""
    low = min(each.mean if each.seeds == 1 else each.low for each in found)
    return max(0.0, 5 * np.floor(low / 5) - 10)
