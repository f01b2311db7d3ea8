"""How a segmentation network is trained on labels that may be wrong: the loop around `visionlab.points.pnal`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from visionlab.points.blocks import Blocks
from visionlab.points.pnal import Cleaning, LabelMemory
from visionlab.points.robust_losses import (
    LOSSES,
    TRUNCATED,
    cross_entropy,
    masked_mean,
    truncated_gce,
    truncation_weights,
)
from visionlab.train.loop import Fit, Hook, Recipe, fit
from visionlab.train.randomness import generator
from visionlab.train.stream import Batch, Shuffled

__all__ = ["CleaningLoss", "recipe", "train_points"]

Watch = Callable[[int, nn.Module], dict[str, float]]
LOOKED_EVERY = 3
"""Epochs after which truncated losses choose their points anew, as published."""


class CleaningLoss:
    """The loss of both stages, for `visionlab.train.loop.fit`: it corrects before each pass, and remembers after it.

    Args:
        memory: of all training points.
        cleaning: how labels are corrected, or None: never, the baseline.
        loss: of each point, see `robust_losses.LOSSES`; the weights of the truncated ones are kept in the memory.
        calls: of this loss in one epoch.
        seed: of the rule "vote".
        watch: called with the number of epochs done and the network; what it returns is kept with the epoch.
    """

    def __init__(
        self,
        memory: LabelMemory,
        cleaning: Cleaning | None,
        *,
        loss: str = "cross entropy",
        calls: int,
        seed: int,
        watch: Watch | None = None,
    ) -> None:
        if loss not in LOSSES:
            raise ValueError(f"loss: expected one of {', '.join(LOSSES)}, got {loss!r}")
        self.memory, self.cleaning, self.loss, self.calls = memory, cleaning, loss, calls
        self.seed, self.watch = seed, watch

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean loss over the points that count, and the share of those."""
        features, given, ids = batch
        memory = self.memory.to(features.device)
        if memory.calls % self.calls == 0 and memory.calls:
            self._end_epoch(model)
        targets = given
        if self.cleaning is not None and memory.calls >= self.cleaning.warmup * self.calls:
            features, targets = self._cleaned(model, features, given, ids, self.cleaning)
        logits = model(features)
        loss = masked_mean(self._of_points(logits, targets, ids), targets >= 0)
        memory.record(*(_together(each.flatten()) for each in (ids, logits.detach().argmax(-1))))
        memory.calls += 1
        return loss, {"selected": (targets >= 0).float().mean()}

    def _of_points(self, logits: Tensor, targets: Tensor, ids: Tensor) -> Tensor:
        """The loss of each point; truncated ones leave points out that were far off when it was last looked."""
        if self.loss not in TRUNCATED:
            return LOSSES[self.loss](logits, targets)
        memory, q = self.memory, TRUNCATED[self.loss]
        if memory.weights is None:
            memory.weights = torch.ones_like(memory.counter, dtype=torch.float32)
        if memory.calls // self.calls % LOOKED_EVERY == 1:  # the second epoch, the fifth
            found = truncation_weights(logits.detach(), targets, q=q).float()
            memory.weights[_together(ids.flatten())] = _together(found.flatten())
        return truncated_gce(logits, targets, memory.weights[ids], q=q)

    def _cleaned(
        self, model: nn.Module, features: Tensor, given: Tensor, ids: Tensor, cleaning: Cleaning
    ) -> tuple[Tensor, Tensor]:
        memory, losses = self.memory, None
        if cleaning.corrects(memory.calls // self.calls):
            if cleaning.rule == "first":
                losses = _together(self._losses(model, features, given).flatten())
            memory.correct(
                _together(ids.flatten()), cleaning, losses=losses,
                generator=generator(self.seed, memory.calls, device=features.device),
            )  # fmt: skip
        targets = memory.corrected[ids].long()
        if cleaning.unselected == "keep":
            targets = torch.where(targets >= 0, targets, given)
        elif cleaning.unselected == "zero":
            features = features * (targets >= 0)[..., None]
        return features, targets

    @torch.no_grad()
    def _losses(self, model: nn.Module, features: Tensor, given: Tensor) -> Tensor:
        """Cross entropy with the given labels, by the network in evaluation mode."""
        model.eval()
        losses = cross_entropy(model(features), given)
        model.train()
        return losses

    def _end_epoch(self, model: nn.Module) -> None:
        values: dict[str, float] = {}
        if self.watch is not None:
            model.eval()
            values = self.watch(self.memory.calls // self.calls, model)
            model.train()
        self.memory.end_epoch(values)


def _together(values: Tensor) -> Tensor:
    """The values of all processes, in order; every process corrects the same labels by them."""
    if not torch.distributed.is_initialized():
        return values
    parts = [torch.empty_like(values) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(parts, values.contiguous())
    return torch.cat(parts)


def recipe(blocks: int, epochs: int, *, batch: int = 4, learning_rate: float = 2e-3, **more: Any) -> Recipe:
    """Adam at a constant rate, with an average of the weights over about two epochs.

    Published: 12 blocks a step, rate 0.001, 29 epochs, ``ema=0.999``; for few steps that average comes too late.

    Args:
        blocks: in the training set.
        epochs: passes over them.
        batch: blocks in one step.
        learning_rate: of all steps.
        more: other fields of `Recipe`.

    Raises:
        ValueError: if there are fewer blocks than a batch has.
    """
    if blocks < batch:
        raise ValueError(f"batch: {batch} blocks a step, but there are only {blocks}")
    steps = blocks // batch
    settled = {"weight_decay": 0.0, "clip_norm": None, "ema": 1 - 1 / max(2 * steps, 2)} | more
    return Recipe(steps=epochs * steps, batch=batch, learning_rate=learning_rate, floor=learning_rate, **settled)


def train_points(
    network: nn.Module,
    blocks: Blocks,
    classes: int,
    recipe: Recipe,
    cleaning: Cleaning | None = None,
    *,
    seed: int,
    loss: str = "cross entropy",
    augment: Callable[[Batch, torch.Generator], Batch] | None = None,
    keep: bool = False,
    watch: Watch | None = None,
    fabric: Fabric | None = None,
    hook: Hook | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> tuple[Fit, LabelMemory]:
    """Train any segmentation network on blocks of points whose labels may be wrong.

    Args:
        network: features (B, N, F) to logits (B, N, K).
        blocks: features, given labels and clusters.
        classes: K.
        recipe: see `recipe`; an epoch has ``len(blocks) // batch`` steps.
        cleaning: how labels are corrected; without it, they are trained on as they are.
        seed: of order, dropout and augmentation.
        loss: see `CleaningLoss`.
        augment: changes a batch, see `blocks.Moved`.
        keep: remember predictions and labels of every epoch.
        watch: see `CleaningLoss`.
        fabric: of `visionlab.train.loop.start`.
        hook: of the loop.
        checkpoint: file to resume from, written after each epoch; predictions and labels are in it.

    Returns:
        The run, whose network is the average of the weights, and the memory with the corrected labels.

    Raises:
        ValueError: if there are fewer blocks than a batch has, or a label is out of range.
    """
    if int(blocks.labels.max()) >= classes:
        raise ValueError(f"blocks: expected labels below {classes}, got {int(blocks.labels.max())}")
    memory = LabelMemory(blocks.cluster.flatten(), classes, slots=cleaning.slots if cleaning else 4, keep=keep)
    calls = len(blocks) // recipe.batch * recipe.accumulate
    if calls == 0:
        raise ValueError(f"recipe: {recipe.batch} blocks a step, but there are only {len(blocks)}")
    cleaned = CleaningLoss(memory, cleaning, loss=loss, calls=calls, seed=seed, watch=watch)
    ids = torch.arange(blocks.labels.numel()).view(blocks.labels.shape)
    run = fit(
        network, Shuffled(TensorDataset(blocks.features, blocks.labels, ids)), cleaned, recipe, seed=seed,
        fabric=fabric, augment=augment, hook=hook, checkpoint=checkpoint, memory=memory,
        save_every=len(blocks) // recipe.batch,
    )  # fmt: skip
    if len(memory.rows) * calls < memory.calls:
        cleaned._end_epoch(network)
    return run, memory
