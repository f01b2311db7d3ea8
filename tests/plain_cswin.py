"""CSWin attention in two plain forms.

`cross_shaped_attention` goes a window at a time and a head at a time: slow, obvious, the oracle of the tests.
`PlainStripes` follows the paper step by step on whole batches, with a copy at each step: what benchmarks compare with.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visionlab.backbones.cswin_attention import CrossShapedWindowAttention, StripeAttention


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend within one window and one head: (L, d)."""
    weights = torch.softmax(q @ k.T / q.shape[-1] ** 0.5, dim=-1)
    return weights @ v


def pad(values: Tensor, height: int, width: int) -> tuple[Tensor, int, int]:
    """Pad a map (H, W, C) about its centre to multiples of a window; also return the rows above and columns left."""
    h, w = values.shape[:2]
    down, right = (height - h % height) % height, (width - w % width) % width
    top, left = down // 2, right // 2
    big = torch.zeros(h + down, w + right, values.shape[2], dtype=values.dtype)
    big[top : top + h, left : left + w] = values
    return big, top, left


def branch(q: Tensor, k: Tensor, v: Tensor, lepe: nn.Conv2d, heads: int, height: int, width: int) -> Tensor:
    """Attend inside windows of height x width on maps (H, W, c), and add the convolution of the window's values."""
    h, w, c = q.shape
    (q, top, left), (k, _, _), (v, _, _) = (pad(t, height, width) for t in (q, k, v))
    out = torch.zeros_like(q)
    for y in range(0, q.shape[0], height):
        for x in range(0, q.shape[1], width):
            window = (slice(y, y + height), slice(x, x + width))
            for head in range(heads):
                part = slice(head * c // heads, (head + 1) * c // heads)
                tokens = [t[window][..., part].reshape(height * width, -1) for t in (q, k, v)]
                out[window][..., part] = attend(*tokens).view(height, width, -1)
            position = F.conv2d(v[window].permute(2, 0, 1)[None], lepe.weight, lepe.bias, padding=1, groups=c)
            out[window] += position[0].permute(1, 2, 0)
    return out[top : top + h, left : left + w]


def cross_shaped_attention(module: CrossShapedWindowAttention, x: Tensor) -> Tensor:
    """Compute what the module computes for maps (B, H, W, C), one image at a time."""
    results = []
    for one in x:
        h, w, c = one.shape
        q, k, v = (one @ module.qkv.weight.T + module.qkv.bias).split(c, dim=-1)
        parts, share = [], c // len(module.branches)
        for i, stripes in enumerate(module.branches):
            sw = stripes.stripe_width
            height, width = {"vertical": (h, sw), "horizontal": (sw, w), "whole": (h, w)}[stripes.orientation]
            own = slice(i * share, (i + 1) * share)
            parts.append(branch(q[..., own], k[..., own], v[..., own], stripes.lepe, stripes.heads, height, width))
        results.append(torch.cat(parts, dim=-1) @ module.proj.weight.T + module.proj.bias)
    return torch.stack(results)


class PlainStripes(StripeAttention):
    """Attention inside stripes: q, k and v are padded, cut into windows and into heads, each in a copy of its own."""

    def forward(self, qkv: Tensor) -> Tensor:
        """Attend inside each stripe of the projected map (B, H, W, 3, C)."""
        _, height, width, _, c = qkv.shape
        sw, heads = self.stripe_width, self.heads
        h, w = {"vertical": (height, sw), "horizontal": (sw, width), "whole": (height, width)}[self.orientation]
        top, left = -height % h // 2, -width % w // 2
        edges = (0, 0, left, -width % w - left, top, -height % h - top)
        q, k, v = (F.pad(t, edges) for t in qkv.unbind(dim=3))
        b, tall, wide, _ = q.shape

        def windows(t: Tensor) -> Tensor:
            t = t.permute(0, 3, 1, 2).contiguous().view(b, c, tall // h, h, wide // w, w)
            return t.permute(0, 2, 4, 3, 5, 1).contiguous().view(-1, h * w, c)

        def split(t: Tensor) -> Tensor:
            return windows(t).view(-1, h * w, heads, c // heads).permute(0, 2, 1, 3).contiguous()

        position = self.lepe(windows(v).transpose(1, 2).contiguous().view(-1, c, h, w))
        position = position.view(-1, heads, c // heads, h * w).permute(0, 1, 3, 2).contiguous()
        weights = ((split(q) * (c // heads) ** -0.5) @ split(k).transpose(-2, -1)).softmax(dim=-1)
        z = (weights @ split(v) + position).transpose(1, 2).reshape(-1, h * w, c)
        z = z.view(b, tall // h, wide // w, h, w, c).permute(0, 1, 3, 2, 4, 5).contiguous().view(b, tall, wide, c)
        return z[:, top : top + height, left : left + width]


def plain(network: nn.Module) -> nn.Module:
    """Turn every stripe attention of a network into the plain form, in place, and return the network."""
    for module in network.modules():
        if isinstance(module, StripeAttention):
            module.__class__ = PlainStripes
            module.attend.fused_attn = False  # both branches, one by one
    return network
