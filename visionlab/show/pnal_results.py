"""Results of the experiments on PNAL: accuracy over noise rates, and what becomes of each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from visionlab.show import theme
from visionlab.show.figure import Figure, figure
from visionlab.show.measured import mean_or_nan
from visionlab.show.pnal import METHODS

if TYPE_CHECKING:
    from visionlab.experiments.result import Result

__all__ = ["classes_figure", "rates_figure"]


def rates_figure(result: Result, methods: Sequence[str], rates: Sequence[int], bound: str, metric: str) -> Figure:
    """Draw a metric against the percentage of wrong labels: means over seeds, in a band of their 95 % interval.

    Args:
        result: with variants "method, rate %".
        methods: up to four.
        rates: percent.
        bound: the variant without wrong labels, a line.
        metric: which; its name has its unit.

    Raises:
        ValueError: if there is no method or no rate.
        KeyError: if a variant was not measured.
    """
    import matplotlib.pyplot as plt

    if not methods or not rates:
        raise ValueError("methods, rates: expected one or more of each")
    fig, axis = plt.subplots(figsize=(7.2, 4.0))
    best = result.summary(bound, metric)
    axis.axhline(best.mean, color=theme.color("reference"), linestyle=theme.dash("reference"), label=bound)
    words = [f"{bound}: {best.mean:.0f}"]
    for method, role in zip(methods, METHODS, strict=False):
        found = [result.summary(f"{method}, {rate} %", metric) for rate in rates]
        axis.plot(
            rates, [each.mean for each in found], label=method, color=theme.color(role), linestyle=theme.dash(role),
            marker="o",
        )  # fmt: skip
        if found[0].seeds > 1:
            low, high = ([getattr(each, side) for each in found] for side in ("low", "high"))
            axis.fill_between(rates, low, high, alpha=0.18, linewidth=0, color=theme.color(role))
        words.append(f"{method}: " + ", ".join(f"{each.mean:.0f}" for each in found))
    axis.set_xticks(list(rates))
    axis.set(xlabel="labels that are wrong (%)", ylabel=metric, ylim=(0, 100))
    axis.set_title("What do wrong labels cost?")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    asked = ", ".join(str(rate) for rate in rates)
    return figure(fig, f"{metric[0].upper()}{metric[1:]} with {asked} % of wrong labels. {'; '.join(words)}.")


def classes_figure(result: Result, variants: Mapping[str, str], classes: Sequence[str]) -> Figure:
    """Draw the intersection over union of each class: means over seeds, one mark a variant.

    Args:
        result: with metrics "IoU, class 0 (%)" and so on.
        variants: by the name that is shown.
        classes: names.

    Raises:
        ValueError: if there is no variant.
    """
    import matplotlib.pyplot as plt

    if not 1 <= len(variants) <= len(METHODS):
        raise ValueError(f"variants: expected 1 to {len(METHODS)}, got {len(variants)}")
    fig, axis = plt.subplots(figsize=(8.2, 4.0))
    wide, places = 0.8 / len(variants), np.arange(len(classes))
    words = []
    for i, (shown, variant) in enumerate(variants.items()):
        values = [mean_or_nan(result, variant, f"IoU, class {k} (%)") for k in range(len(classes))]
        hatch = ("", "//", "..", "xx")[i]
        axis.bar(
            places + (i - (len(variants) - 1) / 2) * wide, values, 0.92 * wide, label=shown, hatch=hatch,
            color=theme.color(METHODS[i]), edgecolor="white", linewidth=0,
        )  # fmt: skip
        words.append(
            f"{shown}: " + ", ".join(f"{name} {value:.0f}" for name, value in zip(classes, values, strict=True))
        )
    axis.set_xticks(places, list(classes), rotation=30, ha="right", rotation_mode="anchor")
    axis.set(ylabel="intersection over union (%)", ylim=(0, 100))
    axis.set_title("Which classes are found?")
    axis.legend(loc="upper right", ncols=len(variants))
    return figure(fig, f"Intersection over union of each class in percent. {'; '.join(words)}.")
