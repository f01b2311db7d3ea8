"""What a ray meets: objects by their pieces, each kind of solid at once over all rays and scenes; ground and walls.

Rays and pieces are matched before any is met: a piece is tried only in the pixels that the ball around it may cover,
and a shadow only against objects whose ball the way to the light passes through. The matches are flat lists, so that
nothing here loops over pixels, objects or images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from visionlab.data.world.scene import Camera, Scenes, geometry
from visionlab.data.world.shapes import SOLIDS, tables
from visionlab.data.world.solids import dot

__all__ = [
    "Hits",
    "Pieces",
    "View",
    "camera_rays",
    "camera_view",
    "first_hits",
    "normals",
    "pieces_of",
    "shadowed",
]

MIDDLE = 0.45  # height of the point that the camera looks at
REACH = 2.0  # no solid extends farther than this from the middle of its coordinates


@dataclass(frozen=True)
class Pieces:
    """All pieces of all objects of some scenes, as a flat list of Q.

    Attributes:
        scene, slot: (Q,) whose they are; solid: (Q,) place in SOLIDS; part: (Q,) place in PARTS.
        inward: (12, Q): the rows a, b, c and the shift of ``[a x + s0, b x + s1, c x + s2]``, which is a point x of
            the world in the solid's coordinates.
        middle: (3, Q) and radius: (Q,) of a ball around the piece, in the world.
        corners: (3, 8, Q) of a box around it.
        object_middle: (n, K, 3), object_radius: (n, K) of a ball around each object; radius 0 in empty slots.
        first, count: (n, K) the object's pieces in the list.
        axes: (3, Q) half-axes of its object; bulk: (n, K) radius of a ball of about the object's volume, or 0.
    """

    scene: Int[Tensor, " q"]
    slot: Int[Tensor, " q"]
    solid: Int[Tensor, " q"]
    part: Int[Tensor, " q"]
    inward: Float[Tensor, "12 q"]
    middle: Float[Tensor, "3 q"]
    radius: Float[Tensor, " q"]
    corners: Float[Tensor, "3 8 q"]
    object_middle: Float[Tensor, "n k 3"]
    object_radius: Float[Tensor, "n k"]
    first: Int[Tensor, "n k"]
    count: Int[Tensor, "n k"]
    axes: Float[Tensor, "3 q"]
    bulk: Float[Tensor, "n k"]


@dataclass(frozen=True)
class View:
    """Cameras as vectors: eye, right, up, forward, each (3, n), and slope: (n,), of one pixel to the next."""

    eye: Float[Tensor, "3 n"]
    right: Float[Tensor, "3 n"]
    up: Float[Tensor, "3 n"]
    forward: Float[Tensor, "3 n"]
    slope: Float[Tensor, " n"]


@dataclass(frozen=True)
class Hits:
    """Where rays meet objects: flat lists over the M rays that do.

    Attributes:
        ray: (M,) place in the flat list of rays; piece: (M,) in `Pieces`; t: (M,); face: (M,) of the solid.
        seen: (n * K, pixels) whether each object alone would be met through the first point of the pixel, hidden
            or not.
    """

    ray: Int[Tensor, " m"]
    piece: Int[Tensor, " m"]
    t: Float[Tensor, " m"]
    face: Int[Tensor, " m"]
    seen: Bool[Tensor, "nk p"]


def pieces_of(scenes: Scenes) -> Pieces:
    """List the pieces of the objects that are present."""
    things, place = scenes.objects, geometry(scenes.objects)
    table = tables(str(things.shape.device))
    count = torch.where(things.present, table.pieces[things.shape], 0)
    owner, offset = ragged(count.flatten())
    kind = table.first[things.shape].flatten()[owner] + offset
    turn = place.turn.flatten(0, 1)[owner].permute(1, 2, 0)  # (3, 3, Q)
    axes, centre = place.axes.flatten(0, 1)[owner].T, place.centre.flatten(0, 1)[owner].T
    stretch, at, ball, box = (x[kind].T for x in (table.stretch, table.at, table.ball, table.box))
    rows = turn.transpose(0, 1) / (axes * stretch)[:, None]
    shift = torch.stack([-dot(row, centre) for row in rows]) - at / stretch
    middle = centre + _combine(turn, axes * ball[:3])
    radius = ball[3] * axes.amax(0)
    signs = torch.tensor([[(i >> j) % 2 * 2.0 - 1 for i in range(8)] for j in range(3)], device=axes.device)
    ends = box[:3, None] + signs[..., None] * box[3:, None]
    corners = centre[:, None] + _combine(turn[:, :, None], axes[:, None] * ends)
    reach = dot(middle - centre, middle - centre).sqrt() + radius
    whole = torch.zeros(count.numel(), device=reach.device).scatter_reduce(0, owner, reach, "amax")
    k = things.shape.shape[1]
    return Pieces(
        scene=owner // k,
        slot=owner % k,
        solid=table.solid[kind],
        part=table.part[kind],
        inward=torch.cat([rows.flatten(0, 1), shift]),
        middle=middle,
        radius=radius,
        corners=corners,
        object_middle=place.centre,
        object_radius=whole.view_as(count),
        first=(count.flatten().cumsum(0) - count.flatten()).view_as(count),
        count=count,
        axes=axes,
        bulk=torch.where(things.present, _mean_axis(place.axes * table.extent[things.shape]), 0.0),
    )


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


def first_hits(pieces: Pieces, view: View, rays: Float[Tensor, "3 n r"], size: tuple[int, int]) -> Hits:
    """The nearest piece along each camera ray that meets any; of two at equal distance, the first in the list."""
    n, r = rays.shape[1:]
    pixels = size[0] * size[1]
    piece, pixel = _covered(pieces, view, size)
    points = r // pixels
    ray = pieces.scene[piece] * r + pixel + pixels * torch.arange(points, device=piece.device)[:, None]
    piece, ray = piece.repeat(points), ray.flatten()
    t, face = _meet(pieces, piece, view.eye[:, pieces.scene[piece]], rays.flatten(1).index_select(1, ray))
    met = t.isfinite().nonzero()[:, 0]
    piece, ray, t, face = piece[met], ray[met], t[met], face[met]
    k = pieces.count.shape[1]
    seen = torch.zeros(n * k, r, dtype=torch.bool, device=t.device)
    seen[pieces.scene[piece] * k + pieces.slot[piece], ray % r] = True
    nearest = torch.full((n * r,), math.inf, device=t.device).scatter_reduce(0, ray, t, "amin")
    win = (t == nearest[ray]).nonzero()[:, 0]
    first = torch.full((n * r,), len(pieces.scene), device=t.device).scatter_reduce(0, ray[win], piece[win], "amin")
    win = win[piece[win] == first[ray[win]]]
    return Hits(ray[win], piece[win], t[win], face[win], seen[:, :pixels])


def normals(
    pieces: Pieces, hits: Hits, points: Float[Tensor, "3 m"]
) -> tuple[Float[Tensor, "3 m"], Float[Tensor, "3 m"]]:
    """Outward unit normals in the world at points of the surface, and the points in their solid's coordinates."""
    inward = pieces.inward.index_select(1, hits.piece)
    local = _transform(inward, points) + inward[9:]
    bent = torch.zeros_like(points)
    solid = pieces.solid[hits.piece]
    for number, kind in enumerate(SOLIDS):
        at = (solid == number).nonzero()[:, 0]
        if len(at):
            bent[:, at] = kind.normal(local[:, at], hits.face[at])
    world = torch.stack([dot(inward[i:9:3], bent) for i in range(3)])
    return world * dot(world, world).clamp(min=1e-12).rsqrt(), local


def shadowed(
    pieces: Pieces, points: Float[Tensor, "3 n g p"], lit: Bool[Tensor, "n g p"], light: Float[Tensor, "3 n g"]
) -> Bool[Tensor, "n g p"]:
    """Whether any object lies between points and a far light, asked where ``lit``.

    Args:
        pieces: of n scenes.
        points: g groups of p points in each scene.
        lit: which points to ask for; the others are not in shadow.
        light: unit direction to the light, for each scene and group.
    """
    # Seen from the light, an object's ball is a disc; only points within a disc, and not before it, can be in shadow.
    across = _square_to(light)
    axes = (across, torch.linalg.cross(light, across, dim=0), light)
    place = [dot(axis[..., None], points) for axis in axes]  # (n, g, p) each
    middle, reach = pieces.object_middle.permute(2, 0, 1)[..., None], pieces.object_radius[..., None, None]
    x, y, z = (dot(axis[:, :, None], middle)[..., None] - at[:, None] for axis, at in zip(axes, place, strict=True))
    near = (x * x + y * y < reach * reach) & (z > -reach) & lit[:, None]
    scene, slot, group, pixel = near.nonzero().unbind(1)
    # The same once more for the pieces of these objects.
    owner, offset = ragged(pieces.count[scene, slot])
    piece, group = pieces.first[scene, slot][owner] + offset, group[owner]
    ray = ((scene * lit.shape[1])[owner] + group) * lit.shape[2] + pixel[owner]
    centre = [dot(axis[:, pieces.scene], pieces.middle[..., None]) for axis in axes]  # (Q, g) each
    x, y, z = (c[piece, group] - at.flatten()[ray] for c, at in zip(centre, place, strict=True))
    reach = pieces.radius[piece]
    close = ((x * x + y * y < reach * reach) & (z > -reach)).nonzero()[:, 0]
    piece, ray, group = piece[close], ray[close], group[close]
    direction = light[:, pieces.scene[piece], group]
    t, _ = _meet(pieces, piece, points.flatten(1).index_select(1, ray), direction)
    dark = torch.zeros(lit.numel(), dtype=torch.bool, device=lit.device)
    dark[ray[t.isfinite()]] = True
    return dark.view_as(lit)


def _square_to(v: Float[Tensor, "3 n g"]) -> Float[Tensor, "3 n g"]:
    """A unit vector at right angles to each unit vector, none of which is level."""
    side = torch.stack([v[2], torch.zeros_like(v[2]), -v[0]])
    return side * dot(side, side).rsqrt()


def _covered(pieces: Pieces, view: View, size: tuple[int, int]) -> tuple[Int[Tensor, " b"], Int[Tensor, " b"]]:
    """Every piece with every pixel that the ball around it may cover: (piece, pixel in row-major order)."""
    height, width = size
    eye, axes = view.eye[:, pieces.scene], [axis[:, pieces.scene] for axis in (view.right, view.up, view.forward)]
    x, y, z = (dot(axis, pieces.middle - eye) for axis in axes)
    slope, radius = view.slope[pieces.scene], pieces.radius
    left, right = _ball_ends(x, z, radius, slope, width)
    low, high = _ball_ends(-y, z, radius, slope, height)
    x, y, z = (dot(axis[:, None], pieces.corners - eye[:, None]) for axis in axes)
    before = z > 0.1
    box_left, box_right = _box_ends(x / z / slope, before, width)
    box_low, box_high = _box_ends(-y / z / slope, before, height)
    left, right = torch.maximum(left, box_left), torch.minimum(right, box_right)
    low, high = torch.maximum(low, box_low), torch.minimum(high, box_high)
    wide = (right - left).clamp(min=0)
    piece, offset = ragged(wide * (high - low).clamp(min=0))
    row = offset // wide[piece]
    return piece, (low[piece] + row) * width + left[piece] + offset - row * wide[piece]


def _box_ends(at: Tensor, before: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """First pixel, and one after the last, between the corners of a box, if all of them lie before the camera."""
    whole = before.all(0)
    low, high = torch.where(whole, at.amin(0), -math.inf), torch.where(whole, at.amax(0), math.inf)
    return _pixel_ends(low, high, side)


def _pixel_ends(low: Tensor, high: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Pixels between two places, given in pixels from the middle of the image; half a pixel is left either way."""
    return (
        (low + (side / 2 - 0.5)).floor().clamp(0, side).long(),
        (high + (side / 2 + 0.5)).ceil().clamp(0, side).long(),
    )


def _ball_ends(x: Tensor, z: Tensor, radius: Tensor, slope: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """First pixel, and one after the last, whose rays may meet a ball: between the two tangents from the eye."""
    beyond = z * z - radius * radius
    spread = radius * (x * x + beyond).clamp(min=0).sqrt()
    near = (z <= radius) | (beyond <= 1e-6)
    low = torch.where(near, -math.inf, (x * z - spread) / beyond / slope)
    high = torch.where(near, math.inf, (x * z + spread) / beyond / slope)
    return _pixel_ends(low, high, side)


def _meet(
    pieces: Pieces, piece: Int[Tensor, " b"], origin: Float[Tensor, "3 b"], direction: Float[Tensor, "3 b"]
) -> tuple[Float[Tensor, " b"], Int[Tensor, " b"]]:
    """Meet each ray with its piece, each kind of solid at once."""
    t = torch.full_like(origin[0], math.inf)
    face = torch.zeros_like(piece)
    solid = pieces.solid[piece]
    for number, kind in enumerate(SOLIDS):
        at = (solid == number).nonzero()[:, 0]
        if len(at):
            inward = pieces.inward.index_select(1, piece[at])
            o = _transform(inward, origin.index_select(1, at)) + inward[9:]
            d = _transform(inward, direction.index_select(1, at))
            # From the point nearest to the solid's middle all numbers are small, and float32 is exact enough.
            start = -dot(o, d) / dot(d, d)
            start = torch.where(start > REACH / dot(d, d).sqrt(), start - REACH / dot(d, d).sqrt(), 0.0)
            there, face[at] = kind.meet(o + start * d, d)
            t[at] = there + start
    return t, face


def _transform(inward: Float[Tensor, "12 b"], vectors: Float[Tensor, "3 b"]) -> Float[Tensor, "3 b"]:
    return torch.stack([dot(inward[i : i + 3], vectors) for i in (0, 3, 6)])


def _combine(turn: Float[Tensor, "3 3 ..."], vectors: Float[Tensor, "3 ..."]) -> Float[Tensor, "3 ..."]:
    """From an object's own axes to the world's."""
    return torch.stack([dot(row, vectors) for row in turn])


def _mean_axis(axes: Float[Tensor, "n k 3"]) -> Float[Tensor, "n k"]:
    """Radius of the ball that has an ellipsoid's volume; a cube root would differ with the place in the batch."""
    return ((axes[..., 0] * axes[..., 1] * axes[..., 2]).log() / 3).exp()


def ragged(counts: Int[Tensor, " a"]) -> tuple[Int[Tensor, " b"], Int[Tensor, " b"]]:
    """Lay lists of the given lengths end to end: to which each entry belongs, and its place in it."""
    owner = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    return owner, torch.arange(len(owner), device=counts.device) - (counts.cumsum(0) - counts)[owner]
