"""The noise explorer of lab 08: a room whose objects get wrong labels, at any rate, seen from any side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from visionlab.data.clouds import Cloud
from visionlab.data.world.explore import Choice, SceneView, Slider
from visionlab.points.clusters import by_look, purity
from visionlab.points.spoiled import NOISES, spoiled
from visionlab.show.widgets.room import CLASS_COLOURS, VERDICTS

__all__ = ["controls", "drawn", "legend", "view"]

COLOURINGS = ("class", "right or wrong", "as scanned", "clusters")
SIDE = 360
"""Pixels of a picture's side."""
PITCH = math.radians(38)
BEHIND = 0.14
"""Metres of the sides that face the eye, and are left out."""


def controls(rooms: Sequence[Cloud]) -> tuple[Slider | Choice, ...]:
    """What can be chosen: room, kind and rate of noise, clusters, colours, and from where to look."""
    return (
        Slider("room", "room", 1.0, float(len(rooms)), 1.0, 1.0),
        Choice("kind", "wrong labels", NOISES, NOISES[0]),
        Slider("rate", "rate", 0.0, 90.0, 5.0, 60.0, "%"),
        Slider("seed", "another draw", 0.0, 20.0, 1.0, 0.0),
        Choice("colour", "colour by", COLOURINGS, COLOURINGS[0]),
        Slider("clusters", "clusters", 5.0, 200.0, 5.0, 60.0),
        Slider("turn", "turn", -180.0, 180.0, 5.0, -60.0, "°"),
    )


def view(rooms: Sequence[Cloud], values: Mapping[str, Any]) -> SceneView:
    """Return a room by its given labels, and beside it by the truth, with what is to be said of it.

    Args:
        rooms: to choose from.
        values: of `controls`.
    """
    cloud = rooms[int(values["room"]) - 1]
    noise = spoiled(cloud, values["kind"], values["rate"], int(values["seed"]))
    cluster = by_look(cloud.xyz, cloud.rgb, int(values["clusters"]))
    turn = math.radians(values["turn"])
    how = values["colour"]
    given = drawn(cloud.xyz.numpy(), _colours(cloud, noise.labels, cluster, how), turn)
    truth = drawn(cloud.xyz.numpy(), _colours(cloud, cloud.labels, cluster, "class"), turn)
    wrong, objects = (len(which.unique()) for which in (cloud.instances[noise.flipped], cloud.instances))
    share = 100 * noise.flipped.double().mean().item()
    best = 100 * purity(cluster, cloud.labels, len(cloud.classes))
    return SceneView(
        image=given,
        panels=(("the same room, true classes", truth), ("classes", legend(cloud.classes))),
        boxes=(),
        caption=f"{share:.0f} % of the points have a wrong label, in {wrong} of {objects} objects",
        readout=f"{len(cluster.unique())} clusters, found without labels: {best:.1f} % of the points lie in a cluster"
        " that is mostly of their own class, and no vote can mend more",
    )


def _colours(cloud: Cloud, labels: torch.Tensor, cluster: torch.Tensor, how: str) -> np.ndarray:
    """Colours (N, 3) of points, 0 to 255."""
    if how == "as scanned":
        return (255 * cloud.rgb).round().numpy()
    if how == "right or wrong":
        table = _table((VERDICTS["wrong"], VERDICTS["right"]))
        return table[(labels == cloud.labels).long().numpy()]
    which = cluster if how == "clusters" else labels
    return _table(CLASS_COLOURS)[which.numpy() % len(CLASS_COLOURS)]


def _table(colours: Sequence[str]) -> np.ndarray:
    return np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours], float)


def legend(classes: Sequence[str], side: int = SIDE) -> np.ndarray:
    """Draw the colour of each class beside its name.

    Returns:
        (side, side, 3) uint8.
    """
    page = Image.new("RGB", (side, side), "white")
    pen, step = ImageDraw.Draw(page), side / max(len(classes), 1)
    size = min(22, int(0.6 * step))
    for k, name in enumerate(classes):
        y = (k + 0.5) * step
        pen.ellipse((20, y - size / 2, 20 + size, y + size / 2), CLASS_COLOURS[k % len(CLASS_COLOURS)], "#555555")
        pen.text((36 + size, y), name, "#222222", ImageFont.load_default(size), anchor="lm")
    return np.asarray(page)


def drawn(xyz: np.ndarray, colours: np.ndarray, turn: float, side: int = SIDE) -> np.ndarray:
    """Draw points as discs, near ones over far ones, without the sides of the room that face the eye.

    Args:
        xyz: (N, 3) in metres.
        colours: (N, 3) from 0 to 255.
        turn: radians, of the eye about the vertical.
        side: pixels of the picture.

    Returns:
        (side, side, 3) uint8.
    """
    eye = np.array([math.cos(PITCH) * math.cos(turn), math.cos(PITCH) * math.sin(turn), math.sin(PITCH)])
    right = np.array([-math.sin(turn), math.cos(turn), 0.0])
    behind = np.where(eye > 0.1, xyz.max(0) - xyz, np.where(eye < -0.1, xyz - xyz.min(0), np.inf)).min(1)
    kept = behind >= BEHIND if (behind >= BEHIND).any() else np.ones(len(xyz), bool)
    xyz, colours = xyz[kept], colours[kept]
    centred = xyz - (xyz.max(0) + xyz.min(0)) / 2
    reach = np.linalg.norm(centred, axis=1).max()
    across, up = centred @ right, centred @ np.cross(eye, right)
    scale = 0.48 * side / max(reach, 1e-6)
    columns, rows = np.rint(side / 2 + scale * across), np.rint(side / 2 - scale * up)
    radius = max(1.5, 0.35 * side / math.sqrt(len(xyz)))
    steps = np.arange(-math.ceil(radius), math.ceil(radius) + 1)
    disc = np.array([(y, x) for y in steps for x in steps if y * y + x * x <= radius * radius])
    order = np.argsort(centred @ eye, kind="stable").repeat(len(disc))
    y = np.clip(rows[order] + np.tile(disc[:, 0], len(xyz)), 0, side - 1).astype(int)
    x = np.clip(columns[order] + np.tile(disc[:, 1], len(xyz)), 0, side - 1).astype(int)
    edge = np.tile((disc**2).sum(1) > (radius - 1) ** 2, len(xyz)) & (radius > 2.5)
    picture = np.full((side, side, 3), 255, np.uint8)
    picture[y, x] = (colours[order] * np.where(edge, 0.72, 1.0)[:, None]).astype(np.uint8)
    return picture
