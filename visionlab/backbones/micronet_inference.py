"""The same function as a `MicroNet` in evaluation mode, made fast: fewer, larger operations without any shuffle.

Multiply-adds are not time: a MicroNet spends most of its own on small grouped convolutions, shuffles and gathers. Here

* maps are kept pixel by pixel, (B, H, W, C), so that a depthwise convolution reads whole vectors of channels;
* batch norms are folded into the weights in front of them;
* column and row of a depthwise pair become one k x k kernel. Zeros are padded *between* the two, so that what the first
  batch norm adds is missing beyond the left and right border: the merged bias depends on the column;
* a channel shuffle moves no data: each layer's weights are laid out for the order in which channels come;
* nor does the shift of Dynamic Shift-Max have to look for its channels. Inside each block of channels the order is
  slanted, by one more place from block to block, so that the next channel of the next block always lies one block
  further on: the shift is a roll. Its sums are taken in place;
* a pointwise factor becomes one dense matrix, mostly zeros: one large product is faster than many small ones.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from visionlab.backbones.micronet import MicroNet
from visionlab.backbones.micronet_blocks import NormedLinear
from visionlab.backbones.micronet_factorized import ChannelShuffle, GroupedPointwise, MicroDepthwise, dense_matrix
from visionlab.backbones.micronet_shiftmax import ACT_MAX, DynamicShiftMax, circular_shift

__all__ = ["FastMicroNet", "Gather", "InPlaceShiftMax", "MergedConvolution", "inference_form"]

PIECES = 4
"""Up to so many pieces a reordering of channels is put together from slices."""
Layers = tuple[list[nn.Module], Tensor]
"""Layers, and which channel of the plain network stands at each place of the maps behind them."""


class Gather(nn.Module):
    """Put channel ``index[i]`` in place i of the last axis."""

    index: Tensor

    def __init__(self, index: Tensor) -> None:
        super().__init__()
        self.register_buffer("index", index)
        ends = [0, *(1 + (index.diff() != 1).nonzero().flatten()).tolist(), len(index)]
        first = index.tolist()
        self.pieces = [(first[a], first[a] + b - a) for a, b in pairwise(ends)]

    def forward(self, x: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
        """Return the channels in their new order."""
        if len(self.pieces) <= PIECES:
            return torch.cat([x[..., start:stop] for start, stop in self.pieces], dim=-1)
        return x.index_select(-1, self.index)


class MergedConvolution(nn.Module):
    """A column and a row convolution with their batch norms as one k x k convolution and a bias for each column.

    Args:
        column: first convolution, k x 1.
        norm1: its batch norm.
        row: second convolution, 1 x k, in as many groups as it has input channels.
        norm2: its batch norm.
        order: which channel of the pair stands at each place behind it.
    """

    kernel: Tensor
    taps: Tensor
    behind: Tensor

    def __init__(
        self, column: nn.Conv2d, norm1: nn.BatchNorm2d, row: nn.Conv2d, norm2: nn.BatchNorm2d, order: Tensor
    ) -> None:
        super().__init__()
        (scale1, shift1), (scale2, shift2) = scale_and_shift(norm1), scale_and_shift(norm2)
        source = torch.arange(row.out_channels, device=order.device) // (row.out_channels // row.in_channels)
        rows = row.weight * scale2[:, None, None, None]
        kernel = (column.weight * scale1[:, None, None, None])[source] * rows
        self.register_buffer("kernel", kernel[order].contiguous(memory_format=torch.channels_last))
        self.register_buffer("taps", (shift1[source][:, None] * rows[:, 0, 0])[order].T.contiguous())
        self.register_buffer("behind", shift2[order])
        self.stride, self.padding, self.groups = column.stride[0], row.kernel_size[1] // 2, column.groups

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h2 w2 d"]:
        """Return the convolved maps."""
        inside = F.pad(x.new_ones(x.shape[2]), (self.padding, self.padding)).unfold(0, len(self.taps), self.stride)
        y = F.conv2d(
            x.permute(0, 3, 1, 2), self.kernel, stride=self.stride, padding=self.padding, groups=self.groups
        ).permute(0, 2, 3, 1)
        return y.add_(torch.addmm(self.behind, inside, self.taps))


class ReLU6InPlace(nn.Module):
    """ReLU6 in the place of x."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated map; ``x`` is overwritten."""
        return x.clamp_(0, 6)


class InPlaceShiftMax(nn.Module):
    """`DynamicShiftMax` in the place of x, for maps whose channels come in another order.

    Its hard sigmoid, range and offset are one clamp and one sum: the factors between them are folded into weights.

    Args:
        layer: of the plain network.
        order: which of its channels stands at each place.
    """

    offsets: Tensor

    def __init__(self, layer: DynamicShiftMax, order: Tensor) -> None:
        super().__init__()
        plain = layer.coefficients
        every = (torch.arange(plain.offsets.numel(), device=order.device)[:, None] * len(order) + order).flatten()
        slope = 2 * ACT_MAX / 6  # of hardsigmoid(z) = clamp(z + 3, 0, 6) / 6 over a range of 2 ACT_MAX
        self.fc1 = filled(nn.Linear(*plain.fc1.weight.shape[::-1]), plain.fc1.weight[:, order], plain.fc1.bias)
        self.fc2 = filled(
            nn.Linear(*plain.fc2.weight.shape[::-1]), plain.fc2.weight[every] * slope, plain.fc2.bias[every] * slope
        )
        self.register_buffer("offsets", plain.offsets[..., None].clone())
        self.shift: nn.Module | None = None
        if layer.shifts == 2:
            channels = torch.arange(len(order), device=order.device)
            shift = circular_shift(channels[None, :, None, None], layer.groups).flatten()
            self.shift = Gather(order.argsort()[shift[order]])

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        """Return the activated maps, in the order of ``x``, which is overwritten."""
        a = self.fc2(F.relu(self.fc1(x.mean((1, 2))))).clamp_(-ACT_MAX, ACT_MAX)
        a = a.unflatten(1, (*self.offsets.shape[:3], -1)) + self.offsets
        # Rows of channels: a compiler takes maps of four axes for channels before pixels, and turns them round.
        rows = x.flatten(1, 2)
        shifted = None if self.shift is None else self.shift(rows)
        best: Tensor | None = None
        for k, own in enumerate(a.unbind(1)):
            branch = rows.mul_(own[:, 0]) if k == a.shape[1] - 1 else rows * own[:, 0]
            if shifted is not None:
                branch.addcmul_(shifted, own[:, 1])
            best = branch if best is None else torch.maximum(best, branch, out=best)
        assert best is not None  # there is at least one branch
        return best.view(x.shape)


class FastBlock(nn.Module):
    """Layers in a chain, with a skip around them where the plain block has one."""

    def __init__(self, layers: Sequence[nn.Module], *, skip: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.skip = skip

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h2 w2 d"]:
        """Run the block on a map."""
        y = self.layers(x)
        return y.add_(x) if self.skip else y


class FastMicroNet(nn.Module):
    """Stem, blocks and head as `inference_form` lays them out; images (B, in_chans, H, W) to logits."""

    def __init__(self, stem: nn.Module, blocks: Sequence[nn.Module], head: Sequence[nn.Module]) -> None:
        super().__init__()
        self.stem = stem
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(*head)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        """Classify normalised images: what the plain network returns in evaluation mode."""
        return self.head(self.blocks(self.stem(x.permute(0, 2, 3, 1))).clamp_(0, 6).mean((1, 2)))


@torch.no_grad()
def inference_form(model: MicroNet) -> FastMicroNet:
    """Return a module that computes what ``model`` computes in evaluation mode, faster; ``model`` stays as it is.

    Raises:
        ValueError: if the network does not pool its last map, was pruned, or has layers of another kind.
    """
    if model.global_pool != "avg" or not isinstance(model.neck, nn.Sequential):
        raise ValueError(
            f"model: expected a whole network with global_pool 'avg', got {model.global_pool!r} and"
            f" a neck of {type(model.neck).__name__}"
        )
    stem = model.stem
    order = source_of_shuffles(stem.shuffle, stem.row.out_channels, stem.row.weight.device)
    merged = MergedConvolution(stem.column, stem.norm1, stem.row, stem.norm2, order)
    order, blocks = order.sort().values, []
    for stage in model.stages:
        for block in stage.get_submodule("blocks").children():
            made, order = fast_block(block, order)
            blocks.append(made)
    neck = cast(NormedLinear, model.neck[1])
    head = [nn.Hardswish(), *linear_layers(neck, order)]
    if isinstance(model.head, NormedLinear):
        head += linear_layers(model.head, torch.arange(model.head_hidden_size, device=order.device))
    return FastMicroNet(nn.Sequential(merged, ReLU6InPlace()), blocks, head).eval().requires_grad_(False)


def fast_block(block: nn.Module, order: Tensor) -> tuple[FastBlock, Tensor]:
    """Return the fast form of a plain block for maps in ``order``, and the order of the maps behind it."""
    chain = list(block.children())  # the layers of a block are defined in the order in which they run
    skip = bool(getattr(block, "skip", False))
    layers: list[nn.Module] = []
    behind = order
    for i, layer in enumerate(chain):
        made, behind = fast_layers(layer, behind, chain[i + 2 :])
        layers += made
    if skip and not torch.equal(behind, order):
        layers.append(Gather(behind.argsort()[order]))
        behind = order
    return FastBlock(layers, skip=skip), behind


def fast_layers(layer: nn.Module, order: Tensor, rest: Sequence[nn.Module]) -> Layers:
    """Return what a layer of a plain block becomes for maps in ``order``; ``rest`` comes behind its activation."""
    if isinstance(layer, GroupedPointwise):
        return pointwise_layers(layer, order, rest)
    if isinstance(layer, MicroDepthwise):
        copies = layer.row.out_channels // layer.column.in_channels
        order = (order[:, None] * copies + slanted(len(order), copies, order.device)).flatten()
        return [MergedConvolution(layer.column, layer.norm1, layer.row, layer.norm2, order)], order
    if isinstance(layer, DynamicShiftMax):
        return [InPlaceShiftMax(layer, order)], order
    if isinstance(layer, nn.ReLU6):
        return [ReLU6InPlace()], order
    if not isinstance(layer, ChannelShuffle | nn.Sequential | nn.Identity):
        raise ValueError(f"model: expected the layers of a MicroNet, got a {type(layer).__name__}")
    return [], source_of_shuffles(layer, len(order), order.device).argsort()[order]


def pointwise_layers(layer: GroupedPointwise, order: Tensor, rest: Sequence[nn.Module]) -> Layers:
    """Return a dense matrix that reads maps in ``order``."""
    conv = layer.conv
    scale, shift = scale_and_shift(layer.norm)
    if conv.out_channels > conv.in_channels:
        each = conv.out_channels // conv.groups
        first = torch.arange(conv.groups, device=order.device)[:, None] * each
        rows = (first + slanted(conv.groups, each, order.device)).flatten()
    else:  # so that behind the last shuffle the order is the plain one
        rows = source_of_shuffles(nn.Sequential(*rest), conv.out_channels, order.device)
    dense = nn.Linear(conv.in_channels, conv.out_channels)
    return [filled(dense, (dense_matrix(conv) * scale[:, None])[rows][:, order], shift[rows])], rows


def slanted(blocks: int, size: int, device: torch.device) -> Tensor:
    """Return (blocks, size): which channel of each block stands at each place, moved on by one from block to block."""
    return (torch.arange(size, device=device) + torch.arange(blocks, device=device)[:, None]) % size


def linear_layers(layer: NormedLinear, order: Tensor) -> list[nn.Module]:
    """Return a linear layer that reads features in ``order``, with its batch norm folded in, and its activation."""
    linear = layer.linear
    weight: Tensor = linear.weight[:, order]
    bias: Tensor = linear.bias
    if isinstance(layer.norm, nn.BatchNorm1d):
        scale, shift = scale_and_shift(layer.norm)
        weight, bias = weight * scale[:, None], bias * scale + shift
    fast = filled(nn.Linear(linear.in_features, linear.out_features), weight, bias)
    return [fast, copy.deepcopy(layer.act)]


def filled(layer: nn.Module, weight: Tensor, bias: Tensor) -> nn.Module:
    """Return the layer with a copy of these weights, in their type and place."""
    layer.weight, layer.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())
    return layer


def scale_and_shift(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return what a batch norm in evaluation mode multiplies by and adds."""
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    scale = norm.weight / torch.sqrt(variance + norm.eps)
    return scale, norm.bias - mean * scale


def source_of_shuffles(shuffles: nn.Module, channels: int, device: torch.device) -> Tensor:
    """Return for each channel behind shuffles the channel in front from which it comes."""
    return shuffles(torch.arange(channels, device=device)[None, :, None, None]).flatten()
