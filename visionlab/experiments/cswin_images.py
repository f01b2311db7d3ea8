"""Small CSWins on images: satellite tiles and scenes of the world; their weights ship with the package."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timm.data import IMAGENET_DEFAULT_MEAN as IMAGENET_MEAN
from timm.data import IMAGENET_DEFAULT_STD as IMAGENET_STD
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from visionlab.backbones.cswin import CSWinTransformer
from visionlab.data import world
from visionlab.data.images import load
from visionlab.data.transforms import dihedral, normalise
from visionlab.data.world.questions import TEN
from visionlab.experiments.experiment import Experiment, Job, Outcome
from visionlab.measure.cost import parameters
from visionlab.train.loop import Recipe, fit, start
from visionlab.train.randomness import seeded
from visionlab.train.stream import Batch, Shuffled
from visionlab.weights import Card

__all__ = ["EUROSAT", "WEIGHTS", "WORLD"]

# --- EuroSAT: a CSWin of a million parameters on tiles of 64 pixels; its weights ship with the package ----------------

EUROSAT_CLASSES = (
    "AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial",
    "Pasture", "PermanentCrop", "Residential", "River", "SeaLake",
)  # fmt: skip
NANO: dict[str, Any] = {
    "img_size": 64,
    "dim": 24,
    "depths": (1, 2, 4, 1),
    "heads": (2, 4, 8, 16),
    "stripe_widths": (1, 2, 2, 2),
}


@dataclass(frozen=True, kw_only=True)
class EuroSAT:
    """Scale of the EuroSAT experiment."""

    recipe: Recipe
    drop_path: float = 0.0
    smoothing: float = 0.1


def classify_loss(model: nn.Module, batch: Batch, *, smoothing: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy with label smoothing."""
    images, labels = batch
    logits = model(images)
    accuracy = (logits.argmax(dim=-1) == labels).to(logits.dtype).mean()
    return F.cross_entropy(logits, labels, label_smoothing=smoothing), {"accuracy": 100 * accuracy}


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the accuracy in percent on normalised images."""
    device = next(model.parameters()).device
    model.eval()
    answers = torch.cat([model(part.to(device)).argmax(dim=-1).cpu() for part in images.split(256)])
    return 100 * (answers == labels).double().mean().item()


def measure_eurosat(job: Job) -> Outcome:
    """Train the small network on the tiles under random symmetries, and test it on held-out ones."""
    preset: EuroSAT = job.preset
    with seeded(job.seed):
        network = CSWinTransformer(**NANO, num_classes=10, drop_path_rate=preset.drop_path)
    (images, labels), (test_images, test_labels) = (images_of(job.data, split) for split in ("train", "test"))
    run = fit(
        network,
        Shuffled(TensorDataset(images, labels)),
        partial(classify_loss, smoothing=preset.smoothing),
        preset.recipe,
        seed=job.seed, fabric=start(preset.recipe.precision, job.device),
        augment=lambda batch, rng: (dihedral(batch[0], rng), batch[1]), hook=job.hook, checkpoint=job.checkpoint,
    )  # fmt: skip
    metrics = {
        "accuracy (%)": accuracy(run.model, test_images, test_labels),
        "parameters (M)": parameters(network) / 1e6,
    }
    return Outcome(metrics, run.history, network=run.model)


def images_of(data: str, split: str) -> tuple[Tensor, Tensor]:
    """Return normalised images (N, 3, 64, 64) and labels of a data set."""
    images, labels = load(data, split, size=64).tensors()
    return normalise(images, IMAGENET_MEAN, IMAGENET_STD), labels


EUROSAT = Experiment(
    name="cswin/eurosat",
    question="How well does a small CSWin, trained on 2,400 satellite tiles, sort 600 others into ten kinds?",
    variants=("cswin",),
    measure=measure_eurosat,
    presets={
        "quick": EuroSAT(recipe=Recipe(steps=200, batch=32, learning_rate=2e-3, warmup=20)),
        "long": EuroSAT(recipe=Recipe(steps=2400, batch=32, learning_rate=2e-3, warmup=200, ema=0.998)),
        "gpu": EuroSAT(recipe=Recipe(steps=9000, batch=128, learning_rate=2e-3, warmup=500, ema=0.999), drop_path=0.1),
    },
    data=("eurosat_mini",),
    defined_by=(classify_loss, accuracy, images_of, dihedral),
)

# --- The world: the same network on ten shapes -----------------------------------------------------------------------

WORLD_MEAN, WORLD_STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


@dataclass(frozen=True, kw_only=True)
class World:
    """Scale of the experiment on the world."""

    recipe: Recipe
    n: int
    test: int = 1000
    classes: tuple[str, ...] = TEN
    distractors: int = 0
    spread: float = 1.3


def shapes_of(job: Job, split: str, n: int) -> tuple[Tensor, Tensor]:
    """Return normalised images (n, 3, 64, 64) of one shape each, and which it is."""
    knobs = {name: getattr(job.preset, name) for name in ("classes", "distractors", "spread")}
    images, labels = world.dataset("shapes", split, n, size=64, seed=job.seed, **knobs).tensors()
    return normalise(images, WORLD_MEAN, WORLD_STD), torch.as_tensor(labels)


def measure_world(job: Job) -> Outcome:
    """Train the small network on scenes of one object each, and test it on new scenes."""
    preset: World = job.preset
    with seeded(job.seed):
        network = CSWinTransformer(**NANO, num_classes=len(preset.classes))
    run = fit(
        network,
        Shuffled(TensorDataset(*shapes_of(job, "train", preset.n))),
        partial(classify_loss, smoothing=0.1),
        preset.recipe,
        seed=job.seed, fabric=start(preset.recipe.precision, job.device), hook=job.hook, checkpoint=job.checkpoint,
    )  # fmt: skip
    metrics = {
        "accuracy (%)": accuracy(run.model, *shapes_of(job, "test", preset.test)),
        "parameters (M)": parameters(network) / 1e6,
    }
    return Outcome(metrics, run.history, network=run.model)


WORLD = Experiment(
    name="cswin/world",
    question="How well does a small CSWin, trained on scenes of the world, tell ten shapes in new ones?",
    variants=("cswin",),
    measure=measure_world,
    presets={
        "quick": World(recipe=Recipe(steps=200, batch=32, learning_rate=5e-4, warmup=20), n=2000),
        "long": World(recipe=Recipe(steps=2400, batch=32, learning_rate=5e-4, warmup=240, ema=0.998), n=8000),
        "gpu": World(recipe=Recipe(steps=9000, batch=128, learning_rate=1e-3, warmup=500, ema=0.999), n=50_000),
    },
    data=("world",),
    defined_by=(classify_loss, accuracy, shapes_of, normalise, NANO),
    versions={"world": world.VERSION},
)

WEIGHTS = (
    Card(
        name="cswin_nano_eurosat",
        network="visionlab.backbones.cswin:CSWinTransformer",
        kwargs=NANO | {"num_classes": 10},
        classes=EUROSAT_CLASSES,
        size=64,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        experiment="cswin/eurosat",
        preset="long",
        variant="cswin",
        data="eurosat_mini",
        seed=0,
        licence="MIT, as its data, EuroSAT (contains modified Copernicus Sentinel data)",
    ),
    Card(
        name="cswin_nano_world",
        network="visionlab.backbones.cswin:CSWinTransformer",
        kwargs=NANO | {"num_classes": len(TEN)},
        classes=TEN,
        size=64,
        mean=WORLD_MEAN,
        std=WORLD_STD,
        experiment="cswin/world",
        preset="long",
        variant="cswin",
        data="world",
        seed=0,
        licence="MIT, as visionlab, which draws its data",
    ),
)
