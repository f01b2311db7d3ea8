"""What is left of a backdoor once the image was changed on its way: attack success under graded transforms.

The settings are those of the official test script of Poison Ink (arXiv 2108.02488), where it has one, made for images
of any size, and the ones that such triggers are known to fear.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from visionlab.data.graded import compose, strength_of
from visionlab.protection.triggers import Trigger
from visionlab.protection.victims import attack_success, predictions

__all__ = ["GEOMETRY", "MOVES", "STANDARD", "changed", "robustness", "uncovered"]

STANDARD: dict[str, tuple[tuple[str, float], ...]] = {
    "none": (),
    "flip": (("flip", 1.0),),
    "rotation 15": (("rotation", strength_of("rotation", 15)),),
    "crop 7/8": (("crop and resize", strength_of("crop and resize", 7 / 8)),),
    "shrink 7/8": (("shrink and pad", strength_of("shrink and pad", 7 / 8)),),
    "shift 1/8": (("shift", strength_of("shift", 1 / 8)),),
    "blur 0.8": (("blur", strength_of("blur", 0.8)),),
    "noise 10/255": (("noise", strength_of("noise", 10 / 255)),),
    "colour 20 %": (("colour", strength_of("colour", 0.2)),),
    "JPEG 75": (("JPEG", strength_of("JPEG", 75)),),
    "JPEG 40": (("JPEG", strength_of("JPEG", 40)),),
}
GEOMETRY = ("flip", "rotation 15", "crop 7/8")
"""Changes of place that leave a classifier's accuracy nearly whole, even of one that was trained without them."""

MOVES = ("flip", "rotation", "crop and resize", "shrink and pad", "shift")
"""Transforms that move pixels, and may leave a part of the frame without image."""


def changed(
    images: Float[Tensor, "b 3 h w"], steps: Sequence[tuple[str, float]], *, seed: int = 0
) -> Float[Tensor, "b 3 h w"]:
    """Return images under transforms in turn, (name, strength) each; the same draw for the same seed."""
    return compose(images, steps, generator=torch.Generator().manual_seed(seed))


def uncovered(
    images: Float[Tensor, "b 3 h w"], steps: Sequence[tuple[str, float]], *, seed: int = 0
) -> Float[Tensor, "b 1 h w"]:
    """Where images that were `changed` show no image (B, 1, H, W), but black: 1 there and on the pixels beside it.

    The border of what is black is no structure, see `structure.edges`.
    """
    inside = changed(torch.ones_like(images), [step for step in steps if step[0] in MOVES], seed=seed)
    return F.max_pool2d((inside[:, :1] < 0.99).to(images.dtype), 3, stride=1, padding=1)


def robustness(
    classify: Callable[[Tensor], Tensor],
    triggers: dict[str, Trigger],
    images: Float[Tensor, "n 3 h w"],
    labels: Int[Tensor, " n"],
    *,
    target: int,
    seed: int = 0,
    settings: dict[str, tuple[tuple[str, float], ...]] = STANDARD,
) -> dict[str, dict[str, float]]:
    """Return, for each setting, the attack success of each trigger and the accuracy on images without one, in percent.

    Args:
        classify: images in [0, 1] to scores.
        triggers: by name.
        images: held out, in [0, 1].
        labels: true ones.
        target: the class that the triggers open.
        seed: of the transforms.
        settings: by name, transforms in turn.
    """
    found: dict[str, dict[str, float]] = {}
    for name, steps in settings.items():

        def change(x: Tensor, steps: tuple[tuple[str, float], ...] = steps) -> Tensor:
            return changed(x, steps, seed=seed)

        found[name] = {
            key: attack_success(classify, trigger, images, labels, target=target, change=change)
            for key, trigger in triggers.items()
        }
        right = predictions(classify, change(images)) == labels
        found[name]["accuracy"] = 100 * right.double().mean().item()
    return found
