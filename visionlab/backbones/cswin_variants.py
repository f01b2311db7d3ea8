"""Rivals of cross-shaped windows (CSWin, arXiv 2107.00652, section 4.4) in a flat network that isolates the attention.

Every mechanism is given by *regions*: a map (H, W) of whole numbers in which two tokens see each other exactly where
their numbers agree. `RegionAttention` computes any of them as full attention with a mask, which is the plainest form
and, on small maps, fast enough; with stripes as regions it gives what `CrossShapedWindowAttention` gives (tested).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from visionlab.backbones.cswin import CSWinBlock
from visionlab.backbones.cswin_attention import CrossShapedWindowAttention, Orientation, centred_padding, window_size

__all__ = [
    "MECHANISMS",
    "FlatTransformer",
    "RegionAttention",
    "flat_network",
    "multiply_adds",
    "stripe_regions",
    "window_regions",
]

Regions = Callable[[int, int], Tensor]


def window_regions(height: int, width: int, *, window: int, shift: int = 0) -> Int[Tensor, "h w"]:
    """Number the square windows of a map; ``shift`` moves their grid up and left, cutting those at the border."""
    rows = (torch.arange(height) + shift) // window
    cols = (torch.arange(width) + shift) // window
    return rows[:, None] * (width + 1) + cols[None, :]


def stripe_regions(height: int, width: int, *, orientation: Orientation, stripe_width: int) -> Int[Tensor, "h w"]:
    """Number the stripes of a map, its padding centred as in `StripeAttention`."""
    h, w = window_size(orientation, stripe_width, (height, width))
    rows = (torch.arange(height) + centred_padding(height, h)[0]) // h
    cols = (torch.arange(width) + centred_padding(width, w)[0]) // w
    return rows[:, None] * (width + 1) + cols[None, :]


def may_attend(region: Int[Tensor, "h w"]) -> Bool[Tensor, "n n"]:
    """Return which of the N = H W tokens see each other."""
    flat = region.flatten()
    return flat[:, None] == flat[None, :]


def convolve_within(
    x: Float[Tensor, "b h w c"], convolution: nn.Conv2d, region: Int[Tensor, "h w"]
) -> Float[Tensor, "b h w c"]:
    """Apply a depth-wise 3x3 convolution, leaving out the taps that would reach into another region (LePE, eq. 5)."""
    _, h, w, _ = x.shape
    values = F.pad(x, (0, 0, 1, 1, 1, 1))
    numbers = F.pad(region, (1, 1, 1, 1), value=-1)
    out = torch.zeros_like(x) if convolution.bias is None else convolution.bias.expand_as(x)
    for i, j in product(range(3), repeat=2):
        inside = (numbers[i : i + h, j : j + w] == region)[..., None]
        out = out + values[:, i : i + h, j : j + w] * (convolution.weight[:, 0, i, j] * inside)
    return out


class RegionAttention(nn.Module):
    """Multi-head attention with LePE in which tokens see their own region only; one region map a group of heads."""

    def __init__(self, dim: int, *, heads: int, groups: Sequence[Regions]) -> None:
        super().__init__()
        if dim % heads or heads % len(groups):
            raise ValueError(f"heads: {heads} heads do not split {dim} channels over {len(groups)} groups")
        self.heads, self.groups = heads, tuple(groups)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.softmax = nn.Softmax(dim=-1)
        self.lepe = nn.ModuleList(
            nn.Conv2d(share, share, 3, padding=1, groups=share) for share in [dim // len(groups)] * len(groups)
        )
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        """Mix the tokens of a map within their regions."""
        _, h, w, _ = x.shape
        regions = [regions(h, w).to(x.device) for regions in self.groups]
        mask = torch.stack([may_attend(region) for region in regions]).repeat_interleave(
            self.heads // len(regions), dim=0
        )
        qkv = self.qkv(x)
        q, k, v = rearrange(qkv, "b h w (three k d) -> three b k (h w) d", three=3, k=self.heads)
        logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        z = self.softmax(logits.masked_fill(~mask, float("-inf"))) @ v
        z = rearrange(z, "b k (h w) d -> b h w (k d)", h=h)
        values = qkv.chunk(3, dim=-1)[2].chunk(len(regions), dim=-1)
        position = [
            convolve_within(v, cast(nn.Conv2d, lepe), region)
            for v, lepe, region in zip(values, self.lepe, regions, strict=True)
        ]
        return self.proj(z + torch.cat(position, dim=-1))


class FlatTransformer(nn.Module):
    """One resolution, two or more blocks, a linear classifier at every token: what remains is the attention.

    Args:
        attentions: the attention of each block.
        dim: channels C.
        patch: pixels a token covers in each direction; patches do not overlap, so cells of a puzzle do not leak.
        num_classes: outputs at each token.
    """

    def __init__(self, attentions: Sequence[nn.Module], *, dim: int, patch: int, num_classes: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, dim, patch, stride=patch)
        self.embed_norm = nn.LayerNorm(dim)
        self.blocks = nn.Sequential(*(CSWinBlock(dim, attention) for attention in attentions))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h2 w2 k"]:
        """Return logits (B, H/patch, W/patch, num_classes) of normalised images (B, 3, H, W)."""
        x = self.embed_norm(rearrange(self.embed(x), "b c h w -> b h w c"))
        return self.head(self.norm(self.blocks(x)))


def _windows(shift: int) -> Regions:
    return lambda h, w: window_regions(h, w, window=4, shift=shift)


def _stripes(orientation: Orientation) -> Regions:
    return lambda h, w: stripe_regions(h, w, orientation=orientation, stripe_width=STRIPE_WIDTH)


STRIPE_WIDTH = 2
MECHANISMS: dict[str, tuple[tuple[Regions, ...], ...]] = {
    "cswin": ((_stripes("vertical"), _stripes("horizontal")),) * 2,
    "shifted window": ((_windows(0),), (_windows(2),)),
    "window": ((_windows(0),),) * 2,
    "axial": ((_stripes("horizontal"),), (_stripes("vertical"),)),
}
"""What each group of heads sees in each of two blocks: stripes of width 2 or windows of 4x4, 16 of 8x8 tokens both."""


def flat_network(
    mechanism: str, *, dim: int = 32, heads: int = 4, patch: int = 4, num_classes: int = 2
) -> FlatTransformer:
    """Build the flat network of a mechanism; for "cswin" from the attention of the published network itself.

    Raises:
        ValueError: if the mechanism is not one of `MECHANISMS`.
    """
    if mechanism not in MECHANISMS:
        raise ValueError(f"mechanism: expected one of {', '.join(MECHANISMS)}, got {mechanism!r}")
    attentions = [
        CrossShapedWindowAttention(dim, heads=heads, stripe_width=STRIPE_WIDTH)
        if mechanism == "cswin"
        else RegionAttention(dim, heads=heads, groups=groups)
        for groups in MECHANISMS[mechanism]
    ]
    return FlatTransformer(attentions, dim=dim, patch=patch, num_classes=num_classes)


def multiply_adds(mechanism: str, height: int, width: int, *, dim: int = 32) -> int:
    """Count what the blocks of the flat network cost on a map, as a windowed implementation pays for them.

    Per token of C channels: 4C^2 in the projections, 2C for each token in its window (masked ones too), 8C^2 in the
    MLP and 9C in LePE; the sum of eq. 3, an MLP and a 3x3 depth-wise convolution.
    """
    total = 0
    for groups in MECHANISMS[mechanism]:
        fields = [int(regions(height, width).flatten().bincount().max()) for regions in groups]
        total += height * width * dim * (12 * dim + 2 * sum(fields) // len(fields) + 9)
    return total
