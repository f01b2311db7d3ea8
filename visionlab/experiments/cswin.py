"""Experiments on CSWin (arXiv 2107.00652): how far attention reaches, whether that reach is of use, and real images."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from visionlab.backbones.cswin_variants import regions_of, stripe_regions, window_regions
from visionlab.experiments import cswin_images, cswin_puzzles
from visionlab.experiments.claim import Claim
from visionlab.experiments.cswin_dense import DETECTION, SEGMENTATION
from visionlab.experiments.cswin_encodings import COLOUR_POSITIONS, DIRECTION_POSITIONS
from visionlab.experiments.cswin_finetune import FINETUNE
from visionlab.experiments.experiment import Experiment, Job, Outcome
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


WEIGHTS = (*cswin_images.WEIGHTS, *cswin_puzzles.WEIGHTS)

EXPERIMENTS = (
    REACH,
    cswin_puzzles.SAME_COLOUR,
    DIRECTION_POSITIONS,
    COLOUR_POSITIONS,
    SEGMENTATION,
    DETECTION,
    cswin_images.WORLD,
    cswin_images.EUROSAT,
    FINETUNE,
)
