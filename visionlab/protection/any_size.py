"""A structure mark on pictures of any size: small ones as they are, large ones in tiles, and what is too small is left.

The networks are small and see a neighbourhood, but their memory grows with the picture: a photograph of 100 million
pixels would need tens of gigabytes. In tiles it needs no more than one of a million. Each tile has its own structure,
and reading cuts in the same places; a picture that was cropped in between is read all the same, as crops of a tile are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from visionlab.protection.verification import pooled
from visionlab.protection.watermark import Reading, StructureMark

__all__ = ["LEAST_SIDE", "TILE", "joined", "mark_any", "read_any"]

LEAST_SIDE = 8
"""Pixels that a side needs for the networks."""
TILE = 1024
"""Pixels of a tile's side at most."""


@torch.no_grad()
def mark_any(
    mark: StructureMark, image: Float[Tensor, "3 h w"], symbols: tuple[int, ...], *, gain: float = 1.0
) -> Float[Tensor, "3 h w"]:
    """Return a picture (3, H, W) in [0, 1], marked; one with a side of less than 8 pixels comes back as it was.

    Args:
        mark: the owner's networks, in evaluation mode.
        image: in [0, 1].
        symbols: of the owner, one a class.
        gain: how strongly.

    Raises:
        ValueError: if the symbols are not one a class.
    """
    marked = image.clone()
    if min(image.shape[-2:]) >= LEAST_SIDE:
        for rows, columns in _tiles(image):
            marked[:, rows, columns] = mark.mark(image[None, :, rows, columns], torch.tensor(symbols), gain=gain)[0]
    return marked


@torch.no_grad()
def read_any(mark: StructureMark, image: Float[Tensor, "3 h w"]) -> Reading:
    """Return what is read from one picture (3, H, W) in [0, 1]; what is too small abstains."""
    if min(image.shape[-2:]) < LEAST_SIDE:
        nothing = torch.zeros(1, mark.classes, dtype=torch.long)
        return Reading(torch.ones(1, mark.classes, 3), nothing, nothing - 1)
    parts = joined([mark.decode(image[None, :, rows, columns]) for rows, columns in _tiles(image)])
    if len(parts.area) == 1:
        return parts
    colours, area = pooled(parts)
    return Reading(colours[None], area[None], mark.code.read(colours)[None])


def joined(readings: list[Reading]) -> Reading:
    """Several readings as one, in their order.

    Raises:
        ValueError: if there is none.
    """
    if not readings:
        raise ValueError("readings: expected one or more, got none")
    return Reading(*(torch.cat([getattr(each, name) for each in readings]) for name in ("colours", "area", "symbols")))


def _tiles(image: Tensor) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of tiles of about one size; none has a side under 8 pixels if the picture has not."""
    rows, columns = (_cuts(n) for n in image.shape[-2:])
    return ((r, c) for r in rows for c in columns)


def _cuts(length: int) -> list[slice]:
    number = math.ceil(length / TILE)
    ends = [length * i // number for i in range(number + 1)]
    return [slice(a, b) for a, b in pairwise(ends)]
