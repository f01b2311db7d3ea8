"""Rooms: labelled point clouds of furnished rooms, drawn from a seed, that need no download.

A room is a box with ceiling, floor and four walls, one or two doors, tables, chairs, sofas, shelves, lamps and clutter,
about twenty objects in all. They are seen by a scanner at two places (`scanning`), or sampled without one. Objects of
one class differ in colour, size and place, and classes share colours, so that colour alone does not tell the class.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from visionlab.data.clouds import Cloud
from visionlab.data.world import counter
from visionlab.data.world.dice import Dice
from visionlab.data.world.floorplan import floor_plan
from visionlab.data.world.precision import in_float32
from visionlab.data.world.render import to_srgb
from visionlab.data.world.roomsolids import SHELL, Points, solids_of, surface_points
from visionlab.data.world.scanning import scan
from visionlab.data.world.vocabulary import oklch_to_rgb

__all__ = ["LOOK_ALIKES", "ROOMS_VERSION", "ROOM_CLASSES", "room", "rooms"]

ROOMS_VERSION = 1
"""Raised by any change of a room's points, colours or labels."""

ROOM_CLASSES = ("ceiling", "floor", "wall", "table", "chair", "sofa", "shelf", "door", "lamp", "clutter")
LOOK_ALIKES = (("wall", "door"), ("chair", "sofa"), ("table", "shelf"), ("lamp", "clutter"))
"""Classes that somebody who labels a room takes for each other."""

NOISE = 0.008  # metres, of each coordinate
TOUCH_UP = 0.018  # noise of colours
LIGHT = (0.25, 0.35, 0.9)  # from where it comes, and how much of it is soft
SOFT = 0.75

PALETTES = {
    "white": ((0.84, 0.97), (0.0, 0.03), (60.0, 110.0)),
    "grey": ((0.35, 0.8), (0.0, 0.02), (200.0, 300.0)),
    "dark": ((0.18, 0.34), (0.0, 0.04), (0.0, 360.0)),
    "wood": ((0.38, 0.78), (0.04, 0.1), (45.0, 85.0)),
    "muted": ((0.45, 0.88), (0.02, 0.07), (0.0, 360.0)),
    "vivid": ((0.4, 0.8), (0.1, 0.19), (0.0, 360.0)),
}
"""Ranges of lightness, chroma and hue."""

LIKES = {
    "ceiling": ("white", "white", "white", "muted", "grey"),
    "floor": ("wood", "wood", "grey", "muted", "dark", "white"),
    "wall": ("white", "white", "muted", "muted", "grey", "vivid"),
    "table": ("wood", "wood", "white", "grey", "dark", "vivid"),
    "chair": ("wood", "grey", "dark", "white", "muted", "vivid"),
    "sofa": ("grey", "muted", "dark", "vivid", "wood", "white"),
    "shelf": ("wood", "wood", "white", "grey", "muted", "dark"),
    "door": ("white", "wood", "grey", "muted", "vivid", "wood"),
    "lamp": ("white", "white", "grey", "dark", "muted", "vivid"),
    "clutter": ("vivid", "vivid", "muted", "grey", "dark", "wood", "white"),
}
"""The palettes that each class draws its colours from."""


@in_float32
def room(seed: int, number: int = 0, *, points: int = 4096, scanner: bool = True) -> Cloud:
    """Draw one room: a function of its seed and number alone, in metres, the origin in a corner of the floor.

    Args:
        seed: of a family of rooms; no two families share one.
        number: of the room in the family.
        points: how many; the same room is seen whatever their number.
        scanner: seen from two places, so that near surfaces are dense and hidden ones empty; without it points lie
            evenly on each object's surface.

    Raises:
        ValueError: an argument is not a whole number in its range.
    """
    seed, number = _whole("seed", seed, -(2**63), 2**63 - 1), _whole("number", number, 0, 2**40)
    points = _whole("points", points, 1, 2**22)
    key = counter.keys(seed, torch.tensor([number]))
    plan = floor_plan(key)
    solids = solids_of(plan)
    stations = torch.tensor(plan.stations)

    def look(name: str, n: int) -> Points:
        return scan(solids, stations, key, name, n) if scanner else surface_points(solids, key, name, n)

    kinds = (*SHELL, *(item.thing.kind for item in plan.placed))
    seen = _exactly(points, look)
    return Cloud(
        xyz=seen.xyz + NOISE * _normal(key, "noise", points),
        rgb=_colours(key, kinds, seen),
        labels=torch.tensor([ROOM_CLASSES.index(kind) for kind in kinds])[seen.instance],
        instances=seen.instance,
        classes=ROOM_CLASSES,
        name=f"room {seed}-{number}",
    )


def rooms(n: int, *, points: int = 4096, seed: int = 0, first: int = 0, scanner: bool = True) -> list[Cloud]:
    """Draw n rooms of a seed, from number ``first`` on; see `room`.

    Raises:
        ValueError: an argument is not a whole number in its range.
    """
    n, first = _whole("n", n, 1, 2**20), _whole("first", first, 0, 2**40 - 2**20)
    return [room(seed, number, points=points, scanner=scanner) for number in range(first, first + n)]


def _exactly(points: int, look: Callable[[str, int], Points]) -> Points:
    """Look again until there are enough points; they come in no order of places, so that the first ones will do."""
    found = look("look 0", points + points // 3 + 32)
    again = 1
    while len(found.xyz) < points:
        found = Points.cat([found, look(f"look {again}", points // 2 + 32)])
        again += 1
    return found[:points]


def _colours(key: Int[Tensor, " 1"], kinds: tuple[str, ...], seen: Points) -> Float[Tensor, "n 3"]:
    """A base colour for each object, a grain in space, light from above, and noise."""
    dice = Dice(key, "colours")
    base, grain = torch.tensor([_base(dice, kind) for kind in kinds]), torch.tensor([_grain(dice) for _ in kinds])
    which = seen.instance
    cell = (seen.xyz / grain[which, :3]).floor().long()
    lightness = grain[which, 3] * (counter.lattice(key, which, *cell.unbind(1)) - 0.5)
    shade = SOFT + (1 - SOFT) * (seen.normal @ torch.tensor(LIGHT)).clamp(-0.5, 1)
    own = base[which]
    oklch = torch.stack([(own[:, 0] + lightness) * shade, own[:, 1], own[:, 2]], dim=1)
    return (to_srgb(oklch_to_rgb(oklch)) + TOUCH_UP * _normal(key, "touch up", len(which))).clamp(0, 1)


def _base(dice: Dice, kind: str) -> tuple[float, float, float]:
    lightness, chroma, hue = PALETTES[dice.pick(LIKES[kind])]
    return dice.between(*lightness), dice.between(*chroma), dice.between(*hue)


def _grain(dice: Dice) -> tuple[float, float, float, float]:
    """Sides of the cells of one lightness (long ones look like boards) and how much they differ."""
    fine = dice.between(0.04, 0.2)
    long = fine * dice.pick((1.0, 1.0, 8.0))
    x, y = dice.pick(((fine, long), (long, fine)))
    return x, y, dice.pick((fine, long)), dice.between(0.0, 0.12)


def _normal(key: Int[Tensor, " 1"], name: str, n: int) -> Float[Tensor, "n 3"]:
    """Normally distributed numbers."""
    u = counter.uniform(key, name, n, 3, 2)[0]
    return (-2 * (1 - u[..., 0]).log()).sqrt() * (2 * math.pi * u[..., 1]).cos()


def _whole(argument: str, value: object, low: int, high: int) -> int:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{argument}: expected a whole number from {low} to {high}; got {value!r}")
    return int(value)
