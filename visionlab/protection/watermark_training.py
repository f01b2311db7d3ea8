"""How an owner trains a structure mark (arXiv 2108.02360, reconstructed): the initial and the adversarial stage.

Initial stage: embedder and extractor together, through the augmentation layer. Then the owner plays the thief: a
surrogate is trained on marked answers (`surrogate.train_surrogate`). Adversarial stage: the embedder is frozen, and the
extractor learns to read what that surrogate answers.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float, Int
from lightning_fabric import Fabric
from torch import Tensor, nn

from visionlab.protection.interference import Interference
from visionlab.protection.owner_training import ExtractorAlone, check_sets, draw_together
from visionlab.protection.poison_ink import Weights, against_discriminator, ink_loss
from visionlab.protection.regions import class_means
from visionlab.protection.tasks import AT_ONCE
from visionlab.protection.watermark import ENOUGH, StructureMark, unmarked
from visionlab.train.loop import Fit, Hook, Recipe, fit, start
from visionlab.train.stream import Batch, Fresh, Paced

__all__ = ["ADVERSARIAL", "LAYER", "RECIPE", "STRENGTH", "WEIGHTS", "adversarial_stage", "mark_loss", "train_mark"]

RECIPE = Recipe(steps=1300, batch=48, learning_rate=3e-3, warmup=390, weight_decay=0.0, precision="bf16-mixed")
"""Of the small-scale study: three minutes on one core."""
ADVERSARIAL = Recipe(steps=200, batch=48, learning_rate=1e-3, warmup=20, weight_decay=0.0)
LAYER = Interference(rotation=30.0, scale=(0.7, 1.1), shift=0.0)
"""The augmentation layer: what a thief may do to the pairs."""
WEIGHTS = Weights(invisible=0.0, edge=4.0, background=1.0, clean=8.0, colour=4.0)
"""Of the small-scale study, for embedders whose strength is given; others need ``invisible``."""
STRENGTH = (0.4, 1.1)
"""How strongly a thief's network may repeat the mark."""


def mark_loss(
    parts: dict[str, Tensor], weights: Weights, progress: Tensor, classes: int = 1
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of embedder and extractor: that of `poison_ink.ink_loss`, but for colours, which count for each class.

    Args:
        parts: from `StructureMark`.
        weights: of the parts.
        progress: share of the run that is done.
        classes: of the structure.
    """
    loss, named = ink_loss(parts, replace(weights, colour=0.0), progress)
    colour = _colour_error(parts, classes)
    return loss + weights.colour * colour, named | {"colour error": colour}


def train_mark(
    networks: StructureMark,
    inputs: Float[Tensor, "n 3 h w"],
    outputs: Float[Tensor, "n 3 h w"],
    imitated: Float[Tensor, "n 3 h w"],
    recipe: Recipe = RECIPE,
    *,
    layer: Interference = LAYER,
    weights: Weights = WEIGHTS,
    seed: int,
    fabric: Fabric | None = None,
    hook: Hook | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Fit:
    """Train embedder and extractor in place: the initial stage. Each image draws symbols of its own.

    Args:
        networks: what is trained.
        inputs: a, what the network to be protected is asked, in [0, 1].
        outputs: b, its clean answers.
        imitated: what a surrogate of the owner's, trained on clean answers, answers to a: `tasks.answers`.
        recipe: steps, batch, rates.
        layer: the augmentation layer.
        weights: of the loss.
        seed: of data and interference; weights are the caller's.
        fabric: of `visionlab.train.loop.start`.
        hook: of the loop.
        checkpoint: file to resume from.

    Raises:
        ValueError: if the three are no batches of images of one shape, or the batch has fewer than 4 images.
    """
    check_sets({"inputs": inputs, "outputs": outputs, "imitated": imitated}, recipe, 4)
    return fit(
        networks,
        Paced(Fresh(partial(draw_together, (outputs, inputs, imitated))), recipe.steps),
        partial(_initial_loss, weights=weights, classes=networks.classes),
        recipe,
        seed=seed, fabric=fabric, hook=hook, checkpoint=checkpoint,
        augment=partial(
            _interfered, layer=layer, side=max(inputs.shape[-2:]), size=networks.code.size, classes=networks.classes
        ),
    )  # fmt: skip


def adversarial_stage(
    networks: StructureMark,
    inputs: Float[Tensor, "n 3 h w"],
    outputs: Float[Tensor, "n 3 h w"],
    imitated: Float[Tensor, "n 3 h w"],
    stolen: Float[Tensor, "n 3 h w"],
    symbols: Int[Tensor, "n k"],
    recipe: Recipe = ADVERSARIAL,
    *,
    layer: Interference = LAYER,
    weights: Weights = WEIGHTS,
    seed: int,
    fabric: Fabric | None = None,
    hook: Hook | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Fit:
    """Train the extractor further, in place, on what marked surrogates of the owner's answer; the embedder stays.

    Half of a batch is such answers, half the owner's own marked ones, against clean images as in the initial stage.

    Args:
        networks: trained by `train_mark`.
        inputs: as there, best images that the surrogates were not trained on.
        outputs: as there.
        imitated: as there.
        stolen: what surrogates that were trained on marked answers answer.
        symbols: of the mark that each was trained on. Take several: an extractor tuned on one ink may answer it always.
        recipe: steps, batch, rates.
        layer: the augmentation layer.
        weights: of the loss.
        seed: of data and interference.
        fabric: of `visionlab.train.loop.start`.
        hook: of the loop.
        checkpoint: file to resume from.

    Raises:
        ValueError: if the sets do not fit each other, or the batch has fewer than 4 images.
    """
    check_sets({"inputs": inputs, "outputs": outputs, "imitated": imitated, "stolen": stolen}, recipe, 4)
    if symbols.shape != (len(inputs), networks.classes):
        raise ValueError(f"symbols: expected shape {(len(inputs), networks.classes)}, got {tuple(symbols.shape)}")
    fabric = fabric or start(recipe.precision)
    networks.to(fabric.device).eval()
    with torch.no_grad():
        pieces = zip(outputs.split(AT_ONCE), symbols.split(AT_ONCE), strict=True)
        marked = torch.cat([networks.mark(b.to(fabric.device), s.to(fabric.device)).to(b) for b, s in pieces])

    def parts(b: Tensor, a: Tensor, surrogate: Tensor, own: Tensor, theirs: Tensor, *rest: Tensor) -> dict[str, Tensor]:
        half = len(b) // 2
        return networks.examined(b, torch.cat([own[:half], theirs[half:]]), unmarked(b, a, surrogate), *rest)

    run = fit(
        ExtractorAlone(networks.extractor, parts),
        Paced(Fresh(partial(draw_together, (outputs, inputs, imitated, marked, stolen, symbols))), recipe.steps),
        partial(_reading_loss, weights=weights, classes=networks.classes),
        recipe,
        seed=seed, fabric=fabric, hook=hook, checkpoint=checkpoint,
        augment=partial(_moved, layer=layer, side=max(inputs.shape[-2:])),
    )  # fmt: skip
    run.model = networks
    return run


def _initial_loss(
    model: nn.Module, batch: Batch, *, weights: Weights, classes: int
) -> tuple[Tensor, dict[str, Tensor]]:
    *given, progress = batch
    parts = model(*given)
    return against_discriminator(model, parts, *mark_loss(parts, weights, progress[0], classes), weights.adversarial)


def _reading_loss(
    model: nn.Module, batch: Batch, *, weights: Weights, classes: int
) -> tuple[Tensor, dict[str, Tensor]]:
    *given, progress = batch
    loss, named = mark_loss(model(*given), replace(weights, invisible=0.0), progress[0], classes)
    return loss, {name: value for name, value in named.items() if name != "PSNR (dB)"}


def _moved(batch: Batch, generator: torch.Generator, *, layer: Interference, side: int) -> Batch:
    *sets, progress = batch
    return (*sets, *layer.draw(len(progress), side, generator), progress)


def _interfered(
    batch: Batch, generator: torch.Generator, *, layer: Interference, side: int, size: int, classes: int
) -> Batch:
    *sets, progress = batch
    n, device = len(progress), generator.device
    symbols = torch.randint(size, (n, classes), generator=generator, device=device)
    low, high = STRENGTH
    strength = low + (high - low) * torch.rand(n, generator=generator, device=device)
    return _moved((*sets, symbols, strength, progress), generator, layer=layer, side=side)


def _colour_error(parts: dict[str, Tensor], classes: int) -> Tensor:
    """Squared error of the mean colour over each class that is large enough; that of unmarked images counts twice."""
    found, area = class_means(parts["drawing"], parts["labels"], classes)
    wanted, _ = class_means(parts["pattern"], parts["labels"], classes)
    clean, _ = class_means(parts["clean drawing"], parts["labels"], classes)
    usable = (area >= ENOUGH).to(found.dtype)
    error = ((found - wanted).square() + 2 * (clean - 1).square()).mean(2)
    return (error * usable).sum() / usable.sum().clamp(min=1)
