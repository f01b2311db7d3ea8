"""The solids of a furnished room in one table, and points on their surfaces."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from visionlab.data.world import counter
from visionlab.data.world.floorplan import Plan
from visionlab.data.world.solids import Round, Solid

__all__ = ["SHELL", "Points", "RoomSolids", "solids_of", "surface_points"]

SHELL = ("floor", "ceiling", "wall", "wall", "wall", "wall")
"""The first instances; the walls lie at y = 0, x = width, y = depth and x = 0."""

SHELL_AXIS, SHELL_END = torch.tensor([2, 2, 1, 0, 1, 0]), torch.tensor([0, 1, 0, 1, 1, 0])
EDGE = 1e-4  # metres, or of a unit solid: what lies no deeper than that is on the surface
UNDERSIDE = 1e-3  # metres: things that stand on the floor show nothing under that


@dataclass(frozen=True)
class Points:
    """Points on surfaces: where, unit normals towards the free space, and which instance."""

    xyz: Float[Tensor, "n 3"]
    normal: Float[Tensor, "n 3"]
    instance: Int[Tensor, " n"]

    def __getitem__(self, index: Tensor | slice) -> Points:
        return Points(self.xyz[index], self.normal[index], self.instance[index])

    @staticmethod
    def cat(parts: list[Points]) -> Points:
        """One after the other."""
        return Points(*(torch.cat([getattr(part, name) for part in parts]) for name in ("xyz", "normal", "instance")))


@dataclass(frozen=True)
class RoomSolids:
    """All solids of a room's things, those of one thing after each other.

    Attributes:
        size: (3,) of the room.
        kinds: the different unit solids; kind: (p,) which of them each is.
        centre, axes: (p, 3); cos, sin: (p,) of the yaw.
        instance: (p,) numbered after the shell.
    """

    size: Float[Tensor, " 3"]
    kinds: tuple[Solid, ...]
    kind: Int[Tensor, " p"]
    centre: Float[Tensor, "p 3"]
    axes: Float[Tensor, "p 3"]
    cos: Float[Tensor, " p"]
    sin: Float[Tensor, " p"]
    instance: Int[Tensor, " p"]

    def to_own(self, which: Int[Tensor, " n"], vectors: Float[Tensor, "n 3"]) -> Float[Tensor, "3 n"]:
        """Vectors of the room in the frames of some solids, where each has its unit size."""
        (x, y, z), c, s = vectors.unbind(1), self.cos[which], self.sin[which]
        return torch.stack([x * c + y * s, y * c - x * s, z]) / self.axes[which].T

    def to_room(self, which: Int[Tensor, " n"], vectors: Float[Tensor, "3 n"]) -> Float[Tensor, "n 3"]:
        """Vectors of true length, turned as some solids are."""
        (x, y, z), c, s = vectors, self.cos[which], self.sin[which]
        return torch.stack([x * c - y * s, x * s + y * c, z], dim=1)

    def normals(self, which: Int[Tensor, " n"], own: Float[Tensor, "3 n"], face: Int[Tensor, " n"]) -> Tensor:
        """Unit normals (n, 3) of some solids at points in their frames."""
        normal = torch.zeros_like(own)
        for solid, at in self.by_kind(which):
            normal[:, at] = torch.stack(tuple(solid.normal(tuple(own[:, at]), face[at])))
        return torch.nn.functional.normalize(self.to_room(which, normal / self.axes[which].T))

    def by_kind(self, which: Int[Tensor, " n"]) -> list[tuple[Solid, Int[Tensor, " m"]]]:
        """Each unit solid, and the places of those in a list that are of its kind."""
        kind = self.kind[which]
        return [(solid, (kind == number).nonzero()[:, 0]) for number, solid in enumerate(self.kinds)]


def solids_of(plan: Plan) -> RoomSolids:
    """The solids of a plan's things."""
    placed = [(number, item, piece) for number, item in enumerate(plan.placed) for piece in item.thing.pieces]
    kinds = tuple(dict.fromkeys(piece.solid for _, _, piece in placed))
    rows = []
    for number, item, piece in placed:
        (u, v, w), c, s = piece.at, math.cos(item.yaw), math.sin(item.yaw)
        centre = (item.x + u * c - v * s, item.y + u * s + v * c, item.z + w)
        rows.append((*centre, *piece.axes, c, s, len(SHELL) + number, kinds.index(piece.solid)))
    table = torch.tensor(rows)
    return RoomSolids(
        size=torch.tensor(plan.size),
        kinds=kinds,
        kind=table[:, 9].long(),
        centre=table[:, :3],
        axes=table[:, 3:6],
        cos=table[:, 6],
        sin=table[:, 7],
        instance=table[:, 8].long(),
    )


def surface_points(solids: RoomSolids, key: Int[Tensor, " 1"], name: str, n: int, *, shell: bool = True) -> Points:
    """Draw n points on all surfaces, and leave out those that nobody could see: inside other solids or walls.

    The share of an object goes with the square root of its surface (a lamp would else have two points of 256); they are
    spread evenly over it.
    """
    u = counter.uniform(key, name, n, 3)[0]
    faces = torch.cat([_shell_faces(solids.size)[:, None].expand(-1, 6) / 6 * shell, _faces(solids)])
    instance = torch.cat([torch.arange(len(SHELL)), solids.instance])
    area = torch.zeros(int(instance.max()) + 1).index_add(0, instance, faces.sum(1))
    weight = (faces / area[instance].clamp(min=1e-9).sqrt()[:, None]).flatten().double().cumsum(0)
    chosen = torch.searchsorted(weight, u[:, 0].double() * weight[-1], right=True).clamp(max=len(weight) - 1)
    row, face = chosen // 6, chosen % 6
    on_shell = row < len(SHELL)
    first, which, face, pair = row[on_shell], row[~on_shell] - len(SHELL), face[~on_shell], u[~on_shell, 1:]
    own = _on_solids(solids, which, face, pair)
    where = solids.to_room(which, own * solids.axes[which].T) + solids.centre[which]
    things = Points(where, solids.normals(which, own, face), solids.instance[which])
    points = Points.cat([_on_shell(solids.size, first, u[on_shell, 1:]), things])
    points = points[(~on_shell).long().argsort(stable=True).argsort()]  # in the order they were drawn in
    return points[_in_sight(solids, points)]


def _shell_faces(size: Float[Tensor, " 3"]) -> Float[Tensor, " 6"]:
    return (size.prod() / size)[SHELL_AXIS]


def _faces(solids: RoomSolids) -> Float[Tensor, "p 6"]:
    """Areas: of a box those at -x, +x, -y, +y, -z, +z; of a round solid its side, lower and upper disc, and zeros."""
    x, y, z = solids.axes.unbind(1)
    table = torch.stack([4 * y * z] * 2 + [4 * x * z] * 2 + [4 * x * y] * 2, dim=1)
    for solid, at in solids.by_kind(torch.arange(len(x))):
        if isinstance(solid, Round):
            low, high = _ends(solid)
            # A ball has the surface of the rod around it, without the discs.
            mean, slope = ((low + high) / 2, high - low) if low + high > 0 else (1.0, 0.0)
            side = 2 * math.pi * mean * x[at] * torch.hypot(2 * z[at], slope * x[at])
            table[at] = 0
            table[at, :3] = torch.stack([side, math.pi * (low * x[at]) ** 2, math.pi * (high * x[at]) ** 2], dim=1)
    return table


def _ends(solid: Round) -> tuple[float, float]:
    low, high = solid.square(torch.tensor([-1.0, 1.0])).clamp(min=0).sqrt().tolist()
    return low, high


def _on_shell(size: Float[Tensor, " 3"], which: Int[Tensor, " n"], u: Float[Tensor, "n 2"]) -> Points:
    axis, end = SHELL_AXIS[which, None], SHELL_END[which, None].float()
    at = torch.cat([u, u[:, 1:]], dim=1)
    at[:, 1] = torch.where(axis[:, 0] == 0, u[:, 0], u[:, 1])
    normal = torch.zeros_like(at).scatter(1, axis, 1 - 2 * end)
    return Points(at.scatter(1, axis, end) * size, normal, which)


def _on_solids(
    solids: RoomSolids, which: Int[Tensor, " n"], face: Int[Tensor, " n"], u: Float[Tensor, "n 2"]
) -> Float[Tensor, "3 n"]:
    """A point on a face of each of some solids, in its frame, evenly over the face."""
    own = torch.zeros(3, len(which))
    for solid, at in solids.by_kind(which):
        (a, b), side = u[at].T, face[at]
        if isinstance(solid, Round):
            low, high = _ends(solid)
            # As many points on a level as its circumference says; on a ball all levels have equally many.
            level = a * (low + high) / (low + (low**2 + a * (high**2 - low**2)).sqrt()) if low + high > 0 else a
            z = torch.where(side == 0, 2 * level - 1, torch.where(side == 1, -1.0, 1.0))
            r = solid.square(z).clamp(min=0).sqrt() * torch.where(side == 0, 1.0, a.sqrt())
            own[:, at] = torch.stack([r * (2 * math.pi * b).cos(), r * (2 * math.pi * b).sin(), z])
        else:
            x, y, z = 2 * a - 1, 2 * torch.where(side < 2, a, b) - 1, 2 * b - 1
            own[:, at] = torch.stack([x, y, z]).scatter(0, side[None] // 2, side[None] % 2 * 2.0 - 1)
    return own


def _in_sight(solids: RoomSolids, points: Points) -> Bool[Tensor, " n"]:
    """Which points lie in the room and inside no solid."""
    low = torch.where(points.instance < len(SHELL), -EDGE, UNDERSIDE)
    clear = ((points.xyz > -EDGE) & (points.xyz < solids.size + EDGE)).all(1) & (points.xyz[:, 2] > low)
    gap = torch.cdist(points.xyz, solids.centre, compute_mode="donot_use_mm_for_euclid_dist")
    number, which = (gap < solids.axes.norm(dim=1)).nonzero().unbind(1)
    own = solids.to_own(which, points.xyz[number] - solids.centre[which])
    for solid, at in solids.by_kind(which):
        x, y, z = own[:, at]
        across = x * x + y * y - solid.square(z) if isinstance(solid, Round) else torch.maximum(x.abs(), y.abs()) - 1
        inside = (across < -EDGE) & (z.abs() < 1 - EDGE)
        clear[number[at[inside]]] = False
    return clear
