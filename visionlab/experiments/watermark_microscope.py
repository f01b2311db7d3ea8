"""The mean-residual microscope of lab 10: what a thief whose pairs are augmented can learn of a mark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from kornia.geometry.transform import get_affine_matrix2d, warp_affine
from torch import Tensor

from visionlab.data.graded import warp
from visionlab.data.world.explore import Choice, SceneView, Slider
from visionlab.experiments.watermark_probe import as_bytes, mark_of
from visionlab.experiments.watermark_setting import SYMBOLS, Mark
from visionlab.protection.owner import marked_answers
from visionlab.protection.surrogate import Augmentation

__all__ = ["mean_residual", "microscope", "microscope_controls"]


@torch.no_grad()
def mean_residual(
    mark: Mark, image: Float[Tensor, "3 h w"], augmentation: Augmentation, *, n: int = 200, seed: int = 0
) -> Float[Tensor, "3 h w"]:
    """What a thief's network can know of the mark in a picture y, whose pose T it cannot know: E[T r(T^-1 y)] over T.

    Such a network answers the mean of what it was taught for pictures like y. Any of n augmentations T may have made y
    out of a picture T^-1 y, which the owner marked before: r is what that added. A logo is r whatever the picture, and
    so E[T r] is left of it, a blur. A structure mark moves with the picture, T r(T^-1 y) = r(y) for any T.

    Args:
        mark: the owner's networks.
        image: y in [0, 1].
        augmentation: of the thief.
        n: draws of T; the mean is in units of the image.
        seed: of the draws.
    """
    size = (image.shape[1], image.shape[2])
    angle, scale, shift, mirrored = augmentation.draw(n, size, torch.Generator().manual_seed(seed))
    y = image.expand(n, -1, -1, -1)
    centre = torch.tensor([(size[1] - 1) / 2, (size[0] - 1) / 2]).expand(n, 2)
    inverse = torch.linalg.inv(get_affine_matrix2d(shift, centre, scale[:, None].expand(-1, 2), angle))
    before = warp_affine(y, inverse[:, :2], size, padding_mode="reflection", align_corners=True)
    before = torch.where(mirrored[:, None, None, None], before.flip(-1), before).clamp(0, 1)
    residual = marked_answers(mark, before, torch.tensor(SYMBOLS)) - before
    return warp(residual, angle=angle, scale=scale, shift=shift, mirrored=mirrored, padding="reflection").mean(0)


def microscope_controls(images: Sequence[str]) -> tuple[Slider | Choice, ...]:
    """Return the controls of `microscope`."""
    return (
        Choice("image", "picture", tuple(images), images[0]),
        Slider("rotation", "turned by at most", 0.0, 60.0, 5.0, 0.0, "°"),
        Slider("crop", "cropped to at least", 0.5, 1.0, 0.05, 1.0, " of the side"),
        Choice("flip", "mirrored", ("never", "every other"), "never"),
    )


def microscope(images: Mapping[str, Tensor], values: Mapping[str, Any]) -> SceneView:
    """Answer the controls: what each mark adds to a picture, and what is left of it on average over augmentations."""
    image = images[values["image"]]
    augmentation = Augmentation(
        rotation=float(values["rotation"]), crop=(float(values["crop"]), 1.0),
        flip=0.5 if values["flip"] == "every other" else 0.0,
    )  # fmt: skip
    panels, words = [("the picture", as_bytes(image.permute(1, 2, 0).numpy()))], []
    for kind in ("logo", "structure"):
        mark = mark_of(kind)
        put = marked_answers(mark, image[None], torch.tensor(SYMBOLS))[0] - image
        left = mean_residual(mark, image, augmentation)
        panels += [
            (f"{title}, ×8", as_bytes((0.5 + 8 * x).clamp(0, 1).permute(1, 2, 0).numpy()))
            for title, x in ((f"{kind}: put", put), (f"{kind}: what can be learned", left))
        ]
        share = ((left * put).sum() / put.square().sum()).item()
        words.append(f"{kind}: {100 * share:.0f} % of it is left")
    return SceneView(image=panels[-1][1], panels=tuple(panels), boxes=(), caption="; ".join(words), readout="")
