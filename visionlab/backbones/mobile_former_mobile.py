"""The Mobile side of Mobile-Former (arXiv 2108.05895, section 3): convolutions whose activations a token steers.

Every sub-block maps (x, tokens, votes) to a map. All convolutions are without bias and have a BatchNorm behind them.
Where the 1x1 convolutions are grouped (26M), shuffles carry channels from group to group.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from timm.layers import DropPath
from torch import Tensor, nn

__all__ = ["ConvNorm", "Down", "DynamicReLU", "Lite", "Regular", "Slopes", "Votes"]


Act = Callable[[int], nn.Module]
"""Makes the activation for so many channels."""


class Lite(NamedTuple):
    """A lite bottleneck: depthwise 3x3 with multiplier ``expand`` and ``stride``, 1x1 to ``out``; without tokens."""

    expand: int
    out: int
    stride: int


class Down(NamedTuple):
    """A down-sampling block: depthwise with multiplier ``expand`` and stride 2, 1x1, depthwise, 1x1."""

    expand: int
    out: int
    expand_again: int
    stride: int = 2


class Regular(NamedTuple):
    """A regular block: 1x1 to ``hidden``, depthwise, 1x1 to ``out``."""

    hidden: int
    out: int
    stride: int = 1


class ConvNorm(nn.Module):
    """Convolution and BatchNorm; with ``shuffle`` > 1 the channels, cut into so many parts, are dealt out in turn."""

    def __init__(
        self, channels: int, out: int, kernel: int = 1, *, stride: int = 1, groups: int = 1, shuffle: int = 1
    ) -> None:
        super().__init__()
        for number in (channels, out):
            if number < 1 or number % groups:
                raise ValueError(f"widths: {groups} groups do not split a convolution of {channels} to {out} channels")
        self.conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out)
        self.shuffle = shuffle

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b out h2 w2"]:
        """Return the convolved, normed and shuffled map."""
        return shuffled(self.norm(self.conv(x)), self.shuffle)


def shuffled(x: Float[Tensor, "b c h w"], parts: int) -> Float[Tensor, "b c h w"]:
    """Deal out the channels: the first of each part, then the second of each part, and so on."""
    return x if parts == 1 else rearrange(x, "b (parts n) h w -> b (n parts) h w", parts=parts)


class Slopes(nn.Module):
    """Slopes of a dynamic ReLU from a token: a1 = 2 (p - 0.5) + 1 in [0, 2], a2 = 2 (q - 0.5) in [-1, 1].

    (p, q) = hsigmoid(MLP(z)). With small weights and no bias, (a1, a2) starts at (1, 0), the plain ReLU.
    """

    def __init__(self, dim: int, channels: int, *, reduction: int = 4) -> None:
        super().__init__()
        if dim < reduction:
            raise ValueError(f"tokens: {dim} channels cannot be reduced by {reduction}")
        squeezed = dim // reduction
        self.mlp = nn.Sequential(nn.Linear(dim, squeezed), nn.ReLU(), nn.Linear(squeezed, 2 * channels))
        self.hsigmoid = nn.Hardsigmoid()

    def forward(self, tokens: Float[Tensor, "b m d"]) -> Float[Tensor, "b m two c"]:
        """Return (a1, a2) of every channel by each token, (B, M, 2, C)."""
        p, q = self.hsigmoid(self.mlp(tokens)).chunk(2, dim=-1)
        return torch.stack([2 * (p - 0.5) + 1, 2 * (q - 0.5)], dim=2)


class DynamicReLU(nn.Module):
    """max(a1 x, a2 x), a channel's slopes coming from the first token.

    With ``votes`` (B, M, H, W) all tokens vote at every place, and the slopes differ from pixel to pixel.
    """

    def __init__(self, dim: int, channels: int) -> None:
        super().__init__()
        self.slopes = Slopes(dim, channels)

    def forward(
        self, x: Float[Tensor, "b c h w"], tokens: Float[Tensor, "b m d"], votes: Float[Tensor, "b m h w"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """Return the activated map."""
        if votes is None:
            a1, a2 = self.slopes(tokens[:, :1])[:, 0, :, :, None, None].unbind(1)
        else:
            a1, a2 = torch.einsum("bmsc,bmhw->sbchw", self.slopes(tokens), votes)
        return torch.maximum(a1 * x, a2 * x)


class StaticReLU(nn.ReLU6):
    """ReLU6 in the place of a dynamic one: it hears no token."""

    def forward(self, x: Tensor, *_: object) -> Tensor:
        """Return the activated map."""
        return super().forward(x)


class Votes(nn.Module):
    """How much each token has to say at each place (spatial-aware dynamic ReLU, made for detection).

    The softmax over the tokens of the Mobile→Former logits, averaged over the heads and, where the map shrinks, over
    the pixels that become one.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.softmax = nn.Softmax(dim=1)

    def forward(self, logits: Float[Tensor, "b k m hw"], size: tuple[int, int]) -> Float[Tensor, "b m h w"]:
        """Return votes (B, M, H', W') from logits (B, heads, M, HW) on a map of ``size`` (H, W)."""
        scores = logits.mean(dim=1).unflatten(-1, size)
        if self.stride > 1:
            # The map's own size after a 3x3 convolution with this stride.
            height, width = ((side - 1) // self.stride + 1 for side in size)
            scores = F.adaptive_avg_pool2d(scores, (height, width))
        return self.softmax(scores)


class LiteMobile(nn.Module):
    """Depthwise 3x3 that widens, ReLU6, linear 1x1; plus the input where the sizes agree. It hears no token."""

    def __init__(self, channels: int, spec: Lite, *, groups: int = 1) -> None:
        super().__init__()
        shuffle = channels if groups > 1 else 1
        wide = channels * spec.expand
        self.conv1 = ConvNorm(channels, wide, 3, stride=spec.stride, groups=channels, shuffle=shuffle)
        self.act1 = nn.ReLU6()
        self.conv2 = ConvNorm(wide, spec.out, groups=groups)
        self.residual = spec.stride == 1 and channels == spec.out

    def forward(self, x: Float[Tensor, "b c h w"], *_: object) -> Float[Tensor, "b out h2 w2"]:
        """Return the map of the block."""
        y = self.conv2(self.act1(self.conv1(x)))
        return x + y if self.residual else y


class DownMobile(nn.Module):
    """Four convolutions, depthwise and 1x1 twice, so that both costly 1x1 run at half the resolution.

    The sum is with the map after the first 1x1, not with the input.
    """

    def __init__(self, channels: int, spec: Down, act: Act, *, groups: int = 1, drop_path: float = 0.0) -> None:
        super().__init__()
        wide, out, wide_again = channels * spec.expand, spec.out, spec.out * spec.expand_again
        shuffles = (channels, out) if groups > 1 else (1, 1)
        self.conv1 = ConvNorm(channels, wide, 3, stride=spec.stride, groups=channels, shuffle=shuffles[0])
        self.act1 = act(wide)
        self.conv2 = ConvNorm(wide, out, groups=groups)
        self.conv3 = ConvNorm(out, wide_again, 3, groups=out, shuffle=shuffles[1])
        self.act3 = act(wide_again)
        self.conv4 = ConvNorm(wide_again, out, groups=groups)
        self.drop_path = DropPath(drop_path)

    def forward(
        self,
        x: Float[Tensor, "b c h w"],
        tokens: Float[Tensor, "b m d"],
        votes: Float[Tensor, "b m h2 w2"] | None = None,
    ) -> Float[Tensor, "b out h2 w2"]:
        """Return the map of the block at half the resolution, rounded up."""
        x = self.conv2(self.act1(self.conv1(x), tokens, votes))
        return x + self.drop_path(self.conv4(self.act3(self.conv3(x), tokens, votes)))


class RegularMobile(nn.Module):
    """1x1, depthwise 3x3, linear 1x1, as in MobileNetV2; plus the input where the widths agree."""

    def __init__(self, channels: int, spec: Regular, act: Act, *, groups: int = 1, drop_path: float = 0.0) -> None:
        super().__init__()
        self.conv1 = ConvNorm(channels, spec.hidden, groups=groups, shuffle=groups)
        self.act1 = act(spec.hidden)
        self.conv2 = ConvNorm(spec.hidden, spec.hidden, 3, stride=spec.stride, groups=spec.hidden)
        self.act2 = act(spec.hidden)
        self.conv3 = ConvNorm(spec.hidden, spec.out, groups=groups, shuffle=groups)
        self.residual = spec.stride == 1 and channels == spec.out
        self.drop_path = DropPath(drop_path)

    def forward(
        self, x: Float[Tensor, "b c h w"], tokens: Float[Tensor, "b m d"], votes: Float[Tensor, "b m h w"] | None = None
    ) -> Float[Tensor, "b out h w"]:
        """Return the map of the block."""
        y = self.act1(self.conv1(x), tokens, votes)
        y = self.conv3(self.act2(self.conv2(y), tokens, votes))
        return x + self.drop_path(y) if self.residual else y
