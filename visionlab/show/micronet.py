"""Pictures of MicroNet: the wiring of P Phi Q^T, kernels of rank 1, Shift-Max, and a channel that is followed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from visionlab.show import theme
from visionlab.show.figure import Figure, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["follow_figure", "rank_figure", "rank_one", "shift_max_figure", "wiring_figure"]

PALE, ONE, MORE = "#EBEBEB", "#607D8B", ("#F0B232", "#DE6E14", "#AC3A0A", "#60180A")
"""Of the map of paths: none, exactly one, and 2, 3 or 4, 5 to 8, more; as in the wiring board."""
BOUNDS = (-0.5, 0.5, 1.5, 2.5, 4.5, 8.5, 1e6)
FINEST = 48
"""More channels than these get no white lines between their cells, which would fill the picture."""
NEIGHBOURS = ((-1.0, "variant", "-", 7.5), (0.0, "method", (0, (8, 4)), 4.0), (1.0, "rival", "-", 1.6))
"""Of the curves of Shift-Max: value of the neighbour, role, dashes and width; each can be seen below the next."""


def wiring_figure(p: Any, phi: Any, q_transposed: Any) -> Figure:
    """Draw the factors of W = P Phi Q^T and how many paths lead to each output from each input.

    Args:
        p: (C, C/R) zeros and ones.
        phi: (C/R, C/R), a permutation.
        q_transposed: (C/R, C).

    Raises:
        ValueError: if the shapes do not fit one another.
    """
    import matplotlib.pyplot as plt
    from matplotlib.colors import BoundaryNorm, ListedColormap

    factors = [np.asarray(matrix) for matrix in (p, phi, q_transposed)]
    channels, hidden = factors[0].shape
    if factors[1].shape != (hidden, hidden) or factors[2].shape != (hidden, channels):
        shapes = ", ".join(str(matrix.shape) for matrix in factors)
        raise ValueError(f"p, phi, q_transposed: expected (C, M), (M, M) and (M, C), got {shapes}")
    paths = factors[0] @ factors[1] @ factors[2]
    ratios = [hidden, hidden, channels, channels]
    fig, axes = plt.subplots(1, 4, figsize=(10.5, 3.9), gridspec_kw={"width_ratios": ratios})
    titles = ("last P expands", "then Φ shuffles", "first Qᵀ squeezes", "paths, output by input")
    for ax, matrix, title, sign in zip(axes, [*factors, paths], titles, ("", "·", "·", "="), strict=True):
        colours = ListedColormap([PALE, ONE, *MORE])
        ax.imshow(matrix, cmap=colours, norm=BoundaryNorm(BOUNDS, colours.N))
        ax.set_title(f"{title}\n{matrix.shape[0]}×{matrix.shape[1]}", fontsize=11)
        # As a label of the axis, the sign gets room of its own in front of its matrix.
        ax.set_ylabel(sign, rotation=0, fontsize=24, fontweight="bold", ha="center", va="center", labelpad=12)
        _cells(ax, matrix.shape, lines=channels <= FINEST)
    labels = ("no path", "one path", "2 paths", "3 or 4", "5 to 8", "more than 8")
    kinds = [i for i in range(6) if ((paths > BOUNDS[i]) & (paths < BOUNDS[i + 1])).any()]
    handles = [
        plt.Rectangle((0, 0), 1, 1, facecolor=(PALE, ONE, *MORE)[i], edgecolor="grey", linewidth=0.5) for i in kinds
    ]
    axes[-1].legend(
        handles, [labels[i] for i in kinds], loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3, fontsize=10
    )
    return figure(fig, wiring_words(factors[0], factors[2], paths))


def _cells(ax: Axes, shape: tuple[int, ...], *, lines: bool) -> None:
    """Take ticks and frame from a picture of a matrix, and draw white lines between its cells if wanted."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    ax.grid(False)
    if lines:
        ax.set_xticks(np.arange(1, shape[1]) - 0.5, minor=True)
        ax.set_yticks(np.arange(1, shape[0]) - 0.5, minor=True)
        ax.tick_params(which="minor", length=0)
        ax.set_axisbelow(False)
        ax.grid(which="minor", color="white", linewidth=0.5)


def wiring_words(p: np.ndarray, q_transposed: np.ndarray, paths: np.ndarray) -> str:
    """Say what a wiring connects and costs."""
    channels, hidden = p.shape
    cost, low, high = int(p.sum() + q_transposed.sum()), int(paths[paths > 0].min()), int(paths.max())
    each = f"{low} to {high} paths" if low < high else "one path" if low == 1 else f"{low} paths"
    return (
        f"{channels} channels, {hidden} hidden, {channels // int(q_transposed[0].sum())} groups:"
        f" {int(paths[0].sum())} paths end in an output;"
        f" {100 * float((paths > 0).mean()):.1f} % of the pairs of channels are connected, by {each} each;"
        f" {cost:,} multiply-adds a pixel, {100 * cost / channels**2:.1f} % of the dense {channels**2:,}."
    )


def rank_one(kernel: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the nearest column times row to a kernel, and what of it is lost in percent of its energy."""
    u, s, v = np.linalg.svd(np.asarray(kernel, dtype=np.float64))
    total = float((s**2).sum())
    lost = 100 * float((s[1:] ** 2).sum()) / total if total else 0.0
    return s[0] * np.outer(u[:, 0], v[0]), lost


def rank_figure(kernels: Mapping[str, np.ndarray]) -> Figure:
    """Draw kernels above the nearest product of a column and a row.

    Args:
        kernels: (k, k) by name.
    """
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(2, len(kernels), figsize=(1.9 * len(kernels), 5), squeeze=False)
    said = []
    for (above, below), (name, kernel) in zip(axes.T, kernels.items(), strict=True):
        near, lost = rank_one(kernel)
        # The nearest product may have larger weights than the kernel: one scale for both, which cuts none.
        peak = max(float(np.abs([kernel, near]).max()), 1e-12)
        for ax, matrix in ((above, kernel), (below, near)):
            image = ax.imshow(matrix / peak, cmap="RdBu_r", vmin=-1, vmax=1)
            _cells(ax, matrix.shape, lines=True)
        above.set_title(name, fontsize=11)
        below.set_title(f"{lost:.0f} % lost", fontsize=11)
        said.append(f"{name} {lost:.0f} %")
    axes[0, 0].set_ylabel("kernel")
    axes[1, 0].set_ylabel("column × row")
    scale = fig.colorbar(image, ax=axes, location="bottom", aspect=40, shrink=0.6, ticks=[-1, 0, 1])
    scale.ax.set_xticklabels(["negative", "0", "positive"])
    scale.set_label("weight, on a scale of its own in each column of pictures", fontsize=11)
    scale.outline.set_visible(False)
    return figure(fig, f"Lost of a kernel's energy by its nearest column times row: {', '.join(said)}.")


def shift_max_figure(functions: Mapping[str, Sequence[float]]) -> Figure:
    """Draw max(a1 x + b1 x~, a2 x + b2 x~) over x, for three values of the neighbour x~.

    Args:
        functions: (a1, b1, a2, b2) by name.
    """
    import matplotlib.pyplot as plt

    columns = min(4, len(functions))
    rows = -(-len(functions) // columns)
    fig, axes = plt.subplots(
        rows, columns, figsize=(2.7 * columns, 2.6 * rows + 0.9), sharex=True, sharey=True, squeeze=False
    )
    said = []
    x = np.linspace(-2, 2, 201)
    for ax, (name, (a1, b1, a2, b2)) in zip(axes.flat, functions.items(), strict=False):
        for next_, role, style, width in NEIGHBOURS:
            y = np.maximum(a1 * x + b1 * next_, a2 * x + b2 * next_)
            label = f"x̃ = {_number(next_)}"
            ax.plot(x, y, linestyle=style, color=theme.color(role), linewidth=width, label=label)
        ends = [[max(a1 * s + b1 * n, a2 * s + b2 * n) for n in (-1, 0, 1)] for s in (-1, 1)]
        said.append(f"{name}: {_row(ends[0])} at x = -1, {_row(ends[1])} at x = 1")
        first, second = (f"({_number(a)}, {_number(b)})" for a, b in ((a1, b1), (a2, b2)))
        ax.set_title(f"{name}\n{first}, {second}", fontsize=11)
    _label_xy(axes, len(functions))
    axes[0, 0].set_ylim(-2.6, 2.6)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(
        handles, labels, loc="outside lower center", ncols=3, fontsize=11, handlelength=4, title_fontsize=11,
        title="y = max(a₁ x + b₁ x̃, a₂ x + b₂ x̃); below each name: (a₁, b₁), (a₂, b₂)",
    )  # fmt: skip
    return figure(fig, f"Shift-Max over x; values for neighbours -1, 0, 1. {'; '.join(said)}.")


def _label_xy(axes: np.ndarray, shown: int) -> None:
    """Name x below the lowest of the panels (rows, columns) in each column and y at the left; hide those not shown."""
    columns = axes.shape[1]
    for i, ax in enumerate(axes.flat):
        ax.set_visible(i < shown)
        if i % columns == 0:
            ax.set_ylabel("y", rotation=0, labelpad=8)
        if i + columns >= shown:
            ax.tick_params(labelbottom=True)
            ax.set_xlabel("x")


def _number(value: float) -> str:
    return f"{value + 0.0:g}".replace("-", "−")


def _row(values: Sequence[float]) -> str:
    return ", ".join(f"{value + 0.0:g}" for value in values)


def follow_figure(runs: Mapping[str, Sequence[tuple[str, Any]]]) -> Figure:
    """Draw which channels behind each layer one channel of the stem reaches.

    Args:
        runs: by name, what `visionlab.experiments.micronet_wires.followed` returns, of one network.
    """
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, len(runs), figsize=(2.9 * len(runs) + 1.4, 5.9), sharey=True, squeeze=False)
    said = []
    for ax, (name, steps) in zip(axes[0], runs.items(), strict=True):
        shown = [(layer, np.asarray(channels, dtype=bool)) for layer, channels in steps]
        _strips(ax, shown)
        shares = [100 * float(channels.mean()) for _, channels in shown]
        missed = [i for i, share in enumerate(shares) if share < 100]
        first = missed[-1] + 1 if missed else 0
        whole = f"all from {shown[first][0]} on" if first < len(shown) else f"{shares[-1]:.0f} % in the end"
        said.append(f"{name}: {whole}")
        ax.set_title(name, fontsize=11)
        ax.set_xlabel("channels (%)")
    names = [f"{layer} · {len(channels)}" for layer, channels in next(iter(runs.values()))]
    axes[0, 0].set_yticks(range(len(names)), names, fontsize=10)
    axes[0, 0].set_ylabel("layer · number of its channels")
    handles = [plt.Rectangle((0, 0), 1, 1, facecolor=colour) for colour in (theme.color("method"), PALE)]
    title = f"a cell is a channel; where there are more than {FINEST}, no lines part them"
    fig.legend(handles, ["reached", "not reached"], loc="outside lower center", ncols=2, title=title, title_fontsize=11)
    return figure(fig, f"Channels that one channel of the stem reaches, layer by layer. {'; '.join(said)}.")


def _strips(ax: Axes, steps: Sequence[tuple[str, np.ndarray]]) -> None:
    """One strip a layer, from the input at the top; a cell a channel, in colour if it is reached."""
    from matplotlib.colors import ListedColormap

    colours = ListedColormap([PALE, theme.color("method")])
    for row, (_, reached) in enumerate(steps):
        top, bottom = row - 0.36, row + 0.36
        ax.imshow(reached[None], extent=(0, 100, bottom, top), aspect="auto", cmap=colours, vmin=0, vmax=1)
        if len(reached) <= FINEST:
            ax.vlines(np.linspace(0, 100, len(reached) + 1)[1:-1], top, bottom, color="white", linewidth=0.5)
    ax.set_xlim(0, 100)
    ax.set_ylim(len(steps) - 0.5, -0.5)
    ax.grid(False)
