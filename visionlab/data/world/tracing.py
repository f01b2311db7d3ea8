"""What a ray meets: objects by their pieces, each kind of solid at once over all rays and scenes.

Rays and pieces are matched before any is met: a piece is tried only in the pixels that the box around it may cover,
and a shadow only where the box, seen from the light, lies before the point. The matches are flat lists in the order of
the kinds of solid, so that nothing here loops over pixels, objects or images, and each kind meets one run of the list.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from visionlab.data.world.scene import Scenes, geometry
from visionlab.data.world.shapes import SOLIDS, tables
from visionlab.data.world.solids import Meeting, Solid, Vectors, dot
from visionlab.data.world.views import View, ball_ends, box_ends, inside, ragged

__all__ = [
    "Hits",
    "Pieces",
    "first_hits",
    "normals",
    "pieces_of",
    "shadowed",
    "take",
]

LEVEL, FAR = 0.05, 20.0  # sine of a light's elevation under which its shadows are traced to this distance
MARGIN = 1e-3  # by which a rectangle is wider than what it is around, for rounding
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
        order: (Q,) the pieces again, by their kind of solid.
        axes: (3, Q) half-axes of its object.
        object_middle: (n, K, 3), and bulk: (n, K) radius of a ball of about the object's volume, or 0 in empty slots.
    """

    scene: Int[Tensor, " q"]
    slot: Int[Tensor, " q"]
    solid: Int[Tensor, " q"]
    part: Int[Tensor, " q"]
    inward: Float[Tensor, "12 q"]
    middle: Float[Tensor, "3 q"]
    radius: Float[Tensor, " q"]
    corners: Float[Tensor, "3 8 q"]
    order: Int[Tensor, " q"]
    axes: Float[Tensor, "3 q"]
    object_middle: Float[Tensor, "n k 3"]
    bulk: Float[Tensor, "n k"]


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
    k, solid = things.shape.shape[1], table.solid[kind]
    return Pieces(
        scene=owner // k,
        slot=owner % k,
        solid=solid,
        part=table.part[kind],
        inward=torch.cat([rows.flatten(0, 1), shift]),
        middle=middle,
        radius=radius,
        corners=corners,
        order=solid.argsort(stable=True),
        axes=axes,
        object_middle=place.centre,
        bulk=torch.where(things.present, _mean_axis(place.axes * table.extent[things.shape]), 0.0),
    )


def first_hits(pieces: Pieces, view: View, rays: Float[Tensor, "3 n r"], size: tuple[int, int]) -> Hits:
    """The nearest piece along each camera ray that meets any; of two at equal distance, the first in the list."""
    n, r = rays.shape[1:]
    pixels, k = size[0] * size[1], pieces.bulk.shape[1]
    piece, pixel = _covered(pieces, view, size)
    points = torch.arange(r // pixels, device=piece.device)
    ray = (pieces.scene.index_select(0, piece) * r + pixel)[:, None] + pixels * points
    piece, ray = piece.repeat_interleave(len(points)), ray.flatten()
    eye = take(_into(pieces.inward, view.eye[:, pieces.scene]), piece)
    direction = _turn(take(pieces.inward[:9], piece), take(rays.flatten(1), ray))
    t, face = _meet(pieces.solid.index_select(0, piece), eye, direction)
    met = t.isfinite().nonzero()[:, 0]
    piece, ray, t, face = take((piece, ray, t, face), met)
    seen = torch.zeros(n * k * r, dtype=torch.bool, device=t.device)
    # The object's place in the list of all slots, less its scene's, for which the ray already counts.
    other = pieces.scene * (k - 1) + pieces.slot
    seen.index_fill_(0, ray + r * other.index_select(0, piece), True)
    nearest = torch.full((n * r,), math.inf, device=t.device).scatter_reduce(0, ray, t, "amin")
    win = (t == nearest.index_select(0, ray)).nonzero()[:, 0]
    first = torch.full((n * r,), len(pieces.scene), device=t.device)
    first = first.scatter_reduce(0, ray.index_select(0, win), piece.index_select(0, win), "amin")
    win = win[piece.index_select(0, win) == first.index_select(0, ray.index_select(0, win))]
    ray, piece, t, face = take((ray, piece, t, face), win)
    return Hits(ray, piece, t, face, seen.view(n * k, r)[:, :pixels])


def normals(
    pieces: Pieces, hits: Hits, points: Float[Tensor, "3 m"]
) -> tuple[Float[Tensor, "3 m"], Float[Tensor, "3 m"]]:
    """Outward unit normals in the world at points of the surface, and the points in their solid's coordinates."""
    inward = take(pieces.inward, hits.piece)
    local = _into(inward, points)
    bent = torch.empty_like(points)
    for kind, part in _runs(pieces.solid.index_select(0, hits.piece)):
        for component, value in zip(bent, kind.normal([x[part] for x in local], hits.face[part]), strict=True):
            component[part] = value
    world = torch.stack([dot(inward[i:9:3], bent) for i in range(3)])
    return world * dot(world, world).clamp(min=1e-12).rsqrt(), torch.stack(local)


def shadowed(
    pieces: Pieces,
    view: View,
    size: tuple[int, int],
    points: Float[Tensor, "3 n g p"],
    lit: Bool[Tensor, "n g p"],
    light: Float[Tensor, "3 n g"],
) -> Bool[Tensor, "n g p"]:
    """Whether any object lies between points and a far light, asked where ``lit``.

    Args:
        pieces: of n scenes; view: of their cameras; size: height and width in pixels.
        points: on or over the ground, g in each of the p pixels of each scene.
        lit: which points to ask for; the others are not in shadow.
        light: unit direction to the light, for each scene and group of points.
    """
    groups, order = lit.shape[1], pieces.order
    owner, ray, point = _maybe_shadowed(pieces, view, size, points, lit, light)
    inward = pieces.inward[:, order, None]
    origin = _into(take(inward.expand(-1, -1, groups).flatten(1), owner), point)
    direction = take([d.flatten() for d in _turn(inward, light[:, pieces.scene[order]])], owner)
    t, _ = _meet(pieces.solid[order].repeat_interleave(groups).index_select(0, owner), origin, direction)
    dark = torch.zeros(lit.numel(), dtype=torch.bool, device=lit.device)
    return dark.index_fill_(0, ray.index_select(0, t.isfinite().nonzero()[:, 0]), True).view_as(lit)


def _maybe_shadowed(
    pieces: Pieces, view: View, size: tuple[int, int], points: Tensor, lit: Tensor, light: Tensor
) -> tuple[Int[Tensor, " b"], Int[Tensor, " b"], Vectors]:
    """Every piece with every point that it may shadow: (place among all pieces in order and groups, point, where)."""
    (_, groups, pixels), scene = lit.shape, pieces.scene[pieces.order]
    corners, light = pieces.corners[..., pieces.order, None], light[:, scene]
    # What is in the shadow of a box lies between it and its shadow on the ground, which a level light does not throw.
    shadow = corners - light[:, None] * torch.where(light[2] > LEVEL, corners[2] / light[2], FAR)
    ends = torch.cat([corners.expand_as(shadow), shadow], dim=1).flatten(2)
    owner, pixel = inside(*box_ends(view, scene.repeat_interleave(groups), ends, size), size[1])
    start = (scene[:, None] * groups + torch.arange(groups, device=scene.device)).flatten() * pixels
    ray = start.index_select(0, owner) + pixel
    point, near = take(points.flatten(1), ray), lit.flatten().index_select(0, ray)
    # Seen along the light, box and shadow are one rectangle.
    across = torch.stack([light[1], -light[0], torch.zeros_like(light[2])])
    for axis in (across, torch.linalg.cross(light, across, dim=0)):
        place, edges = dot(take(axis.flatten(1), owner), point), dot(axis[:, None], corners)
        low, high = edges.amin(0).flatten(), edges.amax(0).flatten()
        middle, half = take(((low + high) / 2, (high - low) / 2 + MARGIN), owner)
        near &= (place - middle).abs() < half
    chosen = near.nonzero()[:, 0]
    return owner.index_select(0, chosen), ray.index_select(0, chosen), take(point, chosen)


def _covered(pieces: Pieces, view: View, size: tuple[int, int]) -> tuple[Int[Tensor, " b"], Int[Tensor, " b"]]:
    """Every piece with every pixel that ball and box around it may cover: (piece, pixel in row-major order)."""
    height, width = size
    eye, axes = view.eye[:, pieces.scene], [axis[:, pieces.scene] for axis in (view.right, view.up, view.forward)]
    x, y, z = (dot(axis, pieces.middle - eye) for axis in axes)
    slope, radius = view.slope[pieces.scene], pieces.radius
    left, right = ball_ends(x, z, radius, slope, width)
    low, high = ball_ends(-y, z, radius, slope, height)
    box_left, box_right, box_low, box_high = box_ends(view, pieces.scene, pieces.corners, size)
    left, right = torch.maximum(left, box_left), torch.minimum(right, box_right)
    low, high = torch.maximum(low, box_low), torch.minimum(high, box_high)
    left, right, low, high = take((left, right, low, high), pieces.order)
    owner, pixel = inside(left, right, low, high, width)
    return pieces.order.index_select(0, owner), pixel


def _meet(solid: Int[Tensor, " b"], origin: Vectors, direction: Vectors) -> Meeting:
    """Meet each ray with the solid of its number, in the solid's own coordinates; equal numbers lie together."""
    # From the point nearest to the solid's middle all numbers are small, and float32 is exact enough.
    square = dot(direction, direction)
    start, reach = -dot(origin, direction) / square, REACH / square.sqrt()
    start = torch.where(start > reach, start - reach, 0.0)
    (x, y, z), (u, v, w) = origin, direction
    x, y, z = x + start * u, y + start * v, z + start * w
    t, face = torch.empty_like(start), torch.empty_like(solid)
    for kind, part in _runs(solid):
        t[part], face[part] = kind.meet((x[part], y[part], z[part]), (u[part], v[part], w[part]))
    return t + start, face


def _runs(solid: Int[Tensor, " b"]) -> Iterator[tuple[Solid, slice]]:
    """The kinds of solid that occur in a list in which equal numbers lie together in their order, and where."""
    end = 0
    for kind, count in zip(SOLIDS, solid.bincount(minlength=len(SOLIDS)).tolist(), strict=True):
        if count:
            yield kind, slice(end, end + count)
        end += count


def take(columns: Sequence[Tensor] | Tensor, index: Int[Tensor, " b"]) -> tuple[Tensor, ...]:
    """The same entries of some lists."""
    return tuple(column.index_select(0, index) for column in columns)


def _into(inward: Sequence[Tensor] | Tensor, points: Sequence[Tensor] | Tensor) -> tuple[Tensor, ...]:
    """Points of the world in the coordinates of solids."""
    x, y, z = _turn(inward, points)
    return x + inward[9], y + inward[10], z + inward[11]


def _turn(inward: Sequence[Tensor] | Tensor, vectors: Sequence[Tensor] | Tensor) -> tuple[Tensor, ...]:
    """Directions of the world in the coordinates of solids."""
    return dot(inward[:3], vectors), dot(inward[3:6], vectors), dot(inward[6:9], vectors)


def _combine(turn: Float[Tensor, "3 3 ..."], vectors: Float[Tensor, "3 ..."]) -> Float[Tensor, "3 ..."]:
    """From an object's own axes to the world's."""
    return torch.stack([dot(row, vectors) for row in turn])


def _mean_axis(axes: Float[Tensor, "n k 3"]) -> Float[Tensor, "n k"]:
    """Radius of the ball that has an ellipsoid's volume; a cube root would differ with the place in the batch."""
    return ((axes[..., 0] * axes[..., 1] * axes[..., 2]).log() / 3).exp()
