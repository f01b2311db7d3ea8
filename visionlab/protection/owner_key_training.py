"""How an owner comes to a key: train the mark on clean answers and on strangers, calibrate on what was held out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from visionlab.measure.image_quality import psnr
from visionlab.protection.owner import Recipes, marked_answers, own_structure
from visionlab.protection.owner_calibration import against, answer_readings, stranger_readings, strangers
from visionlab.protection.owner_code import encode
from visionlab.protection.owner_key import OwnerKey
from visionlab.protection.owner_training import check_sets
from visionlab.protection.tasks import answers
from visionlab.protection.verification import Evidence, calibrate, structure_evidence
from visionlab.protection.watermark import Reading, StructureMark
from visionlab.train.loop import Hook, Recipe
from visionlab.train.randomness import generator

__all__ = ["LEAST_PICTURES", "RATE", "RECIPES", "Preset", "better_messages", "train_key"]

Preset = Literal["quick", "full"]
RATE = 0.05
"""Wanted false-positive rate of one image."""
LEAST_USABLE = 39
"""Clean answers of a kind, with structure, that `RATE` needs."""
LEAST_PICTURES = 200
MOST_HELD_OUT = 500
FULL = Recipes()


def _shorter(recipe: Recipe, share: float) -> Recipe:
    return replace(recipe, steps=round(recipe.steps * share), warmup=round(recipe.warmup * share))


RECIPES: dict[str, Recipes] = {
    "quick": Recipes(
        clean=_shorter(FULL.clean, 0.12), initial=_shorter(FULL.initial, 0.18), marked=_shorter(FULL.marked, 0.12),
        adversarial=_shorter(FULL.adversarial, 0.3),
    ),
    "full": FULL,
}  # fmt: skip
"""By preset: quick ends in about a minute on two cores, and marks poorly; full is that of the small-scale study."""


def train_key(
    mark: StructureMark,
    inputs: Float[Tensor, "n 3 h w"],
    outputs: Float[Tensor, "n 3 h w"],
    message: str,
    recipes: Recipes = FULL,
    *,
    about: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str = "auto",
    hook: Hook | None = None,
    folder: Path | None = None,
) -> tuple[OwnerKey, dict[str, Reading]]:
    """Train a mark in place and return the key, with what was read from all kinds of clean pictures.

    A quarter of the pairs is held out. To the rest come a third as many `strangers`, whose answer is the question. No
    image counts as marked whose score is less than half of the median of the owner's own marked answers.

    Args:
        mark: of `owner_key.small_mark`, untrained.
        inputs: what the owner's network was asked, in [0, 1], square.
        outputs: its clean answers.
        message: of 0 and 1.
        recipes: of the stages.
        about: goes into the key.
        seed: of everything but the mark's own weights.
        device: to train on.
        hook: of the training.
        folder: where stages are kept, to go on from; private, too.

    Raises:
        ValueError: the message is too long, the pairs do not fit each other, are fewer than 200, or have too little
            structure to calibrate on.
    """
    symbols = encode(message, mark.code, classes=mark.classes)
    check_sets({"inputs": inputs, "outputs": outputs}, recipes.initial, 4)
    if len(outputs) < LEAST_PICTURES:
        raise ValueError(f"outputs: expected {LEAST_PICTURES} images or more, got {len(outputs)}")
    order = torch.randperm(len(outputs), generator=generator(seed, 11))
    held, kept = order.tensor_split([min(max(60, len(order) // 4), MOST_HELD_OUT)])
    usable = int(mark.decode(outputs[held]).usable.any(1).sum())
    if usable < LEAST_USABLE:
        raise ValueError(
            f"outputs: of {len(held)} held-out images {usable} have structure enough, a calibration needs"
            f" {LEAST_USABLE}: give more of them, or of a larger size"
        )
    a, b = _with_strangers(inputs[kept], outputs[kept], seed)
    digest = _digest(a, b, mark, recipes, seed)
    if folder is not None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    owned = own_structure(
        mark, a, b, recipes, seed=seed, device=device, hook=hook,
        checkpoint=None if folder is None else lambda stage: folder / f"{digest}-{stage}.pt",
    )  # fmt: skip
    readings = answer_readings(
        mark, {"clean answers": outputs[held], "clean surrogate": answers(owned.clean, inputs[held])}, seed=seed
    ) | stranger_readings(mark, outputs.shape[-1], seed=seed)
    readings = {kind: each for kind, each in readings.items() if each.usable.any(1).sum() >= LEAST_USABLE}
    marked = marked_answers(mark, outputs[held], torch.tensor(symbols))
    found = structure_evidence(mark, mark.decode(marked), symbols)
    least = 0.5 * found.scores[found.usable].median().clamp(0, 1).item()
    key = OwnerKey(mark, message, against(mark, readings, symbols), RATE, least)
    told = {
        "held out": len(held), "PSNR (dB)": round(psnr(marked, outputs[held]).mean().item(), 2),
        "own marked answers detected (%)": round(100 * _share(found, key.calibration.threshold), 1),
    }  # fmt: skip
    return replace(key, about={**(about or {}), **told}), readings


def better_messages(key: OwnerKey, readings: Mapping[str, Reading], most: int = 4) -> list[str]:
    """Messages of the same length that clean pictures show least, best first; the training serves any message.

    Args:
        key: of `train_key`.
        readings: as it returned them.
        most: how many.
    """
    length, thresholds = len(key.message), {}
    for number in range(2**length):
        message = f"{number:0{length}b}"
        kinds = against(key.mark, readings, encode(message, key.mark.code, classes=key.mark.classes))
        found = calibrate(*kinds.values(), rate=key.rate, least=key.least)
        thresholds[message] = (found.threshold, found.bound)
    return sorted(thresholds, key=lambda message: thresholds[message])[:most]


def _share(evidence: Evidence, threshold: float) -> float:
    return (evidence.detected(threshold).sum() / evidence.usable.sum().clamp(min=1)).item()


def _with_strangers(inputs: Tensor, outputs: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    draw = generator(seed, 12)
    more = strangers(outputs.shape[-1], len(outputs) // 3, draw)
    order = torch.randperm(len(outputs) + len(more), generator=draw)
    return torch.cat([inputs, more])[order], torch.cat([outputs, more])[order]


def _digest(inputs: Tensor, outputs: Tensor, mark: StructureMark, recipes: Recipes, seed: int) -> str:
    """Of everything that decides a training: pairs, first weights, structure, recipes, seed."""
    # By name: where a function lies in memory differs from one process to the next.
    rule = getattr(mark.structure, "func", mark.structure).__name__
    amplitude = getattr(mark.embedder, "amplitude", None)
    found = hashlib.sha256(repr((rule, mark.classes, amplitude, recipes, seed)).encode())
    for each in (inputs, outputs, *mark.state_dict().values()):
        found.update(each.detach().contiguous().numpy().tobytes())
    return found.hexdigest()[:24]
