"""Which channels of a MicroNet one channel of its stem reaches, layer by layer, whatever the weights are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from visionlab.backbones.micronet import MicroNet
from visionlab.backbones.micronet_factorized import ChannelShuffle, GroupedPointwise, MicroDepthwise
from visionlab.backbones.micronet_shiftmax import DynamicShiftMax, circular_shift

__all__ = ["Reached", "followed"]


class Reached(NamedTuple):
    """Behind one layer: its name in words, and which of its channels the channel that is followed can influence."""

    layer: str
    channels: Bool[Tensor, " c"]

    @property
    def share(self) -> float:
        """Of the channels, in percent."""
        return 100 * self.channels.double().mean().item()


@torch.no_grad()
def followed(model: MicroNet, channel: int, *, shuffles: bool = True, shifts: bool = True) -> list[Reached]:
    """Follow one channel behind the stem through all blocks.

    A block has a step for each of its convolutions, "expand", "depthwise" or "squeeze", as it comes out of it; and one
    for its output, behind the activation and the shuffle of the last convolution and the sum with the block's input.

    The coefficients of Dynamic Shift-Max, which hear of every channel through their mean over the map, are taken as
    given numbers: what is followed are the channels that are mixed pixel by pixel.

    Args:
        model: the network; its weights do not matter.
        channel: of the stem's output.
        shuffles: let the channel shuffles shuffle, or take them out.
        shifts: let Dynamic Shift-Max hear the shifted channel, or not.

    Raises:
        ValueError: if the stem has no such channel.
    """
    width = model.stem.row.out_channels
    if not 0 <= channel < width:
        raise ValueError(f"channel: expected one of the stem's {width}, got {channel}")
    reached = torch.zeros(width, dtype=torch.bool)
    reached[channel] = True
    steps = [Reached("stem", reached)]
    for number, block in enumerate(_blocks(model), start=1):
        before = reached
        for name, layer in block.named_children():
            for part in layer.children() if isinstance(layer, nn.Sequential) else [layer]:
                reached = _behind(part, reached, shuffles, shifts)
            if isinstance(layer, (GroupedPointwise, MicroDepthwise)):
                steps.append(Reached(f"block {number}, {name}", reached))
        if getattr(block, "skip", False):
            reached = reached | before
        steps.append(Reached(f"block {number}, output", reached))
    return steps


def _blocks(model: MicroNet) -> Iterator[nn.Module]:
    for stage in model.stages:
        yield from stage.get_submodule("blocks").children()


def _behind(layer: nn.Module, reached: Tensor, shuffles: bool, shifts: bool) -> Tensor:
    """Which channels behind a layer hear of any of those that are reached in front of it."""
    if isinstance(layer, GroupedPointwise):
        groups = layer.conv.groups
        return reached.view(groups, -1).any(dim=1).repeat_interleave(layer.conv.out_channels // groups)
    if isinstance(layer, MicroDepthwise):
        return reached.repeat_interleave(layer.row.out_channels // layer.column.in_channels)
    if isinstance(layer, ChannelShuffle):
        return layer(reached[None, :, None, None]).flatten() if shuffles else reached
    if isinstance(layer, DynamicShiftMax) and layer.shifts == 2 and shifts:
        return reached | circular_shift(reached[None, :, None, None], layer.groups).flatten()
    return reached
