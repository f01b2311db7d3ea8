"""One interface for all defences: what they are given, what they find, and what each can and cannot see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from visionlab.predictor import Predictor

__all__ = ["CHECKS", "Case", "Check", "Finding", "check", "clean_means", "features_of"]


@dataclass(frozen=True)
class Case:
    """A classifier under suspicion.

    Args:
        predictor: the network with its normalisation and classes.
        images: clean images (N, 3, H, W) in [0, 1] that it was not trained on.
        labels: their classes.
        training_images: what it was trained on, poisoned or not, where it is at hand.
        training_labels: as it was trained on them.
        seed: of all that is drawn.
    """

    predictor: Predictor
    images: Float[Tensor, "n 3 h w"]
    labels: Int[Tensor, " n"]
    training_images: Float[Tensor, "m 3 h w"] | None = None
    training_labels: Int[Tensor, " m"] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        classes = len(self.predictor.classes)
        for name, images, labels in (
            ("images", self.images, self.labels),
            ("training_images", self.training_images, self.training_labels),
        ):
            if images is None or labels is None:
                continue
            if len(images) != len(labels) or len(images) == 0:
                raise ValueError(f"{name}: {len(images)} come with {len(labels)} labels, expected as many, and some")
            if labels.min() < 0 or labels.max() >= classes:
                raise ValueError(
                    f"{name}: expected labels 0 to {classes - 1}, as the network has {classes} classes; got"
                    f" {int(labels.min())} to {int(labels.max())}"
                )


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Args:
        check: its name.
        score: how suspicious; larger is more so. It means something beside the scores of clean networks only.
        meaning: what the score is, in a sentence.
        suspects: for each class, image or training image, how suspicious it is.
        details: what the plot is drawn from.
        by_class: how suspicious each class is, where the check tells.
    """

    check: str
    score: float
    meaning: str
    suspects: Tensor
    details: dict[str, Tensor] = field(default_factory=dict)
    by_class: Tensor | None = None


@dataclass(frozen=True)
class Check:
    """A check by name.

    Args:
        module: under `visionlab.protection.defences`, which has a function ``examine(case) -> Finding``.
        looks_at: what it looks at.
        cannot_see: what escapes it.
        needs_training: whether the training set must be at hand.
    """

    module: str
    looks_at: str
    cannot_see: str
    needs_training: bool = False

    @property
    def examine(self) -> Callable[[Case], Finding]:
        """The function that does it."""
        return import_module(f"visionlab.protection.defences.{self.module}").examine


CHECKS: dict[str, Check] = {
    "STRIP": Check(
        "strip",
        "whether the answer to an image survives when others are laid over it",
        "triggers that the overlays wash out, such as a faint picture over the whole image",
        needs_training=True,
    ),
    "spectral signatures": Check(
        "spectral",
        "one direction in feature space along which some training images of a class stand out",
        "poison that is a large share of a class, or looks to the network like the class itself",
        needs_training=True,
    ),
    "activation clustering": Check(
        "clustering",
        "how far a class's training images lie from clean ones, and whether they fall into two groups",
        "a little poison in a large class; training images of another origin than the clean ones look poisoned",
        needs_training=True,
    ),
    "Neural Cleanse": Check(
        "neural_cleanse",
        "how small a patch suffices to send every image to a class",
        "triggers that no fixed patch imitates; with few classes its rule of outliers is blunt",
    ),
    "Grad-CAM": Check(
        "grad_cam",
        "whether the network looks at the same place whatever the image",
        "triggers that lie elsewhere in each image; any, when only clean images are at hand",
    ),
    "pre-processing": Check(
        "preprocessing",
        "how many answers change when images are compressed, blurred or turned",
        "triggers that outlive the change; fragile but honest networks look suspicious",
    ),
    "fine-pruning": Check(
        "fine_pruning",
        "channels that clean images leave idle, and what it costs to cut them",
        "backdoors that use the channels of the ordinary task",
    ),
    "fine-tuning": Check(
        "fine_tuning",
        "how far a few clean images move the network's answers",
        "backdoors that lie along the directions which clean images do not touch",
    ),
}


def check(name: str, case: Case) -> Finding:
    """Run a check.

    Raises:
        ValueError: there is none of that name, or it needs the training set and the case has none.
    """
    if name not in CHECKS:
        raise ValueError(f"check: no {name!r}; there are {', '.join(CHECKS)}")
    if CHECKS[name].needs_training and case.training_images is None:
        raise ValueError(f"training_images: {name} looks at the training set; the case has none")
    return CHECKS[name].examine(case)


@torch.no_grad()
def features_of(predictor: Predictor, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c"]:
    """Features (N, C) before the last layer of a network with timm's contract.

    Raises:
        ValueError: the network has none of ``forward_features`` and ``forward_head``.
    """
    model: Any = predictor.model
    if not (hasattr(model, "forward_features") and hasattr(model, "forward_head")):
        raise ValueError(f"model: {type(model).__name__} has no forward_features and forward_head, as timm's have")
    found = []
    for part in images.split(256):
        maps = model.forward_features(predictor.prepare(part))
        found.append(model.forward_head(maps, pre_logits=True).flatten(1).cpu())
    return torch.cat(found)


def clean_means(case: Case) -> tuple[Float[Tensor, "k c"], Float[Tensor, " k"]]:
    """Mean features (K, C) of the case's clean images of each class, and their mean squared distance (K,) from it.

    Classes without a clean image get the mean of all.
    """
    features = features_of(case.predictor, case.images)
    means = features.mean(0).repeat(len(case.predictor.classes), 1)
    spreads = (features - features.mean(0)).square().sum(1).mean().repeat(len(means))
    for label in case.labels.unique().tolist():
        own = features[case.labels == label]
        means[label] = own.mean(0)
        if len(own) > 1:
            spreads[label] = (own - own.mean(0)).square().sum(1).mean()
    return means, spreads
