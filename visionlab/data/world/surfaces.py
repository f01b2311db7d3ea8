"""What surfaces look like before light falls on them: materials of objects, patterns of grounds and walls.

Object materials are solid: a pattern is a function of the point in the object's own coordinates, so that it turns with
it. Grounds and walls are functions of two coordinates in the plane. All colours are linear.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from visionlab.data.world import counter
from visionlab.data.world.scene import Scenes
from visionlab.data.world.vocabulary import BACKGROUNDS, COLOURS, GROUNDS, MATERIALS, oklch_to_rgb

__all__ = ["GLOSS", "background_colour", "ground_colour", "material_colour", "sky_colour"]

GLOSS: dict[str, tuple[float, float, float]] = {
    "matte": (0.0, 1.0, 0.0),
    "glossy": (0.55, 60.0, 0.06),
    "metal": (0.9, 28.0, 0.62),
    "checked": (0.12, 20.0, 0.02),
    "striped": (0.12, 20.0, 0.02),
    "marbled": (0.35, 45.0, 0.05),
}
"""Of each material: strength of the light's reflection, its sharpness, and how much of the surroundings it mirrors."""


def material_colour(
    material: Int[Tensor, " m"], rgb: Float[Tensor, "3 m"], point: Float[Tensor, "3 m"], phase: Float[Tensor, " m"]
) -> Float[Tensor, "3 m"]:
    """Albedo at points in object coordinates (lengths from the centre); ``phase`` moves the pattern."""
    x, y, z = point + phase
    checks = ((x * 3.2).floor() + (y * 3.2).floor() + (z * 3.2 + phase).floor()).remainder(2)
    stripes = ((z * 3.4 + 0.35 * x + phase).remainder(1) < 0.45).to(rgb.dtype)
    veins = (5.2 * x + 3.1 * z + 2.2 * (3.3 * y + 1.7 * z).sin() + 1.3 * (5.9 * z - 4.1 * x).sin()).sin().abs()
    marble = (1 - veins).clamp(min=0) ** 3
    number = {name: material == i for i, name in enumerate(MATERIALS)}
    amount = torch.where(number["checked"], checks, 0.0)
    amount = torch.where(number["striped"], stripes, amount)
    amount = torch.where(number["marbled"], marble, amount)
    return rgb + (_second(rgb) - rgb) * amount


def _second(rgb: Float[Tensor, "3 m"]) -> Float[Tensor, "3 m"]:
    """The pattern's other colour: the same hue, lighter where the first is dark and darker where it is light."""
    bright = 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]
    return torch.where(bright < 0.16, 0.62 * rgb + 0.22, 0.34 * rgb)


def ground_colour(scenes: Scenes, x: Float[Tensor, "n p"], y: Float[Tensor, "n p"]) -> Float[Tensor, "3 n p"]:
    """Albedo of the ground at points of it."""
    amount = torch.zeros_like(x)
    for number, name in enumerate(GROUNDS):
        at = (scenes.ground == number).nonzero()[:, 0]
        if len(at) and name != "plain":
            amount[at] = GROUND_PATTERNS[name](scenes.key[at, None], x[at], y[at])
    return _blend(scenes.ground_rgb, amount)


def background_colour(scenes: Scenes, u: Float[Tensor, "n p"], z: Float[Tensor, "n p"]) -> Float[Tensor, "3 n p"]:
    """Albedo of the walls at points along them and over the ground."""
    amount = torch.zeros_like(u)
    for number, name in enumerate(BACKGROUNDS):
        at = (scenes.background == number).nonzero()[:, 0]
        if len(at) and name in WALL_PATTERNS:
            amount[at] = WALL_PATTERNS[name](scenes.key[at, None], u[at], z[at])
    colour = _blend(scenes.background_rgb, amount)
    cluttered = (scenes.background == BACKGROUNDS.index("clutter")).nonzero()[:, 0]
    if len(cluttered):
        colour[:, cluttered] = _clutter(scenes.key[cluttered, None], u[cluttered], z[cluttered], colour[:, cluttered])
    return colour


def sky_colour(scenes: Scenes, up: Float[Tensor, "n p"]) -> Float[Tensor, "3 n p"]:
    """Radiance of the sky in directions whose z component is ``up``: paler towards the horizon."""
    return _blend(scenes.background_rgb, up.clamp(0, 1).sqrt()) * 1.15


def _blend(rgb: Float[Tensor, "n 2 3"], amount: Float[Tensor, "n p"]) -> Float[Tensor, "3 n p"]:
    first, second = rgb[:, 0].T[..., None], rgb[:, 1].T[..., None]
    return (first + (second - first) * amount).clamp(0, 1)  # patterns go beyond both colours


def _wood(key: Tensor, x: Tensor, y: Tensor) -> Tensor:
    plank = (x * 1.15).floor()
    tone = counter.lattice(key, plank.long())
    length = y * 0.28 + 3 * tone
    board = counter.lattice(key, plank.long(), length.floor().long())
    grain = (9 * x + 1.3 * (2.1 * y + 6 * board).sin() + 6 * board).sin()
    seam = ((x * 1.15).remainder(1) < 0.04) | (length.remainder(1) < 0.012)
    return torch.where(seam, 2.2, 0.9 * board + 0.12 * grain)


def _tiles(key: Tensor, x: Tensor, y: Tensor) -> Tensor:
    u, v = x * 0.9, y * 0.9
    joint = (u.remainder(1) < 0.045) | (v.remainder(1) < 0.045)
    return torch.where(joint, 1.9, 0.5 * counter.lattice(key, u.floor().long(), v.floor().long()))


def _carpet(key: Tensor, x: Tensor, y: Tensor) -> Tensor:
    tuft = counter.lattice(key, (x * 14).floor().long(), (y * 14).floor().long())
    return tuft + 0.35 * (2.3 * x + (1.9 * y).sin()).sin()


def _checks(key: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return (x.floor() + y.floor()).remainder(2) * 1.2


def _gradient(key: Tensor, u: Tensor, z: Tensor) -> Tensor:
    return 1.15 - 2.1 * (z * 0.45).clamp(0, 1)  # little more than two units of a wall's height are ever seen


def _bricks(key: Tensor, u: Tensor, z: Tensor) -> Tensor:
    row = (z * 2.4).floor()
    along = u * 1.2 + 0.5 * row.remainder(2)
    joint = ((z * 2.4).remainder(1) < 0.12) | (along.remainder(1) < 0.06)
    return torch.where(joint, -0.9, 0.4 + 0.7 * counter.lattice(key, row.long(), along.floor().long()))


def _speckle(key: Tensor, u: Tensor, z: Tensor) -> Tensor:
    fine = counter.lattice(key, (u * 9).floor().long(), (z * 9).floor().long())
    return 1.3 * fine + 0.5 * (1.7 * u + (2.1 * z).sin()).sin()


def _clutter(key: Tensor, u: Tensor, z: Tensor, plain: Tensor) -> Tensor:
    """Flat discs and squares, one to a cell of the wall, most cells filled."""
    across, over = (u * 0.85).floor(), (z * 0.85).floor()
    chance = [counter.lattice(key + salt, across.long(), over.long()) for salt in range(5)]
    x = (u * 0.85 - across - 0.5 - 0.2 * (chance[0] - 0.5)).abs()
    y = (z * 0.85 - over - 0.5 - 0.2 * (chance[1] - 0.5)).abs()
    size = 0.16 + 0.2 * chance[2]
    inside = torch.where(chance[3] < 0.4, torch.maximum(x, y) < size, x * x + y * y < size * size) & (chance[3] < 0.8)
    palette = oklch_to_rgb(torch.tensor(list(COLOURS.values()), device=u.device))
    painted = palette[(chance[4] * len(palette)).long()].permute(2, 0, 1)
    return torch.where(inside, painted, plain)


GROUND_PATTERNS = {"wood": _wood, "tiles": _tiles, "carpet": _carpet, "checks": _checks}
WALL_PATTERNS = {"gradient": _gradient, "bricks": _bricks, "speckle": _speckle}


def phase(key: Int[Tensor, " n"], k: int) -> Float[Tensor, "n k"]:
    """Where in its pattern each object begins."""
    return counter.uniform(key, "pattern", k) * math.tau
