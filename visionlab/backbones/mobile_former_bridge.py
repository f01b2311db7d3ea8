"""The Former and the two-way bridge of Mobile-Former (arXiv 2108.05895, section 3).

Both directions of the bridge are one table of products, token by pixel, (B, heads, M, HW): along its pixels the softmax
says what each token reads, along its tokens what each pixel listens to. The big side, the map, is never projected; it
is key *and* value, or query, as it is, which is why the bridge costs O(MHWC + MdC) only. The products
are written out, so that both can be looked at; a fused kernel would want pixels before channels, a copy of the map.

Each module here updates its *first* argument and returns it, so that `Bypass` can stand in for any of them.
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float
from timm.layers import DropPath
from torch import Tensor, nn

__all__ = ["Bypass", "Former", "ToFormer", "ToMobile", "Tokens"]


class Tokens(nn.Module):
    """The M learned tokens of width d that every image starts with; no positions are added."""

    def __init__(self, number: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(number, dim))

    def forward(self, batch: int) -> Float[Tensor, "b m d"]:
        """Return the tokens once for each image, (B, M, d)."""
        return self.weight.repeat(batch, 1, 1)


class Bypass(nn.Module):
    """Stands in for a bridge, a Former or a Mobile: returns the stream that the module would have updated."""

    def forward(self, kept: Tensor, *_: object) -> Tensor:
        """Return the first argument as it is."""
        return kept

    def logits(self, *_: object) -> None:
        """Return nothing: nobody looks at anybody."""


def _check_heads(heads: int, channels: int, name: str) -> None:
    if heads < 1 or channels % heads:
        raise ValueError(f"{name}: {heads} heads do not split {channels} channels")


class ToFormer(nn.Module):
    """Mobile→Former: each token asks the whole map, z <- LN(z + (gate * [Attn(z W_q, x, x)]) W_o).

    The gate, 2 hsigmoid(z W_g), and the LayerNorm behind the sum are in the published code and its weights, not in the
    paper's formula. ``softmax`` returns (B, heads, M, HW), which sums to 1 over the pixels of a token.

    Args:
        channels: C of the map.
        dim: d of the tokens.
        heads: into which the channels are split.
        drop_path: rate at which the branch is dropped, by image.
    """

    def __init__(self, channels: int, dim: int, *, heads: int = 2, drop_path: float = 0.0) -> None:
        super().__init__()
        _check_heads(heads, channels, "channels")
        self.heads = heads
        self.query = nn.Linear(dim, channels)
        self.softmax = nn.Softmax(dim=-1)
        self.gate = nn.Sequential(nn.Linear(dim, channels), nn.Hardsigmoid())
        self.proj = nn.Linear(channels, dim)
        self.norm = nn.LayerNorm(dim)
        self.drop_path = DropPath(drop_path)

    def logits(self, tokens: Float[Tensor, "b m d"], x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k m hw"]:
        """Return the scaled products of tokens and pixels, (B, heads, M, HW)."""
        q = rearrange(self.query(tokens), "b m (k c) -> b k m c", k=self.heads)
        return (q * q.shape[-1] ** -0.5) @ rearrange(x, "b (k c) h w -> b k c (h w)", k=self.heads)

    def forward(
        self,
        tokens: Float[Tensor, "b m d"],
        x: Float[Tensor, "b c h w"],
        logits: Float[Tensor, "b k m hw"] | None = None,
    ) -> Float[Tensor, "b m d"]:
        """Return the tokens after reading the map; ``logits`` where they are known already."""
        weights = self.softmax(self.logits(tokens, x) if logits is None else logits)
        read = weights @ rearrange(x, "b (k c) h w -> b k (h w) c", k=self.heads)
        read = 2 * self.gate(tokens) * rearrange(read, "b k m c -> b m (k c)")
        return self.norm(tokens + self.drop_path(self.proj(read)))


class Former(nn.Module):
    """The transformer on the tokens: attention, then an MLP of twice the width, each with LayerNorm behind the sum.

    As published, the tokens are key and value unprojected (the paper has a standard attention), and the heads are 4
    where the bridges have 2. ``softmax`` returns (B, heads, M, M).
    """

    def __init__(self, dim: int, *, heads: int = 4, mlp_ratio: int = 2, drop_path: float = 0.0) -> None:
        super().__init__()
        _check_heads(heads, dim, "tokens")
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.softmax = nn.Softmax(dim=-1)
        self.proj = nn.Linear(dim, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.drop_path = DropPath(drop_path)
        self.mlp = nn.Sequential(nn.Linear(dim, mlp_ratio * dim), nn.GELU(), nn.Linear(mlp_ratio * dim, dim))
        self.norm2 = nn.LayerNorm(dim)

    def logits(self, tokens: Float[Tensor, "b m d"]) -> Float[Tensor, "b k m m"]:
        """Return the scaled products of tokens and tokens, (B, heads, M, M)."""
        q = rearrange(self.query(tokens), "b m (k c) -> b k m c", k=self.heads)
        return (q * q.shape[-1] ** -0.5) @ rearrange(tokens, "b m (k c) -> b k c m", k=self.heads)

    def forward(
        self, tokens: Float[Tensor, "b m d"], logits: Float[Tensor, "b k m m"] | None = None
    ) -> Float[Tensor, "b m d"]:
        """Return the tokens after they have heard each other; ``logits`` where they are known already."""
        weights = self.softmax(self.logits(tokens) if logits is None else logits)
        heard = weights @ rearrange(tokens, "b m (k c) -> b k m c", k=self.heads)
        tokens = self.norm1(tokens + self.drop_path(self.proj(rearrange(heard, "b k m c -> b m (k c)"))))
        return self.norm2(tokens + self.mlp(tokens))


class ToMobile(nn.Module):
    """Mobile←Former: each pixel asks the tokens, x <- x + [Attn(x, z W_k, z W_v)].

    ``softmax`` returns (B, heads, M, HW), which sums to 1 over the tokens at a pixel. Arguments as of `ToFormer`.
    """

    def __init__(self, channels: int, dim: int, *, heads: int = 2, drop_path: float = 0.0) -> None:
        super().__init__()
        _check_heads(heads, channels, "channels")
        self.heads = heads
        self.key = nn.Linear(dim, channels)
        self.value = nn.Linear(dim, channels)
        self.softmax = nn.Softmax(dim=-2)
        self.drop_path = DropPath(drop_path)

    def logits(self, x: Float[Tensor, "b c h w"], tokens: Float[Tensor, "b m d"]) -> Float[Tensor, "b k m hw"]:
        """Return the scaled products of tokens and pixels, (B, heads, M, HW)."""
        key = rearrange(self.key(tokens), "b m (k c) -> b k m c", k=self.heads)
        return (key * key.shape[-1] ** -0.5) @ rearrange(x, "b (k c) h w -> b k c (h w)", k=self.heads)

    def forward(
        self,
        x: Float[Tensor, "b c h w"],
        tokens: Float[Tensor, "b m d"],
        logits: Float[Tensor, "b k m hw"] | None = None,
    ) -> Float[Tensor, "b c h w"]:
        """Return the map after every pixel has taken from the tokens; ``logits`` where they are known already."""
        weights = self.softmax(self.logits(x, tokens) if logits is None else logits)
        value = rearrange(self.value(tokens), "b m (k c) -> b k c m", k=self.heads)
        return x + self.drop_path(rearrange(value @ weights, "b k c (h w) -> b (k c) h w", h=x.shape[2]))
