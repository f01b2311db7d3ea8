"""Pictures of Mobile-Former: what tokens read, whom pixels hear, how slopes stand, what tokens of another image do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from visionlab.show import theme
from visionlab.show.bridge_words import share_of_half, strength
from visionlab.show.figure import Figure, figure

if TYPE_CHECKING:
    from visionlab.experiments.mobile_former_probe import BlockView, Injection

__all__ = [
    "board_panels",
    "bridge_panels",
    "bridge_view",
    "cosine_panels",
    "injection_panels",
    "slope_cloud",
    "slope_curves",
]

SQUARES = ("#3A3D44", "#C0392B", "#2E8B57")
"""Empty cells of a board, red squares and green ones."""


def bridge_panels(image: np.ndarray, views: Sequence[BlockView]) -> Figure:
    """Draw the bridge: a column for each block, a row for what each token reads, a last row for whom pixels hear most.

    Args:
        image: (H, W, 3) in [0, 1].
        views: of the blocks to show, at most seven or so.
    """
    import matplotlib.pyplot as plt

    tokens, columns = len(views[0].tokens), len(views)
    ratio = image.shape[0] / image.shape[1]
    size = 1.55 * columns + 0.6, (tokens + 1) * 1.55 * ratio + 0.6
    fig, axes = plt.subplots(tokens + 1, columns, figsize=size, squeeze=False)
    words = []
    for column, view in zip(axes.T, views, strict=True):
        column[0].set_title(view.title.replace(", ", "\n"), fontsize=11, fontweight="normal")
        reads = [None] * tokens if view.reads is None else list(strength(view.read))
        for ax, weights in zip(column[:-1], reads, strict=True):
            _ground(ax, image)
            if weights is not None:
                _over(ax, image, weights, theme.SEQUENTIAL)
        _ground(column[-1], image)
        if view.hears is not None:
            _over(column[-1], image, *_ears(view.heard))
        words.append(f"{view.title}: {_share_words(view)}")
    for token, ax in enumerate(axes[:-1, 0]):
        ax.set_ylabel(f"token {token + 1}", fontsize=11, labelpad=12)
        ax.plot([-0.03, -0.03], [0, 1], color=theme.TOKENS[token], linewidth=7, transform=ax.transAxes, clip_on=False)
    axes[-1, 0].set_ylabel("heard most", fontsize=11, labelpad=12)
    said = (
        "Half of what tokens read lies on so many percent of the pixels, token by token; and so many percent of the"
        f" pixels hear each token most. {'; '.join(words)}."
    )
    return figure(fig, said)


def _share_words(view: BlockView) -> str:
    """Say where tokens read and who is heard, in percent."""
    reads = (
        "nothing is read"
        if view.reads is None
        else "read " + ", ".join(f"{100 * share_of_half(weights) / weights.size:.0f}" for weights in view.read)
    )
    if view.hears is None:
        return f"{reads}, nothing is written"
    first = view.heard.argmax(axis=0)
    return f"{reads}, heard " + ", ".join(f"{100 * (first == token).mean():.0f}" for token in range(len(view.heard)))


def _ground(ax: Any, image: np.ndarray) -> None:
    """The picture in grey."""
    height, width = image.shape[:2]
    ax.imshow(image.mean(axis=2), extent=(0, width, height, 0), cmap="gray", vmin=0, vmax=1)
    _bare(ax)


def _bare(ax: Any) -> None:
    """No ticks, grid and border."""
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set_visible(False)


def _over(ax: Any, image: np.ndarray, shown: np.ndarray, colormap: str | None = None) -> None:
    """A map over it: strengths in [0, 1], the stronger the more opaque, or colours with their opacity (h, w, 4)."""
    height, width = image.shape[:2]
    opacity = {} if colormap is None else {"alpha": 0.45 + 0.5 * shown}
    ax.imshow(shown, extent=(0, width, height, 0), cmap=colormap, vmin=0, vmax=1, **opacity)


def _ears(heard: np.ndarray) -> tuple[np.ndarray]:
    """Return the colour of the token that each pixel hears most, the more opaque the further it is ahead."""
    from matplotlib.colors import to_rgb

    even = 1 / len(heard)
    ahead = (heard.max(axis=0) - even) / (1 - even) if len(heard) > 1 else np.ones(heard.shape[1:])
    inks = np.array([to_rgb(colour) for colour in theme.TOKENS[: len(heard)]])
    return (np.dstack([inks[heard.argmax(axis=0)], 0.2 + 0.75 * ahead]),)


def cosine_panels(views: Sequence[BlockView]) -> Figure:
    """Draw the cosines of the tokens that leave each block: do they stay different?"""
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, len(views), figsize=(1.9 * len(views), 2.3), squeeze=False)
    tokens, words = len(views[0].tokens), []
    for ax, view in zip(axes[0], views, strict=True):
        ax.imshow(view.cosine, cmap="RdBu", vmin=-1, vmax=1)
        for i, row in enumerate(view.cosine):
            for j, value in enumerate(row):
                ink = "white" if abs(value) > 0.6 else "black"
                ax.text(j, i, f"{value:.1f}".replace("-0.0", "0.0"), ha="center", va="center", color=ink, fontsize=9)
        names = [str(token + 1) for token in range(tokens)]
        ax.set(xticks=range(tokens), yticks=range(tokens), xticklabels=names, yticklabels=names)
        ax.tick_params(labelsize=9, length=0)
        ax.grid(False)
        ax.set_title(view.title.replace(", ", "\n"), fontsize=11, fontweight="normal")
        others = view.cosine[~np.eye(tokens, dtype=bool)]
        words.append(f"{view.title} {others.mean():.2f}" if others.size else view.title)
    return figure(
        fig, f"Cosines of the {tokens} tokens behind each block; mean of two different ones: {'; '.join(words)}."
    )


def slope_curves(slopes: np.ndarray, names: Sequence[str], what: str) -> Figure:
    """Draw y = max(a1 x, a2 x) of one channel, a line for each image.

    Args:
        slopes: (n, 2), a1 and a2 of the channel for each image.
        names: of the images.
        what: which channel it is.
    """
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots(figsize=(6.6, 4.0))
    x = np.linspace(-2, 2, 81)
    ax.plot(x, np.maximum(x, 0), color="black", linewidth=4, alpha=0.25, label="ReLU: (1, 0)")
    words = []
    for i, ((a1, a2), name) in enumerate(zip(slopes, names, strict=True)):
        colour = theme.TOKENS[i % len(theme.TOKENS)]
        line = "-" if i < len(theme.TOKENS) else (0, (4, 2))
        ax.plot(x, np.maximum(a1 * x, a2 * x), color=colour, linewidth=1.6, linestyle=line)
        words.append(f"{name} ({a1:.2f}, {a2:.2f})".replace("-0.00", "0.00"))
        ax.plot([], [], color=colour, linestyle=line, label=words[-1])
    ax.set(xlabel="x", ylabel="max(a1 x, a2 x)", title=what)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=10)
    return figure(fig, f"{what}: (a1, a2) for {len(names)} images: {', '.join(words)}. A ReLU has (1, 0).")


def slope_cloud(slopes: Mapping[str, np.ndarray]) -> Figure:
    """Draw a1 against a2 of all channels, a panel for each group.

    Args:
        slopes: by name of the group, (2, n): a1 and a2 of every channel and image.
    """
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, len(slopes), figsize=(3.1 * len(slopes), 3.2), squeeze=False, sharey=True)
    words = []
    for ax, (name, (a1, a2)) in zip(axes[0], slopes.items(), strict=True):
        ax.hist2d(a1, a2, bins=40, range=((0, 2), (-1, 1)), cmap="Blues", cmin=1)
        ax.plot(1, 0, "+", color=theme.color("rival"), markersize=13, markeredgewidth=2.5)
        ax.set(xlabel="a1", xlim=(0, 2), ylim=(-1, 1))
        ax.set_title(name, fontsize=11, fontweight="normal")
        near = 100 * (np.hypot(a1 - 1, a2) < 0.1).mean()
        folded = 100 * (a2 < -0.1).mean()
        words.append(f"{name}: {near:.0f} % within 0.1 of a ReLU, {folded:.0f} % with a2 below -0.1")
    axes[0, 0].set_ylabel("a2")
    return figure(fig, f"Slopes (a1, a2) of all channels; the plus is a ReLU, (1, 0). {'; '.join(words)}.")


def injection_panels(
    image: np.ndarray, donor: np.ndarray, injection: Injection, classes: Sequence[str], after: str
) -> Figure:
    """Draw what the tokens of another image move: both images, the maps of each block, and the answers.

    Args:
        image: (H, W, 3) in [0, 1], which gets the tokens.
        donor: (H, W, 3) in [0, 1], which gives them.
        injection: of `visionlab.experiments.mobile_former_probe.inject`.
        classes: names of the answers.
        after: the block, in words, whose tokens were exchanged.
    """
    import matplotlib.pyplot as plt

    blocks = len(injection.moved)
    fig, axes = plt.subplots(1, 2 + blocks, figsize=(1.75 * (2 + blocks), 2.5), squeeze=False)
    strongest = max(float(moved.max()) for moved in injection.moved) or 1.0
    words = []
    for ax, shown, name in zip(axes[0], (image, donor), ("the image", "gives its tokens"), strict=False):
        ax.imshow(shown)
        ax.set_title(name, fontsize=11, fontweight="normal")
    for ax, moved, title in zip(axes[0, 2:], injection.moved, injection.titles, strict=True):
        ax.imshow(moved, cmap=theme.SEQUENTIAL, vmin=0, vmax=strongest)
        ax.set_title(title.replace(", ", "\n"), fontsize=11, fontweight="normal")
        words.append(f"{title} {moved.mean():.2f}")
    for ax in axes.flat:
        _bare(ax)
    answers = [
        f"{what} {classes[int(scores.argmax())]} ({scores.max():.2f})"
        for what, scores in (
            ("the image alone", injection.alone),
            ("the giver", injection.donor),
            ("the image with the giver's tokens", injection.injected),
        )
    ]
    return figure(
        fig,
        f"Tokens of another image put in after {after}. How far the maps moved, in lengths of a pixel's features:"
        f" {', '.join(words)}. Answers: {'; '.join(answers)}.",
    )


def board_panels(board: np.ndarray, sure: Mapping[str, np.ndarray]) -> Figure:
    """Draw a majority-colour puzzle, and what networks say of its squares: a panel each; a cross marks what is wrong.

    Args:
        board: (n, n), 0 for no square, 1 for red, 2 for green.
        sure: by name, (n, n): the share of "this square is of the majority's colour".
    """
    import matplotlib.pyplot as plt
    from matplotlib.colors import ListedColormap

    counts = [int((board == colour).sum()) for colour in (1, 2)]
    (top, left), (bottom, right) = (edge(np.argwhere(board > 0), axis=0) for edge in (np.min, np.max))
    majority = 1 if counts[0] > counts[1] else 2
    fig, axes = plt.subplots(1, 1 + len(sure), figsize=(2.9 * (1 + len(sure)), 3.3), squeeze=False)
    words = [f"{counts[0]} red squares, {counts[1]} green ones"]
    for ax in axes.flat:
        ax.imshow(board, cmap=ListedColormap(SQUARES), vmin=0, vmax=2)
        _bare(ax)
        ax.set(xlim=(left - 0.8, right + 0.8), ylim=(bottom + 0.8, top - 0.8))
        for edge in np.arange(len(board) + 1) - 0.5:
            ax.axhline(edge, color=SQUARES[0], linewidth=2)
            ax.axvline(edge, color=SQUARES[0], linewidth=2)
    axes[0, 0].set_title("the puzzle", fontsize=11, fontweight="normal")
    for ax, (name, shares) in zip(axes[0, 1:], sure.items(), strict=True):
        hits = 0
        for row, column in np.argwhere(board > 0):
            says = bool(shares[row, column] > 0.5)
            hits += (hit := says == (board[row, column] == majority))
            ax.text(column, row, "most" if says else "few", ha="center", va="center", color="white", fontsize=9)
            if not hit:
                ax.plot(column + 0.34, row - 0.34, "x", color="white", markersize=8, markeredgewidth=2.5)
        ax.set_title(f"{name}: {hits} of {sum(counts)}", fontsize=11, fontweight="normal")
        words.append(f"{name} labels {hits} of {sum(counts)} right")
    return figure(fig, f"A puzzle of {'; '.join(words)}.")


def bridge_view(image: np.ndarray, view: BlockView, token: int) -> Figure:
    """Draw one block, large: the picture, what a token reads, and whom each pixel hears most.

    Args:
        image: (H, W, 3) in [0, 1].
        view: of the block.
        token: which one, counted from 0.

    Raises:
        ValueError: if there is no such token.
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    number = len(view.tokens)
    if not 0 <= token < number:
        raise ValueError(f"token: expected 0 to {number - 1}, got {token}")
    fig, axes = plt.subplots(1, 3, figsize=(10.2, 3.9))
    axes[0].imshow(image)
    _bare(axes[0])
    _ground(axes[1], image)
    _ground(axes[2], image)
    titles = ["the picture", f"token {token + 1} reads nothing", "no pixel listens"]
    if view.reads is not None:
        _over(axes[1], image, strength(view.read)[token], theme.SEQUENTIAL)
        titles[1] = f"what token {token + 1} reads: bright"
    if view.hears is not None:
        _over(axes[2], image, *_ears(view.heard))
        titles[2] = "which token a pixel hears most"
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title, fontsize=12, fontweight="normal", loc="center")
    patches = [Patch(color=theme.TOKENS[i], label=f"token {i + 1}") for i in range(number)]
    fig.legend(handles=patches, loc="outside lower right", ncols=number, fontsize=11)
    words = f"{view.title}: {_share_words(view)}; in percent of the pixels, token by token."
    return figure(fig, words)
