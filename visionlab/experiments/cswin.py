"""Experiments on CSWin (arXiv 2107.00652): how far attention reaches, whether that reach is of use, and real images."""

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
from visionlab.backbones.cswin_variants import regions_of, stripe_regions, window_regions
from visionlab.data.images import load
from visionlab.data.transforms import dihedral, normalise
from visionlab.experiments.claim import Claim
from visionlab.experiments.cswin_dense import DETECTION, SEGMENTATION
from visionlab.experiments.cswin_encodings import COLOUR_POSITIONS, DIRECTION_POSITIONS
from visionlab.experiments.cswin_finetune import FINETUNE
from visionlab.experiments.cswin_puzzles import SAME_COLOUR
from visionlab.experiments.experiment import Experiment, Job, Outcome
from visionlab.measure.cost import parameters
from visionlab.measure.reach import reach
from visionlab.train.loop import Recipe, fit, start
from visionlab.train.randomness import seeded
from visionlab.train.stream import Batch, Shuffled
from visionlab.weights import Card

__all__ = ["EXPERIMENTS", "WEIGHTS"]


# --- Reach: section 4.4 and figure 1; exact, no training -------------------------------------------------------------


@dataclass(frozen=True)
class Reach:
    """On which maps, and after how many blocks, reach is computed: (side, stripe width) as in CSWin-T at 224 pixels."""

    maps: tuple[tuple[int, int], ...] = ((56, 1), (28, 2), (14, 7))
    blocks: int = 12
    window: int = 7


def block_regions(mechanism: str, side: int, stripe_width: int, window: int, blocks: int) -> list[list[Tensor]]:
    """Return, for each block, the region map of each group of heads."""
    sizes = {"stripe_width": stripe_width, "window": window}
    return [[regions(side, side) for regions in regions_of(mechanism, i, **sizes)] for i in range(blocks)]


def measure_reach(job: Job) -> Outcome:
    """Compute how much of each map can influence a token after 1, 2, … blocks, in percent."""
    preset: Reach = job.preset
    metrics = {}
    for side, stripe_width in preset.maps:
        blocks = block_regions(job.variant, side, stripe_width, preset.window, preset.blocks)
        for i, fraction in enumerate(reach(blocks), start=1):
            metrics[f"reach on {side}x{side}, {i} blocks (%)"] = round(100 * fraction, 4)
    return Outcome(metrics)


REACH = Experiment(
    name="cswin/reach",
    question="How much of the map can influence a token after n blocks?",
    variants=("cswin", "axial", "shifted window", "window"),
    measure=measure_reach,
    presets={"quick": Reach(), "long": Reach()},
    seeds=(0,),
    defined_by=(block_regions, regions_of, stripe_regions, window_regions, reach),
    claims=(
        Claim(
            name="two-blocks",
            statement="Two cross-shaped blocks connect all tokens of a 56x56 map; two shifted-window blocks do not",
            source="section 3.2; reach computed exactly",
            metric="reach on 56x56, 2 blocks (%)",
            method="cswin",
            rival="shifted window",
            margin=90.0,
            exact=True,
        ),
        Claim(
            name="one-block",
            statement="A single cross-shaped block already sees more of a 56x56 map than a block of 7x7 windows",
            source="section 3.2; reach computed exactly",
            metric="reach on 56x56, 1 blocks (%)",
            method="cswin",
            rival="shifted window",
            margin=1.5,
            exact=True,
        ),
    ),
)


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
)

EXPERIMENTS = (
    REACH, SAME_COLOUR, DIRECTION_POSITIONS, COLOUR_POSITIONS, SEGMENTATION, DETECTION, EUROSAT,
    FINETUNE,
)  # fmt: skip
