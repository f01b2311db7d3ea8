"""The words of the world, and what each stands for: colours, materials, sizes, grounds, backgrounds, styles."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from visionlab.data.world.shapes import SHAPES

__all__ = [
    "BACKGROUNDS",
    "COLOURS",
    "GROUNDS",
    "MATERIALS",
    "PLACES",
    "SHAPE_NAMES",
    "SIZES",
    "numbers",
    "oklch_to_rgb",
]

SHAPE_NAMES = tuple(shape.name for shape in SHAPES)

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.58, 0.22, 27),
    "orange": (0.73, 0.17, 57),
    "yellow": (0.89, 0.17, 101),
    "green": (0.60, 0.17, 145),
    "turquoise": (0.78, 0.12, 195),
    "blue": (0.47, 0.20, 263),
    "purple": (0.46, 0.19, 308),
    "pink": (0.79, 0.13, 355),
    "brown": (0.42, 0.08, 55),
    "white": (0.96, 0.01, 90),
    "grey": (0.62, 0.01, 250),
    "black": (0.24, 0.01, 270),
}
"""The middle of each named colour in OKLCH: lightness, chroma, hue in degrees."""

COLOUR_SPREAD = (0.025, 0.10, 5.0)
"""How far a colour strays either way: in lightness, in chroma as a share of it, in degrees of hue."""

MATERIALS = ("matte", "glossy", "metal", "checked", "striped", "marbled")

SIZES: dict[str, tuple[float, float]] = {"small": (0.40, 0.46), "medium": (0.60, 0.68), "large": (0.86, 0.96)}
"""Each named size and its radii, in the world's unit of length."""

PLACES = ("open", "wall", "corner")
"""An open plain below a sky, before one wall, or in the corner of a room."""

GROUNDS = ("plain", "wood", "tiles", "carpet", "checks")
BACKGROUNDS = ("plain", "gradient", "bricks", "speckle", "clutter")
"""What walls look like; clutter is painted with flat discs and squares in the objects' colours: hard negatives."""


def numbers(argument: str, names: Sequence[str] | None, vocabulary: Sequence[str]) -> tuple[int, ...]:
    """The places of some names in a vocabulary; of all of them for None.

    Raises:
        ValueError: a name is not in the vocabulary, or there is none.
    """
    if names is None:
        return tuple(range(len(vocabulary)))
    if isinstance(names, str):
        names = (names,)
    if not isinstance(names, (tuple, list)):
        raise ValueError(f"{argument}: expected some of {', '.join(vocabulary)}; got {names!r}")
    unknown = [name for name in names if name not in vocabulary]
    if unknown or not names:
        got = ", ".join(map(str, unknown)) or "none"
        raise ValueError(f"{argument}: expected some of {', '.join(vocabulary)}; got {got}")
    return tuple(vocabulary.index(name) for name in names)


def oklch_to_rgb(colour: Float[Tensor, "... 3"]) -> Float[Tensor, "... 3"]:
    """Linear sRGB in [0, 1] of OKLCH colours (lightness, chroma, hue in degrees); what lies outside is clipped.

    Source: Björn Ottosson, "A perceptual color space for image processing", 2020.
    """
    lightness, chroma, hue = colour.unbind(-1)
    a, b = chroma * (hue * math.pi / 180).cos(), chroma * (hue * math.pi / 180).sin()
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    red = 4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short
    green = -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short
    blue = -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short
    return torch.stack([red, green, blue], dim=-1).clamp(0, 1)
