"""What stands in a room: tables, chairs, sofas, shelves, doors, lamps and clutter, built of boxes, rods and balls.

Each thing is built in its own frame, in metres: the origin lies under its middle, z points up from what it stands on,
the back is the side of -y and the front that of +y. Sizes and forms are drawn, so that no two things are alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product

from visionlab.data.world.dice import Dice
from visionlab.data.world.shapes import BALL, BOX, ROD, SHADE, Piece, Triple
from visionlab.data.world.solids import Solid

__all__ = ["Board", "Thing", "chair", "clutter", "door", "hanging_lamp", "shelf", "sofa", "standing_lamp", "table"]

LEGS = tuple(product((-1, 1), (-1, 1)))
SQUARE_OR_ROUND: tuple[Solid, Solid] = (BOX, ROD)
SHADE_RADIUS = 0.825  # of the unit shade's wide end


@dataclass(frozen=True)
class Board:
    """A level place to put things on: its height, its half sides, and how much room there is above it."""

    z: float
    half_width: float
    half_depth: float
    room: float


@dataclass(frozen=True)
class Thing:
    """A piece of furniture.

    Attributes:
        kind: its class.
        pieces: its solids, in its own frame.
        size: width along x, depth along y and height of the box around it.
        boards: where smaller things may stand.
    """

    kind: str
    pieces: tuple[Piece, ...]
    size: Triple
    boards: tuple[Board, ...] = ()


def table(dice: Dice) -> Thing:
    """A table for meals, or a low one, with four legs; or a round one on a pillar."""
    height = dice.between(0.38, 0.5) if dice.chance(0.25) else dice.between(0.68, 0.78)
    thick, leg = dice.between(0.025, 0.05), dice.between(0.02, 0.04)
    if dice.chance(0.25):
        r = dice.between(0.38, 0.62)
        top = _level("top", ROD, height - thick, height, r, r)
        foot = _level("foot", ROD, 0.0, 0.03, 0.55 * r, 0.55 * r)
        pillar = _level("pillar", ROD, 0.03, height - thick, leg, leg)
        return Thing("table", (top, pillar, foot), (2 * r, 2 * r, height), (Board(height, 0.66 * r, 0.66 * r, 0.6),))
    x, y = dice.between(0.45, 0.95), dice.between(0.3, 0.48)
    solid, inset = dice.pick(SQUARE_OR_ROUND), leg + dice.between(0.005, 0.06)
    legs = [_level("leg", solid, 0.0, height - thick, leg, leg, i * (x - inset), j * (y - inset)) for i, j in LEGS]
    top = _level("top", BOX, height - thick, height, x, y)
    return Thing("table", (top, *legs), (2 * x, 2 * y, height), (Board(height, x - 0.03, y - 0.03, 0.6),))


def chair(dice: Dice) -> Thing:
    """A chair on four legs or on a pillar, with a back and sometimes with arms."""
    x, y = dice.between(0.2, 0.26), dice.between(0.2, 0.25)
    seat, height, thick = dice.between(0.41, 0.49), dice.between(0.78, 1.05), dice.between(0.03, 0.08)
    pieces = [_level("seat", BOX, seat - thick, seat, x, y)]
    if dice.chance(0.3):
        spread = 0.9 * min(x, y)
        pieces += [
            _level("foot", ROD, 0.0, 0.06, spread, spread),
            _level("pillar", ROD, 0.06, seat - thick, 0.03, 0.03),
        ]
    else:
        leg, solid = dice.between(0.014, 0.025), dice.pick(SQUARE_OR_ROUND)
        pieces += [_level("leg", solid, 0.0, seat - thick, leg, leg, i * (x - leg), j * (y - leg)) for i, j in LEGS]
    deep, low = dice.between(0.012, 0.03), seat + dice.pick((0.0, 0.1))
    pieces.append(_level("back", BOX, low, height, x, deep, 0.0, deep - y))
    if low > seat:  # the back stands on two posts
        pieces += [_level("post", BOX, seat, low, 0.015, deep, i * (x - 0.03), deep - y) for i in (-1, 1)]
    if dice.chance(0.3):
        arm = seat + dice.between(0.16, 0.22)
        pieces += [_level("arm", BOX, arm, arm + 0.03, 0.02, y - deep, i * (x - 0.02), deep) for i in (-1, 1)]
        pieces += [_level("post", BOX, seat, arm, 0.015, 0.015, i * (x - 0.02), y - 0.03) for i in (-1, 1)]
    return Thing("chair", tuple(pieces), (2 * x, 2 * y, height))


def sofa(dice: Dice) -> Thing:
    """A sofa or an armchair: a deep seat, a back, two arms or none, on feet or on the floor."""
    x = dice.between(0.4, 0.55) if dice.chance(0.25) else dice.between(0.7, 1.1)
    y, seat, height = dice.between(0.38, 0.48), dice.between(0.36, 0.46), dice.between(0.68, 0.92)
    back, arm = dice.between(0.08, 0.13), dice.between(0.06, 0.11) if dice.chance(0.8) else 0.0
    low = dice.pick((0.0, 0.09))
    pieces = [
        _level("seat", BOX, low, seat, x - 2 * arm, y - back, 0.0, back),
        _level("back", BOX, low, height, x, back, 0.0, back - y),
    ]
    if arm:
        top = seat + dice.between(0.12, 0.22)
        pieces += [_level("arm", BOX, low, top, arm, y - back, i * (x - arm), back) for i in (-1, 1)]
    if low:
        pieces += [_level("foot", ROD, 0.0, low, 0.03, 0.03, i * (x - 0.06), j * (y - 0.06)) for i, j in LEGS]
    return Thing("sofa", tuple(pieces), (2 * x, 2 * y, height))


def shelf(dice: Dice) -> Thing:
    """Boards between two sides, with a back or open, low or as high as a person."""
    x, y, height = dice.between(0.3, 0.7), dice.between(0.13, 0.2), dice.between(0.75, 2.1)
    gap, thick = dice.between(0.3, 0.42), dice.between(0.01, 0.016)
    steps = max(2, round(height / gap))
    levels = [thick + (height - 2 * thick) * i / steps for i in range(steps + 1)]
    pieces = [_level("side", BOX, 0.0, height, thick, y, i * (x - thick), 0.0) for i in (-1, 1)]
    pieces += [_level("board", BOX, z - thick, z + thick, x - 2 * thick, y) for z in levels]
    if dice.chance(0.6):
        pieces.append(_level("back", BOX, 0.0, height, x - 2 * thick, 0.006, 0.0, 0.006 - y))
    room = [b - a - 2 * thick for a, b in pairwise(levels)] + [0.4]
    boards = tuple(Board(z + thick, x - 0.05, y - 0.03, r) for z, r in zip(levels, room, strict=True))
    return Thing("shelf", tuple(pieces), (2 * x, 2 * y, height), boards)


def door(dice: Dice) -> Thing:
    """A panel in a frame, with a handle; its back lies in the wall."""
    x, height = dice.between(0.38, 0.5), dice.between(1.92, 2.12)
    proud, jamb = dice.between(0.02, 0.05), dice.between(0.03, 0.05)
    side = dice.pick((-1, 1))
    frame = [_level("frame", BOX, 0.0, height, jamb, proud + 0.02, i * (x + jamb), 0.0) for i in (-1, 1)]
    frame.append(_level("frame", BOX, height - jamb, height, x + 2 * jamb, proud + 0.02))
    panel = _level("panel", BOX, 0.0, height - jamb, x, proud)
    handle = _level("handle", BOX, 0.98, 1.02, 0.07, 0.02, side * (x - 0.12), proud + 0.03)
    return Thing("door", (panel, *frame, handle), (2 * x + 4 * jamb, 2 * proud + 0.1, height))


def standing_lamp(dice: Dice, height: float) -> Thing:
    """A foot, a pole and a shade or a ball, as high as asked: for the floor or for a table."""
    r = height * dice.between(0.1, 0.14) + dice.between(0.04, 0.07)
    tall = r * dice.between(1.0, 1.6)
    foot = _level("foot", ROD, 0.0, 0.025, 0.75 * r, 0.75 * r)
    pole = _level("pole", ROD, 0.025, height - 0.5 * tall, 0.012, 0.012)
    return Thing("lamp", (_shade(dice, r, height - tall, height), pole, foot), (2 * r, 2 * r, height))


def hanging_lamp(dice: Dice) -> Thing:
    """A shade or a ball on a cord; the top of its box is the ceiling."""
    r, drop = dice.between(0.14, 0.26), dice.between(0.15, 0.45)
    tall = r * dice.between(0.9, 1.5)
    height = drop + tall
    cord = _level("cord", ROD, 0.7 * tall, height, 0.01, 0.01)
    rose = _level("rose", ROD, height - 0.03, height, 0.05, 0.05)
    return Thing("lamp", (_shade(dice, r, 0.0, tall), cord, rose), (2 * r, 2 * r, height))


def clutter(dice: Dice, largest: Triple) -> Thing:
    """A box, a can, a ball or a pile of books, no larger than asked."""
    width, depth, height = (side * dice.between(0.55, 1.0) for side in largest)
    x, y, r = width / 2, depth / 2, min(width, depth) / 2
    form = dice.whole(0, 3)
    if form == 0:
        return Thing("clutter", (_level("box", BOX, 0.0, height, x, y),), (width, depth, height))
    if form == 1:
        return Thing("clutter", (_level("can", ROD, 0.0, height, r, r),), (2 * r, 2 * r, height))
    if form == 2:
        r = min(r, height / 2)
        return Thing("clutter", (_level("ball", BALL, 0.0, 2 * r, r, r),), (2 * r, 2 * r, 2 * r))
    tops = (0.0, 0.4 * height, 0.7 * height, height)
    sides = (
        (1.0, 1.0),
        (dice.between(0.7, 1.0), dice.between(0.8, 1.0)),
        (dice.between(0.6, 1.0), dice.between(0.6, 1.0)),
    )
    pile = [_level("book", BOX, tops[i], tops[i + 1], x * u, y * v) for i, (u, v) in enumerate(sides)]
    return Thing("clutter", tuple(pile), (width, depth, height))


def _shade(dice: Dice, radius: float, low: float, high: float) -> Piece:
    """A cone, a drum or a ball between two heights."""
    form = dice.whole(0, 2)
    if form == 0:
        wide = radius / SHADE_RADIUS
        return _level("shade", SHADE, low, high, wide, wide)
    if form == 1:
        return _level("shade", ROD, low, high, 0.8 * radius, 0.8 * radius)
    round_ = min(radius, (high - low) / 2)
    return _level("shade", BALL, high - 2 * round_, high, round_, round_)


def _level(
    part: str, solid: Solid, low: float, high: float, half_x: float, half_y: float, x: float = 0.0, y: float = 0.0
) -> Piece:
    """A solid between two heights, over the place (x, y)."""
    return Piece(part, solid, (x, y, (low + high) / 2), (half_x, half_y, (high - low) / 2))
