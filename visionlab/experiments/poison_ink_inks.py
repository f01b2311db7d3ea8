"""One hider, eight inks (Poison Ink, arXiv 2108.02488: the published networks serve 125): which one was it?"""

from __future__ import annotations

import torch
from torch import Tensor

from visionlab.data import world
from visionlab.experiments.claim import Claim
from visionlab.experiments.experiment import Experiment, Job, Outcome
from visionlab.experiments.poison_ink_victims import (
    HIDERS,
    HIDING_CODE,
    HIDING_RECIPE,
    LARGE_HIDING,
    STEALTH_CODE,
    Hiding,
    images_of,
    stealth,
)
from visionlab.protection.hiding import ColourHider
from visionlab.protection.poison_ink import PoisonInk, Weights, colour_found, many_inks, train_ink
from visionlab.protection.robustness import MOVES, STANDARD, changed, uncovered
from visionlab.protection.structure import HUES, chroma_direction, nearest_ink, random_inks
from visionlab.train.loop import Recipe, start
from visionlab.train.randomness import seeded

__all__ = ["INKS", "measure_inks"]


@torch.no_grad()
def naming(networks: PoisonInk, images: Tensor, gain: float, seed: int) -> dict[str, float]:
    """Percent of images whose ink, one of `HUES` drawn for each, is named right; and of clean ones with any ink.

    Images with hardly an edge are left out.
    """
    inks = random_inks(len(images), HUES, generator=torch.Generator().manual_seed(seed))
    truth = nearest_ink(inks)
    inked = networks.hide(images, inks, gain=gain)
    metrics = {}
    for name, steps in STANDARD.items():
        outside = uncovered(images, steps, seed=seed)
        for kind, x in (("named right", inked), ("false alarms", images)):
            colour, share = colour_found(networks, changed(x, steps, seed=seed), outside=outside)
            told = nearest_ink(colour)
            hit = told == truth if kind == "named right" else told >= 0
            metrics[f"{kind}, {name} (%)"] = 100 * hit[share >= 0.01].double().mean().item()
    return metrics


def measure_inks(job: Job) -> Outcome:
    """Train hider and reader for eight inks, and measure how well they are hidden and told apart on held-out images."""
    preset: Hiding = job.preset
    with seeded(job.seed):
        networks = many_inks()
    run = train_ink(
        networks, images_of(job, "train")[0], preset.recipe, (HIDERS[job.variant],), weights=preset.weights,
        inks=preset.inks, seed=job.seed, fabric=start(preset.recipe.precision, job.device), hook=job.hook,
        checkpoint=job.checkpoint,
    )  # fmt: skip
    networks = networks.cpu().eval()
    images = images_of(job, "test")[0]

    @torch.no_grad()
    def trigger(x: Tensor) -> Tensor:
        inks = random_inks(len(x), HUES, generator=torch.Generator().manual_seed(job.seed))
        return networks.hide(x, inks, gain=preset.gain)

    return Outcome(
        stealth(job, images, trigger) | naming(networks, images, preset.gain, job.seed), run.history, network=networks
    )


WEIGHTS = Weights(invisible=0.0, colour=4.0)
INKS = Experiment(
    name="poison_ink/inks",
    question="One hider for eight inks: does the reader tell which one is in an image that was changed?",
    variants=("interference", "no interference"),
    measure=measure_inks,
    presets={
        "quick": Hiding(
            recipe=Recipe(steps=150, batch=32, learning_rate=3e-3, warmup=30, weight_decay=0.0), inks=HUES, gain=1.0,
            weights=WEIGHTS,
        ),
        "long": Hiding(recipe=HIDING_RECIPE, inks=HUES, gain=1.0, weights=WEIGHTS),
        "gpu": Hiding(recipe=LARGE_HIDING, inks=HUES, gain=1.0, weights=WEIGHTS),
    },
    data=("eurosat_mini", "world"),
    defined_by=(
        *HIDING_CODE, *STEALTH_CODE, ColourHider, many_inks, naming, colour_found, changed, uncovered, STANDARD, MOVES,
        HUES, chroma_direction, nearest_ink, random_inks,
    ),
    versions={"world": world.VERSION},
    claims=(
        Claim(
            name="layer",
            statement="Of eight inks the right one is named in more mirrored images if training had interference",
            remark="This hider only chooses how strongly it tints an edge, in the ink's own hue, and a tint means the"
            " same wherever it lies: much of what interference teaches other hiders is built into it.",
            source="pipeline figure: interference layer; ours: hues",
            metric="named right, flip (%)",
            method="interference",
            rival="no interference",
            margin=20.0,
        ),
    ),
)  # fmt: skip
