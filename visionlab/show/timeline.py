"""What is kept of training with PNAL on some rooms, epoch by epoch, and what the widget shows of any point of it.

An epoch trains on labels that were corrected just before, by the predictions of the q epochs before it. So *epoch e*
means here, in all methods: the votes of epochs e - q to e - 1, and the labels in force while epoch e trains. That is
how `visionlab.points.pnal` works where every step sees whole rooms, and every room comes once in an epoch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from visionlab.points.pnal import Cleaning
from visionlab.points.voting import agreement, corrected, uncertainty

__all__ = ["Timeline"]


@dataclass(frozen=True, eq=False)
class Timeline:
    """R rooms of N points each over E epochs, and K classes. Epochs count from 1, rooms and points from 0.

    Args:
        xyz: (R, N, 3) places in metres, z up.
        rgb: (R, N, 3) colours in [0, 1].
        given: (R, N) the labels that came with the rooms, wrong ones among them; -1 where there is none.
        truth: (R, N) the true ones; -1 where nobody knows.
        cluster: (R, N) whole numbers, one for all points of a cluster. Those of different rooms may be the same.
        predicted: (E, R, N) what the network said of each point in each epoch; -1 where it said nothing.
        in_force: (E, R, N) corrected labels that the epoch trained on; -1 where there was none yet.
        classes: K names.
        warmup: T_w, first epochs that train on the given labels.
        slots: q, predictions that are remembered.
        share: of the slots that have to agree for a point to vote.
        gamma: instead of the share, the largest uncertainty u.
        names: of the rooms; "room 1" and so on, if not given.

    Raises:
        ValueError: if shapes do not fit each other or a number is out of range; the message names what.
    """

    xyz: np.ndarray
    rgb: np.ndarray
    given: np.ndarray
    truth: np.ndarray
    cluster: np.ndarray
    predicted: np.ndarray
    in_force: np.ndarray
    classes: Sequence[str]
    warmup: int
    slots: int
    share: float | int = 1.0
    gamma: float | int | None = None
    names: Sequence[str] = field(default=())

    def __post_init__(self) -> None:
        if self.given.ndim != 2 or not self.given.size:
            raise ValueError(f"given: expected (rooms, points), one of each or more; got {self.given.shape}")
        room, epochs = self.given.shape, len(self.predicted)
        shapes = {
            "xyz": (*room, 3), "rgb": (*room, 3), "truth": room, "cluster": room,
            "predicted": (max(epochs, 1), *room), "in_force": (max(epochs, 1), *room),
        }  # fmt: skip
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name}: expected {shape}; got {getattr(self, name).shape}")
        if not 2 <= len(self.classes) <= 127 or len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes: expected 2 to 127 different names; got {list(self.classes)}")
        for name in ("given", "truth", "cluster", "predicted", "in_force"):
            array, most = getattr(self, name), len(self.classes) - 1
            if array.dtype.kind not in "iu":
                raise ValueError(f"{name}: expected whole numbers; got {array.dtype}")
            if name != "cluster" and not -1 <= int(array.min()) <= int(array.max()) <= most:
                raise ValueError(f"{name}: expected -1 to {most}; got {array.min()} to {array.max()}")
        if not np.isfinite(self.xyz).all():
            raise ValueError("xyz: expected finite numbers")
        if not (self.rgb.min() >= 0 and self.rgb.max() <= 1):
            raise ValueError(f"rgb: expected 0 to 1; got {self.rgb.min()} to {self.rgb.max()}")
        if self.names and len(self.names) != room[0]:
            raise ValueError(f"names: expected {room[0]}, one a room; got {len(self.names)}")
        _ = self.cleaning  # which checks the numbers of the rule

    @property
    def rooms(self) -> int:
        """R."""
        return self.given.shape[0]

    @property
    def points(self) -> int:
        """N, of each room."""
        return self.given.shape[1]

    @property
    def epochs(self) -> int:
        """E."""
        return len(self.predicted)

    @property
    def cleaning(self) -> Cleaning:
        """The rule by which labels are corrected."""
        return Cleaning(warmup=self.warmup, slots=self.slots, share=self.share, gamma=self.gamma)

    def name(self, room: int) -> str:
        """Of a room."""
        return self.names[room] if self.names else f"room {room + 1}"

    def history(self, room: int, epoch: int) -> np.ndarray:
        """The predictions (N, q) of the q epochs before this one, the oldest first; -1 in slots that are empty."""
        self.check(room, epoch)
        before = self.predicted[max(0, epoch - 1 - self.slots) : epoch - 1, room]
        empty = np.full((self.slots - len(before), self.points), -1)
        return np.concatenate([empty, before]).T.astype(np.int8)

    def agreement(self, room: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The most frequent class (N,) of each point's history, and its share p (N,), 0 where nothing was said."""
        label, share = agreement(torch.from_numpy(self.history(room, epoch)), len(self.classes))
        return label.numpy(), share.numpy()

    def reliable(self, room: int, epoch: int) -> np.ndarray:
        """Which points (N,) vote."""
        _, share = self.agreement(room, epoch)
        return self.cleaning.trusted(torch.from_numpy(share), len(self.classes)).numpy()

    def winners(self, room: int, epoch: int) -> np.ndarray:
        """The class (N,) that each point's cluster votes for, by majority; -1 where nobody votes."""
        label, _ = self.agreement(room, epoch)
        return corrected(
            torch.from_numpy(label),
            torch.from_numpy(self.reliable(room, epoch)),
            torch.from_numpy(self.cluster[room].astype(np.int64)),
            len(self.classes),
            self.cleaning.rule,
        ).numpy()

    def votes(self, room: int, epoch: int, point: int) -> np.ndarray:
        """How many votes (K,) each class has in the cluster of a point."""
        self.check(room, epoch, point)
        label, _ = self.agreement(room, epoch)
        voters = self.reliable(room, epoch) & (self.cluster[room] == self.cluster[room, point])
        return np.bincount(label[voters], minlength=len(self.classes))

    def labels(self, room: int, epoch: int) -> np.ndarray:
        """The labels (N,) that an epoch trains on: the given ones in the warm-up, then the corrected, -1 for none."""
        self.check(room, epoch)
        return self.given[room] if epoch <= self.warmup else self.in_force[epoch - 1, room]

    def score(self, room: int, epoch: int) -> tuple[float, float, float]:
        """Percent of the points with a known class whose label in force is right, wrong, and not yet there."""
        labels, truth = self.labels(room, epoch), self.truth[room]
        labels, truth = labels[truth >= 0], truth[truth >= 0]
        parts = (labels == truth, (labels != truth) & (labels >= 0), labels < 0)
        right, wrong, none = (100 * float(part.mean()) if part.size else 0.0 for part in parts)
        return right, wrong, none

    def describe(self, room: int, epoch: int, point: int) -> str:
        """Say of a point all that the widget shows of it."""
        self.check(room, epoch, point)
        (label, _), history = self.agreement(room, epoch), self.history(room, epoch)[point].tolist()
        reliable, votes = self.reliable(room, epoch), self.votes(room, epoch, point)
        members = self.cluster[room] == self.cluster[room, point]
        p = history.count(int(label[point])) / self.slots
        u = float(uncertainty(torch.tensor([p], dtype=torch.float64), len(self.classes))[0])
        best = f"most frequent {self.classes[label[point]]}, p = {fixed(p)}, u = {fixed(u)}" if p else "p = 0.000"
        order = sorted(np.flatnonzero(votes).tolist(), key=lambda k: (-votes[k], k))
        counted = ", ".join(f"{self.classes[k]} {votes[k]}" for k in order) or "none"
        winner = self.classes[order[0]] if order else "nobody"
        late = " (warm-up: not applied)" if epoch <= self.warmup else ""
        kinds = (self.given[room, point], self.labels(room, epoch)[point], self.truth[room, point])
        given, now, true = (self.classes[k] if k >= 0 else "none" for k in kinds)
        return (
            f"Point {point} of {self.name(room)}, epoch {epoch}. Its last {self.slots} predictions:"
            f" {', '.join(self.classes[k] if k >= 0 else 'empty' for k in history)}; {best},"
            f" {'reliable' if reliable[point] else 'not reliable'}. Its cluster: {members.sum()} points,"
            f" {(members & reliable).sum()} reliable; votes: {counted}; winner: {winner}{late}."
            f" Given {given}, in force {now}, true {true}."
        )

    def replayed(self, *, slots: int | None = None, share: float | None = None, gamma: float | None = None) -> Timeline:
        """Return the labels that the same predictions would have given, by another rule; nothing is trained again.

        Args:
            slots: q, the same if not given.
            share: the same if not given.
            gamma: instead of the share.
        """
        share = self.share if share is None else share
        new = replace(self, slots=slots or self.slots, share=share, gamma=gamma)
        labels = np.full_like(self.in_force, -1)
        for epoch in range(new.warmup + 1, new.epochs + 1):
            for room in range(new.rooms):
                found = new.winners(room, epoch)
                before = labels[epoch - 2, room] if epoch > 1 else np.full_like(found, -1)
                labels[epoch - 1, room] = np.where(found >= 0, found, before)
        return replace(new, in_force=labels)

    def check(self, room: int, epoch: int = 1, point: int = 0) -> None:
        """Refuse what is not there.

        Raises:
            ValueError: the message names it.
        """
        ends = {
            "room": (room, 0, self.rooms - 1),
            "epoch": (epoch, 1, self.epochs),
            "point": (point, 0, self.points - 1),
        }
        for name, (value, low, high) in ends.items():
            if not low <= value <= high:
                raise ValueError(f"{name}: expected {low} to {high}; got {value}")


def fixed(value: float) -> str:
    """Three digits, rounded as the page rounds."""
    return f"{math.floor(1000 * value + 0.5) / 1000:.3f}"
