"""The blocks of MicroNet (arXiv 2108.05894): stem, Micro-Block A, Micro-Blocks B and C, last expansion.

Every block is a chain of a few named layers, with a shuffle behind every activation. Which shuffle depends on the
activations, as in the published code: where a Dynamic Shift-Max has mixed neighbouring groups, another shuffle follows.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from visionlab.backbones.micronet_factorized import ChannelShuffle, GroupedPointwise, MicroDepthwise, check_groups
from visionlab.backbones.micronet_shiftmax import DynamicShiftMax, Offsets, coefficient_width

__all__ = ["LastExpansion", "LiteBlock", "MicroBlock", "NormedLinear", "Row", "Stem", "build_block", "initialise"]

REDUCTION = 8  # of the coefficient branches, times the row's own


class Row(NamedTuple):
    """One row of the table of configurations.

    Args:
        kind: "A" is the lite combination, which expands in the depthwise factor; "B" and "C", the same in code, are the
            regular one; "last" only expands.
        expansion: (c1, c2), by which column and row of an A block multiply the channels; elsewhere c1 * c2 counts.
        out: channels behind the block; of the last row the expanded ones.
        stride: of the depthwise factor.
        kernel: k of the depthwise factor.
        groups: (g1, g2), of the expanding pointwise factor and of the shuffle behind it; g1 is 0 in an A block.
        out_groups: (g3, g4), the same of the squeezing factor; 0 in the last row.
        activations: y1, y2, y3, after the expanding pointwise, the depthwise, and the squeezing pointwise factor:
            2 is Dynamic Shift-Max, 1 its linear form, 0 ReLU6 (for y3: nothing). In the last row y3 > 0 asks for the
            linear form.
        reduction: r; the coefficient branches are 8 r times narrower than their channels.
    """

    kind: Literal["A", "B", "C", "last"]
    expansion: tuple[int, int]
    out: int
    stride: int
    kernel: int
    groups: tuple[int, int]
    out_groups: tuple[int, int]
    activations: tuple[int, int, int]
    reduction: int


def activation(level: int, channels: int, groups: int, reduction: int, offsets: Offsets) -> nn.Module:
    """Return the activation of a level: 0 ReLU6, 1 the linear form of Dynamic Shift-Max, 2 Dynamic Shift-Max.

    Raises:
        ValueError: if ``level`` is another number.
    """
    if level == 0:
        return nn.ReLU6()
    if level not in (1, 2):
        raise ValueError(f"activations: expected 0, 1 or 2, got {level}")
    # The linear form keeps its own offsets, 1 for the channel and 0 for the shifted one, in every variant.
    chosen = [(1.0, 0.0)[: len(offsets[0])]] if level == 1 else offsets
    return DynamicShiftMax(channels, groups, hidden=coefficient_width(channels, reduction), offsets=chosen)


def shuffles(channels: int, *groups: int) -> nn.Sequential:
    """Return channel shuffles one after another; each number of groups must divide the channels."""
    for number in groups:
        check_groups("groups of a shuffle", channels, number)
    return nn.Sequential(*(ChannelShuffle(number) for number in groups))


class Stem(nn.Module):
    """A dense column 3 x 1, a row 1 x 3 in groups, both of stride 2, shuffle, ReLU6; image to (B, o1 * o2, H/2, W/2).

    Args:
        in_chans: image channels.
        widths: (o1, o2); the column has o1 channels, and the row gives o2 for each.
    """

    def __init__(self, in_chans: int, widths: tuple[int, int]) -> None:
        super().__init__()
        middle, out_chans = widths[0], widths[0] * widths[1]
        self.column = nn.Conv2d(in_chans, middle, (3, 1), stride=(2, 1), padding=(1, 0), bias=False)
        self.norm1 = nn.BatchNorm2d(middle)
        self.row = nn.Conv2d(middle, out_chans, (1, 3), stride=(1, 2), padding=(0, 1), groups=middle, bias=False)
        self.norm2 = nn.BatchNorm2d(out_chans)
        self.shuffle = ChannelShuffle(middle)
        self.act = nn.ReLU6()

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Embed images (B, in_chans, H, W) of at least one pixel; sides are halved, rounding up."""
        if x.ndim != 4 or x.shape[1] != self.column.in_channels or min(x.shape[2:]) < 1:
            raise ValueError(
                f"x: expected images (B, {self.column.in_channels}, H, W) with H, W >= 1, got shape {tuple(x.shape)}"
            )
        return self.act(self.shuffle(self.norm2(self.row(self.norm1(self.column(x))))))


class LiteBlock(nn.Module):
    """Micro-Block A, the lite combination: the depthwise factor expands the channels, one pointwise factor squeezes.

    It saves the expanding pointwise factor where maps are large, and spends it on spatial filters.
    """

    def __init__(self, in_chans: int, row: Row, offsets: Offsets) -> None:
        super().__init__()
        (c1, c2), (_, g2), (g3, g4) = row.expansion, row.groups, row.out_groups
        _, y2, y3 = row.activations
        hidden, rho = in_chans * c1 * c2, REDUCTION * row.reduction
        self.depthwise = MicroDepthwise(in_chans, kernel=row.kernel, stride=row.stride, expansion=row.expansion)
        self.act1 = activation(y2, hidden, g2, rho, offsets)
        self.shuffle1 = shuffles(hidden, g2, *([hidden // 2] if y2 else []))
        self.squeeze = GroupedPointwise(hidden, row.out, g3)
        self.act2 = activation(y3, row.out, g4, rho // 2, offsets) if y3 else nn.Identity()
        self.shuffle2 = shuffles(row.out, g4, *([row.out // 2] if y3 and row.out % 2 == 0 else []))
        self.skip = row.stride == 1 and in_chans == row.out

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Run the block on a map."""
        y = self.shuffle1(self.act1(self.depthwise(x)))
        y = self.shuffle2(self.act2(self.squeeze(y)))
        return x + y if self.skip else y


class MicroBlock(nn.Module):
    """Micro-Blocks B and C, the regular combination: pointwise factor that expands, depthwise, one that squeezes."""

    def __init__(self, in_chans: int, row: Row, offsets: Offsets) -> None:
        super().__init__()
        (c1, c2), (g1, g2), (g3, g4) = row.expansion, row.groups, row.out_groups
        y1, y2, y3 = row.activations
        hidden, rho = in_chans * c1 * c2, REDUCTION * row.reduction
        self.expand = GroupedPointwise(in_chans, hidden, g1)
        self.act1 = activation(y1, hidden, g2, rho, offsets)
        self.shuffle1 = shuffles(hidden, g2)
        self.depthwise = MicroDepthwise(hidden, kernel=row.kernel, stride=row.stride)
        # The shuffle has transposed the groups: what were g2 groups of hidden/g2 channels are hidden/g2 groups of g2.
        self.act2 = activation(y2, hidden, hidden // g2, rho, offsets)
        mixed = (y1 > 0) + (y2 > 0)
        self.shuffle2 = shuffles(hidden, *([hidden // (2 * mixed)] if mixed else []))
        self.squeeze = GroupedPointwise(hidden, row.out, g3)
        self.act3 = activation(y3, row.out, g4, rho // 2 if row.out < hidden else rho, offsets) if y3 else nn.Identity()
        self.shuffle3 = shuffles(row.out, g4, *([row.out // 2] if y3 else []))
        self.skip = row.stride == 1 and in_chans == row.out

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Run the block on a map."""
        y = self.shuffle1(self.act1(self.expand(x)))
        y = self.shuffle2(self.act2(self.depthwise(y)))
        y = self.shuffle3(self.act3(self.squeeze(y)))
        return x + y if self.skip else y


class LastExpansion(nn.Module):
    """The last row, P of the last product: a pointwise factor that expands, and the linear form if y3 > 0."""

    def __init__(self, in_chans: int, row: Row, offsets: Offsets) -> None:
        super().__init__()
        g1, g2 = row.groups
        self.expand = GroupedPointwise(in_chans, row.out, g1)
        linear = row.activations[2] > 0
        self.act = activation(1, row.out, g2, REDUCTION * row.reduction, offsets) if linear else nn.Identity()

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """Run the block on a map."""
        return self.act(self.expand(x))


def build_block(in_chans: int, row: Row, offsets: Offsets) -> nn.Module:
    """Return the block of a row of the table.

    Raises:
        ValueError: if the row names another kind, or a number of groups does not divide its channels.
    """
    kinds: dict[str, type[LiteBlock] | type[MicroBlock] | type[LastExpansion]] = {
        "A": LiteBlock,
        "B": MicroBlock,
        "C": MicroBlock,
        "last": LastExpansion,
    }
    if row.kind not in kinds:
        raise ValueError(f"kind: expected one of {', '.join(kinds)}, got {row.kind!r}")
    try:
        return kinds[row.kind](in_chans, row, offsets)
    except ValueError as error:
        raise ValueError(f"block {row.kind} of {in_chans} to {row.out} channels: {error}") from error


class NormedLinear(nn.Module):
    """A linear layer, batch norm and h-swish over the last axis of any number of rows; without norm, linear alone.

    Args:
        in_features: width before.
        out_features: width after.
        normed: whether batch norm and h-swish follow.
    """

    def __init__(self, in_features: int, out_features: int, *, normed: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)
        self.norm: nn.Module = nn.BatchNorm1d(out_features) if normed else nn.Identity()
        self.act: nn.Module = nn.Hardswish() if normed else nn.Identity()

    def forward(self, x: Float[Tensor, "*rows c"]) -> Float[Tensor, "*rows d"]:
        """Return features (…, out_features).

        Raises:
            ValueError: in training mode, if there is one row only, of which batch norm has no variance.
        """
        y = self.linear(x)
        if self.training and isinstance(self.norm, nn.BatchNorm1d) and y.shape[:-1].numel() < 2:
            raise ValueError("x: batch norm of the head needs at least 2 images in training mode, got 1")
        return self.act(self.norm(y.flatten(0, -2)).unflatten(0, y.shape[:-1]))


def initialise(module: nn.Module) -> None:
    """Initialise as published: kernels by their fan-out, not divided by groups; linear layers nearly zero."""
    if isinstance(module, nn.Conv2d):
        height, width = module.kernel_size
        nn.init.normal_(module.weight, std=(2 / (height * width * module.out_channels)) ** 0.5)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)
