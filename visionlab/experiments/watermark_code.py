"""What a structure mark says (arXiv 2108.02360): does a loss on colours help, and do two regions carry two symbols?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from visionlab.data import world
from visionlab.experiments.claim import Claim
from visionlab.experiments.experiment import Experiment, Job, Outcome
from visionlab.experiments.watermark_setting import SETS, Setting, file_of, pairs_of
from visionlab.measure.image_quality import psnr
from visionlab.protection import surrogate, watermark_training
from visionlab.protection.hiding import ColourHider, Hider, Reader
from visionlab.protection.interference import Interference
from visionlab.protection.owner import WIDTH, marked_answers
from visionlab.protection.poison_ink import ink_loss
from visionlab.protection.regions import class_means, edge_map, paint, regions
from visionlab.protection.splits import split
from visionlab.protection.structure import adaptive_threshold, chroma_direction, nearest_ink, sobel_magnitude
from visionlab.protection.surrogate import AUGMENTATIONS, train_surrogate
from visionlab.protection.surrogate_networks import SurrogateUNet
from visionlab.protection.tasks import answers, pairs
from visionlab.protection.verification import pooled
from visionlab.protection.watermark import ENOUGH, Reading, StructureMark, unmarked
from visionlab.train.loop import Recipe, start
from visionlab.train.randomness import generator, seeded

__all__ = ["CODE", "OWN", "Coded", "measure_code"]

OWN = (3, 6)
"""Symbols of the owner: sea green, and where there is a second class violet."""


@dataclass(frozen=True, kw_only=True)
class Coded(Setting):
    """The same setting, for marks without adversarial stage.

    Args:
        faint: amplitude where all of an image carries ink, for about the same PSNR as on edges alone.
    """

    faint: float = 0.04


def network_of(job: Job) -> StructureMark:
    """Return the mark of a variant, untrained."""
    preset: Coded = job.preset
    with seeded(job.seed, 1):
        if job.variant == "regions":
            return StructureMark(ColourHider(amplitude=preset.faint), structure=partial(regions, k=2), classes=2)
        return StructureMark(ColourHider(amplitude=preset.amplitude))


def measure_code(job: Job) -> Outcome:
    """Train a mark, and one thief with all augmentations on its answers; read the code from both."""
    preset: Coded = job.preset
    images = pairs_of(job)
    (asked, truth), (question, wanted) = images["owner"], images["test"]
    clean = surrogate_of(job, "clean", WIDTH, asked, truth, "none", preset.clean)
    mark = network_of(job)
    weights = replace(preset.loss, colour=0.0) if job.variant == "edges, no colour loss" else preset.loss
    run = watermark_training.train_mark(
        mark, asked, truth, answers(clean, asked), preset.structure, weights=weights, seed=job.seed,
        fabric=start(preset.structure.precision, job.device), hook=job.hook, checkpoint=job.checkpoint,
    )  # fmt: skip
    mark.cpu().eval()
    symbols = torch.tensor(OWN[: mark.classes])
    asked, truth = images["thief"]
    given = marked_answers(mark, truth, symbols)
    thief = surrogate_of(job, job.variant, 32, asked, given, "all", preset.thief)
    own = marked_answers(mark, wanted, symbols)
    metrics = {"PSNR (dB)": psnr(own, wanted).mean().item()}
    for name, found in (("own", own), ("stolen", answers(thief, question)), ("clean", wanted)):
        metrics |= told(mark.decode(found), mark, symbols, name)
    return Outcome(metrics, run.history, network=mark)


def surrogate_of(
    job: Job, name: str, width: int, asked: Tensor, given: Tensor, augmentation: str, recipe: Recipe
) -> SurrogateUNet:
    """Train a surrogate; all variants of a run share those of one name."""
    with seeded(job.seed, 2):
        network = SurrogateUNet(width, levels=(job.preset.size // 4).bit_length() - 1)
    train_surrogate(
        network, asked, given, recipe, augmentation=AUGMENTATIONS[augmentation], seed=job.seed,
        fabric=start(recipe.precision, job.device), checkpoint=file_of(job, f"surrogate {name}"),
    )  # fmt: skip
    return network.cpu().eval()


def told(found: Reading, mark: StructureMark, symbols: Tensor, name: str) -> dict[str, float]:
    """Percent of symbols, and of whole codes, that are read right from single answers and from 16 together."""
    right = found.symbols == symbols
    metrics = {
        f"symbols right, {name} (%)": 100 * right.double().mean().item(),
        f"code right, {name} (%)": 100 * right.all(1).double().mean().item(),
    }
    draw, whole = generator(0, 16), 0
    for _ in range(SETS):
        colours, _ = pooled(found[torch.randperm(len(found), generator=draw)[:16]])
        whole += bool((mark.code.read(colours) == symbols).all())
    return metrics | {f"code right from 16, {name} (%)": 100 * whole / SETS}


CODE = Experiment(
    name="watermark/code",
    question="A mark says a code by its colour: is it read right, from one answer and from many, and of two regions?",
    variants=("edges", "edges, no colour loss", "regions"),
    measure=measure_code,
    presets={
        "quick": Coded(structure=replace(watermark_training.RECIPE, steps=60, warmup=18)),
        "long": Coded(structure=replace(watermark_training.RECIPE, steps=600, warmup=180)),
        "gpu": Coded(structure=replace(watermark_training.RECIPE, steps=4000, warmup=1200, batch=128), size=64),
    },
    data=("eurosat_mini", "world"),
    defined_by=(
        OWN, SETS, network_of, surrogate_of, told, pairs_of, surrogate.Augmentation, AUGMENTATIONS,
        train_surrogate, SurrogateUNet, watermark_training.train_mark, watermark_training.mark_loss,
        watermark_training.LAYER, watermark_training.STRENGTH, StructureMark, Reading, unmarked, ENOUGH, pooled,
        ColourHider, Hider, Reader, Interference, ink_loss, class_means, edge_map, paint, regions, split,
        adaptive_threshold, chroma_direction, nearest_ink, sobel_magnitude, answers, pairs, marked_answers,
    ),
    versions={"world": world.VERSION},
    claims=(
        Claim(
            name="colour-loss",
            statement="A loss on the mean colour of each image lets more single answers tell their code",
            source="published code of Poison Ink; ours: hues",
            metric="code right, own (%)",
            method="edges",
            rival="edges, no colour loss",
            margin=10.0,
        ),
        Claim(
            name="colour-loss-stolen",
            statement="So it does in what a thief's network answers",
            source="ours",
            metric="code right, stolen (%)",
            method="edges",
            rival="edges, no colour loss",
            margin=10.0,
        ),
        Claim(
            name="regions",
            statement="Two regions carry two symbols: from 16 stolen answers both are read right",
            source="figure of the pipeline: one colour a region",
            metric="code right from 16, stolen (%)",
            method="regions",
            rival="regions",
            rival_metric="code right from 16, clean (%)",
            margin=85.0,
        ),
    ),
)  # fmt: skip
