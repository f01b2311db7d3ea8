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
ALWAYS = 800 / 13  # who always says "most": 8 of 13 squares on average
WITHOUT_TOKENS = ("Mobile alone", "wide Mobile", "squeeze-excite")
"""Variants that have no tokens; all others have some."""
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
    fig, axis = plt.subplots(figsize=(8.2, 0.42 * len(bars) + 1.9))
    for place, (_, variant, metric) in enumerate(bars):
        values = list(result.values(variant, metric).values())
        whole = metric == ACCURACY
        axis.barh(
            place, float(np.mean(values)), 0.74 if whole else 0.5, color=_ink(variant), alpha=1 if whole else 0.4,
        )  # fmt: skip
        _seeds(axis, values, place, alpha=1.0)
    axis.axvline(ALWAYS, color="white", linestyle="-", linewidth=4)  # else the dots are lost on the dark bars
    axis.axvline(ALWAYS, color="black", linestyle=(0, (1.5, 1.5)), linewidth=1.8)
    axis.annotate(
        f"always “most”: {ALWAYS:.1f}", (ALWAYS, 1), (0, 3), xycoords=("data", "axes fraction"),
        textcoords="offset points", fontsize=11, ha="center",
    )  # fmt: skip
    axis.set_yticks(range(len(bars)), [name for name, _, _ in bars])
    axis.invert_yaxis()
    axis.margins(y=0.02)
    axis.grid(axis="y", visible=False)
    axis.set(xlim=(0, 101), xlabel="squares answered rightly (%)")
    axis.set_title("Through which wire does the message come?", pad=22)
    cut = plt.Rectangle((0, 0), 1, 1, color=theme.color("method"), alpha=0.4, label="pale: cut or held after training")
    fig.legend(handles=[*_sides(), cut, _seed_mark(alpha=1.0)], loc="outside lower center", ncols=2)
    words = []
    for name, variant, metric in bars:
        value = result.summary(variant, metric).mean
        words.append(f"{name.removeprefix('… ')} {value:.1f}")
    return figure(fig, f"Squares answered rightly in percent. {'; '.join(words)}; always “most” {ALWAYS:.1f}.")


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

    fig, axis = plt.subplots(figsize=(7.6, 0.6 * len(variants) + 2.0))
    words, names = [], []
    for place, variant in enumerate(variants):
        cost = result.summary(variant, "multiply-adds (M)").mean
        found = result.summary(variant, ACCURACY)
        ink = _ink(variant)
        low, high = (found.low, found.high) if found.seeds > 1 else (found.mean, found.mean)
        axis.plot([low, high], [place, place], color=ink, linestyle="-")
        axis.plot(found.mean, place, "o", color=ink, markersize=8)
        _seeds(axis, list(result.values(variant, ACCURACY).values()), place, alpha=0.4)
        names.append(f"{variant}, {cost:.2f} M")
        words.append(f"{variant}: {cost:.2f} M, {mean_and_interval(result, variant, ACCURACY)} %")
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.margins(y=0.12)
    axis.set(xlabel=ACCURACY)
    axis.set_title(title)
    bar = plt.Line2D([], [], color="#555555", marker="o", markersize=8, linestyle="-", label="mean, 95 % interval")
    fig.legend(handles=[*_sides(), bar, _seed_mark(alpha=0.4)], loc="outside lower center", ncols=2)
    return figure(fig, f"Multiply-adds and accuracy. {'; '.join(words)}.")


def tokens_figure(result: Result, tokens: Mapping[int, str], widths: Mapping[int, str]) -> Figure:
    """Draw accuracy by number and by width of the tokens, ours above and the paper's below.

    Args:
        result: of "mobile_former/tokens".
        tokens: variants by their number of tokens.
        widths: variants by the width of their tokens.
    """
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(2, 2, figsize=(9.4, 6.2), sharey="row", width_ratios=(1, 1.3))
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
            if name == "width":  # else all of ours would stand in a corner
                axis.set_xscale("log")
                axis.minorticks_off()
            axis.set_xticks(list(values), [str(x) for x in values], fontsize=10)
            axis.set(xlim=(min(*ours, *paper) / 1.3, max(*ours, *paper) * 1.15), xlabel=label)
        published = ", ".join(f"{x}: {value}" for x, value in paper.items())
        words.append(f"By {label}, here {', '.join(said)}; published {published}")
    axes[0, 0].set(ylabel="accuracy (%)", title="Here: satellite tiles, the small network")
    axes[1, 0].set(ylabel="top-1 accuracy (%),\non another scale", title="Published: ImageNet, Mobile-Former-294M")
    return figure(fig, f"Accuracy in percent. {'. '.join(words)}.")


def time_figure(result: Result, batches: Sequence[int] = (1, 8)) -> Figure:
    """Draw multiply-adds against the time of an image, a panel for each batch; the line is MobileNetV3-Large's rate.

    Args:
        result: of "mobile_former/time".
        batches: images at once.
    """
    import matplotlib.pyplot as plt
    from matplotlib.patheffects import withStroke

    fig, axes = plt.subplots(1, len(batches), figsize=(5.6 * len(batches), 5.0), squeeze=False, sharey=True)
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
            axis.annotate(  # beside the line, not on it
                _short(variant), (cost, ms), (0, 9) if ours else (7, -9), textcoords="offset points", fontsize=10,
                ha="center" if ours else "left", va="bottom" if ours else "top",
                path_effects=[withStroke(linewidth=3, foreground="white")],
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
    fig.legend(handles=handles, loc="outside lower center", ncols=3)
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
    from matplotlib.patheffects import Normal, Stroke

    (there, truth), *found = boxes.items()
    n, colours = len(images), [theme.color(role) for role in ("vertical", "horizontal", "whole", "baseline")]
    if len(classes) > len(colours):
        raise ValueError(f"classes: expected {len(colours)} at most, got {len(classes)}")
    # White dashes on a black line are seen on every ground; thin, and drawn last, they leave the found boxes in sight.
    under = Stroke(linewidth=2.8, foreground="black", dashes={"dash_offset": 0, "dash_list": None})
    dashes: dict[str, Any] = {"linestyle": (0, (3, 3)), "linewidth": 1.3, "path_effects": [under, Normal()]}
    fig, axes = plt.subplots(len(found), n, figsize=(2.2 * n, 2.2 * len(found) + 0.8), squeeze=False)
    for number, axis in enumerate(axes[0]):
        axis.set_title(", ".join(classes[int(kind)] for kind in truth[truth[:, 0] == number, 5]), fontsize=11)
    for row, (name, own) in zip(axes, found, strict=True):
        row[0].set_ylabel(name)
        for number, (axis, image) in enumerate(zip(row, images, strict=True)):
            axis.imshow(image)
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
            for drawn in (own, truth):
                for _, left, top, right, bottom, kind in drawn[drawn[:, 0] == number]:
                    look = {"edgecolor": "white"} | dashes
                    if drawn is own:  # a later kind is thinner: of two boxes in one place both are seen
                        look = {"edgecolor": colours[int(kind)], "linewidth": 4.2 / (1 + 0.5 * int(kind))}
                    axis.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, **look))
    handles = [plt.Line2D([], [], color="white", label=there, **dashes)]
    handles += [
        plt.Line2D([], [], color=colours[k], linewidth=4.2 / (1 + 0.5 * k), label=name)
        for k, name in enumerate(classes)
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    said = "; ".join(f"{name}: {len(own)} boxes" for name, own in boxes.items())
    return figure(fig, f"{n} scenes; dashed what is there, solid what was found with a score of 0.5 or more. {said}.")


def _ink(variant: str) -> str:
    """The colour of a variant."""
    return theme.color("baseline" if variant in WITHOUT_TOKENS else "method")


def _sides() -> list[Any]:
    """What the two colours of variants mean, for a legend."""
    from matplotlib.patches import Patch

    named = {"with tokens": "method", "without tokens": "baseline"}
    return [Patch(color=theme.color(role), label=label) for label, role in named.items()]


def _seeds(axis: Any, values: Sequence[float], place: int, *, alpha: float) -> None:
    """A dot for each seed, each a little lower, so that equal ones can be counted."""
    lower = 0.1 * (np.arange(len(values)) - (len(values) - 1) / 2)
    axis.plot(values, place + lower, "o", color="black", markersize=3.5, alpha=alpha, zorder=3)


def _seed_mark(*, alpha: float) -> Any:
    """What such a dot means, for a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color="black", marker="o", markersize=3.5, linestyle="", alpha=alpha, label="dot: one seed")


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
