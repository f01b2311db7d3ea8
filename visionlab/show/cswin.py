"""Pictures of CSWin: how maps are cut, how reach grows, what stripes see, how far apart two cells may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from visionlab.measure.intervals import whiskers
from visionlab.show import theme
from visionlab.show.figure import Figure, figure

if TYPE_CHECKING:
    from visionlab.experiments.result import Result

__all__ = [
    "accuracy_by_distance",
    "accuracy_by_size",
    "field_over_image",
    "field_panels",
    "mark",
    "partitions",
    "puzzle_sheet",
    "reach_curves",
    "reach_maps",
    "stripe_panels",
]

ROLES = {"cswin": "method", "shifted window": "rival", "window": "baseline", "axial": "variant"}
DISTANCES = ("1", "2", "3", "4-5", "6-7")
ENCODINGS = {
    "lepe": ("method", "o", ()),
    "cpe": ("baseline", "s", (2, 3)),
    "cpe*": ("baseline", "P", (10, 3)),
    "rpe": ("variant", "D", (10, 3, 2, 3)),
    "ape": ("rival", "^", (8, 4)),
    "none": ("reference", "v", (1, 4)),
}


def partitions(regions: Mapping[str, Any], token: tuple[int, int]) -> Figure:
    """Draw how maps are cut into regions, and the region of one token: a panel for each way to cut.

    Args:
        regions: by name, a map (h, w) of numbers; tokens with equal numbers see each other, and form a rectangle.
            A name that begins with "vertical" or "horizontal" has the colour of that orientation.
        token: (row, column) of the token asked about.
    """
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, len(regions), figsize=(2.6 * len(regions), 3.0), squeeze=False)
    words = []
    for ax, (name, region) in zip(axes[0], regions.items(), strict=True):
        numbers = np.asarray(region)
        own = numbers == numbers[token]
        first = name.split(" ", maxsplit=1)[0]
        colour = theme.color(first if first in ("vertical", "horizontal") else "rival")
        ax.imshow(own, cmap=_two_colours(colour), vmin=0, vmax=1)
        for column in np.flatnonzero((np.diff(numbers, axis=1) != 0).any(axis=0)):
            ax.axvline(column + 0.5, color="#A0A0A0", linewidth=0.8)
        for row in np.flatnonzero((np.diff(numbers, axis=0) != 0).any(axis=1)):
            ax.axhline(row + 0.5, color="#A0A0A0", linewidth=0.8)
        ax.plot(token[1], token[0], "k+", markersize=9, markeredgewidth=2)
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
        ax.set_title(f"{name}: {100 * own.mean():.1f} %", fontsize=11, fontweight="normal")
        rows, columns = (np.flatnonzero(own.any(axis=axis)) for axis in (1, 0))
        extent = f"rows {rows[0]}-{rows[-1]}, columns {columns[0]}-{columns[-1]}"
        words.append(f"{name}: {extent}, {100 * own.mean():.1f} %")
    h, w = numbers.shape
    return figure(fig, f"Ways to cut a {h}x{w} map, and the part in which token {token} lies: {'; '.join(words)}.")


def reach_curves(result: Result, side: int = 56, blocks: int = 12) -> Figure:
    """Draw the share of a map that can influence a token, after 1, 2, … blocks, for each mechanism."""
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots()
    words = []
    ends: dict[int, list[tuple[str, str]]] = {}
    for variant in result.variants:
        values = [result.summary(variant, f"reach on {side}x{side}, {n} blocks (%)").mean for n in range(1, blocks + 1)]
        role = ROLES[variant]
        ax.plot(
            range(1, blocks + 1), values, color=theme.color(role), dashes=theme.DASHES[role] or (None, None), marker="o"
        )
        ends.setdefault(round(values[-1]), []).append((variant, role))
        words.append(f"{variant} {values[0]:.1f}, {values[1]:.1f}, … {values[-1]:.1f}")
    ax.set(xlabel="attention blocks", ylabel="reachable tokens (%)", xticks=range(1, blocks + 1), ylim=(0, 105))
    ax.set_title(f"What can influence a token of a {side}x{side} map?")
    for end, lines in ends.items():
        label = ", ".join(name for name, _ in lines)
        ax.annotate(
            label, (blocks, end), (8, 0), textcoords="offset points", va="center", color=theme.color(lines[0][1])
        )
    return figure(
        fig, f"Reachable share of a {side}x{side} map in percent after 1, 2, … {blocks} blocks: {'; '.join(words)}."
    )


def reach_maps(maps: Mapping[str, Sequence[Any]], token: tuple[int, int], depths: Sequence[int]) -> Figure:
    """Draw which tokens can influence one token: a row for each mechanism, a column for each depth.

    Args:
        maps: by mechanism, a boolean map (h, w) for each depth.
        token: (row, column) of the token asked about.
        depths: number of blocks of each column.
    """
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(len(maps), len(depths), figsize=(1.9 * len(depths), 2.1 * len(maps)), squeeze=False)
    words = []
    for row, (name, seen) in zip(axes, maps.items(), strict=True):
        shares = [100 * float(np.asarray(m).mean()) for m in seen]
        for ax, m, share, depth in zip(row, seen, shares, depths, strict=True):
            ax.imshow(np.asarray(m), cmap=_two_colours(theme.color(ROLES[name])), vmin=0, vmax=1)
            ax.plot(token[1], token[0], "k+", markersize=9, markeredgewidth=2)
            ax.set(xticks=[], yticks=[])
            ax.grid(False)
            ax.set_title(f"{depth} block{'s' * (depth > 1)}: {share:.1f} %", fontsize=11, fontweight="normal")
        row[0].set_ylabel(name)
        words.append(f"{name} " + ", ".join(f"{share:.1f}" for share in shares))
    counts = ", ".join(str(depth) for depth in depths)
    return figure(
        fig,
        f"Maps of the tokens that can influence token {token}, in percent after {counts} blocks: {'; '.join(words)}.",
    )


def stripe_panels(
    image: np.ndarray,
    views: Sequence[Any],
    query: tuple[int, int],
    *,
    plain: bool = False,
    other: Sequence[Any] = (),
) -> Figure:
    """Draw the attention of a query in every stage over the image: a row for each head group, a column for each stage.

    Args:
        image: (H, W, 3) in [0, 1].
        views: of `visionlab.experiments.cswin_probe.StripeProbe.at`.
        query: pixel (y, x).
        plain: show the image itself on the left.
        other: the views of a second token; where its stripe of the other orientation crosses the query's is outlined.
    """
    import matplotlib.pyplot as plt

    height, width = image.shape[:2]
    columns = plain + len(views)
    rows = max(len(view.groups) for view in views)
    size = 2.5 * columns, rows * (2.5 * height / width + 0.6)
    fig, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    if plain:
        axes[0, 0].imshow(image)
        axes[0, 0].set_title("the picture", fontsize=11, fontweight="normal")
    words = []
    for i, (column, view) in enumerate(zip(axes.T[plain:], views, strict=True)):
        for j, (ax, group) in enumerate(zip(column, view.groups, strict=False)):
            _stripe_panel(ax, image, group, query)
            h, w = group.mask.shape
            ax.set_title(f"{view.title}, {h}x{w}\n{group.name}", fontsize=11, fontweight="normal")
            if other:
                _outline(ax, group.mask & other[i].groups[1 - j].mask, (height, width))
        words.append(f"{view.title} {' and '.join(f'{g.name} of {int(g.mask.sum())} tokens' for g in view.groups)}")
    crossing = " Outlined: where the stripes of the other token cross." if other else ""
    return figure(fig, f"Attention of the token under pixel {query}: {'; '.join(words)}.{crossing}")


def _stripe_panel(ax: Any, image: np.ndarray, group: Any, query: tuple[int, int]) -> None:
    height, width = image.shape[:2]
    ax.axis("on")
    ax.imshow(image * 0.45 + 0.5, extent=(0, width, height, 0))
    heat = np.ma.masked_where(~group.mask, group.weights / max(float(group.weights.max()), 1e-12))
    ax.imshow(heat, extent=(0, width, height, 0), cmap=theme.SEQUENTIAL, vmin=0, vmax=1, alpha=0.85)
    ax.plot(query[1] + 0.5, query[0] + 0.5, marker="+", color="white", markersize=13, markeredgewidth=3.5)
    ax.plot(query[1] + 0.5, query[0] + 0.5, marker="+", color="black", markersize=11, markeredgewidth=1.5)
    ax.set(xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0))
    ax.grid(False)


def _outline(ax: Any, mask: np.ndarray, size: tuple[int, int]) -> None:
    """Outline the rectangle of a mask (h, w) over an image of (H, W) pixels: dashed black on white, seen anywhere."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    y, x = size[0] / mask.shape[0], size[1] / mask.shape[1]
    top, bottom, left, right = rows[0] * y, (rows[-1] + 1) * y, columns[0] * x, (columns[-1] + 1) * x
    border = [left, right, right, left, left], [top, top, bottom, bottom, top]
    ax.plot(*border, color="white", linestyle="-", linewidth=3.5, clip_on=False)
    ax.plot(*border, color="black", linewidth=1.8, dashes=(3, 2), clip_on=False)


def puzzle_sheet(pictures: np.ndarray, same: Sequence[int], distance: Sequence[int]) -> Figure:
    """Draw puzzles in a row with their answers.

    Args:
        pictures: (n, H, W, 3) in [0, 1].
        same: 1 where the two cells have one colour.
        distance: of the two cells.
    """
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, len(pictures), figsize=(1.75 * len(pictures), 2.2), squeeze=False)
    answers = []
    for ax, picture, answer, far in zip(axes[0], pictures, same, distance, strict=True):
        ax.imshow(picture)
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
        answers.append(f"{'same' if answer else 'different'}, {int(far)} apart")
        ax.set_title(answers[-1], fontsize=11, fontweight="normal")
    return figure(fig, f"{len(pictures)} puzzles, two coloured cells in noise each: {'; '.join(answers)}.")


def accuracy_by_distance(result: Result, title: str) -> Figure:
    """Draw accuracy against the distance of the two cells, mean and 95 % interval over seeds.

    The four mechanisms of equal cost have a line each.
    """
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots()
    words = []
    for i, variant in enumerate(variant for variant in ROLES if variant in result.variants):
        shown = [result.summary(variant, f"accuracy at distance {d} (%)") for d in DISTANCES]
        means = np.array([s.mean for s in shown])
        x = np.arange(len(DISTANCES)) + 0.06 * (i - 1.5)
        role = ROLES[variant]
        line = ax.errorbar(
            x, means, yerr=whiskers(shown), color=theme.color(role), marker="os^D"[i], capsize=3, label=variant
        )
        line[0].set_dashes(theme.DASHES[role] or (None, None))
        words.append(f"{variant} " + ", ".join(f"{mean:.1f}" for mean in means))
    ax.axhline(50, color=theme.color("reference"), dashes=(1, 4), linewidth=1.5)
    ax.text(1.02, 0.17, "chance", color=theme.color("reference"), transform=ax.transAxes, va="center")
    ax.set(
        xticks=range(len(DISTANCES)), xticklabels=DISTANCES, xlabel="distance of the two cells", ylabel="accuracy (%)"
    )
    ax.set(ylim=(40, 104), title=title)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    over = f"mean of {len(result.seeds)} seeds" if len(result.seeds) > 1 else "one seed"
    return figure(
        fig, f"Accuracy in percent at distance {', '.join(DISTANCES)} ({over}): {'; '.join(words)}. Chance is 50."
    )


def accuracy_by_size(results: Mapping[str, Result], sizes: Sequence[int], chance: Sequence[int]) -> Figure:
    """Draw accuracy on boards of some sizes: a panel a task, a line an encoding, with its 95 % interval and its seeds.

    Args:
        results: by what was asked; with metrics "accuracy on 8x8 (%)" and so on.
        sizes: cells a side; the first is the one that the networks were trained on.
        chance: accuracy of a guess in percent, for each result.
    """
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, len(results), figsize=(5.0 * len(results), 3.8), squeeze=False, sharey=True)
    words = []
    for ax, (title, result), guess in zip(axes[0], results.items(), chance, strict=True):
        told = []
        for i, (variant, (role, marker, dashes)) in enumerate(ENCODINGS.items()):
            metrics = [f"accuracy on {size}x{size} (%)" for size in sizes]
            shown = [result.summary(variant, metric) for metric in metrics]
            means = [s.mean for s in shown]
            x, colour = np.arange(len(sizes)) + 0.1 * (i - 2.5), theme.color(role)
            line = ax.errorbar(x, means, yerr=whiskers(shown), color=colour, marker=marker, elinewidth=1, label=variant)
            line[0].set_dashes(dashes or (None, None))
            for place, metric in zip(x, metrics, strict=True):
                seeds = list(result.values(variant, metric).values())
                ax.plot([place] * len(seeds), seeds, ".", color=colour, markersize=5)
            told.append(f"{variant} " + ", ".join(f"{mean:.1f}" for mean in means))
        ax.axhline(guess, color=theme.color("reference"), dashes=(1, 4), linewidth=1.5)
        names = [f"{size}×{size}" for size in sizes]
        ax.set(xticks=range(len(sizes)), xticklabels=[f"{names[0]}\n(trained on)", *names[1:]], title=title)
        ax.set(ylim=(0, 104), xlabel="cells")
        words.append(f"{title}: {'; '.join(told)}; chance {guess:g}")
    axes[0, 0].set_ylabel("accuracy (%)")
    axes[0, -1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    extent = ", ".join(f"{size}x{size}" for size in sizes)
    return figure(fig, f"Accuracy in percent on boards of {extent}. {'. '.join(words)}.")


def mark(image: np.ndarray, query: tuple[int, int]) -> np.ndarray:
    """Return an image (H, W, 3) in [0, 1] with a plus at pixel (y, x): black on white, to be seen anywhere."""
    marked = image.copy()
    arm = max(4, min(image.shape[:2]) // 28)
    for thick, colour in ((2, 1.0), (0, 0.0)):
        for dy, dx in ((arm, thick), (thick, arm)):
            y, x = query
            marked[max(0, y - dy) : y + dy + 1, max(0, x - dx) : x + dx + 1] = colour
    return marked


def field_over_image(image: np.ndarray, strength: np.ndarray, query: tuple[int, int]) -> np.ndarray:
    """Return the image dimmed where nothing acts on the query, in colour where something does; (H, W, 3) in [0, 1].

    Args:
        image: (H, W, 3) in [0, 1].
        strength: (h, w), largest = 1; shown on a logarithmic scale from a thousandth up.
        query: pixel (y, x).
    """
    import matplotlib as mpl

    rows, columns = (np.arange(n) * m // n for n, m in zip(image.shape[:2], strength.shape, strict=True))
    level = strength[np.ix_(rows, columns)]
    shade = 0.2 + 0.8 * np.clip(1 + np.log10(np.maximum(level, 1e-9)) / 3, 0, 1)
    heat = mpl.colormaps[theme.SEQUENTIAL](shade)[..., :3]
    seen = (level > 0)[..., None]
    return mark(np.where(seen, 0.45 * image + 0.55 * heat, 0.25 * image + 0.1), query)


def field_panels(image: np.ndarray, fields: Sequence[Any], query: tuple[int, int]) -> Figure:
    """Draw what can influence a spot after more and more blocks, as `field_over_image` does.

    Args:
        image: (H, W, 3) in [0, 1].
        fields: of `visionlab.experiments.cswin_probe.receptive_field`.
        query: pixel (y, x).
    """
    import matplotlib.pyplot as plt

    columns = -(-len(fields) // 2)
    fig, axes = plt.subplots(2, columns, figsize=(2.3 * columns, 5.4), squeeze=False)
    words = []
    for ax, field in zip(axes.flat, fields, strict=False):
        ax.imshow(field_over_image(image, field.strength, query))
        ax.set_title(f"{field.name}\n{field.share():.1f} %", fontsize=11, fontweight="normal")
        words.append(f"{field.name} {field.share():.1f}")
    for ax in axes.flat:
        ax.axis("off")
    said = f"Share of the picture that acts on pixel {query}, in percent, after {'; '.join(words)}."
    return figure(fig, said, few_colours=True)


def _two_colours(colour: str) -> Any:
    from matplotlib.colors import ListedColormap

    return ListedColormap(["#EDEDED", colour])
