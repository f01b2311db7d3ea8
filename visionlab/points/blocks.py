"""Rooms cut into blocks of one size, with the nine channels that networks see (arXiv 2107.14230, published code).

A block is sampled once, before training: what is remembered of a point is remembered of its place in a block. A point
in two blocks that overlap is remembered twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from visionlab.data.clouds import Cloud
from visionlab.train.stream import Batch

__all__ = ["CHANNELS", "Blocks", "Moved", "channels", "cut", "squares", "whole"]

CHANNELS = ("r", "g", "b", "room x", "room y", "room z", "x", "y", "z")
"""In the published order: colour; place in the room, 0 to 1; metres from the middle of the block, and up."""
LEAST = 100
"""Points that a square of a room needs to become a block."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """Blocks of as many points each.

    Args:
        features: (M, n, 9), see `CHANNELS`.
        labels: (M, n) classes, -1 where there is none.
        cluster: (M, n), numbers that no two rooms share.
        cloud: (M,) the room of each block, by its place in the list they were made of.
        point: (M, n) each point's place in its room.
    """

    features: Float[Tensor, "m n 9"]
    labels: Int[Tensor, "m n"]
    cluster: Int[Tensor, "m n"]
    cloud: Int[Tensor, " m"]
    point: Int[Tensor, "m n"]

    def __len__(self) -> int:
        return len(self.features)

    def relabelled(self, labels: Sequence[Int[Tensor, " k"]]) -> Blocks:
        """Return the same blocks with other labels, given for each room."""
        rooms = zip(self.cloud.tolist(), self.point, strict=True)
        return replace(self, labels=torch.stack([labels[room][points] for room, points in rooms]))


def channels(
    xyz: Float[Tensor, "n 3"],
    rgb: Float[Tensor, "n 3"],
    low: Float[Tensor, " 3"],
    high: Float[Tensor, " 3"],
    middle: Float[Tensor, " 2"],
) -> Float[Tensor, "n 9"]:
    """The nine channels of points.

    Args:
        xyz: in metres.
        rgb: in [0, 1].
        low: least coordinates in the room.
        high: largest ones.
        middle: x and y of the middle of the block.
    """
    origin = torch.cat([middle, low[2:]])
    return torch.cat([rgb, (xyz - low) / (high - low).clamp(min=1e-6), xyz - origin], 1)


def whole(
    clouds: Sequence[Cloud], points: int, *, clusters: Sequence[Int[Tensor, " k"]] | None = None, seed: int = 0
) -> Blocks:
    """Make each room one block, of so many points.

    Args:
        clouds: rooms.
        points: of each block, drawn from those of the room; with replacement if there are fewer.
        clusters: of the points of each room, see `visionlab.points.clusters`; by default each point its own.
        seed: of the draw.

    Raises:
        ValueError: if there are no rooms, or clusters do not fit them.
    """
    return _blocks([(i, torch.arange(len(cloud))) for i, cloud in enumerate(clouds)], clouds, points, clusters, seed)


def cut(
    clouds: Sequence[Cloud],
    points: int = 4096,
    *,
    side: float = 1.0,
    stride: float = 0.5,
    clusters: Sequence[Int[Tensor, " k"]] | None = None,
    seed: int = 0,
) -> Blocks:
    """Cut rooms into square columns of 1 m that overlap by half, with 4,096 points each, as published.

    Args:
        clouds: rooms.
        points: of each block, drawn from those in it; with replacement if there are fewer.
        side: of a block in metres.
        stride: from one block to the next in metres.
        clusters: see `whole`.
        seed: of the draw.

    Raises:
        ValueError: as `whole`; or if the stride is not between 0 and the side.
    """
    if not 0 < stride <= side:
        raise ValueError(f"stride: expected more than 0, at most the side of {side} m, got {stride}")
    found = [(i, inside) for i, cloud in enumerate(clouds) for inside in squares(cloud.xyz, side, stride, LEAST)]
    return _blocks(found, clouds, points, clusters, seed, side)


def squares(
    xyz: Float[Tensor, "n 3"], side: float, stride: float | None = None, least: int = 1
) -> list[Int[Tensor, " k"]]:
    """The points of each square column of a room that has so many; all points in one, where none has.

    Args:
        xyz: of the room.
        side: of a square in metres.
        stride: from one square to the next; by default they touch, and each point lies in one.
        least: points that a square needs.
    """
    ground = (xyz[:, :2] - xyz[:, :2].amin(0)).double()
    if stride is None:
        place = (ground / side).long()
        _, of = (place[:, 0] * (place[:, 1].max() + 1) + place[:, 1]).unique(return_inverse=True)
        parts = of.argsort(stable=True).split(of.bincount().tolist())
        return [part for part in parts if len(part) >= least] or [torch.arange(len(xyz))]
    reach = ((ground.amax(0) - side).clamp(min=0) / stride).ceil().long()
    found = []
    for x in range(int(reach[0]) + 1):
        column = ((ground[:, 0] >= x * stride) & (ground[:, 0] <= x * stride + side)).nonzero()[:, 0]
        away = ground[column, 1]
        for y in range(int(reach[1]) + 1):
            inside = column[(away >= y * stride) & (away <= y * stride + side)]
            if len(inside) >= least:
                found.append(inside)
    return found or [torch.arange(len(xyz))]


def _blocks(
    found: Sequence[tuple[int, Tensor]],
    clouds: Sequence[Cloud],
    points: int,
    clusters: Sequence[Tensor] | None,
    seed: int,
    side: float | None = None,
) -> Blocks:
    if not clouds:
        raise ValueError("clouds: expected at least one, got none")
    if points < 1:
        raise ValueError(f"points: expected 1 or more, got {points}")
    own = _apart(clouds, clusters)
    draw = torch.Generator().manual_seed(seed)
    features, chosen = [], []
    for i, inside in found:
        enough = len(inside) >= points
        order = torch.randperm(len(inside), generator=draw)[:points] if enough else torch.cat([
            torch.arange(len(inside)), torch.randint(len(inside), (points - len(inside),), generator=draw)
        ])  # fmt: skip
        some = inside[order]
        cloud = clouds[i]
        low, high = cloud.xyz.amin(0), cloud.xyz.amax(0)
        ground = cloud.xyz[inside, :2]
        middle = ground.amin(0) + side / 2 if side else (ground.amin(0) + ground.amax(0)) / 2
        features.append(channels(cloud.xyz[some], cloud.rgb[some], low, high, middle))
        chosen.append(some)
    rooms = [i for i, _ in found]
    return Blocks(
        torch.stack(features),
        torch.stack([clouds[i].labels[some] for i, some in zip(rooms, chosen, strict=True)]),
        torch.stack([own[i][some] for i, some in zip(rooms, chosen, strict=True)]),
        torch.tensor(rooms),
        torch.stack(chosen),
    )


def _apart(clouds: Sequence[Cloud], clusters: Sequence[Tensor] | None) -> list[Tensor]:
    """Clusters of each room, with numbers that no two rooms share."""
    if clusters is None:
        clusters = [torch.arange(len(cloud)) for cloud in clouds]
    if [len(each) for each in clusters] != [len(cloud) for cloud in clouds]:
        raise ValueError(
            f"clusters: expected one number for each point of {len(clouds)} rooms, got {[len(c) for c in clusters]}"
        )
    first, found = 0, []
    for each in clusters:
        ids, place = each.unique(return_inverse=True)
        found.append(first + place)
        first += len(ids)
    return found


@dataclass(frozen=True, kw_only=True)
class Moved:
    """Augmentation of batches of blocks: turn, mirror and shake them, and tint them.

    Published: ``jitter=0.01`` and 15 degrees about each axis, of the last three channels alone.

    Args:
        turn: degrees at most about x, y and z, either way.
        jitter: metres at most, of each coordinate.
        mirror: probability of mirroring x, and of mirroring y; place in the room is mirrored as well.
        tint: change of each colour at most, the same for all points of a block.

    Raises:
        ValueError: if one is negative, or the probability is above 1.
    """

    turn: tuple[float, float, float] = (0.0, 0.0, 15.0)
    jitter: float = 0.01
    mirror: float = 0.0
    tint: float = 0.0

    def __post_init__(self) -> None:
        if min(*self.turn, self.jitter, self.mirror, self.tint) < 0 or self.mirror > 1:
            raise ValueError(f"turn, jitter, mirror, tint: expected 0 or more, mirror at most 1, got {self}")

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Return the batch with changed features (B, N, 9)."""
        features, *rest = batch
        b = len(features)

        def uniform(most: float, *shape: int) -> Tensor:
            return most * (2 * torch.rand(*shape, generator=generator, device=features.device) - 1)

        rgb, room, xyz = features.split(3, 2)
        rgb = (rgb + uniform(self.tint, b, 1, 3)).clamp(0, 1)
        flip = torch.rand(b, 1, 2, generator=generator, device=features.device) < self.mirror
        room = torch.cat([torch.where(flip, 1 - room[..., :2], room[..., :2]), room[..., 2:]], 2)
        xyz = torch.cat([torch.where(flip, -xyz[..., :2], xyz[..., :2]), xyz[..., 2:]], 2)
        xyz = xyz + uniform(self.jitter, *xyz.shape)
        angles = torch.stack([uniform(most, b) for most in self.turn], 1).deg2rad()
        return torch.cat([rgb, room, xyz @ _rotation(angles).mT], 2), *rest


def _rotation(angles: Float[Tensor, "b 3"]) -> Float[Tensor, "b 3 3"]:
    """Turn about x, then y, then z."""
    whole = torch.eye(3, device=angles.device).expand(len(angles), 3, 3)
    for axis in range(3):
        cos, sin = angles[:, axis].cos(), angles[:, axis].sin()
        one, two = (axis + 1) % 3, (axis + 2) % 3
        turn = torch.eye(3, device=angles.device).repeat(len(angles), 1, 1)
        turn[:, one, one], turn[:, two, two] = cos, cos
        turn[:, two, one], turn[:, one, two] = sin, -sin
        whole = turn @ whole
    return whole
