"""Random transforms of whole batches: each image draws its own, and all of them run at once, on any device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["dihedral", "flip_and_shift", "normalise"]


def flip_and_shift(
    images: Float[Tensor, "b c h w"], *, shift: int = 4, flip: float = 0.5, generator: torch.Generator
) -> Float[Tensor, "b c h w"]:
    """Each image (B, C, H, W) mirrored left to right with probability `flip`, then moved by whole pixels.

    What moves in from outside is the reflection at the border (the border pixel itself is not repeated).

    Args:
        images: Any range; the values are moved, not changed.
        shift: Largest move along either axis, in pixels; every move from -shift to shift is equally likely.
        flip: Probability of mirroring; 0 where left and right differ in meaning, as in digits and signs.
        generator: Source of randomness, on any device. `shift=0` with `flip=0` is the identity.

    Raises:
        ValueError: `shift` is negative or not below height and width, or `flip` is no probability.
    """
    batch, _, height, width = images.shape
    if not 0 <= shift < min(height, width):
        raise ValueError(f"shift={shift}: expected 0 <= shift < {min(height, width)} for {height} x {width} images")
    if not 0 <= flip <= 1:
        raise ValueError(f"flip={flip}: expected a probability")
    moves = torch.randint(-shift, shift + 1, (2, batch, 1), generator=generator, device=generator.device)
    mirrored = torch.rand(batch, 1, generator=generator, device=generator.device) < flip
    moves, mirrored = moves.to(images.device), mirrored.to(images.device)
    rows = _reflect(torch.arange(height, device=images.device) + moves[0], height)
    columns = _reflect(torch.arange(width, device=images.device) + moves[1], width)
    columns = torch.where(mirrored, width - 1 - columns, columns)
    return _gather_pixels(images, rows[:, :, None] * width + columns[:, None, :])


def dihedral(images: Float[Tensor, "b c h w"], generator: torch.Generator) -> Float[Tensor, "b c h w"]:
    """Each square image (B, C, S, S) in one of its eight orientations, all equally likely.

    The four rotations and their mirror images: right for views from above, such as satellite tiles, which have no
    up or left.

    Raises:
        ValueError: The images are not square.
    """
    if images.shape[-2] != images.shape[-1]:
        raise ValueError(f"images have shape {tuple(images.shape)}, expected squares")
    side = images.shape[-1]
    drawn = torch.randint(2, (3, len(images), 1), generator=generator, device=generator.device)
    upside_down, mirrored, transposed = drawn.bool().to(images.device)
    forwards = torch.arange(side, device=images.device)
    rows = torch.where(upside_down, side - 1 - forwards, forwards)
    columns = torch.where(mirrored, side - 1 - forwards, forwards)
    pixels = rows[:, :, None] * side + columns[:, None, :]
    return _gather_pixels(images, torch.where(transposed[..., None], pixels.mT, pixels))


def normalise(
    images: Float[Tensor, "b c h w"], mean: Sequence[float] | Tensor, std: Sequence[float] | Tensor
) -> Float[Tensor, "b c h w"]:
    """Images (B, C, H, W) less the mean, divided by the standard deviation, channel by channel.

    Raises:
        ValueError: `mean` or `std` has not one number per channel, or a standard deviation is not positive.
    """
    channels = images.shape[1]
    centre, scale = (torch.as_tensor(values, dtype=images.dtype, device=images.device) for values in (mean, std))
    for name, values in (("mean", centre), ("std", scale)):
        if values.shape != (channels,):
            raise ValueError(f"{name} has shape {tuple(values.shape)}, expected ({channels},): one per channel")
    if not (scale > 0).all():
        raise ValueError(f"std={scale.tolist()}: expected positive numbers")
    return (images - centre[:, None, None]) / scale[:, None, None]


def _reflect(index: Tensor, length: int) -> Tensor:
    """Indices from -length + 1 to 2 * length - 2, folded back into 0 to length - 1 at either border."""
    return length - 1 - (length - 1 - index.abs()).abs()


def _gather_pixels(images: Float[Tensor, "b c h w"], pixels: Int[Tensor, "b h w"]) -> Float[Tensor, "b c h w"]:
    """Images of which each pixel is another one of the same image, given by its place in row-major order."""
    source = pixels.flatten(1)[:, None].expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, source).view(images.shape)
