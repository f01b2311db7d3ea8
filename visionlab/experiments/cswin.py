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
from visionlab.backbones.cswin_variants import (
    MECHANISMS,
    RegionAttention,
    flat_network,
    multiply_adds,
    regions_of,
    stripe_regions,
    window_regions,
)
from visionlab.data import puzzles
from visionlab.data.images import load
from visionlab.data.transforms import dihedral, normalise
from visionlab.experiments.claim import Claim
from visionlab.experiments.experiment import Experiment, Job, Outcome
from visionlab.measure.cost import parameters
from visionlab.measure.reach import reach
from visionlab.train.loop import Recipe, fit, start
from visionlab.train.randomness import generator, seeded
from visionlab.train.stream import Batch, Fresh, Shuffled
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


# --- Same colour: the relation of two far cells, at equal multiply-adds ----------------------------------------------

DISTANCES = {"1": (1, 1), "2": (2, 2), "3": (3, 3), "4-5": (4, 5), "6-7": (6, 7)}


@dataclass(frozen=True, kw_only=True)
class SameColour:
    """Scale of the same-colour experiment; the test images are drawn from the seed, so all variants see the same
    ones."""

    recipe: Recipe
    variants: tuple[str, ...] = MECHANISMS
    cells: int = 8
    test: int = 4096


def draw_same_colour(n: int, rng: torch.Generator, *, cells: int) -> Batch:
    """Draw images (n, 3, H, W), the two cells (n, 2, 2), labels (n,) and distances (n,)."""
    puzzle = puzzles.same_colour(n, cells=cells, generator=rng)
    return puzzle.images, puzzle.cells, puzzle.same, puzzle.distance


def at_cells(logits: Tensor, cells: Tensor) -> Tensor:
    """Pick the logits (B, 2, classes) at the two cells (B, 2, 2) of maps (B, H, W, classes)."""
    index = torch.arange(len(logits), device=logits.device)[:, None]
    return logits[index, cells[..., 0], cells[..., 1]]


def same_colour_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy at the two coloured cells; the answer is the sum of their log-probabilities."""
    images, cells, same, _ = batch
    log_p = F.log_softmax(at_cells(model(images), cells), dim=-1)
    loss = F.nll_loss(log_p.flatten(0, 1), same.repeat_interleave(2))
    accuracy = (log_p.sum(dim=1).argmax(dim=-1) == same).to(loss.dtype).mean()
    return loss, {"accuracy": 100 * accuracy}


@torch.no_grad()
def same_colour_accuracy(model: nn.Module, batch: Batch) -> dict[str, float]:
    """Return the accuracy in percent, over all and by Chebyshev distance of the cells."""
    images, cells, same, distance = batch
    device = next(model.parameters()).device
    model.eval()
    answers = []
    for part, where in zip(images.split(512), cells.split(512), strict=True):
        log_p = F.log_softmax(at_cells(model(part.to(device)), where.to(device)), dim=-1)
        answers.append(log_p.sum(dim=1).argmax(dim=-1).cpu())
    right = (torch.cat(answers) == same).double() * 100
    scores = {"accuracy (%)": right.mean().item()}
    for name, (low, high) in DISTANCES.items():
        scores[f"accuracy at distance {name} (%)"] = right[(distance >= low) & (distance <= high)].mean().item()
    return scores


def same_colour_under(model: nn.Module, *, cells: int, noise: float, n: int = 250) -> float:
    """Return the accuracy in percent on new boards of another size or noise."""
    puzzle = puzzles.same_colour(n, cells=cells, noise=noise, generator=generator(cells, round(1000 * noise)))
    return same_colour_accuracy(model, (puzzle.images, puzzle.cells, puzzle.same, puzzle.distance))["accuracy (%)"]


def measure_same_colour(job: Job) -> Outcome:
    """Train one flat network on fresh puzzles and test it."""
    preset: SameColour = job.preset
    with seeded(job.seed):
        network = flat_network(job.variant)
    fabric = start(preset.recipe.precision, job.device)
    stream = Fresh(partial(draw_same_colour, cells=preset.cells))
    run = fit(
        network, stream, same_colour_loss, preset.recipe,
        seed=job.seed, fabric=fabric, hook=job.hook, checkpoint=job.checkpoint,
    )  # fmt: skip
    test = draw_same_colour(preset.test, generator(job.seed, 1_000_000), cells=preset.cells)
    cost = multiply_adds(flat_network(job.variant).blocks, 1, preset.cells, preset.cells, 32) / 1e6
    metrics = same_colour_accuracy(run.model, test) | {"multiply-adds (M)": cost}
    return Outcome(metrics, run.history, network=run.model)


def _beats(method: str, rival: str, table: int = 9, **fields: object) -> Claim:
    return Claim(method=method, rival=rival, source=f"section 4.4, table {table}", **fields)  # type: ignore[arg-type]


SAME_COLOUR = Experiment(
    name="cswin/same-colour",
    question="Do two cells of a noisy image have the same colour? Which attention finds out, and over which distance?",
    variants=MECHANISMS,
    measure=measure_same_colour,
    presets={
        "quick": SameColour(
            recipe=Recipe(steps=450, batch=32, learning_rate=3e-3, warmup=30),
            variants=("cswin", "shifted window"),
            test=2048,
        ),
        "long": SameColour(recipe=Recipe(steps=500, batch=64, learning_rate=3e-3, warmup=50)),
        "gpu": SameColour(recipe=Recipe(steps=2000, batch=256, learning_rate=3e-3, warmup=200), test=16384),
    },
    defined_by=(
        flat_network,
        RegionAttention,
        multiply_adds,
        draw_same_colour,
        same_colour_loss,
        same_colour_accuracy,
        puzzles.same_colour,
    ),
    versions={"puzzles": puzzles.VERSION},
    claims=(
        _beats(
            "cswin",
            "shifted window",
            name="far-pairs",
            statement="At equal cost, cross-shaped blocks relate cells 6 to 7 apart better than shifted windows",
            metric="accuracy at distance 6-7 (%)",
            margin=20.0,
        ),
        _beats(
            "cswin",
            "shifted window",
            name="all-pairs",
            statement="At equal cost, cross-shaped blocks answer more of all pairs than shifted windows",
            metric="accuracy (%)",
            margin=5.0,
        ),
        _beats(
            "cswin",
            "axial",
            table=8,
            name="parallel",
            statement="Both stripe directions in each block (parallel) beat one direction a block in turn (axial)",
            metric="accuracy (%)",
            margin=0.1,
            remark="Two axial blocks reach everything as well, and both networks answer all pairs: the task has no"
            " room for a difference. The paper reports +0.3 points on ImageNet and +1.6 box AP on COCO (table 8).",
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

EXPERIMENTS = (REACH, SAME_COLOUR, EUROSAT)
