"""Small MicroNets and the networks they are measured against, in one frame (arXiv 2108.05894, its ablations).

Every network here has the stem, strides, kernels, expansion and head of `micronet_nano`, and differs from its
neighbour in one thing. So a gap between two of them has one cause:

==============================  ====================================================================================
a MobileNetV2                   inverted residuals: dense pointwise, k x k depthwise convolutions, ReLU6
a MobileNetV3                   the same with squeeze-and-excite behind the depthwise convolutions, and h-swish
\\+ factorized pointwise         P Phi Q^T instead of dense matrices; what that saves buys width
\\+ factorized depthwise         k x 1 and 1 x k instead of k x k
\\+ lite combination             the first two blocks expand in the depthwise factor
\\+ static Shift-Max             with coefficients that are learnt and then fixed
a MicroNet                      Dynamic Shift-Max: the coefficients depend on the image
==============================  ====================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from visionlab.backbones.micronet import MicroNet
from visionlab.backbones.micronet_blocks import MicroBlock, Row, initialise
from visionlab.backbones.micronet_factorized import MicroDepthwise, pointwise_groups
from visionlab.backbones.micronet_shiftmax import ACT_MAX, Coefficients, DynamicShiftMax, Offsets, coefficient_width

__all__ = ["RIVALS", "Design", "PlainDepthwise", "SqueezeExcite", "StaticCoefficients", "micronet_nano"]

EXPANSION, STRIDES, KERNELS = 4, (2, 2, 1, 2, 1), (3, 3, 5, 5, 3)  # of the five blocks
SE_REDUCTION = 4  # of MobileNetV3
SHIFTED: Offsets = ((1.0, 0.0), (0.5, 0.5))  # those of M3: unlike M0's, they bend from the first step on
UNSHIFTED: Offsets = ((1.0,), (0.5,))

Activation = Literal["ReLU6", "h-swish", "squeeze-excite", "Dynamic ReLU", "static Shift-Max", "Dynamic Shift-Max"]


@dataclass(frozen=True, kw_only=True)
class Design:
    """One network of the frame.

    Args:
        stem: (o1, o2), see `micronet_blocks.Stem`.
        widths: channels behind each of the five blocks.
        last: channels of the last expansion.
        factorized: what is: "pointwise" convolutions, or "both" kinds; none in a MobileNet.
        lite: how many blocks, from the first, are of the lite combination.
        activation: in the blocks. "h-swish" has squeeze-and-excite behind each depthwise convolution, as MobileNetV3.
    """

    stem: tuple[int, int] = (2, 2)
    widths: tuple[int, int, int, int, int] = (8, 12, 16, 32, 32)
    last: int = 96
    factorized: Literal["", "pointwise", "both"] = "both"
    lite: int = 2
    activation: Activation = "Dynamic Shift-Max"

    def rows(self) -> list[Row]:
        """Return the table of the network; the groups are those that `pointwise_groups` derives, or 1."""
        y = (0, 0, 0) if self.activation in ("ReLU6", "h-swish") else (2, 2, 1)
        groups: Callable[[int, int], int] = pointwise_groups if self.factorized else lambda narrow, wide: 1
        channels, rows = self.stem[0] * self.stem[1], []
        for i, (out, stride, kernel) in enumerate(zip(self.widths, STRIDES, KERNELS, strict=True)):
            hidden = EXPANSION * channels
            lite, expand, squeeze = i < self.lite, groups(channels, hidden), groups(hidden, out)
            # The shuffle of an A block stands where its depthwise factor has EXPANSION copies of each channel.
            outer = (0, channels) if lite else (expand, expand)
            kind: Literal["A", "C"] = "A" if lite else "C"
            rows.append(Row(kind, (2, EXPANSION // 2), out, stride, kernel, outer, (squeeze, squeeze), y, 1))
            channels = out
        expand = groups(channels, self.last)
        return [*rows, Row("last", (1, EXPANSION), self.last, 1, 3, (expand, expand), (0, 0), y, 1)]

    def build(self, num_classes: int) -> MicroNet:
        """Return the network with new weights; the logits are plain, without batch norm."""
        offsets = UNSHIFTED if self.activation == "Dynamic ReLU" else SHIFTED
        network = MicroNet(
            num_classes=num_classes, stem=self.stem, rows=self.rows(), head_width=128, offsets=offsets,
            normed_logits=False,
        )  # fmt: skip
        for stage in network.stages:
            for block in stage.get_submodule("blocks").children():
                for name, layer in list(block.named_children()):
                    setattr(block, name, self._in_place_of(layer))
                if self.activation == "h-swish" and isinstance(block, MicroBlock):
                    channels = cast(PlainDepthwise, block.depthwise).conv.out_channels
                    hidden = coefficient_width(channels, SE_REDUCTION)
                    block.act2 = SqueezeExcite(channels, hidden=hidden, act=block.act2)
        return network

    def _in_place_of(self, layer: nn.Module) -> nn.Module:
        """Return what this design has where the whole MicroNet has a layer of a block."""
        if isinstance(layer, MicroDepthwise) and self.factorized != "both":
            return PlainDepthwise(layer)
        if isinstance(layer, nn.ReLU6) and self.activation == "h-swish":
            return nn.Hardswish()
        if isinstance(layer, DynamicShiftMax) and self.activation == "squeeze-excite":
            return SqueezeExcite.in_place_of(layer)
        if isinstance(layer, DynamicShiftMax) and self.activation == "static Shift-Max":
            layer.coefficients = cast(Coefficients, StaticCoefficients(layer.coefficients))
        return layer


class PlainDepthwise(nn.Module):
    """A k x k depthwise convolution and batch norm, in place of a pair of column and row.

    Args:
        pair: the pair; channels, kernel and stride are its own.
    """

    def __init__(self, pair: MicroDepthwise) -> None:
        super().__init__()
        channels, kernel, stride = pair.column.in_channels, pair.column.kernel_size[0], pair.column.stride[0]
        self.conv = nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.normal_(self.conv.weight, std=(2 / (kernel * kernel * channels)) ** 0.5)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Return maps of as many channels, smaller by the stride (rounded up)."""
        return self.norm(self.conv(x))


class SqueezeExcite(nn.Module):
    """An activation, then a gate for each channel that depends on the image: MobileNetV3's, with hard sigmoid.

    Args:
        channels: of the maps.
        hidden: width between the two linear layers.
        act: the activation.
    """

    def __init__(self, channels: int, *, hidden: int, act: nn.Module) -> None:
        super().__init__()
        self.act = act
        self.fc1, self.fc2 = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
        self.apply(initialise)

    @classmethod
    def in_place_of(cls, layer: DynamicShiftMax) -> SqueezeExcite:
        """Return one as wide as Dynamic Shift-Max: with ReLU6, or without where that has its linear form."""
        branch = layer.coefficients
        act = nn.ReLU6() if len(branch.offsets) > 1 else nn.Identity()
        return cls(branch.fc1.in_features, hidden=branch.fc1.out_features, act=act)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Return the activated maps, each times its gate."""
        x = self.act(x)
        return x * F.hardsigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3))))))[..., None, None]


class StaticCoefficients(nn.Module):
    """Coefficients of a Shift-Max that are learnt and do not depend on the image.

    Args:
        branch: whose place they take; range and offsets are its own.
    """

    offsets: Tensor

    def __init__(self, branch: Coefficients) -> None:
        super().__init__()
        self.register_buffer("offsets", branch.offsets, persistent=False)
        branches, shifts, _ = branch.offsets.shape
        # Not zero: branches of the maximum that begin equal would stay so.
        self.raw = nn.Parameter(0.3 * torch.randn(branches, shifts, branch.fc1.in_features))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b branches shifts c"]:
        """Return the same coefficients for each of the images, in [offset - 2, offset + 2]."""
        a = 2 * ACT_MAX * (F.hardsigmoid(self.raw) - 0.5) + self.offsets
        return a.expand(len(x), -1, -1, -1)


PLAIN: dict[str, Any] = {"factorized": "", "lite": 0}
WIDER: dict[str, Any] = {"stem": (4, 2)}
RIVALS = {
    "MobileNet": Design(widths=(4, 6, 8, 18, 18), activation="ReLU6", **PLAIN),
    "MobileNetV3": Design(widths=(4, 6, 8, 18, 18), activation="h-swish", **PLAIN),
    "+ factorized pointwise": Design(factorized="pointwise", lite=0, activation="ReLU6"),
    "+ factorized depthwise": Design(widths=(8, 16, 20, 40, 40), last=128, lite=0, activation="ReLU6"),
    "+ lite combination": Design(widths=(16, 20, 24, 48, 48), last=128, activation="ReLU6"),
    "+ static Shift-Max": Design(widths=(8, 12, 20, 40, 40), activation="static Shift-Max"),
    "MicroNet": Design(),
    "MicroNet, ReLU6": Design(activation="ReLU6"),
    "MicroNet, squeeze-excite": Design(activation="squeeze-excite"),
    "MicroNet, Dynamic ReLU": Design(activation="Dynamic ReLU"),
    "narrow MicroNet": Design(widths=(4, 8, 8, 16, 16), last=64),
    "wide MicroNet": Design(widths=(16, 24, 32, 64, 64), last=256, **WIDER),
    "wide MobileNet": Design(widths=(8, 10, 14, 24, 24), activation="ReLU6", **WIDER, **PLAIN),
}
"""At 64 pixels all have about 0.39 M multiply-adds, with those of Shift-Max, but for the narrow one (0.24 M), the two
wide ones (0.95 M), and "MicroNet" with another activation in its own widths, which costs less."""


def micronet_nano(num_classes: int = 10) -> MicroNet:
    """Return a small MicroNet for images of 64 pixels: 60 k parameters, 0.39 M multiply-adds with Shift-Max."""
    return RIVALS["MicroNet"].build(num_classes)
