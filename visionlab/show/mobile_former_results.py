"""Results of the experiments on Mobile-Former: what bridges and tokens bring, what they cost, what was found where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from visionlab.show import theme
from visionlab.show.figure import Figure, figure
from visionlab.show.measured import mean_and_interval

if TYPE_CHECKING:
    from visionlab.experiments.result import Result

__all__ = ["PUBLISHED", "arms_figure", "boxes_figure", "majority_figure", "time_figure", "tokens_figure"]

ACCURACY = "accuracy (%)"
CHANCE = 800 / 13  # always "majority": 8 of 13 squares on average
CUTS = {
    "accuracy without reading (%)": "reading cut after training",
    "accuracy without writing (%)": "writing cut after training",
    "accuracy with slopes held (%)": "slopes held after training",
}
PUBLISHED: dict[str, dict[int, float]] = {
    "tokens": {1: 77.1, 3: 77.6, 6: 77.8, 9: 77.7},
    "width": {64: 76.8, 128: 77.3, 192: 77.8, 256: 77.8, 320: 77.6},
}
"""ImageNet top-1 of Mobile-Former-294M by number and by width of its tokens (the paper's ablations, 300 epochs)."""


def majority_figure(result: Result) -> Figure:
    """Draw the accuracy of each network on the majority puzzle, whole and with its wires cut; a dot is a seed.

    Args:
        result: of "mobile_former/majority".
    """
    import matplotlib.pyplot as plt

    have = {(row.variant, row.metric) for row in result.rows}
    bars = [
        (variant if metric == ACCURACY else f"… {CUTS[metric]}", variant, metric)
        for variant in result.variants
        for metric in (ACCURACY, *CUTS)
        if (variant, metric) in have
    ]
    fig, axis = plt.subplots(figsize=(8.2, 0.42 * len(bars) + 1.4))
    for place, (_, variant, metric) in enumerate(bars):
        values = list(result.values(variant, metric).values())
        whole = metric == ACCURACY
        role = "method" if "Mobile" not in variant else "baseline"
        axis.barh(
            place, float(np.mean(values)), 0.74 if whole else 0.5, color=theme.color(role), alpha=1 if whole else 0.4,
        )  # fmt: skip
        axis.plot(values, [place] * len(values), "o", color="black", markersize=3.5, zorder=3)
    axis.axvline(CHANCE, color=theme.color("reference"), linestyle=theme.dash("reference"))
    axis.annotate(
        "always “majority”", (CHANCE, 1), (4, 3), xycoords=("data", "axes fraction"), textcoords="offset points",
        fontsize=10, color="#555555",
    )  # fmt: skip
    axis.set_yticks(range(len(bars)), [name for name, _, _ in bars])
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.set(xlim=(0, 101), xlabel="squares answered rightly (%)")
    axis.set_title("Through which wire does the message come?", pad=20)
    words = []
    for name, variant, metric in bars:
        value = result.summary(variant, metric).mean
        words.append(f"{name.removeprefix('… ')} {value:.1f}")
    return figure(fig, f"Squares answered rightly in percent. {'; '.join(words)}; always “majority” {CHANCE:.1f}.")


def arms_figure(result: Result, variants: Sequence[str], title: str) -> Figure:
    """Draw the accuracy of some variants with 95 % intervals, and name their multiply-adds.

    Args:
        result: with the metrics "accuracy (%)" and "multiply-adds (M)".
        variants: which, the Mobile without tokens first.
        title: of the figure.

    Raises:
        KeyError: if a variant was not measured.
    """
    import matplotlib.pyplot as plt

    fig, axis = plt.subplots(figsize=(7.6, 0.55 * len(variants) + 1.4))
    words, names = [], []
    for place, variant in enumerate(variants):
        cost = result.summary(variant, "multiply-adds (M)").mean
        found = result.summary(variant, ACCURACY)
        role = "baseline" if "Mobile" in variant else "method"
        low, high = (found.low, found.high) if found.seeds > 1 else (found.mean, found.mean)
        axis.plot([low, high], [place, place], color=theme.color(role), linestyle="-")
        axis.plot(found.mean, place, "o", color=theme.color(role), markersize=8)
        names.append(f"{variant}, {cost:.2f} M")
        words.append(f"{variant}: {cost:.2f} M, {mean_and_interval(result, variant, ACCURACY)} %")
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.margins(y=0.12)
    axis.set(xlabel=ACCURACY)
    axis.set_title(title)
    return figure(fig, f"Multiply-adds and accuracy. {'; '.join(words)}.")


def tokens_figure(result: Result, tokens: Mapping[int, str], widths: Mapping[int, str]) -> Figure:
    """Draw accuracy by number and by width of the tokens, ours above and the paper's below.

    Args:
        result: of "mobile_former/tokens".
        tokens: variants by their number of tokens.
        widths: variants by the width of their tokens.
    """
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(2, 2, figsize=(8.6, 6.0), sharey="row")
    words = []
    for column, (name, ours, label) in enumerate(
        (("tokens", tokens, "number of tokens"), ("width", widths, "width of a token"))
    ):
        above, below = axes[:, column]
        said = []
        for x, variant in ours.items():
            found = result.summary(variant, ACCURACY)
            _point(above, float(x), found, "method")
            said.append(f"{x}: {found.mean:.1f}")
        above.plot(list(ours), [result.summary(v, ACCURACY).mean for v in ours.values()], color=theme.color("method"))
        paper = PUBLISHED[name]
        below.plot(list(paper), list(paper.values()), "s", color=theme.color("reference"), linestyle="-")
        for axis, values in ((above, ours), (below, paper)):
            axis.set_xticks(list(values))
            axis.margins(x=0.12)
        below.set_xlabel(label)
        published = ", ".join(f"{x}: {value}" for x, value in paper.items())
        words.append(f"By {label}, here {', '.join(said)}; published {published}")
    axes[0, 0].set(ylabel="accuracy (%)", title="Here: satellite tiles, 1.4 M multiply-adds")
    axes[1, 0].set(ylabel="top-1 (%)", title="Published: ImageNet, 294 M")
    return figure(fig, f"Accuracy in percent. {'. '.join(words)}.")


def time_figure(result: Result, batches: Sequence[int] = (1, 8)) -> Figure:
    """Draw multiply-adds against the time of an image, a panel for each batch; the line is MobileNetV3-Large's rate.

    Args:
        result: of "mobile_former/time".
        batches: images at once.
    """
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, len(batches), figsize=(5.6 * len(batches), 4.8), squeeze=False, sharey=True)
    words = []
    for axis, batch in zip(axes[0], batches, strict=True):
        said, points = [], {}
        for variant in result.variants:
            cost = result.summary(variant, "multiply-adds (M)").mean
            rates = result.values(variant, f"images/s, batch {batch}").values()
            points[variant] = cost, float(np.median([1000 / rate for rate in rates]))
        for variant, (cost, ms) in points.items():
            ours = variant.startswith("mobile_former")
            axis.plot(
                cost, ms, "o" if ours else "s", color=theme.color("method" if ours else "rival"), markersize=8,
            )  # fmt: skip
            axis.annotate(
                _short(variant), (cost, ms), (0, 9) if ours else (0, -17), textcoords="offset points", fontsize=9,
                ha="center",
            )  # fmt: skip
            said.append(f"{_short(variant)} {ms:.1f}")
        cost, ms = points["mobilenetv3_large_100"]
        ends = np.array([min(x for x, _ in points.values()), max(x for x, _ in points.values())])
        axis.plot(ends, ends * ms / cost, color=theme.color("reference"), linestyle=theme.dash("reference"))
        axis.set_xlabel("multiply-adds of an image (M)")
        theme.log_axes(axis)
        axis.margins(0.16)
        axis.set_title(f"Batch {batch}")
        words.append(f"batch {batch}: {', '.join(said)}")
    axes[0, 0].set_ylabel("time of an image (ms)")
    handles: list[Any] = [
        plt.Line2D([], [], marker=mark, linestyle="", color=theme.color(role), label=name)
        for mark, role, name in (("o", "method", "Mobile-Former"), ("s", "rival", "MobileNetV3, large and small"))
    ]
    handles.append(
        plt.Line2D([], [], color=theme.color("reference"), linestyle=theme.dash("reference"), label="at the rate of L")
    )
    axes[0, 0].legend(handles=handles, loc="upper left", fontsize=10)
    return figure(fig, f"Milliseconds an image on one thread, median of repetitions. {'; '.join(words)}.")


def boxes_figure(images: np.ndarray, boxes: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """Draw scenes with their boxes, a row for each name.

    Args:
        images: (n, H, W, 3) in [0, 1].
        boxes: by name, (k, 6): image, left, top, right, bottom in pixels, class from 0 on; the first is the truth,
            which is drawn in every row.
        classes: names, four at most.

    Raises:
        ValueError: if there are more classes.
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    (_, truth), *found = boxes.items()
    n, colours = len(images), [theme.color(role) for role in ("vertical", "horizontal", "whole", "baseline")]
    if len(classes) > len(colours):
        raise ValueError(f"classes: expected {len(colours)} at most, got {len(classes)}")
    fig, axes = plt.subplots(len(found), n, figsize=(2.2 * n, 2.2 * len(found) + 0.8), squeeze=False)
    for number, axis in enumerate(axes[0]):
        axis.set_title(", ".join(classes[int(kind)] for kind in truth[truth[:, 0] == number, 5]), fontsize=11)
    for row, (name, own) in zip(axes, found, strict=True):
        row[0].set_ylabel(name)
        for number, (axis, image) in enumerate(zip(row, images, strict=True)):
            axis.imshow(image)
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
            for drawn in (truth, own):
                for _, left, top, right, bottom, kind in drawn[drawn[:, 0] == number]:
                    look: dict[str, Any] = {"edgecolor": "white", "linestyle": (0, (3, 2)), "linewidth": 2.4}
                    if drawn is own:  # a later kind is thinner: of two boxes in one place both are seen
                        look = {"edgecolor": colours[int(kind)], "linewidth": 4.2 / (1 + 0.5 * int(kind))}
                    axis.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, **look))
    handles = [
        plt.Line2D([], [], color=colours[k], linewidth=4.2 / (1 + 0.5 * k), label=name)
        for k, name in enumerate(classes)
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=len(classes))
    said = "; ".join(f"{name}: {len(own)} boxes" for name, own in boxes.items())
    return figure(fig, f"{n} scenes; dashed what is there, solid what was found with a score of 0.5 or more. {said}.")


def _point(axis: Any, x: float, found: Any, role: str) -> None:
    """A mean with its interval over seeds."""
    low, high = (found.low, found.high) if found.seeds > 1 else (found.mean, found.mean)
    axis.errorbar(
        x, found.mean, [[found.mean - low], [high - found.mean]], fmt="o", color=theme.color(role), capsize=4,
        markersize=7, linestyle="none",
    )  # fmt: skip


def _short(name: str) -> str:
    if name.startswith("mobile_former_"):
        return name.removeprefix("mobile_former_").upper()
    return {"small": "S", "large": "L"}[name.split("_")[1]] + (" ×0.75" if name.endswith("075") else "")
