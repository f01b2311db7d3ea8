"""What experiments on small images share: tiles and shapes, how a classifier is trained, cards of weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timm.data import IMAGENET_DEFAULT_MEAN as IMAGENET_MEAN
from timm.data import IMAGENET_DEFAULT_STD as IMAGENET_STD
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from visionlab.data import world
from visionlab.data.images import load
from visionlab.data.transforms import dihedral, normalise
from visionlab.data.world.questions import TEN
from visionlab.experiments.experiment import Job
from visionlab.train.loop import Fit, Recipe, fit, start
from visionlab.train.stream import Batch, Shuffled
from visionlab.weights import Card

__all__ = [
    "EUROSAT_CLASSES",
    "TRAINED_BY",
    "WORLD_MEAN",
    "WORLD_STD",
    "World",
    "accuracy",
    "classify_loss",
    "images_of",
    "shapes_card",
    "shapes_of",
    "tiles_card",
    "train",
    "turned",
]

EUROSAT_CLASSES = (
    "AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial",
    "Pasture", "PermanentCrop", "Residential", "River", "SeaLake",
)  # fmt: skip
WORLD_MEAN, WORLD_STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


@dataclass(frozen=True, kw_only=True)
class World:
    """Scale of an experiment on shapes of the world."""

    recipe: Recipe
    n: int
    test: int = 1000
    classes: tuple[str, ...] = TEN
    distractors: int = 0
    spread: float = 1.3


def images_of(data: str, split: str) -> tuple[Tensor, Tensor]:
    """Return normalised images (N, 3, 64, 64) and labels of a data set."""
    images, labels = load(data, split, size=64).tensors()
    return normalise(images, IMAGENET_MEAN, IMAGENET_STD), labels


def shapes_of(job: Job, split: str, n: int) -> tuple[Tensor, Tensor]:
    """Return normalised images (n, 3, 64, 64) of one shape each, and which it is; the preset has the knobs."""
    knobs = {name: getattr(job.preset, name) for name in ("classes", "distractors", "spread")}
    images, labels = world.dataset("shapes", split, n, size=64, seed=job.seed, **knobs).tensors()
    return normalise(images, WORLD_MEAN, WORLD_STD), torch.as_tensor(labels)


def turned(batch: Batch, rng: torch.Generator) -> Batch:
    """Return tiles in random orientations of the eight there are: seen from above, there is no up."""
    return dihedral(batch[0], rng), batch[1]


def classify_loss(model: nn.Module, batch: Batch, *, smoothing: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy with label smoothing."""
    images, labels = batch
    logits = model(images)
    accuracy = (logits.argmax(dim=-1) == labels).to(logits.dtype).mean()
    return F.cross_entropy(logits, labels, label_smoothing=smoothing), {"accuracy": 100 * accuracy}


def train(
    job: Job,
    network: nn.Module,
    train_set: tuple[Tensor, Tensor],
    *,
    smoothing: float,
    augment: Callable[[Batch, torch.Generator], Batch] | None = None,
) -> Fit:
    """Train a classifier on images and labels by the recipe of the job's preset."""
    return fit(
        network, Shuffled(TensorDataset(*train_set)), partial(classify_loss, smoothing=smoothing), job.preset.recipe,
        seed=job.seed, fabric=start(job.preset.recipe.precision, job.device), augment=augment,
        hook=job.hook, checkpoint=job.checkpoint,
    )  # fmt: skip


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the accuracy in percent on normalised images."""
    device = next(model.parameters()).device
    model.eval()
    answers = torch.cat([model(part.to(device)).argmax(dim=-1).cpu() for part in images.split(256)])
    return 100 * (answers == labels).double().mean().item()


TRAINED_BY = (train, classify_loss, accuracy, normalise)
"""What decides the numbers of every experiment here, beside its network and data."""


def tiles_card(name: str, *, network: str, kwargs: dict[str, Any], experiment: str, variant: str) -> Card:
    """Return the card of weights that the recorded run of an experiment on satellite tiles trains."""
    return Card(
        name=name, network=network, kwargs=kwargs | {"num_classes": len(EUROSAT_CLASSES)}, classes=EUROSAT_CLASSES,
        size=64, mean=IMAGENET_MEAN, std=IMAGENET_STD, experiment=experiment, preset="long", variant=variant,
        data="eurosat_mini", seed=0,
        licence="MIT, as its data, EuroSAT (contains modified Copernicus Sentinel data)",
    )  # fmt: skip


def shapes_card(name: str, *, network: str, kwargs: dict[str, Any], experiment: str, variant: str) -> Card:
    """Return the card of weights that the recorded run of an experiment on shapes of the world trains."""
    return Card(
        name=name, network=network, kwargs=kwargs | {"num_classes": len(TEN)}, classes=TEN,
        size=64, mean=WORLD_MEAN, std=WORLD_STD, experiment=experiment, preset="long", variant=variant,
        data="world", seed=0, licence="MIT, as visionlab, which draws its data",
    )  # fmt: skip
