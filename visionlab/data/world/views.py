"""Cameras as vectors, the rays through their pixels, and the pixels in which a ball or a box may be seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from visionlab.data.world.scene import Camera
from visionlab.data.world.solids import dot

__all__ = ["View", "ball_ends", "box_ends", "camera_rays", "camera_view", "inside", "ragged"]

MIDDLE = 0.45  # height of the point that the camera looks at


@dataclass(frozen=True)
class View:
    """Cameras as vectors: eye, right, up, forward, each (3, n), and slope: (n,), of one pixel to the next."""

    eye: Float[Tensor, "3 n"]
    right: Float[Tensor, "3 n"]
    up: Float[Tensor, "3 n"]
    forward: Float[Tensor, "3 n"]
    slope: Float[Tensor, " n"]


def camera_view(camera: Camera, size: tuple[int, int]) -> View:
    """The camera's axes in the world, for images of (height, width) pixels."""
    azimuth, elevation, roll = (x * math.pi / 180 for x in (camera.azimuth, camera.elevation, camera.roll))
    zero = torch.zeros_like(azimuth)
    forward = torch.stack([azimuth.sin() * elevation.cos(), azimuth.cos() * elevation.cos(), -elevation.sin()])
    level = torch.stack([azimuth.cos(), -azimuth.sin(), zero])
    above = torch.stack([azimuth.sin() * elevation.sin(), azimuth.cos() * elevation.sin(), elevation.cos()])
    eye = -forward * camera.distance + torch.stack([zero, zero, zero + MIDDLE])
    slope = 2 * (camera.field_of_view * math.pi / 360).tan() / min(size)
    return View(eye, roll.cos() * level + roll.sin() * above, roll.cos() * above - roll.sin() * level, forward, slope)


def camera_rays(
    view: View, size: tuple[int, int], points: Sequence[tuple[float, float]] = ((0.5, 0.5),)
) -> Float[Tensor, "3 n r"]:
    """Unit directions of the rays through some points of each pixel: first those of all pixels at the first point.

    Args:
        view: of `camera_view`.
        size: height and width in pixels.
        points: in the pixel, (down, right) in [0, 1]; (0.5, 0.5) is its middle.
    """
    height, width = size
    down, right = torch.tensor(points, device=view.slope.device).T[..., None, None]
    y = height / 2 - torch.arange(height, device=view.slope.device)[:, None] - down
    x = torch.arange(width, device=view.slope.device) + right - width / 2
    x, y = (v.expand(-1, height, width).reshape(1, -1) * view.slope[:, None] for v in (x, y))
    length = (1 + x * x + y * y).rsqrt()
    return (view.forward[..., None] + x * view.right[..., None] + y * view.up[..., None]) * length


def ball_ends(x: Tensor, z: Tensor, radius: Tensor, slope: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """First pixel, and one after the last, whose rays may meet a ball: between the two tangents from the eye."""
    beyond = z * z - radius * radius
    spread = radius * (x * x + beyond).clamp(min=0).sqrt()
    near = (z <= radius) | (beyond <= 1e-6)
    low = torch.where(near, -math.inf, (x * z - spread) / beyond / slope)
    high = torch.where(near, math.inf, (x * z + spread) / beyond / slope)
    return _pixel_ends(low, high, side)


def box_ends(
    view: View, scene: Int[Tensor, " a"], corners: Float[Tensor, "3 c a"], size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """First column of pixels, and one after the last, and rows alike, between corners that lie before the camera.

    Of what lies beside or behind the camera, all of the image.
    """
    eye, slope = view.eye[:, scene], view.slope[scene]
    x, y, z = (dot(axis[:, None, scene], corners - eye[:, None]) for axis in (view.right, view.up, view.forward))
    whole = (z > 0.1).all(0)
    ends: list[Tensor] = []
    for at, side in ((x, size[1]), (-y, size[0])):
        place = at / z / slope
        low = torch.where(whole, place.amin(0), -math.inf)
        ends += _pixel_ends(low, torch.where(whole, place.amax(0), math.inf), side)
    return ends[0], ends[1], ends[2], ends[3]


def _pixel_ends(low: Tensor, high: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Pixels between two places, given in pixels from the middle of the image; half a pixel is left either way."""
    return (
        (low + (side / 2 - 0.5)).floor().clamp(0, side).long(),
        (high + (side / 2 + 0.5)).ceil().clamp(0, side).long(),
    )


def inside(
    left: Int[Tensor, " a"], right: Int[Tensor, " a"], low: Int[Tensor, " a"], high: Int[Tensor, " a"], width: int
) -> tuple[Int[Tensor, " b"], Int[Tensor, " b"]]:
    """Lay the pixels of some rectangles end to end: to which each belongs, and which it is, in row-major order."""
    wide = (right - left).clamp(min=0)
    owner, offset = ragged(wide * (high - low).clamp(min=0))
    across = wide.index_select(0, owner)
    row = offset.div(across, rounding_mode="floor")
    return owner, (low * width + left).index_select(0, owner) + offset + row * (width - across)


def ragged(counts: Int[Tensor, " a"]) -> tuple[Int[Tensor, " b"], Int[Tensor, " b"]]:
    """Lay lists of the given lengths end to end: to which each entry belongs, and its place in it."""
    owner = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    before = counts.cumsum(0) - counts
    return owner, torch.arange(len(owner), device=counts.device) - before.index_select(0, owner)
