"""Pictures of lab 08: rooms and their labels, what is memorised, what is selected, and how sure is sure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from visionlab.points.voting import uncertainty
from visionlab.show import theme
from visionlab.show.figure import Figure, figure
from visionlab.show.timeline import Timeline
from visionlab.show.widgets.room import CLASS_COLOURS, VERDICTS, Room

__all__ = [
    "Timeline", "confusion_figure", "memorisation_figure", "noise_strip_figure", "room", "room_figure",
    "selection_figure", "uncertainty_figure",
]  # fmt: skip

Numbers = Sequence[float | int] | np.ndarray
NONE = "#969696"
"""Of points that have no label yet."""
METHODS = ("rival", "method", "baseline", "variant")
"""Roles of what is compared, in order: the usual training first, then PNAL."""
YAW, PITCH = -1.05, 0.66
"""From where a room is seen, as in the widget."""
SHELL = 0.14
"""Metres of a room's sides that face the eye, and are left out."""


# --- Rooms ------------------------------------------------------------------------------------------------------------


def room(timeline: Timeline, **more: Any) -> Room:
    """Return the widget of a run: rooms to turn and to click, replayed over the epochs.

    Args:
        timeline: what was recorded.
        more: see `Room`.
    """
    return Room(timeline, **more)


def room_figure(timeline: Timeline, room: int = 0, epochs: Sequence[int] | None = None) -> Figure:
    """Show one room by given labels, by labels in force in some epochs, and by the truth; wrong ones have a dark core.

    Args:
        timeline: what was recorded.
        room: which, from 0.
        epochs: from 1; the first two that correct, and the last, if not given.

    Raises:
        ValueError: if there is no such room or epoch.
    """
    import matplotlib.pyplot as plt

    if epochs is None:
        first = min(timeline.warmup + 1, timeline.epochs)
        epochs = sorted({first, min(first + 1, timeline.epochs), timeline.epochs})
    panels = {"given labels": timeline.given[room]}
    panels |= {f"in force, epoch {epoch}": timeline.labels(room, epoch) for epoch in epochs}
    panels |= {"truth": timeline.truth[room]}
    x, y, order = _seen(timeline.xyz[room])
    fig, axes = plt.subplots(1, len(panels), figsize=(2.6 * len(panels), 3.6), sharex=True, sharey=True)
    truth, words = timeline.truth[room], []
    for axis, (title, labels) in zip(axes, panels.items(), strict=True):
        _points(axis, x[order], y[order], labels[order], truth[order])
        right, missing = _percent(labels == truth, truth), _percent(labels < 0, truth)
        axis.set_title(title, loc="center", fontsize=12)
        if title != "truth":
            said = f"{right:.0f} % right" + (f", {missing:.0f} % none yet" if missing else "")
            axis.set_xlabel(said, fontsize=11)
            words.append(f"{title}: {said}")
    names = [k for k in range(len(timeline.classes)) if any((labels == k).any() for labels in panels.values())]
    handles = [_handle(_colour(k), timeline.classes[k]) for k in names]
    handles += [_handle(NONE, "none yet"), _handle("#FFFFFF", "wrong label", core=True)]
    fig.legend(handles=handles, loc="outside lower center", ncols=min(6, len(handles)), fontsize=11, handletextpad=0.2)
    return figure(fig, f"The points of {timeline.name(room)}. {'; '.join(words)}.", few_colours=True)


def _seen(xyz: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where points are on paper, and their order from far to near, without the sides that face the eye."""
    eye = np.array([math.cos(PITCH) * math.cos(YAW), math.cos(PITCH) * math.sin(YAW), math.sin(PITCH)])
    right = np.array([-math.sin(YAW), math.cos(YAW), 0.0])
    behind = np.where(eye > 0.1, xyz.max(0) - xyz, np.where(eye < -0.1, xyz - xyz.min(0), np.inf))
    order = np.argsort(xyz @ eye, kind="stable")
    kept = order[behind.min(1)[order] >= SHELL]
    return xyz @ right, xyz @ np.cross(eye, right), kept if len(kept) else order


def _points(axis: Any, x: np.ndarray, y: np.ndarray, labels: np.ndarray, truth: np.ndarray) -> None:
    size = float(np.clip(16000 / len(x), 5, 40))
    wrong = (labels >= 0) & (truth >= 0) & (labels != truth)
    colours = [_colour(k) for k in labels.tolist()]
    # One call a layer would put all cores on top: each point is drawn with its own, from far to near.
    rows = np.repeat(np.arange(len(x)), 1 + wrong)
    core = np.r_[False, rows[1:] == rows[:-1]]
    axis.scatter(
        x[rows], y[rows], s=np.where(core, 0.22 * size, np.where(labels[rows] < 0, 0.5 * size, size)),
        c=[("#0F0F0F" if inner else colours[i]) for i, inner in zip(rows, core, strict=True)],
        linewidths=np.where(core, 0, 0.25), edgecolors="#00000070",
    )  # fmt: skip
    axis.set(aspect="equal", xticks=[], yticks=[])
    axis.grid(visible=False)
    axis.spines[:].set(visible=True, color="#BFBFBF", linewidth=0.8)


def _handle(colour: str, label: str, core: bool = False) -> Any:
    from matplotlib.lines import Line2D

    edge: dict[str, Any] = {"markeredgecolor": "#0F0F0F", "markeredgewidth": 0.4}
    if core:
        edge |= {"markeredgecolor": "#A0A0A0", "markeredgewidth": 3, "markerfacecolor": "#0F0F0F"}
    return Line2D([], [], color=colour, marker="o", linestyle="", markersize=8, label=label, **edge)


def _colour(k: int) -> str:
    return NONE if k < 0 else CLASS_COLOURS[k % len(CLASS_COLOURS)]


def _percent(which: np.ndarray, truth: np.ndarray) -> float:
    return 100 * float(which[truth >= 0].mean()) if (truth >= 0).any() else 0.0


# --- Curves -----------------------------------------------------------------------------------------------------------


def memorisation_figure(curves: Mapping[str, Mapping[str, Numbers]], *, warmup: int, clean: float | int) -> Figure:
    """Draw accuracies over epochs, one panel a method: on training rooms by given and by true labels, and on new rooms.

    Args:
        curves: by method, "CE" and "PNAL", then "given", "truth" and "test": percent, one number an epoch.
        warmup: epochs before labels are corrected.
        clean: percent of the given labels that are right: who fits more of them, knows wrong ones by heart.

    Raises:
        ValueError: if a method lacks a curve, or curves differ in length.
    """
    import matplotlib.pyplot as plt

    styles = {
        "given": ("training rooms, by the given labels", "rival"),
        "truth": ("training rooms, by the true labels", "baseline"),
        "test": ("new rooms, by the true labels", "method"),
    }
    for name, each in curves.items():
        if set(each) != set(styles) or len({len(curve) for curve in each.values()}) != 1:
            raise ValueError(f"curves: expected given, truth and test of {name!r}, of one length; got {list(each)}")
    if not curves:
        raise ValueError("curves: expected a method or more, got none")
    size = (4.3 * len(curves) + 0.6, 4.3)
    fig, axes = plt.subplots(1, len(curves), figsize=size, sharey=True, squeeze=False)
    words = []
    for axis, (name, each) in zip(axes[0], curves.items(), strict=True):
        epochs = np.arange(1, len(each["given"]) + 1)
        axis.axhline(
            clean,
            color=theme.color("reference"),
            linestyle=theme.dash("reference"),
            label="given labels that are right",
        )
        _warmup(axis, warmup)
        for part, (label, role) in styles.items():
            axis.plot(epochs, each[part], label=label, color=theme.color(role), linestyle=theme.dash(role))
        axis.set(xlabel="epoch", title=name, ylim=(0, 100), xlim=(0.5, len(epochs) + 0.5))
        peak = int(np.argmax(each["test"]))
        words.append(
            f"{name}: new rooms {each['test'][peak]:.0f} at best, in epoch {peak + 1}, {each['test'][-1]:.0f} at last;"
            f" training rooms at last {each['given'][-1]:.0f} by given labels, {each['truth'][-1]:.0f} by true ones"
        )
    axes[0, 0].set_ylabel("accuracy (%)")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure(
        fig, f"Accuracy in percent by epoch, where {clean:.0f} % of the given labels are right. {'. '.join(words)}."
    )


def selection_figure(share: Numbers, precision: Numbers, recall: Numbers, *, warmup: int) -> Figure:
    """Draw over epochs how many points have a corrected label, and how many of those, and of all, have the right one.

    Args:
        share: percent of all points that are selected, one number an epoch.
        precision: percent of the selected whose label is right; NaN while nothing is selected.
        recall: percent of all points that are selected with the right label.
        warmup: epochs before labels are corrected.

    Raises:
        ValueError: if they differ in length.
    """
    import matplotlib.pyplot as plt

    if not len(share) == len(precision) == len(recall) or not len(share):
        raise ValueError(
            f"share, precision, recall: expected one length; got {len(share)}, {len(precision)}, {len(recall)}"
        )
    fig, axis = plt.subplots(figsize=(7.2, 3.9))
    epochs = np.arange(1, len(share) + 1)
    _warmup(axis, warmup)
    curves = {
        "selected, of all": (share, "reference"), "right, of the selected": (precision, "baseline"),
        "selected and right, of all": (recall, "method"),
    }  # fmt: skip
    for name, (curve, role) in curves.items():
        style = "-" if role == "reference" else theme.dash(role)
        axis.plot(epochs, curve, label=name, color=theme.color(role), linestyle=style, marker="o", markersize=3.5)
    axis.locator_params("x", integer=True)
    axis.set(xlabel="epoch", ylabel="points (%)", ylim=(-2, 102), xlim=(0.5, len(epochs) + 0.5))
    axis.set_title("What is selected")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    ends = ", ".join(f"{name} {curve[-1]:.0f} %" for name, (curve, _) in curves.items())
    first = next((i + 1 for i, value in enumerate(share) if value >= 90), None)
    when = f"90 % are selected from epoch {first} on" if first else "90 % are never selected"
    return figure(
        fig, f"Points with a corrected label, after a warm-up of {warmup} epochs. At the end: {ends}; {when}."
    )


def uncertainty_figure(q: int, classes: int, gamma: float | int) -> Figure:
    """Draw the published uncertainty over the share of agreeing predictions, its threshold, and what q votes can give.

    Args:
        q: predictions that are remembered.
        classes: K.
        gamma: points of at most this uncertainty are reliable.

    Raises:
        ValueError: if a number is out of range.
    """
    import matplotlib.pyplot as plt

    if q < 1 or not gamma >= 0:
        raise ValueError(f"q, gamma: expected 1 or more, 0 or more; got {q}, {gamma}")
    line = torch.linspace(1e-4, 1, 500, dtype=torch.float64)
    shares = torch.arange(1, q + 1, dtype=torch.float64) / q
    values = uncertainty(shares, classes).abs()  # no -0
    fig, axis = plt.subplots(figsize=(7.2, 3.9))
    axis.plot(line, uncertainty(line, classes), color=theme.color("reference"), linewidth=1.6, linestyle="-")
    axis.axhline(gamma, color=theme.color("variant"), linestyle=theme.dash("variant"), linewidth=1.8)
    axis.annotate(
        f"γ = {gamma:g}", (1.02, gamma), xytext=(6, 0), textcoords="offset points", va="center", color="#9A4C7C"
    )
    top = float(uncertainty(torch.tensor([1 / math.e]), classes))
    axis.plot([1 / math.e] * 2, [0, top], color="#A6A6A6", linestyle=":", linewidth=1.4)
    axis.annotate("1 / e", (1 / math.e, 0), xytext=(5, 6), textcoords="offset points", fontsize=11, color="#5F5F5F")
    sure = (values <= gamma).numpy()
    for mask, verdict, name in ((sure, "right", "reliable"), (~sure, "wrong", "not reliable")):
        marker = "o" if verdict == "right" else "X"
        axis.plot(shares[mask], values[mask], marker, color=VERDICTS[verdict], markersize=10, label=name, clip_on=False)
    for p, u, votes in zip(shares.tolist(), values.tolist(), range(1, q + 1), strict=True):
        if q <= 8:
            left = p < 1 / math.e or votes == q
            axis.annotate(f"{votes} of {q}", (p, u), xytext=(-8 if left else 8, 8), textcoords="offset points",
                          fontsize=10.5, ha="right" if left else "left")  # fmt: skip
    axis.set(xlabel="p: share of the last predictions that agree", ylabel="u = −p ln p / ln K", xlim=(0, 1.02))
    axis.set_ylim(-0.004, 1.22 * max(top, gamma))
    axis.set_title(f"How unsure is a point? q = {q}, K = {classes}")
    axis.legend(loc="upper right")
    told = ", ".join(f"{votes} of {q}: {u:.3f}" for votes, u in enumerate(values.tolist(), 1))
    which = ", ".join(str(votes) for votes in np.flatnonzero(sure) + 1) or "none"
    return figure(
        fig,
        f"Uncertainty for K = {classes}, highest at 1 / e. {told}. At most γ = {gamma:g}, reliable: {which} of {q}.",
    )


# --- Noise ------------------------------------------------------------------------------------------------------------


def noise_strip_figure(rates: Numbers, *, wanted: float | int | None = None) -> Figure:
    """Draw what percent of each room's labels is wrong, the rooms in order of it.

    Args:
        rates: percent, one a room.
        wanted: percent that was asked for, a line.

    Raises:
        ValueError: if there is no room.
    """
    import matplotlib.pyplot as plt

    rates = np.sort(np.asarray(rates, float))
    if not rates.size:
        raise ValueError("rates: expected one a room, got none")
    fig, axis = plt.subplots(figsize=(7.2, 2.5))
    axis.bar(np.arange(len(rates)), rates, width=0.86, color=VERDICTS["wrong"], label="wrong")
    axis.bar(np.arange(len(rates)), 100 - rates, width=0.86, bottom=rates, color=VERDICTS["right"], label="right")
    if wanted is not None:
        axis.axhline(wanted, color="black", linestyle=(0, (4, 3)), linewidth=1.4, label="asked for")
    axis.set(xticks=[], ylim=(0, 100), xlabel=f"{len(rates)} rooms", ylabel="labels (%)", xlim=(-0.6, len(rates) - 0.4))
    axis.grid(visible=False)
    axis.set_title("How noisy is each room?")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    asked = "" if wanted is None else f"; {wanted:.0f} were asked for"
    return figure(
        fig,
        f"Wrong labels of {len(rates)} rooms in percent: {rates[0]:.0f} to {rates[-1]:.0f}, in the mean"
        f" {rates.mean():.0f}{asked}.",
    )


def confusion_figure(before: np.ndarray, after: np.ndarray, truth: np.ndarray, classes: Sequence[str]) -> Figure:
    """Show what labels became of points of each true class: as given, and corrected; rows add up to 100 %.

    Args:
        before: given labels, of any shape.
        after: corrected ones, -1 where there is none.
        truth: the true ones; points of -1 are left out.
        classes: names.

    Raises:
        ValueError: if shapes differ.
    """
    import matplotlib.pyplot as plt

    if not before.shape == after.shape == truth.shape:
        raise ValueError(f"before, after, truth: expected one shape; got {before.shape}, {after.shape}, {truth.shape}")
    k = len(classes)
    fig, axes = plt.subplots(1, 2, figsize=(2 * (0.4 * k + 1.5), 0.36 * k + 1.9), sharey=True)
    recalls = []
    for axis, (title, labels) in zip(axes, {"given": before, "corrected": after}.items(), strict=True):
        known = truth >= 0
        pairs = truth[known].astype(int) * (k + 1) + np.where(labels[known] < 0, k, labels[known])
        table = np.bincount(pairs, minlength=k * (k + 1)).reshape(k, k + 1).astype(float)
        share = 100 * table / np.maximum(table.sum(1, keepdims=True), 1)
        recalls.append(np.where(table.sum(1) > 0, np.diag(share), np.nan))
        axis.imshow(share, cmap=theme.SEQUENTIAL_TWIN, vmin=0, vmax=100, aspect="auto")
        axis.set_xticks(range(k + 1), [*classes, "none yet"], rotation=55, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(k), list(classes))
        axis.grid(visible=False)
        for (i, j), value in np.ndenumerate(share):
            if value >= 1:
                tone = "white" if value < 60 else "black"
                axis.text(j, i, f"{value:.0f}", ha="center", va="center", color=tone, fontsize=9.5)
        axis.set_title(f"{title} labels")
    axes[0].set_ylabel("true class")
    told = ", ".join(
        f"{name} {a:.0f} to {b:.0f}" for name, a, b in zip(classes, *recalls, strict=True) if not np.isnan(a)
    )
    return figure(fig, f"Percent of each true class with the right label, given and corrected: {told}.")


def _warmup(axis: Any, epochs: int) -> None:
    if epochs:
        axis.axvspan(0.5, epochs + 0.5, color="#EFEFEF", zorder=0, linewidth=0)
        axis.text(0.5 + epochs / 2, 0.985, "warm-up", ha="center", va="top", fontsize=10, color="#5F5F5F",
                  transform=axis.get_xaxis_transform())  # fmt: skip
