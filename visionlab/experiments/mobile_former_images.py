"""Small Mobile-Formers on images (arXiv 2108.05895, tables of section 4): satellite tiles and scenes of the world.

One network, its tokens taken away, multiplied, made wider or narrower; its weights ship with the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from visionlab.backbones.mobile_former_bridge import Former, ToFormer, ToMobile
from visionlab.backbones.mobile_former_mobile import DynamicReLU, Slopes, Votes
from visionlab.backbones.mobile_former_nano import nano_network
from visionlab.data import world
from visionlab.data.transforms import dihedral
from visionlab.experiments.claim import Claim, Closed
from visionlab.experiments.experiment import Experiment, Job, Outcome
from visionlab.experiments.small_images import (
    TRAINED_BY,
    World,
    accuracy,
    images_of,
    shapes_card,
    shapes_of,
    tiles_card,
    train,
    turned,
)
from visionlab.measure.cost import multiply_adds, parameters
from visionlab.train.loop import Recipe
from visionlab.train.randomness import seeded

__all__ = ["FULL", "MOBILE", "NETWORKS", "TOKENS", "WEIGHTS", "WORLD"]

SIZE, SMOOTHING = 64, 0.1
MOBILE, WIDE, FULL = "Mobile alone", "wide Mobile", "full"
ALONE: dict[str, Any] = {"tokens": (0, 32), "slopes": "static"}
NETWORKS: dict[str, dict[str, Any]] = {
    MOBILE: ALONE,
    WIDE: ALONE | {"channels": (10, 14, 20, 36, 70)},
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


def costs_of(variant: str) -> dict[str, float]:
    """Return what a network costs: parameters, and multiply-adds for an image of 64 pixels."""
    network = nano_network(**NETWORKS[variant], num_classes=10)
    cost = multiply_adds(network, torch.zeros(1, 3, SIZE, SIZE))
    return {"multiply-adds (M)": cost / 1e6, "parameters (k)": parameters(network) / 1e3}


def measure_tokens(job: Job) -> Outcome:
    """Train one network on the tiles under random symmetries, and test it on held-out ones."""
    with seeded(job.seed):
        network = nano_network(**NETWORKS[job.variant], num_classes=10)
    run = train(job, network, images_of(job.data, "train"), smoothing=SMOOTHING, augment=turned)
    metrics = {"accuracy (%)": accuracy(run.model, *images_of(job.data, "test"))}
    return Outcome(metrics | costs_of(job.variant), run.history, network=run.model)


SHARED = (
    *TRAINED_BY, nano_network, ToFormer, Former, ToMobile, DynamicReLU, Slopes, Votes, NETWORKS, costs_of,
    multiply_adds, SMOOTHING,
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
            rival=WIDE,
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
            statement="One token does half and more of what six do (rival: half-way from none to six)",
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


def measure_world(job: Job) -> Outcome:
    """Train one network on scenes of one object each, and test it on new scenes."""
    preset: World = job.preset
    with seeded(job.seed):
        network = nano_network(**NETWORKS[job.variant], num_classes=len(preset.classes))
    run = train(job, network, shapes_of(job, "train", preset.n), smoothing=SMOOTHING)
    metrics = {"accuracy (%)": accuracy(run.model, *shapes_of(job, "test", preset.test))}
    return Outcome(metrics | costs_of(job.variant), run.history, network=run.model)


WORLD = Experiment(
    name="mobile_former/world",
    question="Do a few tokens help a small MobileNet to tell ten shapes in new scenes of the world?",
    variants=(MOBILE, WIDE, FULL),
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
        _claim(
            name="shapes-not-width",
            statement="In new scenes, too, a wider Mobile of no fewer multiply-adds gains less than the tokens",
            rival=WIDE,
        ),
    ),
)


NETWORK = "visionlab.backbones.mobile_former_nano:nano_network"
WEIGHTS = (
    tiles_card(
        "mobile_former_nano_eurosat",
        network=NETWORK, kwargs=NETWORKS[FULL], experiment="mobile_former/tokens", variant=FULL,
    ),
    shapes_card(
        "mobile_former_nano_world",
        network=NETWORK, kwargs=NETWORKS[FULL], experiment="mobile_former/world", variant=FULL,
    ),
)  # fmt: skip
