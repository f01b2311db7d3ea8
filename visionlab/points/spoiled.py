"""Wrong labels for a cloud, of one of three kinds, for whoever wants to see what they do; see `label_noise`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from visionlab.data.clouds import Cloud
from visionlab.data.world.rooms import LOOK_ALIKES
from visionlab.points.label_noise import Noise, asymmetric, boundary, symmetric

__all__ = ["ALIKE", "NOISES", "RADIUS", "alike", "has_objects", "objects_of", "spoiled"]

ALIKE = (*LOOK_ALIKES, ("window", "wall"), ("board", "door"))
"""Classes that annotators take for each other, where a cloud has them: those of the world's rooms, and of scans."""
NOISES = ("by object", "between look-alikes", "at boundaries")
RADIUS = 0.25
"""Metres from another class within which a point lies at a boundary."""


def alike(classes: Sequence[str]) -> dict[int, int]:
    """Partners among classes, by the names in `ALIKE`; the first pair of a class counts."""
    found: dict[int, int] = {}
    for one, other in ALIKE:
        if one in classes and other in classes:
            a, b = classes.index(one), classes.index(other)
            if a not in found and b not in found:
                found |= {a: b, b: a}
    return found


def objects_of(cloud: Cloud) -> tuple[Int[Tensor, "m 2"], Int[Tensor, " n"], Int[Tensor, " m"]]:
    """Instance and class (M, 2) of each object, the object (N,) of each point, and how many points (M,) they have."""
    pairs = torch.stack([cloud.instances, cloud.labels], 1)
    return pairs.unique(dim=0, return_inverse=True, return_counts=True)


def has_objects(cloud: Cloud) -> bool:
    """Whether a cloud has objects, or just all points of a class as one."""
    return len(objects_of(cloud)[0]) > len(cloud.labels.unique())


def spoiled(cloud: Cloud, kind: str, percent: float | int, seed: int) -> Noise:
    """Give a share of the points of a cloud wrong labels.

    Args:
        cloud: with labels that count as true.
        kind: one of `NOISES`.
        percent: of the points; at boundaries, of those within `RADIUS` of another class.
        seed: of what is drawn.

    Raises:
        ValueError: if the kind is unknown, the percentage out of range, or the cloud has no objects, or no look-alikes.
    """
    if kind not in NOISES:
        raise ValueError(f"kind of noise: expected one of {', '.join(NOISES)}; got {kind!r}")
    if not 0 <= percent <= 100:
        raise ValueError(f"rate: expected 0 to 100 %; got {percent}")
    draw, classes = torch.Generator().manual_seed(seed), len(cloud.classes)
    if kind == NOISES[2]:
        return boundary(cloud.xyz, cloud.labels, RADIUS, percent / 100, draw)
    if percent and not has_objects(cloud):
        raise ValueError(f"kind of noise: {cloud.name} has no instances to mislabel; choose {NOISES[2]!r}")
    given = (cloud.labels, cloud.instances, classes, percent / 100, draw)
    if kind == NOISES[0]:
        return symmetric(*given)
    partners = alike(cloud.classes)
    if percent and not partners:
        raise ValueError(f"kind of noise: none of the classes of {cloud.name} has a known look-alike")
    return asymmetric(*given, partners=partners)
