"""Results of the experiments on MicroNet: accuracy against multiply-adds, one ingredient after another, and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from visionlab.measure.intervals import Interval, whiskers
from visionlab.show import theme
from visionlab.show.figure import Figure, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from visionlab.experiments.result import Result

__all__ = ["budget_figure", "ladder_figure", "published_figure", "time_figure"]

ROLES = {"MicroNet": "method", "M3": "method", "MobileNet": "rival", "MobileNetV3": "baseline"}
"""Colours of families; others are grey."""
MARKS = {"method": "o", "rival": "s", "baseline": "^", "reference": "D"}
MARKED = (1, 2, 3, 5)
"""Digits with a number on a logarithmic axis."""
REWRITTEN = "inference form"
"""The end of the names of networks that compute the same function in another way: their marks are hollow."""
SHORT = {
    "micronet_m": "M", "mobilenetv3_small_050": "×0.5", "mobilenetv3_small_075": "×0.75",
    "mobilenetv3_small_100": "×1.0", ", ": ",\n",
}  # fmt: skip
"""What to write beside a point, piece by piece of a network's name."""
BESIDE = 1.04
"""Points whose costs differ by less than this factor stand side by side, so far apart."""
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
    fig, ax = plt.subplots(figsize=(7.2, 4.6))
    all_costs = [[result.summary(variant, COST).mean for variant in variants] for variants in families.values()]
    words = []
    for i, (family, variants) in enumerate(families.items()):
        role = _role(family)
        costs = all_costs[i]
        found = [result.summary(variant, ACCURACY) for variant in variants]
        means = [each.mean for each in found]
        places = [cost * BESIDE ** _step_aside(cost, i, all_costs) for cost in costs]
        _points(ax, places, found, family)
        for place, variant in zip(places, variants, strict=True):
            seeds = list(result.values(variant, ACCURACY).values())
            ax.plot([place * BESIDE**0.5] * len(seeds), seeds, ".", color=theme.color(role), alpha=0.5, markersize=5)
        said = ", ".join(f"{cost:.2f} M {mean:.1f} %" for cost, mean in zip(costs, means, strict=True))
        words.append(f"{family}: {said}")
    theme.log_axes(ax, "x", MARKED)
    ax.set(xlabel="multiply-adds of a tile (M), with those of Shift-Max; logarithmic", ylabel="accuracy on tiles (%)")
    fig.supxlabel("bars: 95 % intervals; small dots: seeds; points of about one cost stand side by side", fontsize=10)
    ax.set_title("What is a multiply-add worth?")
    ax.margins(0.12)
    ax.legend(loc="lower right")
    return figure(fig, f"Accuracy against multiply-adds, means over {found[0].seeds} seeds. {'; '.join(words)}.")


def _step_aside(cost: float, family: int, all_costs: Sequence[Sequence[float]]) -> float:
    """Say how many steps a point leaves its place, so that those of other families at about its cost have room."""
    crowd = [i for i, costs in enumerate(all_costs) if any(1 / BESIDE < cost / other < BESIDE for other in costs)]
    return crowd.index(family) - (len(crowd) - 1) / 2


def _points(ax: Axes, x: Sequence[float], found: Sequence[Interval], family: str) -> None:
    """Draw means with their intervals, joined by a line if they are several."""
    role = _role(family)
    ax.errorbar(
        x, [each.mean for each in found], yerr=whiskers(found), label=family, color=theme.color(role),
        linestyle=theme.dash(role) if len(found) > 1 else "none", marker=MARKS[role], markersize=8, capsize=4,
        elinewidth=1.4, markerfacecolor="white" if family.endswith(REWRITTEN) else None,
    )  # fmt: skip


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
    ax.set(xlabel="multiply-adds of an image (M), logarithmic", ylabel="top-1 on ImageNet (%)")
    ax.set_title("What the papers report")
    ax.margins(0.2)
    ax.legend(loc="lower right")
    return figure(fig, f"Published accuracy on ImageNet against multiply-adds. {'; '.join(words)}.")


def ladder_figure(result: Result, steps: Sequence[str], *, title: str = "") -> Figure:
    """Draw the accuracy of networks from top to bottom: means over seeds, their 95 % intervals, and the seeds.

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
    fig, ax = plt.subplots(figsize=(8.2, 1.3 + 0.5 * len(steps)))
    found = [result.summary(variant, ACCURACY) for variant in steps]
    means = [each.mean for each in found]
    costs = [result.summary(variant, COST).mean for variant in steps]
    for y, (variant, each) in enumerate(zip(steps, found, strict=True)):
        role = "method" if variant == steps[-1] else "rival"
        colour = theme.color(role)
        ax.errorbar(each.mean, y, xerr=whiskers([each]), color=colour, marker=MARKS[role], markersize=8, capsize=4)
        seeds = list(result.values(variant, ACCURACY).values())
        ax.plot(seeds, [y + 0.25] * len(seeds), ".", color=colour, alpha=0.5)
        ax.annotate(
            f"{each.mean:.1f}", (each.mean, y), xytext=(0, 7), textcoords="offset points", ha="center", color=colour,
            fontweight="bold", fontsize=11,
        )  # fmt: skip
    ax.set_yticks(range(len(steps)), [f"{variant} · {cost:.2f} M" for variant, cost in zip(steps, costs, strict=True)])
    ax.set_ylim(len(steps) - 0.4, -0.7)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("accuracy on tiles (%); bars are 95 % intervals, small dots seeds")
    ax.set_ylabel("network · multiply-adds")
    ax.set_title(title or "What does each ingredient give?")
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
    fig, axes = plt.subplots(
        1, len(batches), figsize=(5.6 * len(batches), 5.4), squeeze=False, sharex=True, sharey=True
    )
    words = []
    for ax, batch in zip(axes[0], batches, strict=True):
        for family, variants in families.items():
            costs = [result.summary(variant, COST).mean for variant in variants]
            found = [result.summary(variant, f"images/s, batch {batch}") for variant in variants]
            _points(ax, costs, found, family)
            for variant, cost, each in zip(variants, costs, found, strict=True):
                _name_beside(ax, variant, (cost, each.mean), family)
            rates = ", ".join(f"{cost:.1f} M {each.mean:.0f}" for cost, each in zip(costs, found, strict=True))
            words.append(f"{family}, batch {batch}: {rates}")
        theme.log_axes(ax, marks=MARKED)
        ax.set(xlabel="multiply-adds of an image (M), logarithmic", title=f"Batch {batch}, one thread")
        ax.margins(0.15)
    axes[0, 0].set_ylabel("images a second, logarithmic")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=11)
    return figure(fig, f"Images a second by multiply-adds, on one thread. {'; '.join(words)}.")


def _name_beside(ax: Axes, variant: str, point: tuple[float, float], family: str) -> None:
    """Write a network's short name below its point, on the left, where lines that fall leave room."""
    name = variant
    for piece, short in SHORT.items():
        name = name.replace(piece, short)
    role = _role(family)
    offset, ha, va = (-8, -8), "right", "top"
    if family.endswith(REWRITTEN):
        # A rewritten MobileNet lies above all lines, a rewritten MicroNet in the gap between two.
        offset, ha, va = ((0, 9), "center", "bottom") if role == "baseline" else ((-8, -8), "left", "top")
    ax.annotate(
        name, point, xytext=offset, textcoords="offset points", fontsize=10, ha=ha, va=va, color=theme.color(role)
    )


def _role(family: str) -> str:
    return next((role for name, role in reversed(ROLES.items()) if family.startswith(name)), "reference")
