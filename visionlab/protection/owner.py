"""All that an owner trains, in order: a structure mark (arXiv 2108.02360), or a spatial one (2002.11088, 2103.04980).

============================  ======================================  ==============================
stage                         structure mark                          spatial mark
============================  ======================================  ==============================
1. clean surrogate            answers as a thief's network would      the same, to set thresholds
2. initial stage              `watermark_training.train_mark`         `spatial_training.train_spatial`
3. marked surrogate           told the ink of each image, so that     one logo, one surrogate
                              one stands for thieves of all inks
4. adversarial stage          `watermark_training.adversarial_stage`  `spatial_training`, same name
============================  ======================================  ==============================

Three quarters of the owner's pairs train stages 1 to 3. The last quarter is for stage 4: what a surrogate answers to
questions that it was trained on is not what a thief's network will answer to an owner.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from visionlab.protection import spatial_training, surrogate, watermark_training
from visionlab.protection.owner_training import check_sets
from visionlab.protection.spatial_mark import Faint, SpatialMark, logo
from visionlab.protection.surrogate import train_surrogate
from visionlab.protection.surrogate_networks import SurrogateUNet
from visionlab.protection.tasks import AT_ONCE, answers
from visionlab.protection.watermark import StructureMark
from visionlab.train.loop import Hook, Recipe, start
from visionlab.train.randomness import generator, seeded

__all__ = [
    "Owned", "Recipes", "inked_questions", "marked_answers", "own_spatial", "own_structure", "small_logo",
]  # fmt: skip

Mark = TypeVar("Mark", StructureMark, SpatialMark)
MARKED = replace(surrogate.RECIPE, steps=600, warmup=180)
WIDTH = 40
"""Of the owner's own surrogates: another than the thief's, whose width nobody knows."""


@dataclass(frozen=True, kw_only=True)
class Recipes:
    """How the stages are trained, by default the structure mark of the small-scale study: six minutes on one core.

    Args:
        clean: the surrogate of clean answers.
        initial: embedder and extractor.
        marked: the surrogate of marked answers.
        adversarial: the extractor alone.
    """

    clean: Recipe = surrogate.RECIPE
    initial: Recipe = watermark_training.RECIPE
    marked: Recipe = MARKED
    adversarial: Recipe = watermark_training.ADVERSARIAL

    @property
    def steps(self) -> int:
        """Of all stages together."""
        return self.clean.steps + self.initial.steps + self.marked.steps + self.adversarial.steps


SPATIAL = Recipes(initial=spatial_training.RECIPE, marked=surrogate.RECIPE, adversarial=spatial_training.ADVERSARIAL)
"""The same for the spatial mark."""


@dataclass(frozen=True)
class Owned(Generic[Mark]):
    """What an owner has in the end.

    Args:
        mark: the trained networks.
        before: the same without the adversarial stage.
        clean: the surrogate that was trained on clean answers.
        history: of the initial stage.
    """

    mark: Mark
    before: Mark
    clean: nn.Module
    history: list[dict[str, float]]


def small_logo(decibels: float = 32.4) -> SpatialMark:
    """A logo for images of about 32 pixels, untrained; see `spatial_mark.Faint`. Weights bring their pattern."""
    return SpatialMark(logo(0), Faint(decibels=decibels))


@torch.no_grad()
def marked_answers(
    mark: StructureMark | SpatialMark, outputs: Float[Tensor, "n 3 h w"], symbols: Int[Tensor, "*n k"] | None = None
) -> Float[Tensor, "n 3 h w"]:
    """Return answers (N, 3, H, W) with the mark, some at a time; a structure mark takes symbols, of all or of each."""
    if isinstance(mark, SpatialMark):
        return torch.cat([mark.mark(part) for part in outputs.split(AT_ONCE)])
    assert symbols is not None
    each = symbols.expand(len(outputs), -1)
    pieces = zip(outputs.split(AT_ONCE), each.split(AT_ONCE), strict=True)
    return torch.cat([mark.mark(part, some) for part, some in pieces])


def inked_questions(
    mark: StructureMark, inputs: Float[Tensor, "n 3 h w"], symbols: Int[Tensor, "n k"]
) -> Float[Tensor, "n c h w"]:
    """Return questions with the inks of their answers as three more channels (N, 3 + 3K, H, W) a class of structure."""
    inks = mark.code.inks(symbols).flatten(1)[..., None, None].to(inputs)
    return torch.cat([inputs, inks.expand(-1, -1, *inputs.shape[-2:])], 1)


def own_structure(
    mark: StructureMark,
    inputs: Float[Tensor, "n 3 h w"],
    outputs: Float[Tensor, "n 3 h w"],
    recipes: Recipes | None = None,
    *,
    weights: watermark_training.Weights = watermark_training.WEIGHTS,
    seed: int,
    device: str = "auto",
    hook: Hook | None = None,
    checkpoint: Callable[[str], Path] | None = None,
) -> Owned[StructureMark]:
    """Train a structure mark in place, by all four stages; all networks come back in evaluation mode, on the CPU.

    Args:
        mark: embedder and extractor, untrained.
        inputs: a, what the network to be protected is asked, in [0, 1].
        outputs: b, its clean answers.
        recipes: of the stages.
        weights: of the mark's loss.
        seed: of everything but the mark's own weights.
        device: to train on.
        hook: of the loop; steps count through all stages.
        checkpoint: gives the file of a stage, by its name, to resume from.

    Raises:
        ValueError: if the pairs do not fit each other, or are fewer than 8.
    """
    recipes = recipes or Recipes()
    stages = _Stages(recipes, seed, device, hook, checkpoint)
    kept = stages.kept(inputs, outputs)
    clean = stages.surrogate("clean", recipes.clean, inputs[:kept], outputs[:kept])
    imitated = answers(clean, inputs)
    history = watermark_training.train_mark(
        mark, inputs[:kept], outputs[:kept], imitated[:kept], recipes.initial, weights=weights,
        **stages.training("initial", recipes.initial),
    ).history  # fmt: skip
    mark.cpu().eval()
    before = copy.deepcopy(mark)
    draw = torch.randint(mark.code.size, (len(inputs), mark.classes), generator=generator(seed, 3))
    told = inked_questions(mark, inputs, draw)
    marked = marked_answers(mark, outputs[:kept], draw[:kept])
    thief = stages.surrogate("marked", recipes.marked, told[:kept], marked, more=3 * mark.classes)
    stolen = answers(thief, told[kept:])
    watermark_training.adversarial_stage(
        mark, inputs[kept:], outputs[kept:], imitated[kept:], stolen, draw[kept:], recipes.adversarial,
        weights=weights, **stages.training("adversarial", recipes.adversarial),
    )  # fmt: skip
    return Owned(mark.cpu().eval(), before, clean, history)


def own_spatial(
    mark: SpatialMark,
    inputs: Float[Tensor, "n 3 h w"],
    outputs: Float[Tensor, "n 3 h w"],
    recipes: Recipes = SPATIAL,
    *,
    seed: int,
    device: str = "auto",
    hook: Hook | None = None,
    checkpoint: Callable[[str], Path] | None = None,
) -> Owned[SpatialMark]:
    """Train a spatial mark in place, by all four stages; arguments and errors are those of `own_structure`."""
    stages = _Stages(recipes, seed, device, hook, checkpoint)
    kept = stages.kept(inputs, outputs)
    clean = stages.surrogate("clean", recipes.clean, inputs[:kept], outputs[:kept])
    history = spatial_training.train_spatial(
        mark, inputs[:kept], outputs[:kept], recipes.initial, **stages.training("initial", recipes.initial)
    ).history
    mark.cpu().eval()
    before = copy.deepcopy(mark)
    thief = stages.surrogate("marked", recipes.marked, inputs[:kept], marked_answers(mark, outputs[:kept]))
    stolen = answers(thief, inputs[kept:])
    spatial_training.adversarial_stage(
        mark, inputs[kept:], outputs[kept:], stolen, recipes.adversarial,
        **stages.training("adversarial", recipes.adversarial),
    )  # fmt: skip
    return Owned(mark.cpu().eval(), before, clean, history)


@dataclass
class _Stages:
    """What the stages of one owner share."""

    recipes: Recipes
    seed: int
    device: str
    hook: Hook | None
    checkpoint: Callable[[str], Path] | None
    done: int = 0

    def kept(self, inputs: Tensor, outputs: Tensor) -> int:
        """How many of the pairs train the first three stages."""
        check_sets({"inputs": inputs, "outputs": outputs}, self.recipes.initial, 4)
        if len(inputs) < 8:
            raise ValueError(f"inputs: expected 8 images or more, got {len(inputs)}")
        return 3 * len(inputs) // 4

    def training(self, name: str, recipe: Recipe) -> dict[str, Any]:
        """Arguments of the training of a stage."""
        before, hook = self.done, self.hook
        self.done += recipe.steps

        def told(step: int, _steps: int, values: dict[str, float]) -> None:
            assert hook is not None
            hook(before + step, self.recipes.steps, values)

        return {
            "seed": self.seed,
            "fabric": start(recipe.precision, self.device),
            "hook": told if hook else None,
            "checkpoint": self.checkpoint(name) if self.checkpoint else None,
        }

    def surrogate(self, name: str, recipe: Recipe, inputs: Tensor, outputs: Tensor, more: int = 0) -> nn.Module:
        """Train a surrogate of the owner's."""
        levels = max(3, (min(inputs.shape[-2:]) // 4).bit_length() - 1)
        with seeded(self.seed, self.done):
            network = SurrogateUNet(WIDTH, levels=levels, more=more)
        train_surrogate(network, inputs, outputs, recipe, **self.training(name, recipe))
        return network.cpu().eval()
