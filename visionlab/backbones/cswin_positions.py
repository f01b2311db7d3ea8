"""Position encodings beside LePE (CSWin, arXiv 2107.00652, section 3.3, figure 3, table 10): APE, CPE, RPE.

======  ===================================  ======================================================================
name    where                                what
======  ===================================  ======================================================================
"none"  nowhere                              the zero padding of convolutions is the only cue
"ape"   input of the network                 `AbsoluteEncoding`: a learned vector for each token
"cpe"   input of each stage                  `ConditionalEncoding`: a depth-wise convolution of the whole map
"cpe*"  input of each block                  the same
"rpe"   logits of each attention             `RelativeBias`: a learned number for each head and offset
"lepe"  beside the softmax of each attention  `convolve_within`: a depth-wise convolution of the values in their stripe
======  ===================================  ======================================================================
"""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

__all__ = ["POSITIONS", "AbsoluteEncoding", "ConditionalEncoding", "RelativeBias", "convolve_within"]

POSITIONS = ("none", "ape", "cpe", "cpe*", "rpe", "lepe")


class AbsoluteEncoding(nn.Module):
    """x plus a learned table of vectors, one a token; on a map of another size the table is resized bicubically."""

    def __init__(self, dim: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.table = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, dim, *size), std=0.02))

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        """Add the table to a map."""
        return x + rearrange(_resized(self.table, (x.shape[1], x.shape[2])), "b c h w -> b h w c")


class ConditionalEncoding(nn.Module):
    """x plus a depth-wise 3x3 convolution of the whole map (Chu et al., arXiv 2102.10882)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        """Add the convolution to a map."""
        return x + rearrange(self.conv(rearrange(x, "b h w c -> b c h w")), "b c h w -> b h w c")


class RelativeBias(nn.Module):
    """A learned number for each head and offset between two tokens, added to the logits (Shaw et al.; Swin).

    Args:
        heads: of the attention.
        extent: (h, w) of the largest region: offsets lie between -(h - 1) and h - 1, likewise for w. For regions of
            another extent the table is resized bicubically.
    """

    def __init__(self, heads: int, extent: tuple[int, int]) -> None:
        super().__init__()
        rows, columns = 2 * extent[0] - 1, 2 * extent[1] - 1
        self.table = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, heads, rows, columns), std=0.02))

    def forward(self, height: int, width: int, mask: Bool[Tensor, "n n"]) -> Float[Tensor, "k n n"]:
        """Biases of all pairs of N = height * width tokens; those that ``mask`` leaves out get any value."""
        down, across = offsets(height, width, mask.device)
        h, w = extent_of(height, width, mask)
        table = _resized(self.table, (2 * h - 1, 2 * w - 1))[0]
        return table[:, (down + h - 1).clamp(0, 2 * h - 2), (across + w - 1).clamp(0, 2 * w - 2)]


def offsets(height: int, width: int, device: torch.device) -> tuple[Int[Tensor, "n n"], Int[Tensor, "n n"]]:
    """How far down and across it is from each token of a map to each other one."""
    index = torch.arange(height * width, device=device)
    row, column = index // width, index % width
    return row[None, :] - row[:, None], column[None, :] - column[:, None]


def extent_of(height: int, width: int, mask: Bool[Tensor, "n n"]) -> tuple[int, int]:
    """Height and width of the largest region, from which tokens see each other."""
    return tuple(1 + int(gap[mask].max()) for gap in offsets(height, width, mask.device))  # type: ignore[return-value]


def convolve_within(
    x: Float[Tensor, "b h w c"], convolution: nn.Conv2d, region: Int[Tensor, "*m h w"]
) -> Float[Tensor, "b h w c"]:
    """Apply a depth-wise 3x3 convolution, leaving out the taps that would reach into another region (LePE, eq. 5)."""
    _, h, w, _ = x.shape
    region = region.view(-1, h, w)
    values = F.pad(x, (0, 0, 1, 1, 1, 1))
    numbers = F.pad(region, (1, 1, 1, 1), value=-1)
    out = torch.zeros_like(x) if convolution.bias is None else convolution.bias.expand_as(x)
    for i, j in product(range(3), repeat=2):
        inside = (numbers[:, i : i + h, j : j + w] == region).any(0)[..., None]
        out = out + values[:, i : i + h, j : j + w] * (convolution.weight[:, 0, i, j] * inside)
    return out


def _resized(table: Float[Tensor, "b c _ _"], size: tuple[int, int]) -> Float[Tensor, "b c _ _"]:
    if table.shape[-2:] == size:
        return table
    return F.interpolate(table, size, mode="bicubic", align_corners=False)
