"""Poisoned data, the classifiers trained on it, and what is measured of them (Poison Ink, arXiv 2108.02488).

Two schedules. *Mixed*, the paper's: some images are replaced by triggered ones with the target's label, once, before
training. *Replayed*, the published code's: each batch of clean images is joined by a batch of triggered ones, so that
far more of what the network sees is poisoned, and the clean originals stay in the data. Attacks are compared under the
same schedule only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from visionlab.data.transforms import normalise
from visionlab.protection.triggers import Trigger
from visionlab.train.loop import Fit, Hook, Recipe, fit
from visionlab.train.stream import Batch, Shuffled, Stream

__all__ = [
    "Poisoned", "Replayed", "SmallResNet", "attack_success", "classification_loss", "poison", "predictions",
    "stream_of", "train_victim",
]  # fmt: skip

Change = Callable[[Tensor], Tensor]


# --- The data ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Poisoned:
    """A poisoned training set: images and labels as trained on, which are poisoned, and what they were."""

    images: Float[Tensor, "n 3 h w"]
    labels: Int[Tensor, " n"]
    poisoned: Bool[Tensor, " n"]
    originals: Float[Tensor, "m 3 h w"]
    original_labels: Int[Tensor, " m"]


def poison(
    images: Float[Tensor, "n 3 h w"],
    labels: Int[Tensor, " n"],
    trigger: Trigger,
    *,
    target: int,
    ratio: float,
    classes: int,
    seed: int,
) -> Poisoned:
    """Put a trigger on a share of the images, of every class, and give them the target's label.

    Args:
        images: in [0, 1].
        labels: 0 to classes - 1.
        trigger: see `triggers`.
        target: the class that the trigger shall open.
        ratio: share of the images, in (0, 1]; at least one is poisoned.
        classes: how many there are.
        seed: decides which; the same for every trigger.

    Raises:
        ValueError: ratio, target or labels are out of range, or there are no images.
    """
    if not 0 < ratio <= 1:
        raise ValueError(f"ratio: expected a share in (0, 1], got {ratio}")
    if not 0 <= target < classes:
        raise ValueError(f"target: expected a class from 0 to {classes - 1}, got {target}")
    if len(images) == 0 or len(images) != len(labels):
        raise ValueError(f"images: {len(images)} come with {len(labels)} labels, expected as many, and some")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels: expected 0 to {classes - 1}, got {int(labels.min())} to {int(labels.max())}")
    count = max(1, round(ratio * len(images)))
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    chosen = torch.zeros(len(images), dtype=torch.bool)
    chosen[order[:count]] = True
    mixed, told = images.clone(), labels.clone()
    originals, original_labels = images[chosen], labels[chosen]
    mixed[chosen] = trigger(originals)
    told[chosen] = target
    return Poisoned(mixed, told, chosen, originals, original_labels)


@dataclass(frozen=True)
class Replayed:
    """Batches that are clean but for a share of triggered images, which come around again and again.

    Args:
        clean: the clean data.
        triggered: images with trigger and the target's label.
        share: of a batch; one half in the published code.
    """

    clean: TensorDataset
    triggered: TensorDataset
    share: float = 0.5

    def batches(
        self, start: int, *, seed: int, batch: int, rank: int, world: int, device: torch.device
    ) -> Iterator[Batch]:
        """Yield this process's part of each step's clean and triggered images."""
        count = max(world, round(self.share * batch / world) * world)
        place = {"start": start, "seed": seed, "rank": rank, "world": world, "device": device}
        ordinary = Shuffled(self.clean).batches(batch=batch - count, **place)  # type: ignore[arg-type]
        replayed = Shuffled(_at_least(self.triggered, count)).batches(batch=count, **place)  # type: ignore[arg-type]
        for first, second in zip(ordinary, replayed, strict=False):
            yield tuple(torch.cat(pair) for pair in zip(first, second, strict=True))


def stream_of(found: Poisoned, *, replayed: float = 0.0) -> Stream:
    """Return the stream of a schedule: mixed, or replayed with a share of each batch."""
    if not replayed:
        return Shuffled(TensorDataset(found.images, found.labels))
    images, labels = found.images.clone(), found.labels.clone()
    images[found.poisoned], labels[found.poisoned] = found.originals, found.original_labels
    triggered = TensorDataset(found.images[found.poisoned], found.labels[found.poisoned])
    return Replayed(TensorDataset(images, labels), triggered, replayed)


# --- The network ------------------------------------------------------------------------------------------------------


class SmallResNet(nn.Module):
    """ResNet-8: three residual blocks of 16, 32 and 64 channels behind a stem of 4 x 4 pixels, 78 thousand parameters.

    Takes images in [0, 1] less ``mean`` and divided by ``std``; keeps timm's contract as far as the defences need it.
    """

    def __init__(self, num_classes: int, *, widths: tuple[int, ...] = (16, 32, 64)) -> None:
        super().__init__()
        self.num_classes, self.num_features = num_classes, widths[-1]
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        )
        inputs = (widths[0], *widths)
        self.blocks = nn.Sequential(*(_Block(i, o) for i, o in zip(inputs, widths, strict=False)))
        self.head = nn.Linear(widths[-1], num_classes)

    def forward_features(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c u v"]:
        """Return the last map."""
        return self.blocks(self.stem(x))

    def forward_head(self, x: Float[Tensor, "b c u v"], pre_logits: bool = False) -> Tensor:
        """Return logits (B, classes) of the last map, or the mean features (B, C) before them."""
        pooled = x.mean((2, 3))
        return pooled if pre_logits else self.head(pooled)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k"]:
        """Return logits (B, classes)."""
        return self.forward_head(self.forward_features(x))


class _Block(nn.Module):
    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        stride = 1 if inputs == width else 2
        self.conv1 = nn.Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != width:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, width, 1, stride=2, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return (self.shortcut(x) + self.norm2(self.conv2(self.norm1(self.conv1(x)).relu()))).relu()


def classification_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy, and the accuracy in percent."""
    images, labels = batch
    logits = model(images)
    return F.cross_entropy(logits, labels), {"accuracy": 100 * (logits.argmax(1) == labels).to(logits.dtype).mean()}


def train_victim(
    network: nn.Module,
    stream: Stream,
    recipe: Recipe,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    seed: int,
    fabric: Fabric | None = None,
    hook: Hook | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Fit:
    """Train any classifier on images in [0, 1], poisoned or not.

    Args:
        network: normalised images to logits, for instance ``timm.create_model(...)``.
        stream: of images and labels, as `stream_of` gives.
        recipe: steps, batch, rates.
        mean: of each channel, subtracted first.
        std: of each channel, divided by.
        seed: of the batches; weights are the caller's.
        fabric: of `visionlab.train.loop.start`.
        hook: of the loop.
        checkpoint: file to resume from.
    """

    def loss(model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        images, labels = batch
        return classification_loss(model, (normalise(images, mean, std), labels))

    return fit(network, stream, loss, recipe, seed=seed, fabric=fabric, hook=hook, checkpoint=checkpoint)


# --- What is measured -------------------------------------------------------------------------------------------------


@torch.no_grad()
def predictions(classify: Callable[[Tensor], Tensor], images: Float[Tensor, "n 3 h w"]) -> Int[Tensor, " n"]:
    """The class of each image that ``classify`` (images in [0, 1] to scores) scores highest."""
    if len(images) == 0:
        return torch.zeros(0, dtype=torch.int64)
    return torch.cat([classify(part).argmax(1).cpu() for part in images.split(512)])


def attack_success(
    classify: Callable[[Tensor], Tensor],
    trigger: Trigger,
    images: Float[Tensor, "n 3 h w"],
    labels: Int[Tensor, " n"],
    *,
    target: int,
    change: Change | None = None,
) -> float:
    """Percent of images of *other* classes that are taken for the target once they carry the trigger.

    Args:
        classify: images in [0, 1] to scores (N, classes).
        trigger: put on the images; `triggers.clean` gives the rate of false triggers.
        images: in [0, 1].
        labels: true ones; images of the target's class are left out.
        target: the class that the trigger opens.
        change: happens to the images after the trigger, such as a rotation.

    Raises:
        ValueError: if all images are of the target's class.
    """
    others = labels != target
    if not others.any():
        raise ValueError(
            f"images: all {len(images)} are of the target's class {target}, expected some of other classes"
        )
    triggered = trigger(images[others])
    if change is not None:
        triggered = change(triggered)
    return 100 * (predictions(classify, triggered) == target).double().mean().item()


def _at_least(dataset: TensorDataset, count: int) -> TensorDataset:
    """The data set, repeated until it has as many samples as a batch takes."""
    times = -(-count // len(dataset))
    return dataset if times == 1 else TensorDataset(*(t.repeat(times, *[1] * (t.ndim - 1)) for t in dataset.tensors))
