"""The world on show: one picture of every factor, and a scene that answers to sliders, with all its labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from visionlab.data.world.language import describe
from visionlab.data.world.layout import scenes
from visionlab.data.world.render import Render, render
from visionlab.data.world.scene import Scenes
from visionlab.data.world.shapes import PARTS
from visionlab.data.world.styles import STYLES
from visionlab.data.world.vocabulary import (
    BACKGROUNDS,
    COLOURS,
    GROUNDS,
    MATERIALS,
    PLACES,
    SHAPE_NAMES,
    SIZES,
    oklch_to_rgb,
)

__all__ = ["CONTROLS", "Choice", "SceneView", "Slider", "alone", "annotated", "gallery", "scene_of", "view_of"]


@dataclass(frozen=True)
class Slider:
    """A control for a number."""

    name: str
    label: str
    low: float
    high: float
    step: float
    start: float
    unit: str = ""


@dataclass(frozen=True)
class Choice:
    """A control for one of some words."""

    name: str
    label: str
    options: tuple[str, ...]
    start: str


@dataclass(frozen=True)
class SceneView:
    """What the page shows: the picture, panels aligned with it, boxes with names, and a sentence.

    Attributes:
        image: (H, W, 3) uint8.
        panels: title and (H, W, 3) uint8 each.
        boxes: (left, top, right, bottom) in pixels, and a name.
        caption: what is to be seen.
        readout: numbers in words.
    """

    image: np.ndarray
    panels: tuple[tuple[str, np.ndarray], ...]
    boxes: tuple[tuple[tuple[int, int, int, int], str], ...]
    caption: str
    readout: str


CONTROLS: tuple[Slider | Choice, ...] = (
    Slider("number", "scene", 0.0, 99.0, 1.0, 12.0),
    Slider("objects", "objects", 1.0, 8.0, 1.0, 4.0),
    Slider("azimuth", "camera, around", -180.0, 180.0, 2.0, 0.0, "°"),
    Slider("elevation", "camera, up", 8.0, 80.0, 1.0, 30.0, "°"),
    Slider("light_azimuth", "light, around", -180.0, 180.0, 2.0, -60.0, "°"),
    Slider("light_elevation", "light, up", 15.0, 80.0, 1.0, 42.0, "°"),
    Slider("softness", "light, softness", 0.0, 12.0, 0.5, 3.0, "°"),
    Choice("style", "style", tuple(STYLES), "clean"),
)


def alone(size: int = 96, seed: int = 3, **factors: Any) -> Tensor:
    """A picture (3, H, W) of one large object before an open plain, but for what ``factors`` say."""
    plain: dict[str, Any] = {
        "objects": 1,
        "sizes": "large",
        "places": "open",
        "grounds": "plain",
        "materials": "glossy",
    }
    close: dict[str, Any] = {
        "colours": "red",
        "shapes": "sphere",
        "spread": 1.3,
        "lying": 0.0,
        "elevation": (26.0, 26.0),
    }
    scene = scenes(seed, 1, **(plain | close | factors))
    return render(scene, size, quality="full").image[0]


def gallery(size: int = 96) -> dict[str, list[tuple[str, Tensor]]]:
    """Every value of every factor, by factor: its name and a picture (3, H, W)."""
    wide: dict[str, Any] = {"objects": 2, "spread": 2.2, "sizes": ("medium", "large"), "materials": None}
    wide |= {"colours": None, "shapes": None, "elevation": (16.0, 16.0)}
    scene = scenes(21, range(5, 6))
    return {
        "shape": [(name, alone(size, shapes=name, colours="orange")) for name in SHAPE_NAMES],
        "colour": [(name, alone(size, colours=name)) for name in COLOURS],
        "material": [(name, alone(size, materials=name, shapes="vase", colours="green")) for name in MATERIALS],
        "size": [(name, alone(size, sizes=name, shapes="house", colours="purple")) for name in SIZES],
        "place": [(name, alone(size, 5, **(wide | {"places": name, "grounds": "tiles"}))) for name in PLACES],
        "ground": [(name, alone(size, 6, **(wide | {"grounds": name}))) for name in GROUNDS],
        "background": [(n, alone(size, 8, **(wide | {"backgrounds": n, "places": "corner"}))) for n in BACKGROUNDS],
        "style": [(n, render(scene, size, quality="full", style=n).image[0]) for n in STYLES],
    }


def scene_of(values: Mapping[str, Any]) -> Scenes:
    """The scene that the controls ask for; camera and light are given relative to where the scene put its camera."""
    number = int(values["number"])
    scene = scenes(0, range(number, number + 1), objects=int(values["objects"]))
    home = scene.camera.azimuth
    camera = scene.camera.with_(azimuth=home + values["azimuth"], elevation=float(values["elevation"]), roll=0.0)
    light = scene.light.with_(
        azimuth=home + 180 + values["light_azimuth"],
        elevation=float(values["light_elevation"]),
        softness=float(values["softness"]),
    )
    return scene.with_(camera=camera, light=light)


def view_of(values: Mapping[str, Any], size: int = 128) -> SceneView:
    """Render the scene of the controls' values, with all that is aligned with it."""
    scene = scene_of(values)
    picture = render(scene, size, quality="full", style=str(values["style"]))
    (said,) = describe(scene, picture, detail=3)
    names = dict(said.objects)
    panels = tuple((title, _bytes(panel)) for title, panel in annotated(picture).items())
    boxes = tuple((tuple(picture.boxes[0, slot].tolist()), name) for slot, name in names.items())
    there = int(scene.objects.present.sum())
    readout = f"{len(names)} of {there} objects count; {len(said.relations)} relations hold"
    if there < values["objects"]:
        readout += f"; no room for {int(values['objects']) - there} more"
    return SceneView(_bytes(picture.image[0]), panels, boxes, said.caption, readout)


def annotated(picture: Render) -> dict[str, Tensor]:
    """The first image's labels as pictures (3, H, W) in [0, 1]: objects, parts, depth and normals."""
    count = len(PARTS) + 1
    hues = torch.arange(count) * 137.5  # the golden angle: neighbours in the list are far apart in hue
    palette = oklch_to_rgb(torch.stack([torch.full((count,), 0.72), torch.full((count,), 0.17), hues], dim=1)).sqrt()
    background = torch.full((3,), 0.16)
    objects, parts = picture.instance[0], picture.part[0]
    near = 1 / picture.depth[0].clamp(min=1)
    near = (near - near.min()) / (near.max() - near.min()).clamp(min=1e-6)
    return {
        "objects": torch.where((objects >= 0)[..., None], palette[objects.clamp(min=0)], background).permute(2, 0, 1),
        "parts": torch.where((parts > 0)[..., None], palette[parts], background).permute(2, 0, 1),
        "depth (white is near)": near.expand(3, -1, -1),
        "normals": picture.normals[0] * 0.5 + 0.5,
    }


def _bytes(image: Tensor) -> np.ndarray:
    return (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
