"""Rivals of cross-shaped windows and of LePE (CSWin, arXiv 2107.00652, section 4.4, tables 8 to 10), all drop-in.

Every mechanism is given by *regions*: a map (H, W) of whole numbers in which two tokens see each other exactly where
their numbers agree; a stack of several such maps where one agreement is enough. `RegionAttention` computes any of them
as full attention with a mask, which is the plainest form and, on small maps, fast enough; with stripes as regions it
gives what `CrossShapedWindowAttention` gives (tested). `flat_network` is one map and two blocks, which isolates the
attention; `hierarchical_network` puts a mechanism and an encoding into CSWin itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from visionlab.backbones.cswin import CSWinBlock, CSWinStage, CSWinTransformer, initialise
from visionlab.backbones.cswin_attention import (
    Attend,
    CrossShapedWindowAttention,
    Orientation,
    centred_padding,
    window_size,
)
from visionlab.backbones.cswin_positions import (
    POSITIONS,
    AbsoluteEncoding,
    ConditionalEncoding,
    RelativeBias,
    convolve_within,
    extent_of,
)

__all__ = [
    "MECHANISMS",
    "FlatTransformer",
    "RegionAttention",
    "flat_network",
    "hierarchical_network",
    "multiply_adds",
    "regions_of",
    "stripe_regions",
    "window_regions",
]

Regions = Callable[[int, int], Tensor]

MECHANISMS = ("cswin", "shifted window", "window", "axial", "criss-cross", "global")


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


def may_attend(region: Int[Tensor, "*m h w"]) -> Bool[Tensor, "n n"]:
    """Return which of the N = H W tokens see each other."""
    flat = region.reshape(-1, region.shape[-2] * region.shape[-1])
    return (flat[:, :, None] == flat[:, None, :]).any(0)


def regions_of(mechanism: str, block: int, *, stripe_width: int, window: int) -> tuple[Regions, ...]:
    """What each group of heads sees in a block.

    Args:
        mechanism: "cswin", both directions of stripes at once; "axial", one direction a block in turn; "criss-cross",
            the union of a token's row and column; "window" and "shifted window", squares, in every second block moved
            by half a side; "global", the whole map.
        block: number of the block in its stage.
        stripe_width: sw of "cswin" and "axial".
        window: side of the squares.

    Raises:
        ValueError: if there is no such mechanism.
    """

    def stripes(orientation: Orientation, width: int = stripe_width) -> Regions:
        return lambda h, w: stripe_regions(h, w, orientation=orientation, stripe_width=width)

    def windows(shift: int) -> Regions:
        return lambda h, w: window_regions(h, w, window=window, shift=shift)

    def cross(h: int, w: int) -> Tensor:
        return torch.stack([stripes("horizontal", 1)(h, w), stripes("vertical", 1)(h, w)])

    kinds: dict[str, tuple[tuple[Regions, ...], ...]] = {
        "cswin": ((stripes("vertical"), stripes("horizontal")),),
        "axial": ((stripes("horizontal"),), (stripes("vertical"),)),
        "criss-cross": ((cross,),),
        "window": ((windows(0),),),
        "shifted window": ((windows(0),), (windows(window // 2),)),
        "global": ((stripes("whole"),),),
    }
    if mechanism not in kinds:
        raise ValueError(f"mechanism: expected one of {', '.join(MECHANISMS)}, got {mechanism!r}")
    return kinds[mechanism][block % len(kinds[mechanism])]


class RegionAttention(nn.Module):
    """Multi-head attention in which tokens see their own region only; one region map a group of heads.

    Args:
        dim: channels C.
        heads: in all groups together.
        groups: the regions of each group of heads.
        position: "lepe", "rpe" or "none"; what else there is acts outside the attention.
        size: (height, width) of the map that the network is made for; decides the size of RPE's tables.
    """

    def __init__(
        self, dim: int, *, heads: int, groups: Sequence[Regions], position: str = "lepe", size: tuple[int, int] = (8, 8)
    ) -> None:
        super().__init__()
        if dim % heads or heads % len(groups):
            raise ValueError(f"heads: {heads} heads do not split {dim} channels over {len(groups)} groups")
        self.heads, self.groups = heads, tuple(groups)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.softmax = nn.Softmax(dim=-1)
        share = dim // len(groups)
        self.lepe = nn.ModuleList(
            nn.Conv2d(share, share, 3, padding=1, groups=share) for _ in groups if position == "lepe"
        )
        self.bias = nn.ModuleList(
            RelativeBias(heads // len(groups), extent_of(*size, may_attend(regions(*size))))
            for regions in groups
            if position == "rpe"
        )
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        """Mix the tokens of a map within their regions."""
        _, h, w, _ = x.shape
        regions = [regions(h, w).to(x.device) for regions in self.groups]
        masks = [may_attend(region) for region in regions]
        qkv = self.qkv(x)
        q, k, v = rearrange(qkv, "b h w (three k d) -> three b k (h w) d", three=3, k=self.heads)
        logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        if self.bias:
            logits = logits + torch.cat([bias(h, w, mask) for bias, mask in zip(self.bias, masks, strict=True)])
        mask = torch.stack(masks).repeat_interleave(self.heads // len(masks), dim=0)
        z = self.softmax(logits.masked_fill(~mask, float("-inf"))) @ v
        z = rearrange(z, "b k (h w) d -> b h w (k d)", h=h)
        if self.lepe:
            values = qkv.chunk(3, dim=-1)[2].chunk(len(regions), dim=-1)
            position = [
                convolve_within(v, cast(nn.Conv2d, lepe), region)
                for v, lepe, region in zip(values, self.lepe, regions, strict=True)
            ]
            z = z + torch.cat(position, dim=-1)
        return self.proj(z)


class FlatTransformer(nn.Module):
    """One resolution, two or more blocks, a linear classifier at every token: what remains is the attention.

    Args:
        attentions: the attention of each block.
        dim: channels C.
        patch: pixels a token covers in each direction; patches do not overlap, so cells of a puzzle do not leak.
        num_classes: outputs at each token.
        position: one of `POSITIONS`; what acts inside the attentions is theirs.
        size: (height, width) of the map that the network is made for; decides the size of APE's table.
    """

    def __init__(
        self,
        attentions: Sequence[nn.Module],
        *,
        dim: int,
        patch: int,
        num_classes: int,
        position: str = "lepe",
        size: tuple[int, int] = (8, 8),
    ) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, dim, patch, stride=patch)
        self.embed_norm = nn.LayerNorm(dim)
        self.position = encoding_of(position, dim, size) if position in ("ape", "cpe") else nn.Identity()
        blocks = (CSWinBlock(dim, attention) for attention in attentions)
        self.blocks = nn.Sequential(*(_encoded(block, dim) if position == "cpe*" else block for block in blocks))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, num_classes)
        self.apply(initialise)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h2 w2 k"]:
        """Return logits (B, H/patch, W/patch, num_classes) of normalised images (B, 3, H, W)."""
        x = self.embed_norm(rearrange(self.embed(x), "b c h w -> b h w c"))
        return self.head(self.norm(self.blocks(self.position(x))))


def encoding_of(position: str, dim: int, size: tuple[int, int]) -> nn.Module:
    """The module that adds APE or CPE to a map."""
    return AbsoluteEncoding(dim, size) if position == "ape" else ConditionalEncoding(dim)


def _encoded(block: nn.Module, dim: int) -> nn.Module:
    return nn.Sequential(ConditionalEncoding(dim), block)


STRIPE_WIDTH, WINDOW = 2, 4  # of the flat network: on 8x8 tokens both see 16 of 64
HEADS, WIDTHS = (2, 4, 8, 16), (1, 2, 7, 7)  # of CSWinTransformer, unless others are given


def flat_network(
    mechanism: str,
    position: str = "lepe",
    *,
    dim: int = 32,
    heads: int = 4,
    patch: int = 4,
    num_classes: int = 2,
    size: tuple[int, int] = (8, 8),
) -> FlatTransformer:
    """Build the flat network of two blocks; for "cswin" with LePE from the attention of the published network itself.

    Raises:
        ValueError: if the mechanism is not one of `MECHANISMS`, or the position not one of `POSITIONS`.
    """
    _check_position(position)
    attentions = [_attention(mechanism, position, block, dim, heads, STRIPE_WIDTH, WINDOW, size) for block in range(2)]
    return FlatTransformer(attentions, dim=dim, patch=patch, num_classes=num_classes, position=position, size=size)


def hierarchical_network(
    mechanism: str,
    position: str = "lepe",
    *,
    img_size: int,
    windows: Sequence[int],
    **configuration: Any,
) -> CSWinTransformer:
    """Build CSWin with another attention or position encoding in it; its last stage stays global.

    Args:
        mechanism: one of `MECHANISMS`.
        position: one of `POSITIONS`.
        img_size: side of the images that the network is made for.
        windows: side of the squares in each stage, for the mechanisms that have them.
        configuration: of `CSWinTransformer`.

    Raises:
        ValueError: if mechanism or position are unknown.
    """
    _check_position(position)
    network = CSWinTransformer(img_size, **configuration)
    heads, widths = (configuration.get(name, usual) for name, usual in (("heads", HEADS), ("stripe_widths", WIDTHS)))
    side = (img_size - 3) // 4 + 1
    for i in range(4):
        stage, dim, size = cast(CSWinStage, network.stages[i]), network.feature_info[i]["num_chs"], (side, side)
        whole = i == 3 or side == widths[i]
        for number, block in enumerate(stage.blocks):
            cast(CSWinBlock, block).attention = _attention(
                mechanism, position, number, dim, heads[i], widths[i], windows[i], size, whole
            )
        if position == "ape" and i == 0:
            network.stem.norm = nn.Sequential(network.stem.norm, AbsoluteEncoding(dim, size))
        if position == "cpe":
            stage.merge = nn.Sequential(stage.merge, ConditionalEncoding(dim))
        if position == "cpe*":
            stage.blocks = nn.Sequential(*(_encoded(block, dim) for block in stage.blocks))
        side = (side + 1) // 2
    return network


def _attention(
    kind: str,
    position: str,
    block: int,
    dim: int,
    heads: int,
    stripe_width: int,
    window: int,
    size: tuple[int, int],
    whole: bool = False,
) -> nn.Module:
    if kind == "cswin" and position == "lepe":
        return CrossShapedWindowAttention(dim, heads=heads, stripe_width=stripe_width, whole=whole).apply(initialise)
    groups = regions_of("global" if whole else kind, block, stripe_width=stripe_width, window=window)
    return RegionAttention(dim, heads=heads, groups=groups, position=position, size=size).apply(initialise)


def _check_position(position: str) -> None:
    if position not in POSITIONS:
        raise ValueError(f"position: expected one of {', '.join(POSITIONS)}, got {position!r}")


@torch.no_grad()
def multiply_adds(network: nn.Module, *shape: int) -> int:
    """Count what a network costs on an input of a shape, as an implementation pays that computes no masked products.

    Per token of C channels, an attention costs 4C^2 in its projections and 2C for each token in its window (masked
    ones too), and LePE 9C: with the MLP and the convolutions the same as eq. 3 and section 3.4. Sums, norms and
    softmax are not counted, biases of RPE and APE neither.
    """
    total = 0

    def count(module: nn.Module, given: tuple[Any, ...], out: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Linear):
            total += out.numel() * module.in_features
        elif isinstance(module, nn.Conv2d):
            total += out.numel() * module.weight[0].numel()
        elif isinstance(module, RegionAttention):
            _, h, w, c = out.shape
            fields = [int(may_attend(regions(h, w)).sum(1).max()) for regions in module.groups]
            total += h * w * c * (2 * sum(fields) // len(fields) + (9 if module.lepe else 0))
        elif isinstance(module, Attend):
            q = given[0]
            total += 2 * q.numel() * q.shape[2]

    hooks = [module.register_forward_hook(count) for module in network.modules()]
    # Both branches at once would call no convolution that a hook could see.
    attends = {module: module.fused_attn for module in network.modules() if isinstance(module, Attend)}
    try:
        for module in attends:
            module.fused_attn = False
        network(next(network.parameters()).new_zeros(shape))
    finally:
        for module, fused in attends.items():
            module.fused_attn = fused
        for hook in hooks:
            hook.remove()
    return total
