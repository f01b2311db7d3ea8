"""Small rooms whose classes follow from colour, a network that can learn them, and wrong labels for whole objects.

``torchrun -m tests.points.toy_points OUT`` trains on two processes and writes what came of it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from visionlab.data.clouds import Cloud
from visionlab.points.blocks import Blocks, whole
from visionlab.points.pnal import Cleaning, LabelMemory
from visionlab.points.training import recipe, train_points
from visionlab.train.loop import Fit, start
from visionlab.train.randomness import seeded

CLASSES, OBJECTS, POINTS = 4, 12, 120


def rooms(n: int, seed: int = 0) -> list[Cloud]:
    g = torch.Generator().manual_seed(seed)
    made = []
    for i in range(n):
        instances = torch.arange(POINTS) % OBJECTS
        labels = torch.randint(CLASSES, (OBJECTS,), generator=g)[instances]
        place = 3 * torch.rand(OBJECTS, 3, generator=g)[instances]
        colour = torch.eye(CLASSES)[labels][:, :3] * 0.6 + 0.2
        xyz = place + 0.1 * torch.randn(POINTS, 3, generator=g)
        rgb = (colour + 0.1 * torch.randn(POINTS, 3, generator=g)).clamp(0, 1)
        made.append(Cloud(xyz, rgb, labels, instances, tuple("abcd"), f"toy {i}"))
    return made


def wrong(clouds: list[Cloud], rate: float, seed: int = 0) -> list[Tensor]:
    """Labels of which whole objects are wrong, so many of a room."""
    g = torch.Generator().manual_seed(seed)
    found = []
    for cloud in clouds:
        flipped = torch.randperm(OBJECTS, generator=g)[: round(rate * OBJECTS)]
        shift = torch.zeros(OBJECTS, dtype=torch.long)
        shift[flipped] = torch.randint(1, CLASSES, (len(flipped),), generator=g)
        found.append((cloud.labels + shift[cloud.instances]) % CLASSES)
    return found


def blocks_of(n: int, rate: float, seed: int = 0) -> Blocks:
    clouds = rooms(n, seed)
    made = whole(clouds, POINTS, clusters=[cloud.instances for cloud in clouds])
    return made.relabelled(wrong(clouds, rate, seed))


def network(dropout: float = 0.0) -> nn.Module:
    with seeded(3):
        return nn.Sequential(nn.Linear(9, 32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, CLASSES))


def run(
    blocks: Blocks, epochs: int = 8, cleaning: Cleaning | None = None, *, dropout: float = 0.0, **more: Any
) -> tuple[Fit, LabelMemory]:
    made = recipe(len(blocks), epochs, batch=4, learning_rate=0.03)
    more = {"seed": 0, "keep": True, "fabric": start(device="cpu")} | more
    return train_points(network(dropout), blocks, CLASSES, made, cleaning, **more)


if __name__ == "__main__":
    fit, memory = run(blocks_of(8, 0.4), 6, Cleaning(warmup=2, slots=2, rule="first"), loss="truncated GCE")
    assert memory.weights is not None
    torch.save(
        {"network": fit.model.state_dict(), "labels": memory.corrected, "weights": memory.weights},
        Path(sys.argv[1]) / f"{torch.distributed.get_rank() if torch.distributed.is_initialized() else 0}.pt",
    )
