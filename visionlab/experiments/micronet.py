"""Experiments on MicroNet (arXiv 2108.05894): its wiring, its ingredients, other worlds, and time."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from visionlab.backbones.micronet_factorized import (
    Wiring,
    channel_shuffle,
    shuffled,
    wiring,
)
from visionlab.experiments import micronet_images
from visionlab.experiments.claim import Claim
from visionlab.experiments.experiment import Experiment, Job, Outcome
from visionlab.experiments.micronet_imagenet import IMAGENET
from visionlab.experiments.micronet_time import TIME

__all__ = ["EXPERIMENTS", "WEIGHTS"]

# --- Wiring: sections 3.1 and 3.2, figure 3; exact, no training ------------------------------------------------------

LAMBDAS = {"1/4": 0.25, "1/2": 0.5, "1": 1.0, "2": 2.0, "4": 4.0, "1, no shuffle": 1.0}
"""Variants: lambda = G / sqrt(C/R), and the network of lambda 1 without its permutation."""


@dataclass(frozen=True)
class Sizes:
    """The convolutions that are wired: (channels C, reduction R), with a square C/R."""

    sizes: tuple[tuple[int, int], ...] = ((32, 2), (64, 4), (128, 2), (256, 4))


def wired(variant: str, channels: int, reduction: int) -> tuple[Wiring, int]:
    """Return the wiring of a variant, and its number of groups."""
    hidden = channels // reduction
    groups = round(LAMBDAS[variant] * hidden**0.5)
    made = wiring(channels, hidden, groups)
    return (made._replace(phi=torch.eye(hidden, dtype=torch.long)) if "no shuffle" in variant else made), groups


def rank(made: Wiring) -> int:
    """Return the rank of the product with weights drawn at random on the wires that are there."""
    rng = torch.Generator().manual_seed(0)
    p, q = (
        torch.randn(matrix.shape, generator=rng, dtype=torch.float64) * matrix for matrix in (made.p, made.q_transposed)
    )
    return int(torch.linalg.matrix_rank(p @ made.phi.double() @ q))


def measure_wiring(job: Job) -> Outcome:
    """Count the paths of each pair of channels, the pairs that have one, the rank, and the multiply-adds."""
    preset: Sizes = job.preset
    metrics: dict[str, float] = {}
    for channels, reduction in preset.sizes:
        made, groups = wired(job.variant, channels, reduction)
        adds = 2 * channels**2 // (reduction * groups)
        pairs = int(made.connected.sum())
        found = {
            "groups": groups,
            "fewest paths of a pair": int(made.paths.min()),
            "most paths of a pair": int(made.paths.max()),
            "pairs connected (%)": 100 * pairs / channels**2,
            "paths to an output": made.connectivity,
            "rank": rank(made),
            "multiply-adds a pixel": adds,
            "pairs connected by a multiply-add": pairs / adds,
        }
        metrics |= {f"{name}, C = {channels}, R = {reduction}": float(value) for name, value in found.items()}
    return Outcome(metrics)


def exact(name: str, statement: str, metric: str, rival: str, margin: float, *, higher: bool = True) -> Claim:
    """Return a claim for lambda 1 on the largest convolution."""
    return Claim(
        name=name, statement=statement, source="sections 3.1 and 3.2, figure 3; counted exactly",
        metric=f"{metric}, C = 256, R = 4", method="1", rival=rival, margin=margin, higher_is_better=higher, exact=True,
    )  # fmt: skip


WIRING = Experiment(
    name="micronet/wiring",
    question="Who reaches whom in P Phi Q^T, by how many paths, with G = lambda sqrt(C/R) groups?",
    variants=tuple(LAMBDAS),
    measure=measure_wiring,
    presets={"quick": Sizes(), "long": Sizes()},
    seeds=(0,),
    defined_by=(LAMBDAS, wired, rank, Wiring, wiring, shuffled, channel_shuffle),
    claims=(
        exact(
            "more-groups",
            "With sqrt(C/R) groups every input reaches every output; with twice as many, three of four pairs do not",
            "pairs connected (%)", "2", 70.0,
        ),
        exact(
            "fewer-groups",
            "With sqrt(C/R) groups a pair has one path and no more; with half as many groups each has four",
            "most paths of a pair", "1/2", 3.0, higher=False,
        ),
        exact(
            "best-buy",
            "A multiply-add connects more pairs with sqrt(C/R) groups than with half as many",
            "pairs connected by a multiply-add", "1/2", 1.0,
        ),
        exact(
            "best-buy-2",
            "A multiply-add connects more pairs with sqrt(C/R) groups than with twice as many",
            "pairs connected by a multiply-add", "2", 1.0,
        ),
        exact(
            "shuffle",
            "Without the permutation the groups never meet: of eight groups, an input reaches one",
            "pairs connected (%)", "1, no shuffle", 80.0,
        ),
    ),
)  # fmt: skip


WEIGHTS = micronet_images.WEIGHTS

EXPERIMENTS = (WIRING, micronet_images.INGREDIENTS, micronet_images.WORLD, TIME, IMAGENET)
