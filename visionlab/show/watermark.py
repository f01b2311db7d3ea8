"""Pictures of lab 10: an answer and its mark, what thieves' answers give away, and from how many of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from visionlab.protection.owner_code import Hues
from visionlab.protection.verification import LEAST_IMAGES
from visionlab.show import theme
from visionlab.show.figure import Figure, Interactive, Table, figure
from visionlab.show.measured import mean_or_nan, measured_table
from visionlab.show.pictures import picture_grid

if TYPE_CHECKING:
    from visionlab.experiments.result import Result

__all__ = [
    "STYLE", "code_strip", "colour_cube", "colour_plane", "evidence_curves", "mark_strip", "published_table",
    "theft_map", "theft_rows", "theft_table",
]  # fmt: skip

STYLE = {"structure": "method", "logo": "rival"}
"""Roles of the marks in every figure."""
PLANE = np.array([[2, -1, -1], [0, 3**0.5, -(3**0.5)]]) / 6**0.5
"""Right and up in the plane of chroma, which looks along the grey diagonal: red lies at the right."""
GROUND = "#E3E3E3"
"""Behind colours, so that pale ones are seen."""


# --- Pictures ---------------------------------------------------------------------------------------------------------


def mark_strip(views: Mapping[str, Any]) -> Figure:
    """Show answers on their way, one a row: clean, to be hidden, marked, difference, and two drawings.

    Args:
        views: by name, `watermark_probe.MarkView`.
    """
    parts = {
        "clean": "clean answer", "pattern": "to be hidden", "marked": "marked", "residual": "difference ×8",
        "drawing": "read from it", "clean_drawing": "read without mark",
    }  # fmt: skip
    rows = {name: {title: getattr(view, part) for part, title in parts.items()} for name, view in views.items()}
    fig, axes = picture_grid(rows, cell=(1.6, 1.85))
    words = []
    for line, (name, view) in zip(axes, views.items(), strict=True):
        line[3].set_xlabel(f"{view.psnr:.1f} dB", fontsize=10, labelpad=2)
        for axis, score in ((line[4], view.score), (line[5], view.clean_score)):
            axis.set_xlabel(f"score {score:.2f}", fontsize=10, labelpad=2)
        found = {True: "found", False: "not found", None: "too little structure to look at"}[view.found]
        words.append(
            f"{name}: {view.psnr:.1f} dB, score {view.score:.2f}, without mark {view.clean_score:.2f}, {found}"
        )
    return figure(fig, f"Answers, their mark and what is read from them. {'; '.join(words)}.")


def theft_rows(rows: Mapping[str, Mapping[str, np.ndarray]], alt: str) -> Figure:
    """Show what thieves answer and what is read from it: a row for each mark and step, a column for each thief.

    Args:
        rows: by row, then by the thief's augmentation: a picture (H, W, 3), of one answer or of several.
        alt: what the figure shows.
    """
    fig, _ = picture_grid(rows, cell=(2.1, 2.15))
    return figure(fig, alt, few_colours=True)


def code_strip(rows: Mapping[str, Mapping[str, tuple[np.ndarray, str]]], alt: str) -> Figure:
    """Show images, and their structure in the owner's inks, with the message that it carries below.

    Args:
        rows: by image, then by what is painted ("image", "edges", "2 regions"): the picture (H, W, 3) in [0, 1], and
            the message; empty below what carries none.
        alt: what the figure shows.
    """
    fig, axes = picture_grid(
        {name: {title: picture for title, (picture, _) in row.items()} for name, row in rows.items()}, cell=(1.9, 2.15)
    )
    for line, row in zip(axes, rows.values(), strict=True):
        for axis, (_, message) in zip(line, row.values(), strict=True):
            axis.set_xlabel(message, fontsize=11, labelpad=3, fontfamily="monospace")
    return figure(fig, alt, few_colours=True)


# --- Evidence ---------------------------------------------------------------------------------------------------------


def evidence_curves(result: Result, variants: Mapping[str, str], counts: Sequence[int]) -> Figure:
    """Draw how often theft is claimed from N answers: means over seeds, in a band of their 95 % interval.

    The colour is that of the mark; thieves of clean answers, where each claim is a false one, are dotted.

    Args:
        result: of the experiment "watermark/theft".
        variants: by name in the legend: the variant, "structure: all".
        counts: N; those below 8, from which nothing is ever claimed, are left out.

    Raises:
        ValueError: if there is no variant, or no N of 8 or more.
    """
    import matplotlib.pyplot as plt

    counts = [n for n in counts if n >= LEAST_IMAGES]
    if not counts or not variants:
        raise ValueError(f"counts, variants: expected a variant, and a number of {LEAST_IMAGES} or more")
    fig, axis = plt.subplots(figsize=(8.4, 4.2))
    words, seen = [], dict.fromkeys(STYLE, 0)
    for i, (name, variant) in enumerate(variants.items()):
        found = [result.summary(variant, f"held at {n} (%)") for n in counts]
        mark, clean = variant.partition(":")[0], "clean" in variant
        line, colour = ":" if clean else ("-", "--", "-.")[seen[mark] % 3], theme.color(STYLE[mark])
        seen[mark] += not clean
        # Later lines and marks are smaller, so that those below them are seen.
        size = 1 - i / max(1, len(variants) - 1)
        axis.plot(
            counts, [each.mean for each in found], label=name, marker="o" if mark == "structure" else "s",
            linestyle=line, linewidth=1.6 + 3.9 * size, markersize=5.5 + 6.5 * size,
            markerfacecolor="white" if clean else None, color=colour,
        )  # fmt: skip
        low, high = (np.clip([getattr(each, side) for each in found], 0, 100) for side in ("low", "high"))
        if found[0].seeds > 1:  # else they are infinite
            axis.fill_between(counts, low, high, alpha=0.15, linewidth=0, color=colour)
        words.append(f"{name}: " + ", ".join(f"{each.mean:.0f}" for each in found))
    axis.set_xscale("log", base=2)
    axis.set_xticks(counts, [str(n) for n in counts])
    axis.set(xlabel="answers that the owner looks at", ylabel="sets with a claim (%)", ylim=(-4, 104))
    axis.set_title("How often is theft claimed?")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    asked = ", ".join(str(n) for n in counts)
    return figure(fig, f"Percent of sets of {asked} answers for which theft is claimed. {'; '.join(words)}.")


def theft_map(result: Result, rows: Mapping[str, str], settings: Sequence[str]) -> Figure:
    """Show for how many sets of 32 answers theft is claimed, by thief and by what was made of the answers: means.

    Args:
        result: of the experiment "watermark/theft".
        rows: by name of the row: the thief, as in the variants after the mark: "all", "clean thief, none".
        settings: what was made of the answers: "none", "JPEG 75". A thief of one mark only is left open at the other.

    Raises:
        ValueError: if there is no row or no setting.
    """
    import matplotlib.pyplot as plt

    if not rows or not settings:
        raise ValueError("rows, settings: expected one or more of each")
    size = (1.15 * len(settings) + 3.4, 0.44 * len(rows) + 1.9)
    fig, axes = plt.subplots(1, len(STYLE), figsize=size, sharey=True)
    words = []
    for axis, mark in zip(axes, STYLE, strict=True):
        means = np.array([
            [mean_or_nan(result, f"{mark}: {row}", f"held at 32, {s} (%)") for s in settings]
            for row in rows.values()
        ])  # fmt: skip
        axis.imshow(means, cmap=theme.SEQUENTIAL_TWIN, vmin=0, vmax=100, aspect="auto")
        axis.set_facecolor("#F2F2F2")
        axis.set_xticks(range(len(settings)), settings, rotation=35, ha="right")
        axis.set_yticks(range(len(rows)), list(rows))
        axis.grid(visible=False)
        for (i, j), value in np.ndenumerate(means):
            colour = "white" if value < 60 else "black"
            axis.text(j, i, _whole(value), ha="center", va="center", color=colour, fontsize=11)
        axis.set_title(mark)
        words += [
            f"{mark}, {name}: " + ", ".join(f"{s} {_whole(value)}" for s, value in zip(settings, line, strict=True))
            for name, line in zip(rows, means, strict=True)
            if not np.isnan(line).all()
        ]
    fig.supxlabel("what was made of the answers", fontsize=12)
    return figure(fig, f"Percent of sets of 32 answers for which theft is claimed. {'; '.join(words)}.")


def theft_table(
    result: Result, variants: Mapping[str, str] | Sequence[str], metrics: Sequence[str], caption: str
) -> Table:
    """Tabulate metrics of variants: mean and 95 % interval; empty where a mark has no such metric.

    Args:
        result: of the experiment "watermark/theft".
        variants: by name of the row, or their own names.
        metrics: one a column.
        caption: what the table says.

    Raises:
        KeyError: if nothing was measured of a variant.
    """
    return measured_table(result, variants, metrics, caption, head="thief")


def published_table() -> Table:
    """Tabulate the published success rates of the logo, by the thief's network and loss, and what is not at hand."""
    columns = ("CNet", "Res9", "Res16", "UNet", "L1", "L1 + adv", "L2", "L2 + adv", "perc + adv")
    all_found, none = "100 / 100", "0 / 0"
    rows = {
        "X-rays": ("93 / 100", *[all_found] * 7, "71 / 94"),
        "rain": (*[all_found] * 7, "99 / 100", all_found),
        "X-rays, without adversarial stage": (*[none] * 6, "27 / 88", "44 / 96", none),
        "rain, without adversarial stage": (*[none] * 8, "0 / 54"),
        "structure mark: its tables are not at hand": ("",) * 9,
    }
    return Table(
        [[name, *cells] for name, cells in rows.items()],
        ["published", *columns],
        "The logo (arXiv 2103.04980): answers of thieves' networks in which it is found, in %. Two rates each: by the"
        " logo's correlation, and by another measure, most likely a classifier",
    )


# --- Colours ----------------------------------------------------------------------------------------------------------


def colour_plane(clouds: Mapping[str, np.ndarray], inks: np.ndarray, own: int, title: str) -> Figure:
    """Show what colours were read from single images, along the grey diagonal: only hue decides, the angle here.

    Rays part the hues of two inks, and the owner's sector is light. A cross is a colour too pale to be read.

    Args:
        clouds: by whose answers they are: mean colours (N, 3) of the drawings, white is 1.
        inks: (K, 3) in [0, 1], two or more, none grey.
        own: which of them is the owner's.
        title: of the figure.

    Raises:
        ValueError: if there is no such ink, or a cloud holds no colours (N, 3).
    """
    import matplotlib.pyplot as plt

    symbols = _read(clouds, inks, own)
    columns = min(4, len(clouds))
    lines = -(-len(clouds) // columns)
    size = (2.75 * columns, 3.15 * lines + 0.4)
    fig, axes = plt.subplots(lines, columns, figsize=size, squeeze=False)
    fig.set_layout_engine("constrained", h_pad=0.09)
    reach = 1.12 * max(_chroma(inks)[2], *(_chroma(cloud)[2] for cloud in clouds.values()))
    for axis in axes.flat[len(clouds) :]:
        axis.set_visible(False)
    words = []
    for axis, (name, cloud) in zip(axes.flat, clouds.items(), strict=False):
        _sectors(axis, inks, own, reach)
        across, up, _ = _chroma(cloud)
        read = symbols[name] >= 0
        axis.scatter(across[~read], up[~read], s=16, c="#7A7A7A", marker="x", linewidths=0.8)
        colours = np.clip(cloud[read], 0, 1)
        axis.scatter(across[read], up[read], s=20, c=colours, edgecolors="#00000080", linewidths=0.4)
        across, up, _ = _chroma(inks)
        mine = np.arange(len(inks)) == own
        area, width = np.where(mine, 260, 120), np.where(mine, 1.6, 0.6)
        axis.scatter(across, up, c=inks, marker="*", edgecolors="black", zorder=4, s=area, linewidths=width)
        share, pale = 100 * (symbols[name] == own).mean(), 100 * (~read).mean()
        axis.set_title(f"{name}\n{share:.0f} % own ink", fontsize=11, fontweight="normal", loc="center")
        words.append(f"{name}: {share:.0f} % of {len(cloud)} colours read as the own ink, {pale:.0f} % not read")
    fig.suptitle(title, x=0, ha="left", fontsize=13, fontweight="bold")
    return figure(fig, f"{title}: ink {own} of {len(inks)}. {'; '.join(words)}.")


def colour_cube(clouds: Mapping[str, np.ndarray], inks: np.ndarray) -> Interactive:
    """Show the same colours in the cube of red, green and blue, with inks as diamonds; clouds go by a click.

    Args:
        clouds: by whose answers they are: mean colours (N, 3) of the drawings, white is 1.
        inks: (K, 3) in [0, 1], none grey.

    Raises:
        ValueError: if a cloud holds no colours (N, 3).
    """
    import plotly.graph_objects as go

    symbols = _read(clouds, inks, 0)
    fig = go.Figure()
    for name, cloud in clouds.items():
        shape = ("circle", "square", "x", "cross")[len(fig.data) % 4]
        fig.add_trace(_points(name, cloud, {"size": 4, "symbol": shape, "line": {"width": 0.5, "color": "#808080"}}))
    fig.add_trace(_points("inks", inks, {"size": 9, "symbol": "diamond", "line": {"width": 2, "color": "black"}}))
    axes = {
        f"{axis}axis": {"title": {"text": name}, "range": [-0.05, 1.1], "tickvals": [0, 0.5, 1]}
        for axis, name in zip("xyz", ("red", "green", "blue"), strict=True)
    }
    fig.update_layout(
        scene=axes | {"aspectmode": "cube", "camera": {"eye": {"x": -1.4, "y": 1.3, "z": 0.9}}},
        height=460, margin={"l": 0, "r": 0, "t": 10, "b": 0}, legend={"itemsizing": "constant"},
    )  # fmt: skip
    words = [
        f"{name}: {len(cloud)} colours, in the mean ({', '.join(f'{x:.2f}' for x in cloud.mean(0))}),"
        f" {100 * (symbols[name] >= 0).mean():.0f} % read as an ink"
        for name, cloud in clouds.items()
    ]
    return Interactive(
        fig, f"Colours read, in the cube of red, green and blue, and {len(inks)} inks. {'; '.join(words)}."
    )


def _whole(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.0f}"


def _read(clouds: Mapping[str, np.ndarray], inks: np.ndarray, own: int) -> dict[str, np.ndarray]:
    """Return the symbols (N,) of each cloud, as the owner decodes them; check what is drawn."""
    if not 0 <= own < len(inks):
        raise ValueError(f"own: expected 0 to {len(inks) - 1}, one of the inks, got {own}")
    for name, cloud in clouds.items():
        if cloud.ndim != 2 or cloud.shape[1] != 3 or not len(cloud):
            raise ValueError(f"clouds: expected colours (N, 3) of {name!r}, got shape {cloud.shape}")
    code = Hues(tuple((int(r), int(g), int(b)) for r, g, b in np.rint(255 * inks)))
    return {name: code.read(torch.from_numpy(np.asarray(cloud, np.float32))).numpy() for name, cloud in clouds.items()}


def _chroma(colours: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return where colours (N, 3) lie in the plane of chroma, across and up, and how far from grey at most."""
    across, up = PLANE @ colours.T
    return across, up, float(np.hypot(across, up).max())


def _sectors(axis: Any, inks: np.ndarray, own: int, reach: float) -> None:
    """Draw the rays between neighbouring hues, and the own sector."""
    from matplotlib.patches import Wedge

    across, up, _ = _chroma(inks)
    angles = np.rad2deg(np.arctan2(up, across)) % 360
    order = np.argsort(angles)
    place = int(np.flatnonzero(order == own)[0])
    gaps = (np.roll(angles[order], -1) - angles[order]) % 360
    borders = angles[order] + gaps / 2
    axis.add_patch(Wedge((0, 0), 2 * reach, borders[place - 1], borders[place], color="white", linewidth=0))
    for border in np.deg2rad(borders):
        axis.plot([0, 2 * reach * np.cos(border)], [0, 2 * reach * np.sin(border)], color="#A6A6A6", lw=0.8, ls="-")
    axis.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[], aspect="equal", facecolor=GROUND)
    axis.spines[:].set_visible(False)
    axis.grid(visible=False)


def _points(name: str, colours: np.ndarray, marker: dict[str, Any]) -> Any:
    import plotly.graph_objects as go

    x, y, z = np.round(colours, 3).T.tolist()
    own = [f"rgb({r}, {g}, {b})" for r, g, b in np.rint(255 * np.clip(colours, 0, 1)).astype(int)]
    return go.Scatter3d(x=x, y=y, z=z, name=name, mode="markers", marker=marker | {"color": own})
