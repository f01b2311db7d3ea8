"""Micro-factorized convolution (MicroNet, arXiv 2108.05894): low-rank products of sparse matrices, and their wiring.

A pointwise convolution, a C x C matrix W, becomes W = P Phi Q^T: Q squeezes C channels to C/R in G groups, the
permutation Phi shuffles, P expands in G groups. A depthwise k x k kernel becomes a column k x 1 times a row 1 x k.

`MicroFactorizedPointwise` shows the whole product in one layer. The network cuts the chain of layers at the narrow
point, as the published code does: a `GroupedPointwise` that expands is P of a product, the one that squeezes before it
its Q^T.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

__all__ = [
    "ChannelShuffle",
    "GroupedPointwise",
    "MicroDepthwise",
    "MicroFactorizedPointwise",
    "Wiring",
    "channel_shuffle",
    "check_groups",
    "dense_matrix",
    "pointwise_groups",
    "wiring",
]


def check_groups(name: str, channels: int, groups: int) -> None:
    """Raise a ValueError that names both numbers unless ``groups`` >= 1 divides ``channels``."""
    if groups < 1 or channels % groups:
        raise ValueError(f"{name}: expected groups that divide {channels} channels, got {groups}")


def pointwise_groups(in_chans: int, out_chans: int) -> int:
    """Return the number of groups of one factor of a pointwise convolution: G = sqrt(C/R), made to divide.

    The narrower of the two widths is C/R. Among the divisors of both widths, a factor that squeezes takes the nearest
    to the root, the smaller of two as near, and one that expands the nearest above: all groups of the published tables
    follow from that.
    """
    if min(in_chans, out_chans) < 1:
        raise ValueError(f"in_chans, out_chans: expected whole numbers >= 1, got {in_chans} and {out_chans}")
    narrow, common = min(in_chans, out_chans), math.gcd(in_chans, out_chans)
    root = math.sqrt(narrow)
    divisors = [d for d in range(1, common + 1) if common % d == 0]
    if out_chans > in_chans:
        return min((d for d in divisors if d >= root), default=common)
    return min(divisors, key=lambda d: abs(d - root))


def channel_shuffle(x: Shaped[Tensor, "b c h w"], groups: int) -> Shaped[Tensor, "b c h w"]:
    """Deal the channels of (B, C, H, W) out: out[k * groups + i] = in[i * C/groups + k]; the permutation Phi.

    Raises:
        ValueError: if ``groups`` does not divide C.
    """
    check_groups("channel_shuffle", x.shape[1], groups)
    return rearrange(x, "b (i k) h w -> b (k i) h w", i=groups)


class ChannelShuffle(nn.Module):
    """`channel_shuffle` as a layer; one group leaves the channels as they are."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Shaped[Tensor, "b c h w"]) -> Shaped[Tensor, "b c h w"]:
        """Return the channels in their new order."""
        return channel_shuffle(x, self.groups)

    def extra_repr(self) -> str:
        """Show the groups when the layer is printed."""
        return f"groups={self.groups}"


class GroupedPointwise(nn.Module):
    """A 1x1 convolution in groups without bias, then batch norm: one factor (P or Q^T) of a pointwise convolution.

    Raises:
        ValueError: if ``groups`` does not divide both widths.
    """

    def __init__(self, in_chans: int, out_chans: int, groups: int) -> None:
        super().__init__()
        check_groups("groups of a pointwise factor, input", in_chans, groups)
        check_groups("groups of a pointwise factor, output", out_chans, groups)
        self.conv = nn.Conv2d(in_chans, out_chans, 1, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out_chans)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """Return maps of ``out_chans`` channels."""
        return self.norm(self.conv(x))


class MicroDepthwise(nn.Module):
    """Micro-factorized depthwise convolution: a column k x 1, then a row 1 x k, each with batch norm.

    Nothing bends between the two, so each channel's kernel is their outer product, of rank 1. Either factor may
    multiply the channels (the lite combination): the j-th copy of channel i is channel i * expansion + j.

    Args:
        in_chans: channels C.
        kernel: k, odd.
        stride: of the map; the column halves the height, the row the width.
        expansion: (c1, c2), by which column and row multiply the channels.

    Raises:
        ValueError: if ``kernel`` is even.
    """

    def __init__(self, in_chans: int, *, kernel: int, stride: int = 1, expansion: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel: expected an odd number >= 1, got {kernel}")
        middle = in_chans * expansion[0]
        out_chans, half = middle * expansion[1], kernel // 2
        self.column = nn.Conv2d(
            in_chans, middle, (kernel, 1), stride=(stride, 1), padding=(half, 0), groups=in_chans, bias=False
        )
        self.norm1 = nn.BatchNorm2d(middle)
        self.row = nn.Conv2d(
            middle, out_chans, (1, kernel), stride=(1, stride), padding=(0, half), groups=middle, bias=False
        )
        self.norm2 = nn.BatchNorm2d(out_chans)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Return maps of C * c1 * c2 channels, smaller by the stride (rounded up)."""
        return self.norm2(self.row(self.norm1(self.column(x))))


class MicroFactorizedPointwise(nn.Module):
    """A pointwise convolution C -> C as W = P Phi Q^T, in one layer.

    Args:
        channels: C.
        reduction: R; the hidden width is C/R.
        groups: G; None derives it from C/R by `pointwise_groups`.

    Raises:
        ValueError: if R does not divide C, or G the two widths.
    """

    def __init__(self, channels: int, *, reduction: int = 2, groups: int | None = None) -> None:
        super().__init__()
        check_groups("reduction", channels, reduction)
        hidden = channels // reduction
        groups = pointwise_groups(channels, hidden) if groups is None else groups
        check_groups("groups", hidden, groups)
        self.squeeze = nn.Conv2d(channels, hidden, 1, groups=groups, bias=False)
        self.shuffle = ChannelShuffle(groups)
        self.expand = nn.Conv2d(hidden, channels, 1, groups=groups, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Mix the channels of (B, C, H, W)."""
        return self.expand(self.shuffle(self.squeeze(x)))

    def matrix(self) -> Float[Tensor, "c c"]:
        """Return W: row o, column i is what input channel i adds to output channel o."""
        q_transposed = dense_matrix(self.squeeze)
        return dense_matrix(self.expand) @ q_transposed[shuffled(len(q_transposed), self.shuffle.groups)]


def dense_matrix(conv: nn.Conv2d) -> Float[Tensor, "d c"]:
    """Return the block-diagonal matrix (out, in) of a grouped 1x1 convolution."""
    return torch.block_diag(*conv.weight[:, :, 0, 0].chunk(conv.groups))


def shuffled(channels: int, groups: int) -> Int[Tensor, " c"]:
    """Return for each channel behind a `channel_shuffle` the channel from which it came."""
    return channel_shuffle(torch.arange(channels)[None, :, None, None], groups).flatten()


class Wiring(NamedTuple):
    """Who reaches whom in W = P Phi Q^T, as 0 and 1: P (C, C/R), Phi (C/R, C/R), Q^T (C/R, C); and the paths (C, C)."""

    p: Int[Tensor, "c m"]
    phi: Int[Tensor, "m m"]
    q_transposed: Int[Tensor, "m c"]

    @property
    def paths(self) -> Int[Tensor, "c c"]:
        """Paths to output channel (row) from input channel (column)."""
        return self.p @ self.phi @ self.q_transposed

    @property
    def connected(self) -> Int[Tensor, "c c"]:
        """1 where at least one path leads from input channel (column) to output channel (row)."""
        return (self.paths > 0).long()

    @property
    def connectivity(self) -> int:
        """E, the paths that end in one output channel: C^2 / (R G^2)."""
        return int(self.paths[0].sum())


def wiring(channels: int, hidden: int, groups: int) -> Wiring:
    """Return the wiring of a micro-factorized pointwise convolution.

    With G = sqrt(C/R) groups each input reaches each output by exactly one path; fewer groups give several, more leave
    pairs without any.

    Args:
        channels: C.
        hidden: C/R, the rank of the whole product at most.
        groups: G.

    Raises:
        ValueError: if ``groups`` does not divide ``channels`` and ``hidden``.
    """
    check_groups("groups, of the channels", channels, groups)
    check_groups("groups, of the hidden width", hidden, groups)
    block = torch.ones(channels // groups, hidden // groups, dtype=torch.long)
    p = torch.block_diag(*[block] * groups)
    phi = torch.eye(hidden, dtype=torch.long)[shuffled(hidden, groups)]
    return Wiring(p, phi, p.T)
