"""Transforms of graded strength, from 0 (the identity) to 1: flip, rotation, crop, blur, noise, JPEG and more.

`transform(images, "rotation", 0.5, generator=g)` works on whole batches, on any device; each image draws its own angle,
place or noise. `GRADED` says what a strength means in a unit of its own (degrees, pixels, JPEG quality):
`strength_of("rotation", 15)` is the strength of 15 degrees. `compose` chains several.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import torch
from jaxtyping import Bool, Float
from kornia.enhance import adjust_contrast, adjust_hue, adjust_saturation
from kornia.filters import gaussian_blur2d
from kornia.geometry.transform import get_affine_matrix2d, warp_affine
from PIL import Image
from torch import Tensor

__all__ = ["GRADED", "Graded", "compose", "jpeg", "strength_of", "to_8_bits", "transform", "warp"]


@dataclass(frozen=True)
class Graded:
    """One transform.

    Args:
        unit: of the amount.
        identity: amount at strength 0.
        strongest: amount at strength 1.
        apply: ``(images, amount, generator) -> images`` of the same shape.
    """

    unit: str
    identity: float
    strongest: float
    apply: Callable[[Tensor, float, torch.Generator], Tensor]

    def amount(self, strength: float) -> float:
        """Return the amount, in the transform's own unit, of a strength in [0, 1]."""
        return self.identity + strength * (self.strongest - self.identity)


def transform(
    images: Float[Tensor, "b 3 h w"], name: str, strength: float, *, generator: torch.Generator
) -> Float[Tensor, "b 3 h w"]:
    """Images (B, 3, H, W) in [0, 1] under a transform of `GRADED`; strength 0 returns them as they are.

    Raises:
        ValueError: the transform is unknown, or the strength lies outside [0, 1].
    """
    found = _find(name)
    if not 0 <= strength <= 1:
        raise ValueError(f"strength: expected 0 to 1, got {strength}")
    if strength == 0 or len(images) == 0:
        return images
    return found.apply(images, found.amount(strength), generator)


def compose(
    images: Float[Tensor, "b 3 h w"], steps: Sequence[tuple[str, float]], *, generator: torch.Generator
) -> Float[Tensor, "b 3 h w"]:
    """Images under several transforms in turn, each given as (name, strength)."""
    for name, strength in steps:
        images = transform(images, name, strength, generator=generator)
    return images


def strength_of(name: str, amount: float | int) -> float:
    """The strength, in [0, 1], at which a transform has an amount in its own unit.

    Raises:
        ValueError: the transform is unknown, or the amount is out of its reach.
    """
    found = _find(name)
    strength = (amount - found.identity) / (found.strongest - found.identity)
    if not 0 <= strength <= 1:
        raise ValueError(
            f"amount: {name} goes from {found.identity:g} to {found.strongest:g} {found.unit}, got {amount}"
        )
    return strength


def warp(
    images: Float[Tensor, "b c h w"],
    *,
    angle: Float[Tensor, " b"],
    scale: Float[Tensor, " b"],
    shift: Float[Tensor, "b 2"],
    mirrored: Bool[Tensor, " b"],
    padding: str = "zeros",
) -> Float[Tensor, "b c h w"]:
    """Each image (B, C, H, W) mirrored, turned and scaled about its centre, and moved, in one bilinear interpolation.

    Args:
        images: any range.
        angle: degrees, clockwise.
        scale: above 1 enlarges.
        shift: right and down, in pixels.
        mirrored: left to right, before all else.
        padding: "zeros", "border" or "reflection": what comes in from outside.
    """
    height, width = images.shape[-2:]
    centre = images.new_tensor([(width - 1) / 2, (height - 1) / 2]).expand(len(images), 2)
    matrix = get_affine_matrix2d(shift.to(images), centre, scale.to(images)[:, None].expand(-1, 2), angle.to(images))
    turned = torch.where(mirrored.to(images.device)[:, None, None, None], images.flip(-1), images)
    return warp_affine(turned, matrix[:, :2], (height, width), padding_mode=padding, align_corners=True)


def jpeg(images: Float[Tensor, "b 3 h w"], quality: int | Sequence[int]) -> Float[Tensor, "b 3 h w"]:
    """Images (B, 3, H, W) in [0, 1] written as JPEG files (chroma halved, as is usual) and read again.

    The files are real ones, made on the CPU; no gradient flows back.

    Args:
        images: 8 bits a channel are kept of them.
        quality: 1 to 100, one for all or one each.
    """
    qualities = [quality] * len(images) if isinstance(quality, int) else list(quality)
    if len(qualities) != len(images) or not all(1 <= q <= 100 for q in qualities):
        raise ValueError(f"quality: expected 1 to 100, for all or for each of {len(images)} images, got {quality}")
    if len(images) == 0:
        return images
    pixels = (images.detach().clamp(0, 1) * 255).round().to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()
    read = np.stack([_through_file(each, int(q)) for each, q in zip(pixels, qualities, strict=True)])
    return torch.from_numpy(read).permute(0, 3, 1, 2).to(images.device, images.dtype) / 255


def to_8_bits(images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Images in [0, 1] as a file with 8 bits a channel keeps them; the gradient passes as if nothing had happened."""
    kept = (images.detach().clamp(0, 1) * 255).round() / 255
    return images + (kept - images).detach()


def _through_file(pixels: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def _uniform(images: Tensor, low: float, high: float, generator: torch.Generator, *shape: int) -> Tensor:
    drawn = torch.rand(len(images), *shape, generator=generator, device=generator.device)
    return (low + (high - low) * drawn).to(images)


def _affine(images: Tensor, **given: Tensor) -> Tensor:
    n = len(images)
    return warp(
        images,
        angle=given.get("angle", images.new_zeros(n)),
        scale=given.get("scale", images.new_ones(n)),
        shift=given.get("shift", images.new_zeros(n, 2)),
        mirrored=images.new_zeros(n, dtype=torch.bool),
    )


def _flip(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    mirrored = _uniform(images, 0.0, 1.0, generator) < share
    return torch.where(mirrored[:, None, None, None], images.flip(-1), images)


def _rotation(images: Tensor, degrees: float, generator: torch.Generator) -> Tensor:
    return _affine(images, angle=_uniform(images, -degrees, degrees, generator))


def _shrink_and_pad(images: Tensor, side: float, generator: torch.Generator) -> Tensor:
    return _affine(images, scale=images.new_full((len(images),), side))


def _crop_and_resize(images: Tensor, side: float, generator: torch.Generator) -> Tensor:
    reach = (1 / side - 1) / 2  # how far the enlarged image may move, in sides
    shift = _uniform(images, -reach, reach, generator, 2) * images.new_tensor(images.shape[:-3:-1])
    return _affine(images, scale=images.new_full((len(images),), 1 / side), shift=shift)


def _shift(images: Tensor, sides: float, generator: torch.Generator) -> Tensor:
    moves = _uniform(images, -sides, sides, generator, 2) * images.new_tensor(images.shape[:-3:-1])
    return _affine(images, shift=moves.round())


def _blur(images: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    sigma = max(sigma, 1e-3)
    size = 2 * min(max(1, round(3 * sigma)), min(images.shape[-2:]) - 1) + 1
    return gaussian_blur2d(images, (size, size), (sigma, sigma))


def _noise(images: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    noise = torch.randn(images.shape, generator=generator, device=generator.device).to(images)
    return (images + deviation * noise).clamp(0, 1)


def _jpeg(images: Tensor, quality: float, generator: torch.Generator) -> Tensor:
    return jpeg(images, round(quality))


def _colour(images: Tensor, range_: float, generator: torch.Generator) -> Tensor:
    for adjust in (_brightness, adjust_contrast, adjust_saturation):
        images = adjust(images, _uniform(images, 1 - range_, 1 + range_, generator)).clamp(0, 1)
    return adjust_hue(images, _uniform(images, -range_ / 2, range_ / 2, generator))


def _brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] times a factor each, clipped; kornia's `adjust_brightness` adds instead."""
    return (images * factor[:, None, None, None]).clamp(0, 1)


GRADED: dict[str, Graded] = {
    "flip": Graded("share of images mirrored", 0.0, 1.0, _flip),
    "rotation": Graded("degrees at most", 0.0, 45.0, _rotation),
    "shrink and pad": Graded("of the side", 1.0, 0.5, _shrink_and_pad),
    "crop and resize": Graded("of the side", 1.0, 0.5, _crop_and_resize),
    "shift": Graded("of the side at most", 0.0, 0.5, _shift),
    "blur": Graded("pixels (sigma)", 0.0, 2.0, _blur),
    "noise": Graded("deviation", 0.0, 0.2, _noise),
    "JPEG": Graded("quality", 100.0, 5.0, _jpeg),
    "colour": Graded("relative change at most", 0.0, 0.5, _colour),
}


def _find(name: str) -> Graded:
    if name not in GRADED:
        near = get_close_matches(name, GRADED, n=1)
        raise ValueError(f"transform: no {name!r}; " + (f"did you mean {near[0]!r}?" if near else ", ".join(GRADED)))
    return GRADED[name]
