"""A room as a scanner sees it: beams that keep the first surface they meet, so that what is hidden stays empty.

Half of the beams go out evenly in all directions, which gives near surfaces more points than far ones; the others look
at the furniture, as a person with a scanner would.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from visionlab.data.world import counter
from visionlab.data.world.roomsolids import SHELL_AXIS, SHELL_END, Points, RoomSolids, surface_points

__all__ = ["first_hits", "scan"]

AIMED = 0.5  # share of the beams that look at the furniture
FOOT = -0.94  # sine of the angle down from which the scanner sees its own foot
GRAZING = 0.25  # cosine under which a surface sends less and less back
LOST = 0.03  # share of points that are lost anywhere
HOLES = 5  # patches of walls, floor and ceiling that send nothing back, each of up to HOLE metres
HOLE = (0.15, 0.45)


def scan(solids: RoomSolids, stations: Float[Tensor, "s 3"], key: Int[Tensor, " 1"], name: str, beams: int) -> Points:
    """What comes back of so many beams, sent from all stations in turn, in no order of places."""
    number = torch.arange(beams)
    origin = stations[number % len(stations)]
    u = counter.uniform(key, f"{name} even", beams, 2)[0]
    z = FOOT + (1 - FOOT) * u[:, 0]
    across = (1 - z * z).sqrt()
    angle = 2 * math.pi * u[:, 1]
    direction = torch.stack([across * angle.cos(), across * angle.sin(), z], dim=1)
    targets = surface_points(solids, key, f"{name} aim", round(beams * AIMED), shell=False).xyz
    direction[: len(targets)] = torch.nn.functional.normalize(targets - origin[: len(targets)])
    hits = first_hits(solids, origin, direction)
    cosine = -(hits.normal * direction).sum(1)
    order = counter.uniform(key, f"{name} order", beams)[0].argsort()
    kept = _comes_back(solids, hits, cosine, key, name)
    return hits[order[kept[order]]]


def first_hits(solids: RoomSolids, origin: Float[Tensor, "n 3"], direction: Float[Tensor, "n 3"]) -> Points:
    """Where beams from inside the room first meet something; directions are unit vectors."""
    t, shell = _shell_hits(solids.size, origin, direction)
    beam, which = _close_pairs(solids, origin, direction)
    own = (solids.to_own(which, origin[beam] - solids.centre[which]), solids.to_own(which, direction[beam]))
    far, face = _meet(solids, which, *own)
    nearest = t.scatter_reduce(0, beam, far, "amin")
    met = (far == nearest[beam]).nonzero()[:, 0]
    pair = torch.full_like(shell, -1).scatter_reduce(0, beam[met], met, "amax")
    hit = (pair >= 0).nonzero()[:, 0]
    pair = pair[hit]
    normal = torch.zeros_like(origin).scatter(1, SHELL_AXIS[shell, None], 1.0 - 2 * SHELL_END[shell, None].float())
    point = own[0][:, pair] + far[pair] * own[1][:, pair]
    normal[hit] = solids.normals(which[pair], point, face[pair])
    instance = shell.index_put((hit,), solids.instance[which[pair]])
    return Points(origin + nearest[:, None] * direction, normal, instance)


def _shell_hits(
    size: Float[Tensor, " 3"], origin: Float[Tensor, "n 3"], direction: Float[Tensor, "n 3"]
) -> tuple[Float[Tensor, " n"], Int[Tensor, " n"]]:
    """How far it is to the floor, the ceiling or a wall, and to which."""
    way = direction[:, SHELL_AXIS]
    gap = (SHELL_END * size[SHELL_AXIS] - origin[:, SHELL_AXIS]) / way
    return torch.where(way * (2 * SHELL_END - 1) > 0, gap, math.inf).min(dim=1)


def _close_pairs(
    solids: RoomSolids, origin: Float[Tensor, "n 3"], direction: Float[Tensor, "n 3"]
) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"]]:
    """Pairs of a beam and a solid whose surrounding ball it meets: no others need the exact test."""
    along = direction @ solids.centre.T - (direction * origin).sum(1, keepdim=True)
    apart = torch.cdist(origin, solids.centre)
    reach = solids.axes.norm(dim=1) * 1.01 + 0.01
    return ((along > -reach) & (apart * apart - along * along < reach * reach)).nonzero().unbind(1)


def _meet(
    solids: RoomSolids, which: Int[Tensor, " m"], origin: Float[Tensor, "3 m"], direction: Float[Tensor, "3 m"]
) -> tuple[Float[Tensor, " m"], Int[Tensor, " m"]]:
    far, face = torch.full((len(which),), math.inf), torch.zeros_like(which)
    for solid, at in solids.by_kind(which):
        far[at], face[at] = solid.meet(tuple(origin[:, at]), tuple(direction[:, at]))
    return far, face


def _comes_back(
    solids: RoomSolids, hits: Points, cosine: Float[Tensor, " n"], key: Int[Tensor, " 1"], name: str
) -> Bool[Tensor, " n"]:
    """Less comes back of surfaces that a beam only grazes, and nothing of some patches of the shell."""
    share = (1 - LOST) * (cosine / GRAZING).clamp(0, 1)
    kept = counter.uniform(key, f"{name} lost", len(cosine))[0] < share
    u = counter.uniform(key, "holes", HOLES, 4)[0]
    # Each patch lies around a place on a wall, the floor or the ceiling: the end of a beam from the room's middle.
    middle = (solids.size / 2).expand(HOLES, 3)
    far, which = _shell_hits(solids.size, middle, torch.nn.functional.normalize(u[:, :3] - 0.5))
    patch = middle + far[:, None] * torch.nn.functional.normalize(u[:, :3] - 0.5)
    gap = torch.cdist(hits.xyz, patch, compute_mode="donot_use_mm_for_euclid_dist")
    lies = (gap < HOLE[0] + (HOLE[1] - HOLE[0]) * u[:, 3]) & (hits.instance[:, None] == which)
    return kept & ~lies.any(1)
