"""Experiments on CSWin (arXiv 2107.00652): how far attention reaches, whether that reach is of use, and real images."""

from __future__ import annotations

from dataclasses import dataclass

import timm
import torch
from torch import Tensor

from visionlab.backbones.cswin_variants import regions_of, stripe_regions, window_regions
from visionlab.experiments import cswin_images, cswin_puzzles
from visionlab.experiments.claim import Claim
from visionlab.experiments.cswin_dense import DETECTION, SEGMENTATION
from visionlab.experiments.cswin_encodings import COLOUR_POSITIONS, DIRECTION_POSITIONS
from visionlab.experiments.cswin_finetune import FINETUNE
from visionlab.experiments.experiment import Experiment, Job, Outcome
from visionlab.measure.cost import multiply_adds
from visionlab.measure.reach import reach

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


# --- Stripe width: section 3.2 and figure 4; exact, no training ------------------------------------------------------


@dataclass(frozen=True)
class StripeWidth:
    """The image, and the sides of the maps of CSWin-T's stages 1 to 3 for it."""

    image: int = 224
    sides: tuple[int, ...] = (56, 28, 14)


def measure_stripe_width(job: Job) -> Outcome:
    """Count CSWin-T with the widths of the variant, and how much of its map a token sees in one block."""
    preset: StripeWidth = job.preset
    widths = [int(width) for width in job.variant.split(", ")]
    with torch.device("meta"):  # shapes decide the count
        network = timm.create_model("cswin_tiny_224", stripe_widths=(*widths, 7))
        total = multiply_adds(network, torch.empty(1, 3, preset.image, preset.image)) / 1e9
    metrics = {"multiply-adds (G)": round(total, 4)}
    seen = []
    for stage, (side, width) in enumerate(zip(preset.sides, widths, strict=True), start=1):
        share = 100 * reach(block_regions("cswin", side, width, 7, 1))[0]
        metrics[f"seen in a block of stage {stage} (%)"] = round(share, 4)
        seen += [share] * len(network.stages[stage - 1].blocks)
    mean = sum(seen) / len(seen)
    return Outcome(metrics | {"seen in a block (%)": round(mean, 4), "seen for a G (%)": round(mean / total, 4)})


STRIPE_WIDTH = Experiment(
    name="cswin/stripe-width",
    question="What do wider stripes show a token of CSWin-T, and what do they cost?",
    variants=("1, 1, 1", "2, 2, 2", "1, 2, 7", "7, 7, 7"),
    measure=measure_stripe_width,
    presets={"quick": StripeWidth(), "long": StripeWidth()},
    seeds=(0,),
    defined_by=(block_regions, regions_of, stripe_regions, reach, multiply_adds),
    claims=(
        Claim(
            name="wider",
            statement="With stripes 1, 2 and 7 wide, a block of CSWin-T shows a token more than with width 1 in all",
            source="section 3.2, figure 4; counted exactly",
            metric="seen in a block (%)",
            method="1, 2, 7",
            rival="1, 1, 1",
            margin=50.0,
            exact=True,
        ),
        Claim(
            name="cheap",
            statement="For each multiply-add, widths 1, 2 and 7 show a token more than width 1 everywhere",
            source="section 3.2, eq. 3, figure 4; counted exactly",
            metric="seen for a G (%)",
            method="1, 2, 7",
            rival="1, 1, 1",
            margin=10.0,
            exact=True,
        ),
    ),
)


WEIGHTS = (*cswin_images.WEIGHTS, *cswin_puzzles.WEIGHTS)

EXPERIMENTS = (
    REACH,
    STRIPE_WIDTH,
    cswin_puzzles.SAME_COLOUR,
    DIRECTION_POSITIONS,
    COLOUR_POSITIONS,
    SEGMENTATION,
    DETECTION,
    cswin_images.WORLD,
    cswin_images.EUROSAT,
    FINETUNE,
)
