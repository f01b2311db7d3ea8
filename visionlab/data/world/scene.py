"""What a scene is: tensors over n scenes of up to K objects each, and the geometry that follows from them.

Lengths are in world units (a large object has a radius of about 0.9), angles in degrees. x points right, y away from a
camera at azimuth 0, z up; the ground is z = 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from visionlab.data.world.batch import Batch
from visionlab.data.world.shapes import tables

__all__ = ["Camera", "Geometry", "Light", "Objects", "Scenes", "geometry", "support"]


@dataclass(frozen=True)
class Camera(Batch):
    """It looks at the middle of the scene, 0.45 over the ground; each field is (n,) float32.

    Attributes:
        azimuth: of the line of sight in degrees, 0 along y and 90 along x; elevation: above the ground; roll: about the
            line of sight, its right side up.
        distance: from the middle.
        field_of_view: in degrees, across the shorter side of the image.
    """

    azimuth: Float[Tensor, " n"]
    elevation: Float[Tensor, " n"]
    distance: Float[Tensor, " n"]
    roll: Float[Tensor, " n"]
    field_of_view: Float[Tensor, " n"]


@dataclass(frozen=True)
class Light(Batch):
    """One key light, far away, and a soft fill from the sky.

    Attributes:
        azimuth, elevation: (n,) in degrees, where it stands as seen from the middle; azimuths as of the camera.
        softness: (n,) angular radius of the light in degrees; 0 gives hard shadows. Used in quality "full".
        colour: (n, 3) linear, its intensity included; fill: (n, 3) linear.
    """

    azimuth: Float[Tensor, " n"]
    elevation: Float[Tensor, " n"]
    softness: Float[Tensor, " n"]
    colour: Float[Tensor, "n 3"]
    fill: Float[Tensor, "n 3"]


@dataclass(frozen=True)
class Objects(Batch):
    """The objects of each scene, in K slots; a slot may be empty.

    Attributes:
        present: (n, K) whether there is an object.
        shape, colour, material, size: (n, K) places in the vocabularies.
        radius: (n, K) the size's exact value; stretch: (n, K, 3) factors on the shape's half-axes.
        rgb: (n, K, 3) linear albedo, drawn around the named colour.
        position: (n, K, 2) of the middle on the ground; yaw: (n, K) in degrees, from x to y.
        lying: (n, K) rests on its side.
        on: (n, K) the slot of the object it stands on, or -1.
    """

    present: Bool[Tensor, "n k"]
    shape: Int[Tensor, "n k"]
    colour: Int[Tensor, "n k"]
    material: Int[Tensor, "n k"]
    size: Int[Tensor, "n k"]
    radius: Float[Tensor, "n k"]
    stretch: Float[Tensor, "n k 3"]
    rgb: Float[Tensor, "n k 3"]
    position: Float[Tensor, "n k 2"]
    yaw: Float[Tensor, "n k"]
    lying: Bool[Tensor, "n k"]
    on: Int[Tensor, "n k"]


@dataclass(frozen=True)
class Scenes(Batch):
    """n scenes.

    Attributes:
        key: (n,) from which textures and noise follow.
        place, ground, background: (n,) places in the vocabularies.
        ground_rgb, background_rgb: (n, 2, 3) their two colours, linear.
        wall: (n, 2) azimuth in degrees of the wall (or the corner), as seen from the middle; and how far each wall is.
        crowded: (n,) whether fewer objects than asked found room.
    """

    key: Int[Tensor, " n"]
    objects: Objects
    camera: Camera
    light: Light
    place: Int[Tensor, " n"]
    ground: Int[Tensor, " n"]
    background: Int[Tensor, " n"]
    ground_rgb: Float[Tensor, "n 2 3"]
    background_rgb: Float[Tensor, "n 2 3"]
    wall: Float[Tensor, "n 2"]
    crowded: Bool[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.key)


@dataclass(frozen=True)
class Geometry(Batch):
    """Where the objects are.

    Attributes:
        centre: (n, K, 3); turn: (n, K, 3, 3) whose columns are the object's own axes; axes: (n, K, 3) half-axes.
        low, high: (n, K) lowest and highest point over the ground.
    """

    centre: Float[Tensor, "n k 3"]
    turn: Float[Tensor, "n k 3 3"]
    axes: Float[Tensor, "n k 3"]
    low: Float[Tensor, "n k"]
    high: Float[Tensor, "n k"]


def geometry(objects: Objects) -> Geometry:
    """Place each object: turned, laid on its side, resting on the ground or on the object below it."""
    table = tables(str(objects.shape.device))
    axes = objects.radius[..., None] * objects.stretch * table.axes[objects.shape]
    turn = _turn(objects.yaw, objects.lying)
    below, above = (support(objects.shape, axes, turn[..., 2, :] * sign) for sign in (-1.0, 1.0))
    base = torch.where(objects.on >= 0, objects.on, 0)
    ground = torch.where(objects.on >= 0, (below + above).gather(1, base), 0.0)
    centre = torch.cat([objects.position, (ground + below)[..., None]], dim=-1)
    return Geometry(centre, turn, axes, ground, ground + below + above)


def support(
    shape: Int[Tensor, "n k"], axes: Float[Tensor, "n k 3"], direction: Float[Tensor, "n k 3"]
) -> Float[Tensor, "n k"]:
    """How far each object reaches from its centre along a direction, given in the object's own axes."""
    circles = tables(str(shape.device)).circles[shape]
    scaled = (direction * axes)[..., None, :]
    middle = (scaled * circles[..., :3]).sum(-1)
    rim = ((scaled[..., 0] * circles[..., 3]) ** 2 + (scaled[..., 1] * circles[..., 4]) ** 2).sqrt()
    return (middle + rim).amax(-1)


def _turn(yaw: Float[Tensor, "n k"], lying: Bool[Tensor, "n k"]) -> Float[Tensor, "n k 3 3"]:
    """First a quarter turn about x for what lies, which brings its -y side down, then the yaw about z."""
    c, s = (yaw * math.pi / 180).cos(), (yaw * math.pi / 180).sin()
    zero, one = torch.zeros_like(c), torch.ones_like(c)
    upright = torch.stack([c, -s, zero, s, c, zero, zero, zero, one], dim=-1)
    laid = torch.stack([c, zero, s, s, zero, -c, zero, one, zero], dim=-1)
    return torch.where(lying[..., None], laid, upright).unflatten(-1, (3, 3))
