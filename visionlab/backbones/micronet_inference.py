"""The same function as a `MicroNet` in evaluation mode, made fast: fewer, larger operations without any shuffle.

Multiply-adds are not time: a MicroNet spends most of its own on small grouped convolutions, shuffles and gathers. Here

* batch norms are folded into the weights in front of them;
* column and row of a depthwise pair become one k x k kernel. Zeros are padded *between* the two, so that what the first
  batch norm adds is missing beyond the left and right border: the merged bias depends on the column;
* a channel shuffle moves no data. Maps keep the order of channels in which they come, and each layer's weights are laid
  out for it. Only where a pointwise factor stays grouped its channels are gathered into groups;
* pointwise factors become one dense matrix, mostly zeros, where that is faster than a loop over groups.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from visionlab.backbones.micronet import MicroNet
from visionlab.backbones.micronet_blocks import NormedLinear
from visionlab.backbones.micronet_factorized import GroupedPointwise, MicroDepthwise, dense_matrix
from visionlab.backbones.micronet_shiftmax import DynamicShiftMax, circular_shift, shift_max

__all__ = ["DENSE", "FastMicroNet", "Gather", "GatheredShiftMax", "MergedConvolution", "inference_form"]

DENSE = 8192
"""Entries of a matrix up to which it is stored dense.

M0 to M3 at batch 1 and 8, one and two threads of a CPU, plain over fast: 1.22 to 1.71 with 8,192 (two runs); 1.22 to
1.37 with everything grouped; 1.08 to 1.55 with everything dense, which is the best for M0 and the worst for M3.
"""
Layers = tuple[list[nn.Module], Tensor]
"""Layers, and which channel of the plain network stands at each place of the maps behind them."""


class Gather(nn.Module):
    """Put channel ``index[i]`` in place i."""

    index: Tensor

    def __init__(self, index: Tensor) -> None:
        super().__init__()
        self.register_buffer("index", index)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Return the channels in their new order."""
        return x.index_select(1, self.index)


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
    row: Tensor
    between: Tensor
    behind: Tensor

    def __init__(
        self, column: nn.Conv2d, norm1: nn.BatchNorm2d, row: nn.Conv2d, norm2: nn.BatchNorm2d, order: Tensor
    ) -> None:
        super().__init__()
        (scale1, shift1), (scale2, shift2) = scale_and_shift(norm1), scale_and_shift(norm2)
        source = torch.arange(row.out_channels, device=order.device) // (row.out_channels // row.in_channels)
        rows = row.weight * scale2[:, None, None, None]
        kernel = (column.weight * scale1[:, None, None, None])[source] * rows
        self.register_buffer("kernel", kernel[order])
        self.register_buffer("row", rows[order])
        self.register_buffer("between", shift1[source][order][None, :, None, None])
        self.register_buffer("behind", shift2[order])
        self.stride, self.padding, self.groups = column.stride[0], row.kernel_size[1] // 2, column.groups

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Return the convolved maps."""
        line = self.between.expand(-1, -1, -1, x.shape[3])
        stride, padding = (1, self.stride), (0, self.padding)
        bias = F.conv2d(line, self.row, self.behind, stride=stride, padding=padding, groups=len(self.row))
        return F.conv2d(x, self.kernel, stride=self.stride, padding=self.padding, groups=self.groups) + bias


class GatheredShiftMax(nn.Module):
    """`DynamicShiftMax` for maps whose channels come in another order: the shift gathers.

    Args:
        layer: of the plain network.
        order: which of its channels stands at each place.
    """

    def __init__(self, layer: DynamicShiftMax, order: Tensor) -> None:
        super().__init__()
        self.coefficients = copy.deepcopy(layer.coefficients)
        fc1, fc2 = self.coefficients.fc1, self.coefficients.fc2
        fc1.weight = nn.Parameter(fc1.weight[:, order])
        fc2.weight = nn.Parameter(fc2.weight.unflatten(0, (-1, len(order)))[:, order].flatten(0, 1))
        fc2.bias = nn.Parameter(fc2.bias.unflatten(0, (-1, len(order)))[:, order].flatten())
        self.shift: nn.Module | None = None
        if layer.shifts == 2:
            shift = circular_shift(
                torch.arange(len(order), device=order.device)[None, :, None, None], layer.groups
            ).flatten()
            self.shift = Gather(order.argsort()[shift[order]])

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Return the activated maps, in the order of ``x``."""
        maps = [x] if self.shift is None else [x, self.shift(x)]
        return shift_max(maps, self.coefficients(x))


class FastBlock(nn.Module):
    """Layers in a chain, with a skip around them where the plain block has one."""

    def __init__(self, layers: Sequence[nn.Module], *, skip: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.skip = skip

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Run the block on a map."""
        y = self.layers(x)
        return x + y if self.skip else y


class FastMicroNet(nn.Module):
    """Stem, blocks and head as `inference_form` lays them out; images (B, in_chans, H, W) to logits."""

    def __init__(self, stem: nn.Module, blocks: Sequence[nn.Module], head: Sequence[nn.Module]) -> None:
        super().__init__()
        self.stem = stem
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(*head)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        """Classify normalised images: what the plain network returns in evaluation mode."""
        return self.head(F.relu6(self.blocks(self.stem(x))).mean((2, 3)))


@torch.no_grad()
def inference_form(model: MicroNet, *, dense: int | None = DENSE) -> FastMicroNet:
    """Return a module that computes what ``model`` computes in evaluation mode, faster; ``model`` stays as it is.

    Args:
        model: a network that pools ("avg").
        dense: the largest number of entries of a pointwise factor's matrix that is stored dense; ``None`` makes all of
            them dense, which leaves no reordering of channels but the shift of Dynamic Shift-Max.

    Raises:
        ValueError: if the network does not pool its last map.
    """
    if model.global_pool != "avg":
        raise ValueError(f"model: expected a network with global_pool 'avg', got {model.global_pool!r}")
    stem = model.stem
    device = stem.row.weight.device
    order = torch.arange(stem.row.out_channels, device=device)
    merged = MergedConvolution(stem.column, stem.norm1, stem.row, stem.norm2, order)
    order = behind_shuffles(stem.shuffle, order)
    blocks = []
    for stage in model.stages:
        for block in stage.get_submodule("blocks").children():
            made, order = fast_block(block, order, dense)
            blocks.append(made)
    neck = cast(NormedLinear, model.neck[1])  # type: ignore[index]
    head = [nn.Hardswish(), *linear_layers(neck, order)]
    if isinstance(model.head, NormedLinear):
        head += linear_layers(model.head, torch.arange(model.head_hidden_size, device=device))
    return FastMicroNet(nn.Sequential(merged, nn.ReLU6()), blocks, head).eval().requires_grad_(False)


def fast_block(block: nn.Module, order: Tensor, dense: int | None) -> tuple[FastBlock, Tensor]:
    """Return the fast form of a plain block for maps in ``order``, and the order of the maps behind it."""
    chain = list(block.children())  # the layers of a block are defined in the order in which they run
    skip = bool(getattr(block, "skip", False))
    layers: list[nn.Module] = []
    behind = order
    for layer in chain:
        # Squeezed channels are wanted in an order that behind activation and shuffle is that of the block's input.
        squeezes = skip and layer is chain[-3]
        rows = source_of_shuffles(chain[-1], len(order)).to(order.device)[order] if squeezes else None
        made, behind = fast_layers(layer, behind, dense, rows)
        layers += made
    if skip and not torch.equal(behind, order):
        layers.append(Gather(behind.argsort()[order]))
        behind = order
    return FastBlock(layers, skip=skip), behind


def fast_layers(layer: nn.Module, order: Tensor, dense: int | None, rows: Tensor | None) -> Layers:
    """Return what one layer of a plain block becomes for maps in ``order``; ``rows`` is the order wanted behind it."""
    if isinstance(layer, GroupedPointwise):
        return pointwise_layers(layer, order, dense, rows)
    if isinstance(layer, MicroDepthwise):
        copies = layer.row.out_channels // layer.column.in_channels
        order = (order[:, None] * copies + torch.arange(copies, device=order.device)).flatten()
        return [MergedConvolution(layer.column, layer.norm1, layer.row, layer.norm2, order)], order
    if isinstance(layer, DynamicShiftMax):
        return [GatheredShiftMax(layer, order)], order
    if isinstance(layer, nn.ReLU6):
        return [nn.ReLU6()], order
    return [], behind_shuffles(layer, order)


def pointwise_layers(layer: GroupedPointwise, order: Tensor, dense: int | None, rows: Tensor | None) -> Layers:
    """Return a dense 1x1 convolution that reads maps in ``order``, or one in groups with a gather in front."""
    conv = layer.conv
    scale, shift = scale_and_shift(layer.norm)
    plain = torch.arange(conv.out_channels, device=order.device)
    if dense is None or conv.in_channels * conv.out_channels <= dense:
        rows = plain if rows is None else rows
        weight = (dense_matrix(conv) * scale[:, None])[rows][:, order]
        return [filled(nn.Conv2d(conv.in_channels, conv.out_channels, 1), weight[..., None, None], shift[rows])], rows
    grouped = nn.Conv2d(conv.in_channels, conv.out_channels, 1, groups=conv.groups)
    layers = [] if torch.equal(order, order.sort().values) else [Gather(order.argsort())]
    return [*layers, filled(grouped, conv.weight * scale[:, None, None, None], shift)], plain


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
    """Return the layer with these weights, in their type and place."""
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
    return layer


def scale_and_shift(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return what a batch norm in evaluation mode multiplies by and adds."""
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    scale = norm.weight / torch.sqrt(variance + norm.eps)
    return scale, norm.bias - mean * scale


def source_of_shuffles(shuffles: nn.Module, channels: int) -> Tensor:
    """Return for each channel behind shuffles the channel in front from which it comes."""
    return shuffles(torch.arange(channels)[None, :, None, None]).flatten()


def behind_shuffles(shuffles: nn.Module, order: Tensor) -> Tensor:
    """Return which channel behind shuffles each place holds, if it holds channel ``order`` in front of them."""
    return source_of_shuffles(shuffles, len(order)).to(order.device).argsort()[order]
