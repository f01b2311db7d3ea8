"""Ground and walls: where rays meet them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from visionlab.data.world.scene import Scenes
from visionlab.data.world.solids import dot
from visionlab.data.world.views import View

__all__ = ["Wall", "plane_hits", "walls"]


def plane_hits(
    scenes: Scenes, view: View, rays: Float[Tensor, "3 n r"]
) -> tuple[Float[Tensor, "n r"], Float[Tensor, "3 n r"], Int[Tensor, "n r"]]:
    """Where rays meet ground or wall: t (inf in the sky), the normal there, and 0 for the ground, 1 and 2 for walls."""
    t = torch.where(rays[2] < -1e-6, view.eye[2][:, None] / -rays[2], math.inf)
    which = torch.zeros_like(t, dtype=torch.int64)
    normal = torch.zeros_like(rays)
    normal[2] = 1
    for number, wall in enumerate(walls(scenes), start=1):
        facing, gap = dot(wall.normal[..., None], rays), wall.offset + dot(wall.normal, view.eye)
        there = torch.where(facing < -1e-6, gap[:, None] / -facing, math.inf)
        nearer = wall.stands[:, None] & (there < t)
        t, which = torch.where(nearer, there, t), torch.where(nearer, number, which)
        normal = torch.where(nearer, wall.normal[..., None], normal)
    return t, normal, which


@dataclass(frozen=True)
class Wall:
    """One wall of each scene: points x with normal · x = -offset; ``stands`` says which scenes have it."""

    normal: Float[Tensor, "3 n"]
    offset: Float[Tensor, " n"]
    stands: Bool[Tensor, " n"]


def walls(scenes: Scenes) -> tuple[Wall, Wall]:
    """The wall behind the objects, and in a corner the one at right angles to it."""
    bearing, distance = scenes.wall.unbind(1)
    angle = bearing * math.pi / 180
    corner = scenes.place == 2
    bearings = (torch.where(corner, angle - math.pi / 4, angle), angle + math.pi / 4)
    stands = (scenes.place >= 1, corner)
    zero = torch.zeros_like(angle)
    return tuple(  # type: ignore[return-value]
        Wall(torch.stack([-bearing.sin(), -bearing.cos(), zero]), distance, there)
        for bearing, there in zip(bearings, stands, strict=True)
    )
