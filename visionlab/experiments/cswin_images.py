"""Small CSWins on images: satellite tiles and scenes of the world; their weights ship with the package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from visionlab.backbones.cswin import CSWinTransformer
from visionlab.data import world
from visionlab.data.transforms import dihedral
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
from visionlab.measure.cost import parameters
from visionlab.train.loop import Recipe
from visionlab.train.randomness import seeded

__all__ = ["EUROSAT", "WEIGHTS", "WORLD"]

# --- EuroSAT: a CSWin of a million parameters on tiles of 64 pixels; its weights ship with the package ----------------

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


def measure_eurosat(job: Job) -> Outcome:
    """Train the small network on the tiles under random symmetries, and test it on held-out ones."""
    preset: EuroSAT = job.preset
    with seeded(job.seed):
        network = CSWinTransformer(**NANO, num_classes=10, drop_path_rate=preset.drop_path)
    run = train(job, network, images_of(job.data, "train"), smoothing=preset.smoothing, augment=turned)
    metrics = {
        "accuracy (%)": accuracy(run.model, *images_of(job.data, "test")),
        "parameters (M)": parameters(network) / 1e6,
    }
    return Outcome(metrics, run.history, network=run.model)


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
    defined_by=(*TRAINED_BY, images_of, turned, dihedral, NANO),
)

# --- The world: the same network on ten shapes -----------------------------------------------------------------------


def measure_world(job: Job) -> Outcome:
    """Train the small network on scenes of one object each, and test it on new scenes."""
    preset: World = job.preset
    with seeded(job.seed):
        network = CSWinTransformer(**NANO, num_classes=len(preset.classes))
    run = train(job, network, shapes_of(job, "train", preset.n), smoothing=0.1)
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
    defined_by=(*TRAINED_BY, shapes_of, NANO),
    versions={"world": world.VERSION},
)

NETWORK = "visionlab.backbones.cswin:CSWinTransformer"
WEIGHTS = (
    tiles_card("cswin_nano_eurosat", network=NETWORK, kwargs=NANO, experiment="cswin/eurosat", variant="cswin"),
    shapes_card("cswin_nano_world", network=NETWORK, kwargs=NANO, experiment="cswin/world", variant="cswin"),
)
