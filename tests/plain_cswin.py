"""CSWin attention the plain way, a window at a time and a head at a time: slow, obvious, the oracle of the tests."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visionlab.backbones.cswin_attention import CrossShapedWindowAttention


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
