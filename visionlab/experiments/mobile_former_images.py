"""Small Mobile-Formers on images (arXiv 2108.05895, tables of section 4): satellite tiles and scenes of the world.

One network, its tokens taken away, multiplied, made wider or narrower; its weights ship with the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from timm.data import IMAGENET_DEFAULT_MEAN as IMAGENET_MEAN
from timm.data import IMAGENET_DEFAULT_STD as IMAGENET_STD
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from visionlab.backbones.mobile_former_bridge import Former, ToFormer, ToMobile
from visionlab.backbones.mobile_former_mobile import DynamicReLU, Slopes, Votes
from visionlab.backbones.mobile_former_nano import nano_network
from visionlab.data import world
from visionlab.data.images import load
from visionlab.data.transforms import dihedral, normalise
from visionlab.data.world.questions import TEN
from visionlab.experiments.claim import Claim, Closed
from visionlab.experiments.cswin_images import EUROSAT_CLASSES, WORLD_MEAN, WORLD_STD, accuracy, classify_loss
from visionlab.experiments.experiment import Experiment, Job, Outcome
from visionlab.measure.cost import multiply_adds, parameters
from visionlab.train.loop import Fit, Recipe, fit, start
from visionlab.train.randomness import seeded
from visionlab.train.stream import Batch, Shuffled
from visionlab.weights import Card

__all__ = ["FULL", "MOBILE", "NETWORKS", "TOKENS", "WEIGHTS", "WORLD"]

SIZE = 64
MOBILE, FULL = "Mobile alone", "full"
ALONE: dict[str, Any] = {"tokens": (0, 32), "slopes": "static"}
NETWORKS: dict[str, dict[str, Any]] = {
    MOBILE: ALONE,
    "wide Mobile": ALONE | {"channels": (10, 14, 20, 36, 70)},
    "bridges, ReLU6": {"slopes": "static"},
    FULL: {},
    "1 token": {"tokens": (1, 32)},
    "6 tokens": {"tokens": (6, 32)},
    "width 16": {"tokens": (3, 16)},
    "width 64": {"tokens": (3, 64)},
    "spatial slopes": {"slopes": "spatial"},
}
"""The variants, as arguments of `nano_network`; "full" has 3 tokens of width 32, the first of which steers slopes."""


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """Scale of the experiment on satellite tiles."""

    recipe: Recipe
    variants: tuple[str, ...] = tuple(NETWORKS)
    smoothing: float = 0.1


def images_of(data: str, split: str) -> tuple[Tensor, Tensor]:
    """Return normalised images (N, 3, 64, 64) and labels of a data set."""
    images, labels = load(data, split, size=SIZE).tensors()
    return normalise(images, IMAGENET_MEAN, IMAGENET_STD), labels


def turned(batch: Batch, rng: torch.Generator) -> Batch:
    """Each tile in one of its eight orientations: seen from above, there is no up."""
    return dihedral(batch[0], rng), batch[1]


def train(job: Job, network: nn.Module, images: Tensor, labels: Tensor, augment: Any = None) -> Fit:
    """Train a classifier on images."""
    preset = job.preset
    return fit(
        network, Shuffled(TensorDataset(images, labels)), partial(classify_loss, smoothing=preset.smoothing),
        preset.recipe, seed=job.seed, fabric=start(preset.recipe.precision, job.device), augment=augment,
        hook=job.hook, checkpoint=job.checkpoint,
    )  # fmt: skip


def costs_of(variant: str) -> dict[str, float]:
    """Return what a network costs: parameters, and multiply-adds for an image of 64 pixels."""
    network = nano_network(**NETWORKS[variant], num_classes=10)
    cost = multiply_adds(network, torch.zeros(1, 3, SIZE, SIZE))
    return {"multiply-adds (M)": cost / 1e6, "parameters (k)": parameters(network) / 1e3}


def measure_tokens(job: Job) -> Outcome:
    """Train one network on the tiles under random symmetries, and test it on held-out ones."""
    with seeded(job.seed):
        network = nano_network(**NETWORKS[job.variant], num_classes=10)
    run = train(job, network, *images_of(job.data, "train"), augment=turned)
    metrics = {"accuracy (%)": accuracy(run.model, *images_of(job.data, "test"))}
    return Outcome(metrics | costs_of(job.variant), run.history, network=run.model)


SHARED = (
    nano_network, ToFormer, Former, ToMobile, DynamicReLU, Slopes, Votes, NETWORKS, train, classify_loss, accuracy,
    costs_of, multiply_adds, normalise,
)  # fmt: skip
REMARK = (
    "The networks are 200 times smaller than the paper's 294M, and see thousands of images for a minute instead of 1.28"
    " million photographs for 300 epochs. There the bridges gain 2.6 points, the slopes another 1.0, and six tokens 0.7"
    " over one."
)
_claim = partial(
    Claim,
    source="ablations of section 4",
    metric="accuracy (%)",
    method=FULL,
    margin=0.5,
    remark=REMARK,
)

TOKENS = Experiment(
    name="mobile_former/tokens",
    question="Trained on 2,400 satellite tiles, what does a small MobileNet gain from a few tokens beside it?",
    variants=tuple(NETWORKS),
    measure=measure_tokens,
    presets={
        "quick": Tiles(recipe=Recipe(steps=150, batch=32, learning_rate=3e-3, warmup=15), variants=(MOBILE, FULL)),
        "long": Tiles(recipe=Recipe(steps=800, batch=16, learning_rate=3e-3, warmup=80, ema=0.99)),
        "gpu": Tiles(recipe=Recipe(steps=3000, batch=128, learning_rate=3e-3, warmup=200, ema=0.998)),
    },
    data=("eurosat_mini",),
    defined_by=(*SHARED, images_of, turned, dihedral),
    claims=(
        _claim(
            name="tokens",
            statement="Three tokens that read, write and set the slopes make the same Mobile more accurate",
            rival=MOBILE,
            margin=1.0,
        ),
        _claim(
            name="not-width",
            statement="A wider Mobile of no fewer multiply-adds gains less than the tokens",
            rival="wide Mobile",
        ),
        _claim(
            name="bridges",
            statement="Former and bridges alone, with ReLU6, already make the same Mobile more accurate",
            method="bridges, ReLU6",
            rival=MOBILE,
        ),
        _claim(
            name="slopes",
            statement="Slopes that the first token sets add accuracy to bridges with ReLU6",
            rival="bridges, ReLU6",
        ),
        Closed(
            name="one-token",
            statement="One token does half and more of what six do",
            source="ablations of section 4",
            metric="accuracy (%)",
            method="1 token",
            rival=MOBILE,
            bound="6 tokens",
            share=0.5,
            remark=REMARK,
        ),
        _claim(
            name="wider-tokens",
            statement="Tokens of width 32 tell more than tokens of width 16",
            rival="width 16",
        ),
    ),
)

# --- The world: the same network on ten shapes -----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class World:
    """Scale of the experiment on the world."""

    recipe: Recipe
    n: int
    test: int = 1000
    smoothing: float = 0.1
    classes: tuple[str, ...] = TEN
    distractors: int = 0
    spread: float = 1.3


def shapes_of(job: Job, split: str, n: int) -> tuple[Tensor, Tensor]:
    """Return normalised images (n, 3, 64, 64) of one shape each, and which it is."""
    knobs = {name: getattr(job.preset, name) for name in ("classes", "distractors", "spread")}
    images, labels = world.dataset("shapes", split, n, size=SIZE, seed=job.seed, **knobs).tensors()
    return normalise(images, WORLD_MEAN, WORLD_STD), torch.as_tensor(labels)


def measure_world(job: Job) -> Outcome:
    """Train one network on scenes of one object each, and test it on new scenes."""
    preset: World = job.preset
    with seeded(job.seed):
        network = nano_network(**NETWORKS[job.variant], num_classes=len(preset.classes))
    run = train(job, network, *shapes_of(job, "train", preset.n))
    metrics = {"accuracy (%)": accuracy(run.model, *shapes_of(job, "test", preset.test))}
    return Outcome(metrics | costs_of(job.variant), run.history, network=run.model)


WORLD = Experiment(
    name="mobile_former/world",
    question="Do a few tokens help a small MobileNet to tell ten shapes in new scenes of the world?",
    variants=(MOBILE, FULL),
    measure=measure_world,
    presets={
        "quick": World(recipe=Recipe(steps=150, batch=32, learning_rate=3e-3, warmup=15), n=2000),
        "long": World(recipe=Recipe(steps=1500, batch=16, learning_rate=3e-3, warmup=100, ema=0.995), n=8000),
        "gpu": World(recipe=Recipe(steps=9000, batch=128, learning_rate=3e-3, warmup=500, ema=0.999), n=50_000),
    },
    data=("world",),
    defined_by=(*SHARED, shapes_of),
    versions={"world": world.VERSION},
    claims=(
        Claim(
            name="shapes",
            statement="Three tokens help a small MobileNet to tell ten shapes in new scenes",
            source="section 4; our task",
            metric="accuracy (%)",
            method=FULL,
            rival=MOBILE,
            margin=1.0,
            remark=REMARK,
        ),
    ),
)


_card = partial(
    Card, network="visionlab.backbones.mobile_former_nano:nano_network", size=SIZE, preset="long", variant=FULL, seed=0
)
WEIGHTS = (
    _card(
        name="mobile_former_nano_eurosat",
        kwargs=NETWORKS[FULL] | {"num_classes": len(EUROSAT_CLASSES)},
        classes=EUROSAT_CLASSES,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        experiment="mobile_former/tokens",
        data="eurosat_mini",
        licence="MIT, as its data, EuroSAT (contains modified Copernicus Sentinel data)",
    ),
    _card(
        name="mobile_former_nano_world",
        kwargs=NETWORKS[FULL] | {"num_classes": len(TEN)},
        classes=TEN,
        mean=WORLD_MEAN,
        std=WORLD_STD,
        experiment="mobile_former/world",
        data="world",
        licence="MIT, as visionlab, which draws its data",
    ),
)
