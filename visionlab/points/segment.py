"""Classes of all points of a room, however many, by a network that sees blocks."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from visionlab.data.clouds import Cloud
from visionlab.points.blocks import channels, squares

__all__ = ["segment"]


@torch.no_grad()
def segment(
    network: nn.Module, cloud: Cloud, *, points: int = 4096, side: float | None = 1.0, batch: int = 4, seed: int = 0
) -> Float[Tensor, "n k"]:
    """Return the probabilities (N, K) of the classes of each point.

    Each point is asked about once, among others of its square column; the last group of a column is filled up with
    points of it that have been asked about already.

    Args:
        network: features (B, n, 9), see `blocks.CHANNELS`, to logits (B, n, K); asked in evaluation mode, where it is.
        cloud: the room; its labels are not used.
        points: asked about together; as many as in training, best.
        side: of a column in metres, or None: the whole room is one.
        batch: groups that are asked about at once.
        seed: of how points are grouped.

    Raises:
        ValueError: if a number is not positive.
    """
    if points < 1 or batch < 1 or (side is not None and side <= 0):
        raise ValueError(f"points, side, batch: expected more than 0, got {points}, {side}, {batch}")
    xyz, draw = cloud.xyz, torch.Generator().manual_seed(seed)
    low, high = xyz.amin(0), xyz.amax(0)
    inputs, asked = [], []
    for inside in [torch.arange(len(xyz))] if side is None else squares(xyz, side):
        ground = xyz[inside, :2]
        middle = (ground.amin(0) + ground.amax(0)) / 2 if side is None else ground.amin(0) + side / 2
        order = inside[torch.randperm(len(inside), generator=draw)]
        more = -len(order) % points
        order = torch.cat([order, inside[torch.randint(len(inside), (more,), generator=draw)]]).view(-1, points)
        inputs += [channels(xyz[some], cloud.rgb[some], low, high, middle) for some in order]
        asked += list(order)
    device = next((p.device for p in network.parameters()), xyz.device)
    training = network.training
    network.eval()
    parts = []
    for first in range(0, len(asked), batch):
        parts.append(network(torch.stack(inputs[first : first + batch]).to(device)).cpu().float().softmax(-1))
    network.train(training)
    groups = torch.cat(parts)
    found = groups.new_empty(len(xyz), groups.shape[-1])
    found[torch.stack(asked)] = groups
    return found
