"""Cross-shaped window attention (CSWin, arXiv 2107.00652, sections 3.2 and 3.3): stripes, the two branches, LePE, cost.

Maps are channels-last, (B, H, W, C), so that a horizontal stripe is a view of the map and a vertical one a single copy.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

__all__ = [
    "Attend",
    "CrossShapedWindowAttention",
    "Orientation",
    "StripeAttention",
    "attention_cost",
    "from_stripes",
    "stripe_indices",
    "to_stripes",
    "window_size",
]

SMALL = 2**14  # numbers of one map, up to which both branches at once were faster (two CPU threads)
Orientation = Literal["vertical", "horizontal", "whole"]


def to_stripes(x: Shaped[Tensor, "b h w c"], height: int, width: int) -> Shaped[Tensor, "n l c"]:
    """Cut maps (B, H, W, C) into windows (B * H/height * W/width, height * width, C), row by row in both orders.

    Raises:
        ValueError: if the window does not divide the map.
    """
    h, w = x.shape[1:3]
    if height < 1 or width < 1 or h % height or w % width:
        raise ValueError(f"x: a map of {h}x{w} cannot be cut into windows of {height}x{width}; pad it first")
    return rearrange(x, "b (rows h) (cols w) c -> (b rows cols) (h w) c", h=height, w=width)


def from_stripes(
    windows: Shaped[Tensor, "n l c"], size: tuple[int, int], height: int, width: int
) -> Shaped[Tensor, "b h w c"]:
    """Put windows (n, height * width, C) back into maps (B, H, W, C) of ``size`` (H, W); inverse of `to_stripes`."""
    rows, cols = size[0] // height, size[1] // width
    return rearrange(windows, "(b rows cols) (h w) c -> b (rows h) (cols w) c", rows=rows, cols=cols, h=height, w=width)


def centred_padding(side: int, window: int) -> tuple[int, int]:
    """Return how many zeros go before and after ``side`` to make it a multiple of ``window``."""
    gap = -side % window
    return gap // 2, gap - gap // 2


def window_size(orientation: Orientation, stripe_width: int, size: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) of one window on a map of ``size``: full height, full width, or the whole map."""
    height, width = size
    return {"vertical": (height, stripe_width), "horizontal": (stripe_width, width), "whole": size}[orientation]


def stripe_indices(size: tuple[int, int], orientation: Orientation, stripe_width: int) -> Int[Tensor, "windows tokens"]:
    """Return which tokens share a window: row-major indices (windows, tokens) on a map of ``size``, -1 where padded."""
    window = window_size(orientation, stripe_width, size)
    index = torch.arange(size[0] * size[1]).view(1, *size, 1)
    top, bottom = centred_padding(size[0], window[0])
    left, right = centred_padding(size[1], window[1])
    return to_stripes(F.pad(index, (0, 0, left, right, top, bottom), value=-1), *window)[..., 0]


def attention_cost(height: int, width: int, channels: int, stripe_width: int | None) -> int:
    """Count the multiply-adds of one attention with its projections (eq. 3); ``None`` means full attention."""
    area = height * width
    field = 2 * area if stripe_width is None else stripe_width * (height + width)
    return area * channels * (4 * channels + field)


class Attend(nn.Module):
    """softmax(q k^T / sqrt(d)) v over (N, heads, L, d).

    The softmax is a named submodule, so that a hook can catch the weights. On accelerators a fused kernel computes the
    same without ever storing them; ``fused_attn = False`` (set by `visionlab.watch`) brings the readable path back. On
    CPUs the explicit products are the faster form for stripes of this size.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fused_attn = True
        self.softmax = nn.Softmax(dim=-1)

    def forward(
        self, q: Float[Tensor, "n k l d"], k: Float[Tensor, "n k l d"], v: Float[Tensor, "n k l d"]
    ) -> Float[Tensor, "n k l d"]:
        """Attend from each query to the keys of its own window."""
        if self.fused_attn and q.device.type != "cpu":
            return F.scaled_dot_product_attention(q, k, v)
        return self.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)) @ v


class StripeAttention(nn.Module):
    """Multi-head attention inside the stripes of one orientation, with LePE (eq. 5): softmax(qk^T / sqrt(d)) v +
    DWConv(v).

    LePE convolves the values of each stripe on its own, so its zero padding lies at the stripe borders. Where the
    stripe is one token wide, six of its nine taps never see a value; they stay for the sake of published weights.
    """

    def __init__(self, dim: int, *, heads: int, orientation: Orientation, stripe_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.orientation: Orientation = orientation
        self.stripe_width = stripe_width
        self.attend = Attend()
        self.lepe = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, qkv: Float[Tensor, "b h w three c"]) -> Float[Tensor, "b h w c"]:
        """Attend inside each stripe of the projected map (B, H, W, 3, C)."""
        size = qkv.shape[1], qkv.shape[2]
        h, w = window_size(self.orientation, self.stripe_width, size)
        top, bottom = centred_padding(size[0], h)
        left, right = centred_padding(size[1], w)
        if top + bottom + left + right:
            qkv = F.pad(qkv, (0, 0, 0, 0, left, right, top, bottom))
        rows, cols = qkv.shape[1] // h, qkv.shape[2] // w
        pattern = "b (rows h) (cols w) three (k d) -> three (b rows cols) k (h w) d"
        q, k, v = rearrange(qkv, pattern, h=h, w=w, k=self.heads)
        z = self.attend(q, k, v)
        position = self.lepe(rearrange(v, "n k (h w) d -> n (k d) h w", h=h))
        z = z + rearrange(position, "n (k d) h w -> n k (h w) d", k=self.heads)
        z = rearrange(z, "(b rows cols) k (h w) d -> b (rows h) (cols w) (k d)", rows=rows, cols=cols, h=h)
        return z[:, top : top + size[0], left : left + size[1]]


class CrossShapedWindowAttention(nn.Module):
    """Half of the heads attend along vertical stripes, the other half along horizontal ones, in parallel (eq. 2).

    With ``whole=True`` (the last stage) all heads attend over the whole map instead.

    On a square map that the stripe width divides, horizontal stripes are vertical stripes of the transposed map, and
    both branches can be computed as one (`attend_crosswise`): the same sum, where `as_one` says that it is faster.
    `visionlab.watch`, which looks into the branches, has them computed one by one.
    """

    def __init__(self, dim: int, *, heads: int, stripe_width: int, qkv_bias: bool = True, whole: bool = False) -> None:
        super().__init__()
        orientations: tuple[Orientation, ...] = ("whole",) if whole else ("vertical", "horizontal")
        share = len(orientations)
        if dim % heads or heads % share:
            raise ValueError(f"heads: {heads} heads do not split {dim} channels over {share} stripe orientations")
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.branches = nn.ModuleList(
            StripeAttention(dim // share, heads=heads // share, orientation=o, stripe_width=stripe_width)
            for o in orientations
        )
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        """Mix the tokens of a map along the cross through each of them."""
        b, h, w, _ = x.shape
        qkv = self.qkv(x).view(b, h, w, 3, len(self.branches), x.shape[3] // len(self.branches))
        branches = cast("list[StripeAttention]", list(self.branches))
        fused = len(branches) == 2 and all(branch.attend.fused_attn for branch in branches)
        if fused and as_one(x, branches[0].stripe_width):
            return self.proj(attend_crosswise(qkv, *branches))
        parts = [branch(part) for branch, part in zip(branches, qkv.unbind(4), strict=True)]
        return self.proj(torch.cat(parts, dim=-1))


def as_one(x: Float[Tensor, "b h w c"], stripe_width: int) -> bool:
    """Whether both orientations can be computed as one on a map, and are faster so.

    On CPUs they are on small maps, where calls cost more than what they compute. On GPUs they are in training: the
    gradient of LePE's weights is several times slower in windows that are wider than high.
    """
    _, h, w, c = x.shape
    if h != w or h % stripe_width:
        return False
    return h * w * c <= SMALL if x.device.type == "cpu" else torch.is_grad_enabled()


def attend_crosswise(
    qkv: Float[Tensor, "b s s three two c"], vertical: StripeAttention, horizontal: StripeAttention
) -> Float[Tensor, "b s s c2"]:
    """Attend along both orientations at once on a square map (B, S, S, 3, 2, C/2); returns (B, S, S, C)."""
    b, side, _, _, _, c = qkv.shape
    heads, width = vertical.heads, vertical.stripe_width
    n, d = side // width, c // heads
    maps = qkv.view(b, side, side, 3, 2, heads, d)
    # Both with the windows n first, then heads, then the tokens of a window along and across the stripe.
    down = maps[..., 0, :, :].unflatten(2, (n, width)).permute(4, 0, 2, 5, 1, 3, 6)
    across = maps[..., 1, :, :].unflatten(1, (n, width)).permute(4, 0, 1, 5, 3, 2, 6)
    windows = torch.stack([down, across], dim=3)  # 3, B, n, 2, heads, S, width, d
    q, k, v = windows.view(3, b * n, 2 * heads, side * width, d).unbind(0)
    z = vertical.attend(q, k, v).view(b, n, 2, heads, side, width, d)
    # The convolution runs faster over channels that lie together, its gradient over channels that lie apart.
    layout = torch.contiguous_format if torch.is_grad_enabled() else torch.channels_last
    values = (
        v.view(b * n, 2 * heads, side, width, d).permute(0, 1, 4, 2, 3).flatten(1, 2).contiguous(memory_format=layout)
    )
    kernel = torch.cat([vertical.lepe.weight, horizontal.lepe.weight.transpose(2, 3)])
    bias = torch.cat([cast(Tensor, vertical.lepe.bias), cast(Tensor, horizontal.lepe.bias)])
    position = F.conv2d(values, kernel, bias, padding=1, groups=2 * c)
    z = z + position.unflatten(1, (2, heads, d)).unflatten(0, (b, n)).permute(0, 1, 2, 3, 5, 6, 4)
    down, across = z.unbind(2)  # B, n, heads, S, width, d
    down = down.permute(0, 3, 1, 4, 2, 5).unflatten(1, (n, width))
    across = across.permute(0, 1, 4, 3, 2, 5).unflatten(3, (n, width))
    return torch.stack([down, across], dim=5).view(b, side, side, 2 * c)
