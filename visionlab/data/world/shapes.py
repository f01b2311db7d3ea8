"""The sixteen shapes: each a few solids in a box from -1 to 1, with named parts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor

from visionlab.data.world.solids import Faceted, Round, Solid, Torus

__all__ = ["PARTS", "SHAPES", "SOLIDS", "Shape", "Tables", "tables"]

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Piece:
    """A solid, scaled by ``axes`` and moved to ``at``, and the part of the shape that it belongs to."""

    part: str
    solid: Solid
    at: Triple = (0.0, 0.0, 0.0)
    axes: Triple = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Shape:
    """A named shape.

    Attributes:
        pieces: its solids, in shape coordinates; z points up.
        axes: half-axes of the shape's box in the world, for an object of radius 1.
        lies: whether it may also rest on its side, its -y side down.
        flat: whether something can stand on it.
    """

    name: str
    pieces: tuple[Piece, ...]
    axes: Triple
    lies: bool = False
    flat: bool = False


def _box() -> Faceted:
    planes = tuple((*(sign * float(i == axis) for i in range(3)), 1.0) for axis in range(3) for sign in (-1, 1))
    corners = tuple((x, y, z) for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0))
    return Faceted(cast("tuple[tuple[float, float, float, float], ...]", planes), corners)


def _triangle() -> Faceted:
    """A prism along z on a regular triangle of circumradius 1 with one side towards -y."""
    h = math.sqrt(3) / 2
    sides = ((0.0, -1.0, 0.0, 0.5), (h, 0.5, 0.0, 0.5), (-h, 0.5, 0.0, 0.5))
    ends = ((0.0, 0.0, -1.0, 1.0), (0.0, 0.0, 1.0, 1.0))
    return Faceted(sides + ends, tuple((x, y, z) for x, y in ((0.0, 1.0), (h, -0.5), (-h, -0.5)) for z in (-1.0, 1.0)))


def _roof() -> Faceted:
    """A ridge along x, from a base at z = -1 up to z = 1."""
    slopes = ((0.0, 2.0, 1.0, 1.0), (0.0, -2.0, 1.0, 1.0), (0.0, 0.0, -1.0, 1.0))
    ends = ((1.0, 0.0, 0.0, 1.0), (-1.0, 0.0, 0.0, 1.0))
    corners = tuple((x, y, z) for x in (-1.0, 1.0) for y, z in ((-1.0, -1.0), (1.0, -1.0), (0.0, 1.0)))
    return Faceted(slopes + ends, corners)


BOX = _box()
BALL = Round(1.0, 0.0, -1.0, -1.0, 1.0)
ROD = Round(1.0, 0.0, 0.0, -1.0, 1.0)
CONE = Round(0.25, -0.5, 0.25, -1.0, 1.0)
DOME = Round(1.0, 0.0, -1.0, 0.0, 1.0)
SHADE = Round(0.4225, -0.2275, 0.030625, -1.0, 1.0)  # radius 0.825 below to 0.475 above
BELLY = Round(0.55425, -0.49, -0.7, -1.0, 0.3)
NECK = Round(0.778368, -1.8288, 1.27, 0.3, 1.0)
RING = Torus(0.68, 0.32)
PYRAMID = Faceted(
    ((0.0, 0.0, -1.0, 1.0), (2.0, 0.0, 1.0, 1.0), (-2.0, 0.0, 1.0, 1.0), (0.0, 2.0, 1.0, 1.0), (0.0, -2.0, 1.0, 1.0)),
    (*((x, y, -1.0) for x in (-1.0, 1.0) for y in (-1.0, 1.0)), (0.0, 0.0, 1.0)),
)
TRIANGLE, ROOF = _triangle(), _roof()


def _rod(part: str, radius: float, low: float, high: float, x: float = 0.0, y: float = 0.0) -> Piece:
    return Piece(part, ROD, (x, y, (low + high) / 2), (radius, radius, (high - low) / 2))


SHAPES = (
    Shape("sphere", (Piece("body", BALL),), (0.85, 0.85, 0.85)),
    Shape("egg", (Piece("body", BALL),), (0.68, 0.68, 1.05), lies=True),
    Shape("cube", (Piece("body", BOX),), (0.74, 0.74, 0.74), flat=True),
    Shape("cylinder", (Piece("body", ROD),), (0.68, 0.68, 0.8), lies=True, flat=True),
    Shape("cone", (Piece("body", CONE),), (0.85, 0.85, 0.95)),
    Shape(
        "capsule",
        (
            _rod("body", 1.0, -0.5, 0.5),
            Piece("body", BALL, (0.0, 0.0, -0.5), (1.0, 1.0, 0.5)),
            Piece("body", BALL, (0.0, 0.0, 0.5), (1.0, 1.0, 0.5)),
        ),
        (0.5, 0.5, 1.0),
        lies=True,
    ),
    Shape("ring", (Piece("body", RING),), (1.0, 1.0, 1.0), lies=True),
    Shape("pyramid", (Piece("body", PYRAMID),), (0.82, 0.82, 0.8)),
    Shape("prism", (Piece("body", TRIANGLE),), (0.9, 0.9, 0.8), lies=True, flat=True),
    Shape("dome", (Piece("body", DOME, (0.0, 0.0, -0.5)),), (0.95, 0.95, 0.95)),
    Shape("vase", (Piece("belly", BELLY), Piece("neck", NECK)), (0.95, 0.95, 0.95)),
    Shape(
        "table",
        (
            Piece("top", BOX, (0.0, 0.0, 0.84), (1.0, 1.0, 0.16)),
            *(_rod("leg", 0.13, -1.0, 0.68, x, y) for x in (-0.8, 0.8) for y in (-0.8, 0.8)),
        ),
        (0.9, 0.8, 0.66),
        flat=True,
    ),
    Shape(
        "mushroom",
        (_rod("stem", 0.36, -1.0, 0.1), Piece("cap", DOME, (0.0, 0.0, 0.1), (1.0, 1.0, 0.9))),
        (0.82, 0.82, 0.82),
    ),
    Shape(
        "house",
        (
            Piece("wall", BOX, (0.0, 0.0, -0.45), (0.86, 0.8, 0.55)),
            Piece("roof", ROOF, (0.0, 0.0, 0.55), (1.0, 1.0, 0.45)),
        ),
        (0.85, 0.75, 0.85),
    ),
    Shape(
        "lamp",
        (
            _rod("foot", 0.55, -1.0, -0.84),
            _rod("stem", 0.1, -0.84, 0.2),
            Piece("shade", SHADE, (0.0, 0.0, 0.58), (1.0, 1.0, 0.42)),
        ),
        (0.75, 0.75, 1.05),
    ),
    Shape(
        "dumbbell",
        (
            _rod("bar", 0.14, -0.6, 0.6),
            Piece("weight", BALL, (0.0, 0.0, -0.62), (0.38, 0.38, 0.38)),
            Piece("weight", BALL, (0.0, 0.0, 0.62), (0.38, 0.38, 0.38)),
        ),
        (1.0, 1.0, 1.0),
        lies=True,
    ),
)

SOLIDS: tuple[Solid, ...] = tuple(dict.fromkeys(piece.solid for shape in SHAPES for piece in shape.pieces))
PARTS: tuple[str, ...] = tuple(
    dict.fromkeys(f"{shape.name}: {piece.part}" for shape in SHAPES for piece in shape.pieces)
)
"""Every part of every shape, as "lamp: shade"; a part mask holds places in this list, from 1 on."""


@dataclass(frozen=True)
class Tables:
    """The shapes as tensors, S shapes of altogether Q pieces.

    Attributes:
        axes: (S, 3) half-axes.
        lies: (S,), and flat: (S,), as in `Shape`.
        circles: (S, J, 5): the hull's level circles, stretched to ellipses: centre and two half-axes; padded.
        extent: (S, 3) half of the box around the shape, before its half-axes.
        first: (S,), first piece of each shape, and pieces: (S,), how many it has.
        solid: (Q,), place in SOLIDS.
        at, stretch: (Q, 3), of each piece.
        part: (Q,), place in PARTS.
        ball: (Q, 4), centre and radius of a ball around each piece, before the shape's axes.
        box: (Q, 6), centre and half-sides of a box around each piece, likewise.
    """

    axes: Tensor
    lies: Tensor
    flat: Tensor
    circles: Tensor
    extent: Tensor
    first: Tensor
    pieces: Tensor
    solid: Tensor
    at: Tensor
    stretch: Tensor
    part: Tensor
    ball: Tensor
    box: Tensor


@lru_cache
def tables(device: str = "cpu") -> Tables:
    """The shapes' tensors on a device."""
    flat = [(shape, piece) for shape in SHAPES for piece in shape.pieces]
    hulls = [[circle for piece in shape.pieces for circle in _circles(piece)] for shape in SHAPES]
    longest = max(map(len, hulls))
    counts = torch.tensor([len(shape.pieces) for shape in SHAPES])
    found = Tables(
        axes=torch.tensor([shape.axes for shape in SHAPES]),
        lies=torch.tensor([shape.lies for shape in SHAPES]),
        flat=torch.tensor([shape.flat for shape in SHAPES]),
        circles=torch.tensor([hull + hull[:1] * (longest - len(hull)) for hull in hulls]),
        extent=torch.tensor([_box_around(hull)[3:] for hull in hulls]),
        first=counts.cumsum(0) - counts,
        pieces=counts,
        solid=torch.tensor([SOLIDS.index(piece.solid) for _, piece in flat]),
        at=torch.tensor([piece.at for _, piece in flat], dtype=torch.float32),
        stretch=torch.tensor([piece.axes for _, piece in flat], dtype=torch.float32),
        part=torch.tensor([PARTS.index(f"{shape.name}: {piece.part}") for shape, piece in flat]),
        ball=torch.tensor([_ball(piece) for _, piece in flat]),
        box=torch.tensor([_box_around(_circles(piece)) for _, piece in flat]),
    )
    return Tables(**{name: tensor.to(device) for name, tensor in vars(found).items()})


def _circles(piece: Piece) -> list[tuple[float, ...]]:
    (x, y, z), (a, b, c) = piece.at, piece.axes
    return [(x + a * i, y + b * j, z + c * k, a * r, b * r) for i, j, k, r in piece.solid.hull()]


def _box_around(circles: list[tuple[float, ...]]) -> list[float]:
    """Centre and half-sides of the box around level ellipses."""
    rims = [(x, y, z, a, b, 0.0) for x, y, z, a, b in circles]
    high, low = ([end(c[i] + sign * c[3 + i] for c in rims) for i in range(3)] for end, sign in ((max, 1), (min, -1)))
    sides = list(zip(high, low, strict=True))
    return [(h + g) / 2 for h, g in sides] + [(h - g) / 2 for h, g in sides]


def _ball(piece: Piece) -> tuple[float, ...]:
    circles = piece.solid.hull()
    middle = (min(c[2] for c in circles) + max(c[2] for c in circles)) / 2
    radius = max(math.hypot(math.hypot(x, y) + r, z - middle) for x, y, z, r in circles)
    x, y, z = piece.at
    return x, y, z + piece.axes[2] * middle, radius * max(piece.axes)
