"""Experiments on the world itself: whether its tasks are neither trivial nor hopeless, and what a style costs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from visionlab.backbones.plain_convnet import PlainConvNet
from visionlab.data import world
from visionlab.data.world.questions import TEN
from visionlab.experiments.claim import Claim
from visionlab.experiments.experiment import Experiment, Job, Outcome
from visionlab.train.loop import Fit, Recipe, fit, start
from visionlab.train.randomness import seeded
from visionlab.train.stream import Batch, Shuffled

__all__ = ["EXPERIMENTS", "WEIGHTS", "nearest_neighbour"]

WEIGHTS: tuple[Any, ...] = ()


def world_set(
    task: str, split: str, n: int, *, size: int, seed: int, style: str = "clean", **knobs: Any
) -> tuple[Tensor, Tensor]:
    """Return normalised images (n, 3, H, W) and labels (n,) of a classification task."""
    images, labels = world.dataset(task, split, n, size=size, seed=seed, style=style, **knobs).tensors()
    return (images - 0.5) / 0.25, torch.as_tensor(labels)


def nearest_neighbour(known: Tensor, labels: Tensor, asked: Tensor) -> Tensor:
    """Return, for each image asked, the label of the known image whose pixels are nearest."""
    a, b = known.flatten(1), asked.flatten(1)
    distance = (a * a).sum(1) - 2 * b @ a.T
    return labels[distance.argmin(1)]


def classify_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy, and the accuracy beside it."""
    images, labels = batch
    logits = model(images)
    return F.cross_entropy(logits, labels), {"accuracy": 100 * (logits.argmax(1) == labels).to(logits.dtype).mean()}


@torch.no_grad()
def answers_of(model: nn.Module, images: Tensor) -> Tensor:
    """Return the most likely class of each image."""
    model.eval()
    device = next(model.parameters()).device
    return torch.cat([model(part.to(device)).argmax(1).cpu() for part in images.split(250)])


def train_convnet(job: Job, recipe: Recipe, images: Tensor, labels: Tensor, classes: int) -> Fit:
    """Train the plain network on images."""
    with seeded(job.seed):
        network = PlainConvNet(classes)
    return fit(
        network, Shuffled(TensorDataset(images, labels)), classify_loss, recipe,
        seed=job.seed, fabric=start(recipe.precision, job.device), hook=job.hook, checkpoint=job.checkpoint,
    )  # fmt: skip


def percent(answers: Tensor, labels: Tensor) -> float:
    """Return the share of right answers in percent."""
    return 100 * (answers == labels).double().mean().item()


# --- Shapes: a network against raw pixels, in its own style and in all others ----------------------------------------


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """Scale of the shapes experiment."""

    recipe: Recipe
    n: int
    test: int
    size: int = 64
    classes: tuple[str, ...] = TEN
    styles: tuple[str, ...] = tuple(world.STYLES)
    longer: int = 10  # times the steps, in the variant that is named so
    variants: tuple[str, ...] = ("convnet", "convnet, ten times longer", "nearest neighbour")


def measure_shapes(job: Job) -> Outcome:
    """Learn the shapes in clean pictures, by a network or by remembering pixels, and test on new ones in each style."""
    preset: Shapes = job.preset
    sets = partial(world_set, "shapes", size=preset.size, seed=job.seed, classes=preset.classes)
    images, labels = sets("train", preset.n)
    steps = preset.recipe.steps * (preset.longer if job.variant.endswith("longer") else 1)
    recipe = replace(preset.recipe, steps=steps)
    learns, classes = job.variant.startswith("convnet"), len(preset.classes)
    run = train_convnet(job, recipe, images, labels, classes) if learns else None
    metrics = {}
    for style in preset.styles:
        asked, right = sets("test", preset.test, style=style)
        answers = answers_of(run.model, asked) if run else nearest_neighbour(images, labels, asked)
        metrics["accuracy (%)" if style == "clean" else f"accuracy in style {style} (%)"] = percent(answers, right)
    return Outcome(metrics, run.history, network=run.model) if run else Outcome(metrics)


SHAPES = Experiment(
    name="world/shapes",
    question="Shapes in any pose, colour and light: can they be told by pixels alone? By a small network?",
    variants=("convnet", "convnet, ten times longer", "nearest neighbour"),
    measure=measure_shapes,
    presets={
        "quick": Shapes(
            recipe=Recipe(steps=200, batch=32, learning_rate=3e-3, warmup=15), n=1500, test=500, size=32,
            classes=("sphere", "cube", "ring", "lamp"), styles=("clean", "sketch"),
            variants=("convnet", "nearest neighbour"),
        ),
        "long": Shapes(recipe=Recipe(steps=600, batch=64, learning_rate=3e-3, warmup=20), n=10_000, test=600),
        "gpu": Shapes(recipe=Recipe(steps=6000, batch=256, learning_rate=3e-3, warmup=200), n=50_000, test=5000),
    },
    data=("world",),
    defined_by=(
        PlainConvNet, world_set, nearest_neighbour, classify_loss, answers_of, train_convnet, percent,
    ),
    versions={"world": world.VERSION},
    claims=(
        Claim(
            name="pixels",
            statement="A small network tells the shapes of new scenes better than the nearest training image does",
            source="ours",
            metric="accuracy (%)",
            method="convnet",
            rival="nearest neighbour",
            margin=20.0,
        ),
        Claim(
            name="sketch",
            statement="Trained on clean pictures alone, the network still beats pixels on sketches of the same scenes",
            source="ours",
            metric="accuracy in style sketch (%)",
            method="convnet",
            rival="nearest neighbour",
            margin=5.0,
            remark="A network learns what its training pictures share: colour and shading. Sketches have neither.",
        ),
    ),
)  # fmt: skip


# --- Tasks: each for a minute on one core ----------------------------------------------------------------------------

ASKED = ("shapes", "attributes", "fine", "same", "odd", "majority")


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """Scale of the tasks experiment."""

    recipe: Recipe
    n: int
    test: int
    size: int = 64


def measure_task(job: Job) -> Outcome:
    """Train the plain network on one task, beside the nearest training image and always saying the commonest class."""
    preset: Tasks = job.preset
    sets = partial(world_set, job.variant, size=preset.size, seed=job.seed)
    (images, labels), (asked, right) = sets("train", preset.n), sets("test", preset.test)
    task = world.TASKS[job.variant]
    run = train_convnet(job, preset.recipe, images, labels, len(task.classes(task.knobs)))
    metrics = {
        "convnet (%)": percent(answers_of(run.model, asked), right),
        "nearest neighbour (%)": percent(nearest_neighbour(images, labels, asked), right),
        "commonest class (%)": percent(labels.mode().values.expand_as(right), right),
    }
    return Outcome(metrics, run.history, network=run.model)


TASKS = Experiment(
    name="world/tasks",
    question="What does a small network learn of each task in a minute, and what do raw pixels give away?",
    variants=ASKED,
    measure=measure_task,
    presets={
        "quick": Tasks(recipe=Recipe(steps=60, batch=32, learning_rate=3e-3, warmup=10), n=500, test=200, size=32),
        "long": Tasks(recipe=Recipe(steps=600, batch=64, learning_rate=3e-3, warmup=20), n=6000, test=600),
        "gpu": Tasks(recipe=Recipe(steps=6000, batch=256, learning_rate=3e-3, warmup=200), n=50_000, test=5000),
    },
    data=("world",),
    defined_by=(PlainConvNet, world_set, nearest_neighbour, classify_loss, answers_of, train_convnet, percent),
    versions={"world": world.VERSION},
)

EXPERIMENTS = (SHAPES, TASKS)
