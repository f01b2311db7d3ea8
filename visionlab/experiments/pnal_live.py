"""A small training on wrong labels that somebody watches: cross entropy and PNAL (arXiv 2107.14230), epoch by epoch."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from visionlab.data.world.rooms import rooms
from visionlab.experiments.experiment import recorded
from visionlab.experiments.pnal import REPLAYED
from visionlab.experiments.pnal_probe import by_epoch, timeline_of
from visionlab.experiments.pnal_setting import KEPT, TEST, clusters_of, curves
from visionlab.measure.points import segmented
from visionlab.points.blocks import Moved, whole
from visionlab.points.dgcnn import SmallDGCNN
from visionlab.points.pnal import Cleaning
from visionlab.points.spoiled import NOISES, spoiled
from visionlab.points.training import recipe, train_points
from visionlab.train.randomness import seeded

__all__ = ["METHODS", "NEW", "RIGHT", "SIZE", "Epoch", "Size", "live", "outcome", "recorded_curves"]

METHODS = ("cross entropy", "PNAL")
RIGHT, NEW = "labels right", "new rooms right"
"""Curves: labels in force of training rooms, and what the network says of rooms that it has not seen."""
TOGETHER = 6
"""Points in a cluster, on average."""


class Size(NamedTuple):
    """Scale of a training that somebody waits for."""

    rooms: int = 192
    points: int = 256
    epochs: int = 12
    warmup: int = 6
    tested: int = 12
    learning_rate: float = 3e-3


SIZE = Size()
"""Some ten seconds of one CPU core for each method."""


class Epoch(NamedTuple):
    """How a training stands after an epoch.

    Attributes:
        method: one of `METHODS`.
        epoch: its epochs so far.
        done: epochs of all methods so far.
        of: epochs of all methods in the end.
        curves: by method, then by name, percent in each epoch so far.
        runs: by method, what `visionlab.show.timeline.Timeline` is made of, where the method has finished.
    """

    method: str
    epoch: int
    done: int
    of: int
    curves: dict[str, dict[str, list[float]]]
    runs: dict[str, dict[str, Any]]

    @property
    def words(self) -> str:
        """How far it is; in the end, how it ended."""
        if self.done < self.of:
            return f"{self.method}: epoch {self.epoch} is done."
        return f"{outcome(self.curves)} This is one seed of a small training: another may differ by some points."


def recorded_curves() -> tuple[dict[str, dict[str, list[float]]], str]:
    """The recorded curves of "pnal/noise" at its worst rate, means over seeds, like those of an `Epoch`; their end."""
    result, metrics = recorded("pnal/noise"), {RIGHT: "labels right (%)", NEW: TEST}
    curves = {
        method: {name: by_epoch(result, variant, metric).tolist() for name, metric in metrics.items()}
        for method, variant in zip(METHODS, REPLAYED, strict=True)
    }
    seeds = sum(key.rpartition("/")[0] == REPLAYED[0] for key in result.curves)
    return curves, f"{outcome(curves)} All rooms, {'one seed' if seeds == 1 else f'means over {seeds} seeds'}."


def outcome(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Say how trainings ended, by the curves of each method."""
    parts = []
    for method, each in curves.items():
        right, new = each[RIGHT], each[NEW]
        parts.append(
            f"{method}: {right[0]:.0f} % of the labels were right at first, {right[-1]:.0f} % at last{_best(right)}; of"
            f" the points of new rooms the network gets {new[-1]:.0f} % right{_best(new)}."
        )
    return " ".join(parts)


def _best(curve: Sequence[float]) -> str:
    """Where a curve was better than at its end."""
    best = max(curve)
    return f" (at best {best:.0f} %, in epoch {list(curve).index(best) + 1})" if best > curve[-1] + 0.5 else ""


class _Stopped(Exception):
    """Nobody waits any more."""


def live(
    percent: float | int, kind: str = NOISES[0], methods: Sequence[str] = METHODS, seed: int = 0, size: Size = SIZE
) -> Iterator[Epoch]:
    """Train on rooms of the world with wrong labels, and tell of each epoch; who stops to ask stops the training.

    Args:
        percent: of the points whose labels are wrong.
        kind: one of `NOISES`.
        methods: some of `METHODS`, one after the other.
        seed: of rooms, noise and training.
        size: how much.

    Raises:
        ValueError: as `spoiled`; or a method is unknown, or there is none.
    """
    if not methods or not set(methods) <= set(METHODS):
        raise ValueError(f"train by: expected some of {', '.join(METHODS)}; got {', '.join(methods) or 'none'}")
    told: queue.SimpleQueue[Epoch | BaseException | None] = queue.SimpleQueue()
    gone = threading.Event()

    def tell(epoch: Epoch) -> None:
        if gone.is_set():
            raise _Stopped
        told.put(epoch)

    def work() -> None:
        try:
            _Training(percent, kind, methods, seed, size, tell).run()
            told.put(None)
        except BaseException as error:  # whatever it is, it belongs to who waits
            told.put(error)

    threading.Thread(target=work, name="training", daemon=True).start()
    try:
        while (epoch := told.get()) is not None:
            if isinstance(epoch, BaseException):
                raise epoch
            yield epoch
    finally:
        gone.set()


class _Training:
    """Rooms, their wrong labels, and one network after the other."""

    def __init__(
        self, percent: float | int, kind: str, methods: Sequence[str], seed: int, size: Size,
        tell: Callable[[Epoch], None],
    ) -> None:  # fmt: skip
        self.methods, self.seed, self.size, self.tell = methods, seed, size, tell
        self.clouds = rooms(size.rooms, points=size.points, seed=seed)
        noisy = [spoiled(cloud, kind, percent, 1000 * seed + i).labels for i, cloud in enumerate(self.clouds)]
        clusters = clusters_of(self.clouds, max(size.points // TOGETHER, 2), "fine")
        self.true = whole(self.clouds, size.points, clusters=clusters, seed=seed)
        self.given = self.true.relabelled(noisy)
        self.test = whole(rooms(size.tested, points=size.points, seed=seed, first=10_000), size.points)
        self.curves: dict[str, dict[str, list[float]]] = {}
        self.runs: dict[str, dict[str, Any]] = {}

    def run(self) -> None:
        """Train by all methods."""
        classes, size = len(self.clouds[0].classes), self.size
        for method in self.methods:
            self.curves[method] = {NEW: []}
            cleaning = Cleaning(warmup=size.warmup) if method == METHODS[1] else None
            with seeded(self.seed):
                network = SmallDGCNN(classes, k=8, dropout=0.1)
            _, memory = train_points(
                network, self.given, classes, recipe(size.rooms, size.epochs, learning_rate=size.learning_rate),
                cleaning, seed=self.seed, keep=True, watch=partial(self._watch, method),
                augment=Moved(mirror=0.5, tint=0.04),
            )  # fmt: skip
            rows = curves(memory, self.given.labels, self.true.labels, size.epochs)
            self.curves[method] = {RIGHT: [row["labels right (%)"] for row in rows], **self.curves[method]}
            kept = (
                torch.stack(each).view(len(each), *self.true.labels.shape)[:, :KEPT].numpy()
                for each in (memory.predicted_by_epoch, memory.corrected_by_epoch)
            )
            warmup = size.warmup if cleaning else size.epochs
            self.runs[method] = timeline_of(self.given, self.true, *kept, warmup=warmup)
            self._tell(method, size.epochs)

    @torch.no_grad()
    def _watch(self, method: str, epoch: int, network: nn.Module) -> dict[str, float]:
        found = network(self.test.features).argmax(-1)
        accuracy = segmented(found, self.test.labels, len(self.clouds[0].classes)).accuracy
        self.curves[method][NEW].append(accuracy)
        if epoch < self.size.epochs:
            self._tell(method, epoch)
        return {}

    def _tell(self, method: str, epoch: int) -> None:
        done, of = self.methods.index(method) * self.size.epochs + epoch, len(self.methods) * self.size.epochs
        curves = {name: {part: list(curve) for part, curve in each.items()} for name, each in self.curves.items()}
        self.tell(Epoch(method, epoch, done, of, curves, dict(self.runs)))
