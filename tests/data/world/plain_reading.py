"""A scene read by plain loops, in double precision and from the documents alone: what is where, how large, how seen.

Nothing here calls the package's geometry, camera or language; what it takes from it are names and half-axes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import permutations
from math import cos, inf, radians, sin, tan

import numpy as np

from visionlab.data.world import Render, Scenes
from visionlab.data.world.shapes import SHAPES

SHAPE_NAMES = (
    "sphere", "egg", "cube", "cylinder", "cone", "capsule", "ring", "pyramid", "prism", "dome", "vase", "table",
    "mushroom", "house", "lamp", "dumbbell",
)  # fmt: skip
COLOURS = (
    "red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink", "brown", "white", "grey", "black",
)  # fmt: skip
MATERIALS = ("matte", "glossy", "metal", "checked", "striped", "marbled")
SIZES = ("small", "medium", "large")
GROUNDS = {
    "a plain floor": "plain",
    "a wooden floor": "wood",
    "a tiled floor": "tiles",
    "a carpet": "carpet",
    "a checked floor": "checks",
}
WALLS = {"plain": "plain", "shaded": "gradient", "brick": "bricks", "speckled": "speckle", "painted": "clutter"}

# How far a shape reaches below and above its middle, as a share of the half-axis that points up.
UPRIGHT = dict.fromkeys(SHAPE_NAMES, (1.0, 1.0)) | {"dome": (0.5, 0.5), "ring": (0.32, 0.32)}
LYING = dict.fromkeys(SHAPE_NAMES, (1.0, 1.0)) | {"prism": (0.5, 1.0), "dumbbell": (0.38, 0.38)}

MIRRORED = {
    "left of": "right of",
    "in front of": "behind",
    "on top of": "below",
    "bigger than": "smaller than",
}
LINKS = (*MIRRORED, *MIRRORED.values())


@dataclass(frozen=True)
class Thing:
    """An object: its names, its middle and half-axes in the world, and what is seen of it."""

    slot: int
    shape: str
    colour: str
    material: str
    size: str
    axes: tuple[float, float, float]
    middle: tuple[float, float, float]
    on: int
    pixels: int
    box: tuple[int, int, int, int]
    counted: bool

    @property
    def across(self) -> float:
        """Column of the middle of what is seen."""
        return (self.box[0] + self.box[2]) / 2


@dataclass(frozen=True)
class Lens:
    """A camera in double precision."""

    azimuth: float
    elevation: float
    roll: float
    distance: float
    slope: float  # of one pixel to the next
    height: int
    width: int

    def seen_from(self, x: float, y: float, z: float) -> tuple[float, float, float]:
        """A point of the world as the camera has it: to the right, up and away."""
        # The camera looks at (0, 0, 0.45); turned so that it stands at azimuth 0, the point moves the other way.
        right = x * cos(self.azimuth) - y * sin(self.azimuth)
        along, over = x * sin(self.azimuth) + y * cos(self.azimuth), z - 0.45
        away = along * cos(self.elevation) - over * sin(self.elevation) + self.distance
        up = along * sin(self.elevation) + over * cos(self.elevation)
        return right * cos(self.roll) + up * sin(self.roll), up * cos(self.roll) - right * sin(self.roll), away

    def column(self, x: float, y: float, z: float) -> float:
        """Where a point is projected to, in pixels from the left edge."""
        right, _, away = self.seen_from(x, y, z)
        return self.width / 2 + right / away / self.slope

    def row(self, x: float, y: float, z: float) -> float:
        _, up, away = self.seen_from(x, y, z)
        return self.height / 2 - up / away / self.slope

    def ground_depth(self, row: int, column: int) -> float:
        """How far along the line of sight the ray through a pixel's middle meets the ground, or inf."""
        right = (column + 0.5 - self.width / 2) * self.slope
        up = (self.height / 2 - row - 0.5) * self.slope
        level = right * sin(self.roll) + up * cos(self.roll)
        sinking = sin(self.elevation) - level * cos(self.elevation)  # lost height for each unit of depth
        return (0.45 + self.distance * sin(self.elevation)) / sinking if sinking > 1e-9 else inf

    def nearness(self, x: float, y: float) -> float:
        """How far a point of the ground lies towards the camera."""
        return -(x * sin(self.azimuth) + y * cos(self.azimuth))


def lens(scenes: Scenes, labels: Render, i: int) -> Lens:
    camera = scenes.camera
    height, width = labels.instance.shape[-2:]
    field = radians(float(camera.field_of_view[i]))
    return Lens(
        radians(float(camera.azimuth[i])),
        radians(float(camera.elevation[i])),
        radians(float(camera.roll[i])),
        float(camera.distance[i]),
        2 * tan(field / 2) / min(height, width),
        height,
        width,
    )


def boxes(mask: list[list[int]]) -> dict[int, tuple[int, int, int, int, int]]:
    """For each number in a mask: left, top, right and bottom, the last two outside, and how many pixels it has."""
    found: dict[int, tuple[int, int, int, int, int]] = {}
    for row, line in enumerate(mask):
        for column, number in enumerate(line):
            left, top, right, _, count = found.get(number, (column, row, 0, 0, 0))
            found[number] = min(left, column), top, max(right, column + 1), row + 1, count + 1
    return found


def things(scenes: Scenes, labels: Render, i: int) -> list[Thing]:
    """The objects of a scene that are present."""
    objects, seen = scenes.objects, boxes(labels.instance[i].tolist())
    found: dict[int, Thing] = {}
    reach: dict[int, tuple[float, float]] = {}
    on = {slot: base for slot, base in enumerate(objects.on[i].tolist()) if objects.present[i, slot]}
    for slot in sorted(on, key=lambda slot: on[slot] >= 0):  # what carries comes first
        shape = SHAPES[int(objects.shape[i, slot])]
        radius, stretch = float(objects.radius[i, slot]), objects.stretch[i, slot].tolist()
        a, b, c = (radius * s * axis for s, axis in zip(stretch, shape.axes, strict=True))
        lying = bool(objects.lying[i, slot])
        below, above = LYING[shape.name] if lying else UPRIGHT[shape.name]
        reach[slot] = below * (b if lying else c), above * (b if lying else c)
        ground = sum(reach[on[slot]]) if on[slot] >= 0 else 0.0
        x, y = objects.position[i, slot].tolist()
        left, top, right, bottom, pixels = seen.get(slot, (0, 0, 0, 0, 0))
        found[slot] = Thing(
            slot=slot,
            shape=SHAPE_NAMES[int(objects.shape[i, slot])],
            colour=COLOURS[int(objects.colour[i, slot])],
            material=MATERIALS[int(objects.material[i, slot])],
            size=SIZES[int(objects.size[i, slot])],
            axes=(a, b, c),
            middle=(x, y, ground + reach[slot][0]),
            on=on[slot],
            pixels=pixels,
            box=(left, top, right, bottom),
            counted=pixels >= 6 and float(labels.visibility[i, slot]) >= 0.3,
        )
    return [found[slot] for slot in sorted(found)]


def related(a: Thing, link: str, b: Thing, camera: Lens) -> float:
    """How clearly two objects are related: more than 0 if they are, less if not, in units of the image or of length."""
    if link in MIRRORED.values():
        return related(b, next(name for name, other in MIRRORED.items() if other == link), a, camera)
    stacked = a.on == b.slot or b.on == a.slot
    if link == "on top of":
        return inf if a.on == b.slot else -inf
    if link == "bigger than":
        return SIZES.index(a.size) - SIZES.index(b.size) - 0.5
    if stacked:
        return -inf
    if link == "left of":
        return (camera.column(*b.middle) - camera.column(*a.middle)) / camera.width - 0.1
    return camera.nearness(*a.middle[:2]) - camera.nearness(*b.middle[:2]) - 0.6


@dataclass(frozen=True)
class Said:
    """What a caption says: of one or two things, by some of their names, how they stand, and where."""

    names: tuple[tuple[str | None, str, str | None, str], ...]  # size, colour, material, shape
    link: str | None
    ground: str | None
    place: str | None
    wall: str | None


def any_of(words: tuple[str, ...] | list[str]) -> str:
    return "(" + "|".join(words) + ")"


NAME = rf"(an?) (?:{any_of(SIZES)} )?{any_of(COLOURS)} (?:{any_of(MATERIALS)} )?{any_of(SHAPE_NAMES)}"
PLACE = rf"(?:(outdoors)|(near) a {any_of(list(WALLS))} wall|(in a corner) of {any_of(list(WALLS))} walls)"
WHERE = rf" on {any_of(list(GROUNDS))}, {PLACE}"
SENTENCE = re.compile(rf"(?:(an empty scene)|{NAME}(?: {any_of(['and', *LINKS])} {NAME})?)(?:{WHERE})?")


def parse(caption: str) -> Said:
    """Take a caption apart; every letter of it has to be understood."""
    match = SENTENCE.fullmatch(caption)
    assert match is not None, f"not understood: {caption}"
    empty, _, *first = match.groups()[:6]
    link, _, *second = match.groups()[6:12]
    ground, outdoors, near, one_wall, corner, walls = match.groups()[12:]
    names = tuple(tuple(name) for name in (first, second) if name[1] is not None)
    assert bool(empty) != bool(names)
    place = {"outdoors": "open", "near": "wall", "in a corner": "corner"}.get(outdoors or near or corner)
    return Said(names, link, GROUNDS.get(ground), place, WALLS.get(one_wall or walls))  # type: ignore[arg-type]


def answers_to(thing: Thing, name: tuple[str | None, ...]) -> bool:
    own = (thing.size, thing.colour, thing.material, thing.shape)
    return all(word is None or word == mine for word, mine in zip(name, own, strict=True))


def readings(said: Said, seen: list[Thing], camera: Lens) -> list[tuple[Thing, ...]]:
    """Every choice of different things for which the caption is true, but for what it says of the surroundings."""
    return [
        chosen
        for chosen in permutations(seen, len(said.names))
        if all(map(answers_to, chosen, said.names))
        and (said.link in (None, "and") or related(chosen[0], said.link, chosen[1], camera) > 0)
    ]


def oklab(rgb: np.ndarray) -> np.ndarray:
    """OKLab of linear sRGB, forwards, from the matrices of the source."""
    to_cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    to_lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return np.asarray(np.cbrt(rgb @ to_cones.T) @ to_lab.T)
