"""Reach: which tokens can influence a token after n attention blocks, exactly, whatever the weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

__all__ = ["reach", "reach_of_token"]


def reach(blocks: Sequence[Sequence[Int[Tensor, "h w"]]]) -> list[float]:
    """Return, after each block, the mean fraction of the map that can influence a token.

    Args:
        blocks: for each block the region map of each group of heads; tokens with equal numbers see each other.

    Raises:
        ValueError: if there is no block, or the maps differ in size.
    """
    return [seen.double().mean().item() for seen in _spread(blocks)]


def reach_of_token(blocks: Sequence[Sequence[Int[Tensor, "h w"]]], row: int, column: int) -> list[Bool[Tensor, "h w"]]:
    """Return, after each block, which tokens can influence the one at (row, column)."""
    _check(blocks)
    height, width = blocks[0][0].shape
    if not (0 <= row < height and 0 <= column < width):
        raise ValueError(f"row, column: expected a token of a {height}x{width} map, got ({row}, {column})")
    return [_sources(blocks[:depth], row, column) for depth in range(1, len(blocks) + 1)]


def _sources(blocks: Sequence[Sequence[Int[Tensor, "h w"]]], row: int, column: int) -> Bool[Tensor, "h w"]:
    """Follow influence backward from one token, which needs no matrix of all pairs."""
    seen = torch.zeros_like(blocks[0][0], dtype=torch.bool)
    seen[row, column] = True
    for block in reversed(blocks):
        seen = torch.stack([torch.isin(region, region[seen].unique()) for region in block]).any(dim=0)
    return seen


def _spread(blocks: Sequence[Sequence[Int[Tensor, "h w"]]]) -> list[Bool[Tensor, "n n"]]:
    """Follow influence forward: a token gathers all that the tokens of its regions had gathered before."""
    _check(blocks)
    seen = torch.eye(blocks[0][0].numel(), dtype=torch.bool)
    steps = []
    for block in blocks:
        gathered = torch.zeros_like(seen)
        for region in block:
            for members in _members(region):
                gathered[members] |= seen[members].any(dim=0)
        seen = gathered
        steps.append(seen)
    return steps


def _check(blocks: Sequence[Sequence[Int[Tensor, "h w"]]]) -> None:
    if not blocks or not all(blocks):
        raise ValueError("blocks: expected at least one block, each with at least one region map")
    sizes = {tuple(region.shape) for block in blocks for region in block}
    if len(sizes) != 1:
        raise ValueError(f"blocks: region maps of one size expected, got {sorted(sizes)}")


def _members(region: Int[Tensor, "h w"]) -> list[Int[Tensor, " n"]]:
    flat = region.flatten()
    order = flat.argsort(stable=True)
    counts = torch.unique_consecutive(flat[order], return_counts=True)[1].tolist()
    return list(order.split(counts))
