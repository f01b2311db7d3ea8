"""What the app on tiny networks does with a picture: networks that ship classify it, tokens are looked at and cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from visionlab import weights
from visionlab.backbones.mobile_former import MobileFormer
from visionlab.data import world
from visionlab.data.images import load, photograph
from visionlab.experiments.mobile_former_probe import BlockView, Cuts, answer, applied, block_names, look
from visionlab.experiments.tiny_nets import Cost, cost
from visionlab.measure.cost import seconds
from visionlab.predictor import Predictor

__all__ = [
    "KINDS",
    "Answer",
    "Tokens",
    "answer_rows",
    "blocks_and_tokens",
    "classify",
    "examples",
    "predictor",
    "shipped",
    "token_networks",
    "tokens",
]

# --- Networks that ship -----------------------------------------------------------------------------------------------

KINDS = {"satellite tiles": "eurosat_mini", "scenes of the world": "world"}
"""What networks were trained on, and how their cards call it."""
TITLES = {"micronet": "MicroNet", "mobile_former": "Mobile-Former", "cswin": "CSWin"}
"""Backbones whose weights take part, by their module."""


@cache
def shipped(kind: str) -> dict[str, str]:
    """Return the names of the weights that classify a kind of image, by the title of their network.

    Raises:
        ValueError: if there is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}; got {kind!r}")
    found: dict[str, str] = {}
    cards = [weights.card(name) for name in weights.names() if "nano" in name]
    for module, title in TITLES.items():
        for card in cards:
            if card.data == KINDS[kind] and card.network.startswith(f"visionlab.backbones.{module}"):
                found[title] = card.name
    return found


def _kind(name: str) -> str:
    return next(kind for kind, data in KINDS.items() if data == weights.card(name).data)


@dataclass(frozen=True)
class Answer:
    """What a network says of an image.

    Args:
        weights: their name.
        probabilities: of its classes, in their order.
        milliseconds: of one pass, image by image.
        cost: parameters and multiply-adds.
    """

    weights: str
    probabilities: dict[str, float]
    milliseconds: float
    cost: Cost


@cache
def predictor(name: str) -> Predictor:
    """Load weights, once."""
    return weights.load(name)


@cache
def _cost(name: str) -> Cost:
    return cost(predictor(name).model, predictor(name).size)


@torch.inference_mode()
def classify(image: Float[Tensor, "3 h w"], kind: str) -> dict[str, Answer]:
    """Let every network that ships for a kind of image classify one; by their titles.

    Args:
        image: in [0, 1].
        kind: one of `KINDS`.

    Raises:
        ValueError: if there is no such kind, or the image is none.
    """
    answers = {}
    for title, name in shipped(kind).items():
        own = predictor(name)
        prepared = own.prepare(image)
        said = own.model(prepared).softmax(dim=-1)[0].tolist()
        took = 1e3 * seconds(partial(own.model, prepared), repeats=3)
        answers[title] = Answer(name, dict(zip(own.classes, said, strict=True)), took, _cost(name))
    return answers


def answer_rows(answers: dict[str, Answer]) -> list[list[str]]:
    """A row for each network.

    It says what it was trained on, its two likeliest answers, time, multiply-adds with those of dynamic activations,
    parameters, and its accuracy on held-out images.
    """
    found = []
    for title, said in answers.items():
        best = sorted(said.probabilities, key=said.probabilities.__getitem__, reverse=True)[:2]
        metrics = weights.card(said.weights).metrics or {}
        numbers = (
            said.milliseconds, (said.cost.counted + said.cost.dynamic) / 1e6, said.cost.parameters / 1e6,
        )  # fmt: skip
        found.append([
            title, _kind(said.weights), *(f"{name} ({100 * said.probabilities[name]:.0f} %)" for name in best),
            *(f"{number:.2f}" for number in numbers),
            f"{metrics['accuracy (%)']:.1f}" if "accuracy (%)" in metrics else "",
        ])  # fmt: skip
    return found


# --- Tokens -----------------------------------------------------------------------------------------------------------


def token_networks() -> dict[str, str]:
    """Return the names of weights of a Mobile-Former, by what they were trained on."""
    return {kind: found["Mobile-Former"] for kind in KINDS if "Mobile-Former" in (found := shipped(kind))}


def blocks_and_tokens(kind: str) -> tuple[int, int]:
    """Return how many blocks with tokens the Mobile-Former of a kind of image has, and how many tokens.

    Raises:
        ValueError: if there is no such network.
    """
    model = _token_predictor(kind).model
    return len(block_names(model)), cast(MobileFormer, model).tokens.weight.shape[0]


def _token_predictor(kind: str) -> Predictor:
    if kind not in token_networks():
        raise ValueError(f"network: expected one of {', '.join(token_networks()) or 'none'}; got {kind!r}")
    return predictor(token_networks()[kind])


@dataclass(frozen=True)
class Tokens:
    """What the tokens of a Mobile-Former do with an image.

    Args:
        image: as the network takes it, in [0, 1].
        views: of its blocks, with what was cut.
        before: probabilities of its classes, with nothing cut.
        after: with the cuts.
    """

    image: Float[np.ndarray, "h w 3"]
    views: tuple[BlockView, ...]
    before: dict[str, float]
    after: dict[str, float]


def tokens(image: Float[Tensor, "3 h w"], kind: str, cuts: Mapping[str, Any]) -> Tokens:
    """Look into the Mobile-Former that was trained on a kind of image.

    Args:
        image: in [0, 1].
        kind: one of `token_networks`.
        cuts: as of `visionlab.experiments.mobile_former_probe.Cuts`.

    Raises:
        ValueError: if there is no such network, or a cut is not possible.
    """
    own = _token_predictor(kind)
    model, x = cast(MobileFormer, own.model), own.prepare(image)
    before = answer(model, x)[0].tolist()
    with applied(model, Cuts(**cuts)):
        views, after = look(model, x), answer(model, x)[0].tolist()
    mean, std = (x.new_tensor(values).view(3, 1, 1) for values in (own.mean, own.std))
    seen = (x[0] * std + mean).clamp(0, 1).permute(1, 2, 0).numpy()
    return Tokens(seen, views, *(dict(zip(own.classes, said, strict=True)) for said in (before, after)))


@cache
def examples() -> dict[str, Float[Tensor, "3 h w"]]:
    """Return pictures to start with: satellite tiles that no network has seen, scenes, photographs."""
    tiles = load("eurosat_mini", "test")
    scenes = world.dataset("shapes", "test", 60, size=64, distractors=0, spread=1.3)
    chosen = {}
    for kind in ("River", "Highway", "Residential", "SeaLake"):
        chosen[f"satellite: {kind}"] = tiles[int((tiles.labels == tiles.classes.index(kind)).nonzero()[0])][0]
    images, labels = scenes.tensors()
    assert isinstance(labels, Tensor)
    for shape in ("mushroom", "ring", "table", "cone"):
        chosen[f"world: {shape}"] = images[labels.tolist().index(scenes.classes.index(shape))]
    return chosen | {"a cat": photograph("chelsea", 224), "a rocket": photograph("rocket", 224)}
