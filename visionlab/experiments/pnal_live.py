"""A small training on wrong labels that somebody watches: cross entropy and PNAL (arXiv 2107.14230), epoch by epoch."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from visionlab.data.clouds import Cloud
from visionlab.data.world.rooms import rooms
from visionlab.experiments.pnal_desk import NOISES, place_and_colour, spoiled
from visionlab.measure.points import segmented
from visionlab.points.blocks import Blocks, Moved, whole
from visionlab.points.clusters import kmeans
from visionlab.points.dgcnn import SmallDGCNN
from visionlab.points.pnal import Cleaning, LabelMemory
from visionlab.points.training import recipe, train_points
from visionlab.train.randomness import seeded

__all__ = ["METHODS", "NEW", "RIGHT", "SIZE", "Epoch", "Size", "live", "outcome"]

METHODS = ("cross entropy", "PNAL")
RIGHT, NEW = "labels right", "new rooms right"
"""Curves: labels in force of training rooms, and what the network says of rooms that it has not seen."""
SHOWN = 4
"""Training rooms of which everything is kept."""
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
        done: epochs.
        of: epochs.
        curves: by name, percent in each epoch so far.
        run: after the last epoch, what `visionlab.show.timeline.Timeline` is made of; else None.
    """

    method: str
    done: int
    of: int
    curves: dict[str, list[float]]
    run: dict[str, Any] | None = None


def outcome(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Say how trainings ended, by the curves of each method."""
    parts = []
    for method, each in curves.items():
        right, new = each[RIGHT], list(each[NEW])
        best = max(new)
        parts.append(
            f"{method}: {right[0]:.0f} % of the labels were right at first, {right[-1]:.0f} % at last; of the points"
            f" of new rooms the network gets {new[-1]:.0f} % right (at best {best:.0f} %, in epoch"
            f" {new.index(best) + 1})."
        )
    return (
        " ".join(parts) + " This is one seed of a small training: another seed may differ by some points of a hundred."
    )


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
        raise ValueError(f"method: expected some of {', '.join(METHODS)}; got {', '.join(methods) or 'none'}")
    clouds = rooms(size.rooms, points=size.points, seed=seed)
    noisy = [spoiled(cloud, kind, percent, 1000 * seed + i).labels for i, cloud in enumerate(clouds)]
    clusters = [kmeans(place_and_colour(cloud), max(size.points // TOGETHER, 2)) for cloud in clouds]
    true = whole(clouds, size.points, clusters=clusters, seed=seed)
    test = whole(rooms(size.tested, points=size.points, seed=seed, first=10_000), size.points)
    told: queue.SimpleQueue[Epoch | BaseException | None] = queue.SimpleQueue()
    gone = threading.Event()

    def tell(epoch: Epoch) -> None:
        if gone.is_set():
            raise _Stopped
        told.put(epoch)

    def work() -> None:
        try:
            for method in methods:
                _train(method, clouds, true, true.relabelled(noisy), test, size, seed, tell)
            told.put(None)
        except BaseException as error:
            told.put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        while (epoch := told.get()) is not None:
            if isinstance(epoch, BaseException):
                raise epoch
            yield epoch
    finally:
        gone.set()


def _train(
    method: str, clouds: Sequence[Cloud], true: Blocks, given: Blocks, test: Blocks, size: Size, seed: int,
    tell: Callable[[Epoch], None],
) -> None:  # fmt: skip
    classes, new = len(clouds[0].classes), list[float]()
    cleaning = Cleaning(warmup=size.warmup) if method == METHODS[1] else None

    def watch(done: int, network: nn.Module) -> dict[str, float]:
        with torch.no_grad():
            found = network(test.features).argmax(-1)
        new.append(segmented(found, test.labels, classes).accuracy)
        if done < size.epochs:
            tell(Epoch(method, done, size.epochs, {NEW: list(new)}))
        return {}

    with seeded(seed):
        network = SmallDGCNN(classes, k=8, dropout=0.1)
    _, memory = train_points(
        network, given, classes, recipe(len(true), size.epochs, learning_rate=size.learning_rate), cleaning, seed=seed,
        keep=True, watch=watch, augment=Moved(mirror=0.5, tint=0.04),
    )  # fmt: skip
    run = _recorded(clouds, true, given, memory, size.warmup if cleaning else size.epochs)
    tell(Epoch(method, size.epochs, size.epochs, {RIGHT: _labels_right(true, given, memory), NEW: new}, run))


def _labels_right(true: Blocks, given: Blocks, memory: LabelMemory) -> list[float]:
    """Percent of the points of all training rooms whose label in force is right, in each epoch."""
    truth, start = true.labels.flatten(), given.labels.flatten()
    force = [torch.where(labels >= 0, labels.long(), start) for labels in memory.corrected_by_epoch]
    return [100 * (labels == truth).double().mean().item() for labels in force]


def _recorded(
    clouds: Sequence[Cloud], true: Blocks, given: Blocks, memory: LabelMemory, warmup: int
) -> dict[str, Any]:  # fmt: skip
    """What a timeline is made of, for the first rooms."""
    some = min(SHOWN, len(clouds))
    xyz = torch.stack([cloud.xyz[points] for cloud, points in zip(clouds[:some], true.point, strict=False)])
    predicted, labels = (
        torch.stack(each).view(len(each), *true.labels.shape)[:, :some].numpy()
        for each in (memory.predicted_by_epoch, memory.corrected_by_epoch)
    )
    return {
        "xyz": xyz.numpy(), "rgb": true.features[:some, :, :3].numpy(), "given": given.labels[:some].numpy(),
        "truth": true.labels[:some].numpy(), "cluster": true.cluster[:some].numpy(), "predicted": predicted,
        "in_force": labels, "classes": clouds[0].classes, "warmup": warmup, "slots": memory.history.shape[1],
        "names": [cloud.name for cloud in clouds[:some]],
    }  # fmt: skip
