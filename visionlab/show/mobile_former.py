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
    "board_panels", "bridge_panels", "bridge_view", "cosine_panels", "injection_panels", "slope_cloud", "slope_curves",
]  # fmt: skip

SQUARES = ("#3A3D44", "#C0392B", "#2E8B57")
"""Empty cells of a board, red squares and green ones."""
LETTERS = ("", "R", "G")
"""What is written on them: the colours must not be all that tells squares apart."""


def bridge_panels(image: np.ndarray, views: Sequence[BlockView]) -> Figure:
    """Draw the bridge: a column for each block, a row for what each token reads, a last row for whom pixels hear most.

    Args:
        image: (H, W, 3) in [0, 1].
        views: of the blocks to show, at most seven or so.
    """
    import matplotlib.pyplot as plt

    tokens, columns = len(views[0].tokens), len(views)
    size = 1.55 * columns + 1.4, (tokens + 1) * 1.55 * image.shape[0] / image.shape[1] + 1.3
    fig, axes = plt.subplots(tokens + 1, columns, figsize=size, squeeze=False)
    words = []
    for column, view in zip(axes.T, views, strict=True):
        column[0].set_title(view.title.replace(", ", "\n"), fontsize=11, fontweight="normal")
        reads = [None] * tokens if view.reads is None else list(strength(view.read))
        for ax, weights in zip(column[:-1], reads, strict=True):
            _reading(ax, image, weights)
        _hearing(column[-1], image, None if view.hears is None else view.heard)
        words.append(f"{view.title}: {_share_words(view)}")
    for token, ax in enumerate(axes[:-1, 0]):
        ax.set_ylabel(f"token {token + 1}", fontsize=11, labelpad=12)
        ax.plot([-0.03, -0.03], [0, 1], color=theme.TOKENS[token], linewidth=7, transform=ax.transAxes, clip_on=False)
    axes[-1, 0].set_ylabel("heard most", fontsize=11, labelpad=12)
    # Colours mean another thing in the last row: the heading says so, and keeps it apart from the rows above.
    heading = "which token a pixel hears most: the fuller the colour, the further it is ahead of the others"
    axes[-1, columns // 2].set_title(heading, fontsize=11, fontweight="normal", loc="center", pad=8)
    _reading_bar(fig, axes[:-1].ravel().tolist(), "right")
    fig.legend(handles=_token_patches(tokens), loc="outside lower center", ncols=tokens, fontsize=11)
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


def _reading(ax: Any, image: np.ndarray, strengths: np.ndarray | None) -> None:
    """What a token reads, (h, w) in [0, 1], over the picture in grey; the more it is, the more opaque."""
    if strengths is None:
        _ground(ax, image, pale=True, words="nothing is read")
        return
    opacity, extent = 0.45 + 0.5 * strengths, _ground(ax, image)
    ax.imshow(strengths, extent=extent, cmap=theme.SEQUENTIAL, vmin=0, vmax=1, alpha=opacity)


def _hearing(ax: Any, image: np.ndarray, heard: np.ndarray | None) -> None:
    """The colour of the token that each pixel hears most, the fuller the further it is ahead; heard is (M, h, w)."""
    from matplotlib.colors import to_rgb

    if heard is None:
        _ground(ax, image, pale=True, words="nothing is written")
        return
    even = 1 / len(heard)
    ahead = (heard.max(axis=0) - even) / (1 - even) if len(heard) > 1 else np.ones(heard.shape[1:])
    inks = np.array([to_rgb(colour) for colour in theme.TOKENS[: len(heard)]])
    # Even a token that is hardly ahead has to show its hue.
    shown = np.dstack([inks[heard.argmax(axis=0)], 0.4 + 0.6 * ahead])
    ax.imshow(shown, extent=_ground(ax, image, pale=True))


def _ground(ax: Any, image: np.ndarray, pale: bool = False, words: str = "") -> tuple[int, int, int, int]:
    """The picture in grey, with words where no map will lie on it; returns the place of such a map."""
    height, width = image.shape[:2]
    extent = 0, width, height, 0
    ax.imshow(image.mean(axis=2), extent=extent, cmap="gray", vmin=-3 if pale else 0, vmax=1)
    ax.text(0.5, 0.5, words, ha="center", va="center", fontsize=9.5, transform=ax.transAxes)
    _bare(ax)
    return extent


def _bare(ax: Any) -> None:
    """No ticks, grid and border."""
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set_visible(False)


def _reading_bar(fig: Any, axes: Any, location: str) -> None:
    """What the colours of reading mean; see `strength`."""
    from matplotlib.cm import ScalarMappable

    words = "read: 1 is the token's strongest pixel,\nor 4 times an even share if that is more"
    _bar(fig, ScalarMappable(cmap=theme.SEQUENTIAL), axes, words, location)


def _bar(fig: Any, drawn: Any, axes: Any, words: str, location: str = "right") -> Any:
    """A slim colour bar."""
    bar = fig.colorbar(drawn, ax=axes, location=location, fraction=0.05, pad=0.015, aspect=32)
    bar.set_label(words, fontsize=10)
    bar.ax.tick_params(labelsize=10)
    bar.outline.set_visible(False)
    return bar


def _token_patches(number: int) -> list[Any]:
    """The colours of the tokens, for a legend."""
    from matplotlib.patches import Patch

    return [Patch(color=theme.TOKENS[i], label=f"token {i + 1}") for i in range(number)]


def cosine_panels(views: Sequence[BlockView]) -> Figure:
    """Draw the cosines of the tokens that leave each block: do they stay different?"""
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, len(views), figsize=(1.85 * len(views) + 0.9, 2.5), squeeze=False)
    tokens, words = len(views[0].tokens), []
    for ax, view in zip(axes[0], views, strict=True):
        drawn = ax.imshow(view.cosine, cmap="RdBu", vmin=-1, vmax=1)
        for i, row in enumerate(view.cosine):
            for j, value in enumerate(row):
                ink = "white" if abs(value) > 0.6 else "black"
                ax.text(j, i, f"{value:.2f}".replace("-0.00", "0.00"), ha="center", va="center", color=ink, fontsize=9)
        names = [str(token + 1) for token in range(tokens)]
        ax.set(xticks=range(tokens), yticks=range(tokens), xticklabels=names, yticklabels=names)
        ax.set_xlabel("token", fontsize=10)
        ax.tick_params(labelsize=9, length=0)
        ax.grid(False)
        ax.set_title(view.title.replace(", ", "\n"), fontsize=11, fontweight="normal")
        others = view.cosine[~np.eye(tokens, dtype=bool)]
        words.append(f"{view.title} {others.mean():.2f}" if others.size else view.title)
    axes[0, 0].set_ylabel("token", fontsize=10)
    _bar(fig, drawn, axes[0].tolist(), "cosine").set_ticks([-1, 0, 1])
    said = f"Cosines of the {tokens} tokens behind each block; mean of two different ones: {'; '.join(words)}."
    return figure(fig, said)


def slope_curves(slopes: np.ndarray, names: Sequence[str], groups: Sequence[str], what: str) -> Figure:
    """Draw y = max(a1 x, a2 x) of one channel, a line for each image and a colour for each group of images.

    Args:
        slopes: (n, 2), a1 and a2 of the channel for each image.
        names: of the images.
        groups: to which group each image belongs, in words; four groups at most.
        what: which channel it is.

    Raises:
        ValueError: if there are more groups.
    """
    import matplotlib.pyplot as plt

    kinds = list(dict.fromkeys(groups))
    if len(kinds) > 4:
        raise ValueError(f"groups: expected 4 different ones at most, got {len(kinds)}")
    fig, ax = plt.subplots(figsize=(7.4, 4.0))
    x = np.linspace(-2, 2, 81)
    ax.plot(x, np.maximum(x, 0), color="black", linewidth=4, alpha=0.25, label="ReLU: a1 = 1, a2 = 0")
    for role, group in zip(theme.SERIES, kinds, strict=False):
        own = slopes[np.array(groups) == group]
        spans = [f"a{k + 1} {own[:, k].min():.2f} to {own[:, k].max():.2f}" for k in range(2)]
        label = f"{group} ×{len(own)}\n{', '.join(spans)}".replace("-0.00", "0.00")
        for a1, a2 in own:
            ax.plot(x, np.maximum(a1 * x, a2 * x), color=theme.color(role), linewidth=1.2, linestyle="-", label=label)
            label = ""  # one entry for a group
    words = [f"{name} ({a1:.2f}, {a2:.2f})" for (a1, a2), name in zip(slopes, names, strict=True)]
    said = ", ".join(words).replace("-0.00", "0.00")
    ax.set(xlabel="x", ylabel="max(a1 x, a2 x)", title=what)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=10)
    return figure(fig, f"{what}: (a1, a2) for {len(names)} images: {said}. A ReLU has (1, 0).")


def slope_cloud(slopes: Mapping[str, np.ndarray]) -> Figure:
    """Draw how many channels have which a1 and a2, a panel for each group.

    Args:
        slopes: by name of the group, (2, n): a1 and a2 of every channel and image.
    """
    import matplotlib.pyplot as plt
    from matplotlib.colors import LogNorm

    both = np.concatenate([*slopes.values(), [[0.9, 1.1], [-0.1, 0.1]]], axis=1)  # the ring, too
    edges = [np.linspace(low - 0.02, high + 0.02, 41) for low, high in zip(both.min(1), both.max(1), strict=True)]
    counts = [np.histogram2d(a1, a2, edges)[0].T for a1, a2 in slopes.values()]
    norm = LogNorm(1, max(2, *(count.max() for count in counts)))
    fig, axes = plt.subplots(1, len(slopes), figsize=(2.7 * len(slopes) + 1, 4.1), squeeze=False, sharey=True)
    words = []
    for ax, (name, (a1, a2)), count in zip(axes[0], slopes.items(), counts, strict=True):
        drawn = ax.pcolormesh(*edges, np.ma.masked_equal(count, 0), cmap=theme.SEQUENTIAL, norm=norm)
        ax.axvline(1, color="black", linewidth=0.6, linestyle="-")
        ax.axhline(0, color="black", linewidth=0.6, linestyle="-")
        ax.add_patch(plt.Circle((1, 0), 0.1, fill=False, edgecolor=theme.color("rival"), linewidth=1.4))
        ax.set(xlabel="a1", aspect="equal")
        near = 100 * (np.hypot(a1 - 1, a2) < 0.1).mean()
        folded = 100 * (a2 < -0.1).mean()
        ax.set_title(f"{name}\n{near:.0f} % within 0.1 of a ReLU", fontsize=11, fontweight="normal")
        words.append(f"{name}: {near:.0f} % within 0.1 of a ReLU, {folded:.0f} % with a2 below -0.1")
    axes[0, 0].set_ylabel("a2")
    _bar(fig, drawn, axes[0].tolist(), "channels of all images in a cell")
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
    fig, axes = plt.subplots(1, 2 + blocks, figsize=(1.7 * (2 + blocks) + 1, 2.8), squeeze=False)
    strongest = max(float(moved.max()) for moved in injection.moved) or 1.0
    words = []
    for ax, shown, name in zip(axes[0], (image, donor), ("the image", "gives its tokens"), strict=False):
        ax.imshow(shown)
        ax.set_title(name, fontsize=11, fontweight="normal")
    for ax in axes.flat:
        _bare(ax)
    for ax, moved, title in zip(axes[0, 2:], injection.moved, injection.titles, strict=True):
        drawn = ax.imshow(moved, cmap=theme.SEQUENTIAL, vmin=0, vmax=strongest)
        ax.set_title(title.replace(", ", "\n"), fontsize=11, fontweight="normal")
        ax.set_xlabel(f"mean {moved.mean():.2f}", fontsize=10)
        if title == after:
            ax.set_title(f"exchanged here\n{ax.get_title('left')}", color=theme.color("rival"), fontsize=11)
            ax.spines[:].set(visible=True, color=theme.color("rival"), linewidth=4)
        words.append(f"{title} {moved.mean():.2f}")
    _bar(fig, drawn, axes[0].tolist(), "moved, in lengths of\na pixel's features")
    answers = [
        f"{what} {classes[int(scores.argmax())]} ({scores.max():.2f})"
        for what, scores in (
            ("the image alone", injection.alone),
            ("the giver", injection.donor),
            ("the image with the giver's tokens", injection.injected),
        )
    ]
    fig.supxlabel(f"Answers: {'; '.join(answers)}", fontsize=11)
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
        for row, column in np.argwhere(board > 0):
            ax.text(column - 0.4, row - 0.4, LETTERS[board[row, column]], va="top", color="white", fontsize=9)
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
            ax.text(column, row + 0.15, "most" if says else "few", ha="center", va="center", color="white", fontsize=9)
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

    number = len(view.tokens)
    if not 0 <= token < number:
        raise ValueError(f"token: expected 0 to {number - 1}, got {token}")
    fig, axes = plt.subplots(1, 3, figsize=(10.2, 4.2))
    axes[0].imshow(image)
    _bare(axes[0])
    _reading(axes[1], image, None if view.reads is None else strength(view.read)[token])
    _hearing(axes[2], image, None if view.hears is None else view.heard)
    titles = (
        "the picture",
        f"token {token + 1} reads nothing" if view.reads is None else f"what token {token + 1} reads: bright",
        "no pixel listens" if view.hears is None else "which token a pixel hears most",
    )
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title, fontsize=12, fontweight="normal", loc="center")
        ax.set_anchor("N")
    _reading_bar(fig, axes[1], "bottom")
    place: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "ncols": 3, "columnspacing": 1}
    axes[2].legend(handles=_token_patches(number), handlelength=1.3, fontsize=11, **place)
    words = f"{view.title}: {_share_words(view)}; in percent of the pixels, token by token."
    return figure(fig, words)
