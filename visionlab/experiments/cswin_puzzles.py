"""CSWin's attention on a puzzle (arXiv 2107.00652, section 4.4, tables 8 and 9): small, exact, offline.

A flat network of two blocks answers a question about two cells of a noisy board, at these two cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visionlab.backbones.cswin_variants import MECHANISMS, RegionAttention, flat_network, multiply_adds, regions_of
from visionlab.data import puzzles
from visionlab.experiments.claim import Claim
from visionlab.experiments.experiment import Experiment, Job, Outcome
from visionlab.train.loop import Recipe, fit, start
from visionlab.train.randomness import generator, seeded
from visionlab.train.stream import Batch, Fresh
from visionlab.weights import Card

__all__ = ["DISTANCES", "SAME_COLOUR", "WEIGHTS", "same_colour_under"]

DISTANCES = {"1": (1, 1), "2": (2, 2), "3": (3, 3), "4-5": (4, 5), "6-7": (6, 7)}


def draw_same_colour(n: int, rng: torch.Generator, *, cells: int) -> Batch:
    """Draw images (n, 3, H, W), the two cells (n, 2, 2), whether they agree (n,) and distances (n,)."""
    puzzle = puzzles.same_colour(n, cells=cells, generator=rng)
    return puzzle.images, puzzle.cells, puzzle.same, puzzle.distance


def at_cells(logits: Tensor, cells: Tensor) -> Tensor:
    """Pick the logits (B, 2, classes) at the two cells (B, 2, 2) of maps (B, H, W, classes)."""
    index = torch.arange(len(logits), device=logits.device)[:, None]
    return logits[index, cells[..., 0], cells[..., 1]]


def pair_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy at the two coloured cells; the answer is the sum of their log-probabilities."""
    images, cells, answers, _ = batch
    log_p = F.log_softmax(at_cells(model(images), cells), dim=-1)
    loss = F.nll_loss(log_p.flatten(0, 1), answers.repeat_interleave(2))
    accuracy = (log_p.sum(dim=1).argmax(dim=-1) == answers).to(loss.dtype).mean()
    return loss, {"accuracy": 100 * accuracy}


@torch.no_grad()
def right_answers(model: nn.Module, batch: Batch) -> Tensor:
    """Return 100 for each image answered rightly, else 0, in float64."""
    images, cells, answers, _ = batch
    device = next(model.parameters()).device
    model.eval()
    told = []
    for part, where in zip(images.split(512), cells.split(512), strict=True):
        log_p = F.log_softmax(at_cells(model(part.to(device)), where.to(device)), dim=-1)
        told.append(log_p.sum(dim=1).argmax(dim=-1).cpu())
    return (torch.cat(told) == answers).double() * 100


def train_flat(
    job: Job, draw: Callable[..., Batch], mechanism: str, position: str, num_classes: int
) -> tuple[nn.Module, Outcome]:
    """Train a flat network on fresh boards; its measures are left to the caller."""
    preset = job.preset
    with seeded(job.seed):
        network = flat_network(mechanism, position, num_classes=num_classes)
    run = fit(
        network, Fresh(partial(draw, cells=preset.cells)), pair_loss, preset.recipe,
        seed=job.seed, fabric=start(preset.recipe.precision, job.device), hook=job.hook, checkpoint=job.checkpoint,
    )  # fmt: skip
    return run.model, Outcome({}, run.history, network=run.model)


# --- Same colour: the relation of two far cells, at equal multiply-adds ----------------------------------------------


@dataclass(frozen=True, kw_only=True)
class SameColour:
    """Scale of the same-colour experiment; the test images are drawn from the seed, so all variants see the same
    ones."""

    recipe: Recipe
    variants: tuple[str, ...] = MECHANISMS
    cells: int = 8
    test: int = 4096


def same_colour_accuracy(model: nn.Module, batch: Batch) -> dict[str, float]:
    """Return the accuracy in percent, over all and by Chebyshev distance of the cells."""
    right, distance = right_answers(model, batch), batch[3]
    scores = {"accuracy (%)": right.mean().item()}
    for name, (low, high) in DISTANCES.items():
        scores[f"accuracy at distance {name} (%)"] = right[(distance >= low) & (distance <= high)].mean().item()
    return scores


def same_colour_under(model: nn.Module, *, cells: int, noise: float, n: int = 250) -> float:
    """Return the accuracy in percent on new boards of another size or noise."""
    puzzle = puzzles.same_colour(n, cells=cells, noise=noise, generator=generator(cells, round(1000 * noise)))
    return right_answers(model, (puzzle.images, puzzle.cells, puzzle.same, puzzle.distance)).mean().item()


def measure_same_colour(job: Job) -> Outcome:
    """Train one mechanism and test it by distance."""
    model, outcome = train_flat(job, draw_same_colour, job.variant, "lepe", 2)
    cells = job.preset.cells
    test = draw_same_colour(job.preset.test, generator(job.seed, 1_000_000), cells=cells)
    cost = multiply_adds(flat_network(job.variant).blocks, 1, cells, cells, 32) / 1e6
    return Outcome(same_colour_accuracy(model, test) | {"multiply-adds (M)": cost}, outcome.history, network=model)


def _beats(method: str, rival: str, table: int = 9, **fields: object) -> Claim:
    return Claim(method=method, rival=rival, source=f"section 4.4, table {table}", **fields)  # type: ignore[arg-type]


SHARED = (flat_network, RegionAttention, regions_of, at_cells, pair_loss, right_answers, train_flat)
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
    defined_by=(*SHARED, multiply_adds, draw_same_colour, same_colour_accuracy, puzzles.same_colour),
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

WEIGHTS = tuple(
    Card(
        name=f"flat_{mechanism}_same_colour",
        network="visionlab.backbones.cswin_variants:flat_network",
        kwargs={"mechanism": mechanism},
        classes=("different", "same"),
        size=32,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        experiment="cswin/same-colour",
        preset="long",
        variant=mechanism,
        data="none",
        seed=0,
        licence="MIT, as visionlab, which draws its data",
    )
    for mechanism in ("axial", "global")
)
