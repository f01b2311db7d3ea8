"""Factors: what scenes are drawn from, each with its range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from visionlab.data.world.vocabulary import (
    BACKGROUNDS,
    COLOURS,
    GROUNDS,
    MATERIALS,
    PLACES,
    SHAPE_NAMES,
    SIZES,
    numbers,
)

__all__ = ["MAX_OBJECTS", "Factors", "factors_of"]

MAX_OBJECTS = 8
VOCABULARIES = {
    "shapes": SHAPE_NAMES,
    "colours": tuple(COLOURS),
    "materials": MATERIALS,
    "sizes": tuple(SIZES),
    "places": PLACES,
    "grounds": GROUNDS,
    "backgrounds": BACKGROUNDS,
}
RANGES = {"elevation": (5.0, 89.0), "azimuth": (-360.0, 720.0), "light": (10.0, 90.0)}
NUMBERS = {"stacking": (0.0, 1.0), "lying": (0.0, 1.0), "gap": (0.0, 10.0), "spread": (0.5, 3.2)}
Names = str | Sequence[str] | None
Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Factors:
    """What scenes are drawn from.

    Attributes:
        objects: how many a scene has, or the fewest and the most, at most 8; with no room for them a scene has fewer,
            and is marked as crowded.
        shapes, colours, materials, sizes, places, grounds, backgrounds: names to draw from; None for all.
        elevation, azimuth: range of the camera's angles, in degrees.
        light: range of the light's elevation, in degrees.
        stacking: probability that an object stands on an earlier one, if one carries it.
        lying: probability that a shape that may lies on its side.
        gap: least distance between the footprints of two objects.
        spread: radius of the circle on the ground that holds the objects; the camera's field of view follows it.

    Raises:
        ValueError: one is out of its range; it is named.
    """

    objects: int | tuple[int, int] = (1, 5)
    shapes: Names = None
    colours: Names = None
    materials: Names = None
    sizes: Names = None
    places: Names = None
    grounds: Names = None
    backgrounds: Names = None
    elevation: Range = (18.0, 48.0)
    azimuth: Range = (0.0, 360.0)
    light: Range = (28.0, 60.0)
    stacking: float = 0.25
    lying: float = 0.35
    gap: float = 0.08
    spread: float = 2.7

    def __post_init__(self) -> None:
        given: Any = self.objects if _is_pair(self.objects) else (self.objects,)
        if not (all(map(_is_whole, given)) and 1 <= self.counts[0] <= self.counts[1] <= MAX_OBJECTS):
            raise ValueError(f"objects: expected 1 <= fewest <= most <= {MAX_OBJECTS}; got {self.objects}")
        for name in VOCABULARIES:
            self.options(name)
        for name, (lowest, highest) in RANGES.items():
            given = getattr(self, name)
            if not (_is_pair(given) and all(map(_is_number, given)) and lowest <= given[0] <= given[1] <= highest):
                raise ValueError(f"{name}: expected {lowest:g} <= low <= high <= {highest:g}; got {given!r}")
        for name, (lowest, highest) in NUMBERS.items():
            given = getattr(self, name)
            if not (_is_number(given) and lowest <= given <= highest):
                raise ValueError(f"{name}: expected {lowest:g} to {highest:g}; got {given!r}")

    @property
    def counts(self) -> tuple[int, int]:
        """The fewest and the most objects."""
        least, most = self.objects if isinstance(self.objects, (tuple, list)) else (self.objects, self.objects)
        return int(least), int(most)

    def options(self, name: str) -> tuple[int, ...]:
        """Places in the vocabulary of the names that a factor is drawn from."""
        return numbers(name, getattr(self, name), VOCABULARIES[name])


def _is_whole(given: object) -> bool:
    return isinstance(given, (int, np.integer)) and not isinstance(given, bool)


def _is_number(given: object) -> bool:
    return isinstance(given, (int, float, np.number)) and not isinstance(given, bool)


def _is_pair(given: object) -> bool:
    return isinstance(given, (tuple, list)) and len(given) == 2


def factors_of(given: dict[str, Any]) -> Factors:
    """The factors, some of them given.

    Raises:
        ValueError: there is no such factor, or it is out of its range.
    """
    known = [field.name for field in fields(Factors)]
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(f"scenes have no factor {', '.join(unknown)}; they have {', '.join(known)}")
    return Factors(**given)
