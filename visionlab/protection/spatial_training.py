"""How an owner trains the spatial invisible watermark (arXiv 2002.11088, 2103.04980): losses and both stages.

Initial stage: embedder and extractor together. Adversarial stage: the embedder is frozen, and the extractor learns to
read what one surrogate of the owner's answers, which was trained on marked answers.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial

import torch.nn.functional as F
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor, nn

from visionlab.protection.owner_training import ExtractorAlone, check_sets, draw_together
from visionlab.protection.poison_ink import against_discriminator
from visionlab.protection.spatial_mark import SpatialMark
from visionlab.train.loop import Fit, Hook, Recipe, fit, start
from visionlab.train.stream import Batch, Fresh

__all__ = [
    "ADVERSARIAL", "RECIPE", "SpatialWeights", "adversarial_stage", "consistency", "spatial_loss", "train_spatial",
]  # fmt: skip

RECIPE = Recipe(steps=350, batch=48, learning_rate=3e-3, warmup=105, weight_decay=0.0, precision="bf16-mixed")
"""Of the small-scale study: 43 seconds on one core."""
ADVERSARIAL = Recipe(steps=150, batch=48, learning_rate=1e-3, warmup=15, weight_decay=0.0)


@dataclass(frozen=True, kw_only=True)
class SpatialWeights:
    """How much each part of the loss counts; all are mean squared errors.

    Args:
        invisible: difference of marked and clean answer; the published embedder needs it, `Faint` does not.
        logo: error of the logo that is read from marked answers.
        clean: what is read from questions and from clean answers, which must be white; each of the two counts so much.
        consistency: difference of what is read from two marked answers (published: 1).
        adversarial: of `poison_ink.adversarial_loss` (published: 0.01).
    """

    invisible: float = 0.0
    logo: float = 1.0
    clean: float = 1.0
    consistency: float = 0.5
    adversarial: float = 0.0


def consistency(drawings: Float[Tensor, "b 3 h w"]) -> Float[Tensor, ""]:
    """Mean squared difference of the first half of a batch of drawings and the second; 0 if all are equal."""
    half = len(drawings) // 2
    return F.mse_loss(drawings[:half], drawings[half : 2 * half])


def spatial_loss(parts: dict[str, Tensor], weights: SpatialWeights) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss L_H + L_R of embedder and extractor, but for its adversarial part, and named parts to log.

    Args:
        parts: from `SpatialMark`; without "poisoned" the marked images are not at stake.
        weights: of the parts.
    """
    found = F.mse_loss(parts["drawing"], parts["pattern"])
    clean = (parts["asked drawing"] - 1).square().mean() + (parts["clean drawing"] - 1).square().mean()
    same = consistency(parts["drawing"])
    loss = weights.logo * found + weights.clean * clean + weights.consistency * same
    named = {"logo error": found, "clean error": clean, "consistency error": same}
    if "poisoned" in parts:
        error = F.mse_loss(parts["poisoned"], parts["images"])
        loss = loss + weights.invisible * error
        named["PSNR (dB)"] = -10 * error.detach().clamp(min=1e-10).log10()
    return loss, named


def train_spatial(
    networks: SpatialMark,
    inputs: Float[Tensor, "n 3 h w"],
    outputs: Float[Tensor, "n 3 h w"],
    recipe: Recipe = RECIPE,
    *,
    weights: SpatialWeights | None = None,
    seed: int,
    fabric: Fabric | None = None,
    hook: Hook | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Fit:
    """Train embedder and extractor in place: the initial stage.

    Args:
        networks: what is trained.
        inputs: a, what the network to be protected is asked, in [0, 1].
        outputs: b, its clean answers.
        recipe: steps, batch, rates.
        weights: of the loss.
        seed: of the batches; the networks' weights are the caller's.
        fabric: of `visionlab.train.loop.start`.
        hook: of the loop.
        checkpoint: file to resume from.

    Raises:
        ValueError: if the pairs do not fit each other, or the batch has no two halves.
    """
    check_sets({"inputs": inputs, "outputs": outputs}, recipe, 2)
    return fit(
        networks,
        Fresh(partial(draw_together, (outputs, inputs))),
        partial(_loss, weights=weights or SpatialWeights()),
        recipe,
        seed=seed, fabric=fabric, hook=hook, checkpoint=checkpoint,
    )  # fmt: skip


def adversarial_stage(
    networks: SpatialMark,
    inputs: Float[Tensor, "n 3 h w"],
    outputs: Float[Tensor, "n 3 h w"],
    stolen: Float[Tensor, "n 3 h w"],
    recipe: Recipe = ADVERSARIAL,
    *,
    seed: int,
    fabric: Fabric | None = None,
    hook: Hook | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Fit:
    """Train the extractor further, in place, on what one marked surrogate of the owner's answers; the embedder stays.

    Args:
        networks: trained by `train_spatial`.
        inputs: as there, best images that the surrogate was not trained on.
        outputs: as there.
        stolen: what the surrogate answers.
        recipe: steps, batch, rates.
        seed: of the batches.
        fabric: of `visionlab.train.loop.start`.
        hook: of the loop.
        checkpoint: file to resume from.

    Raises:
        ValueError: if the sets do not fit each other, or the batch has no two halves.
    """
    check_sets({"inputs": inputs, "outputs": outputs, "stolen": stolen}, recipe, 2)
    fabric = fabric or start(recipe.precision)
    networks.to(fabric.device).eval()
    run = fit(
        ExtractorAlone(networks.extractor, networks.examined),
        Fresh(partial(draw_together, (outputs, inputs, stolen))),
        partial(_loss, weights=SpatialWeights()),
        recipe,
        seed=seed, fabric=fabric, hook=hook, checkpoint=checkpoint,
    )  # fmt: skip
    run.model = networks
    return run


def _loss(model: nn.Module, batch: Batch, *, weights: SpatialWeights) -> tuple[Tensor, dict[str, Tensor]]:
    parts = model(*batch)
    return against_discriminator(model, parts, *spatial_loss(parts, weights), weights.adversarial)
