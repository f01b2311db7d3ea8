"""The same function as a `MobileFormer` in evaluation mode, made fast: less memory is moved, the sums stay as they are.

On a CPU a Mobile-Former spends a third of its time on what hardly counts as multiply-adds: batch norms, slopes, copies.
Here

* batch norms are folded into the weights in front of them, and shuffles of channels into the rows of these;
* a map is kept pixel by pixel, (B, H, W, C). A 1x1 convolution is then one matrix product, a depthwise one reads whole
  vectors of channels, and the bridge takes the map as it lies;
* a dynamic ReLU works in place;
* both heads of a bridge share one product: each query has zeros in the channels of the other head, which doubles a few
  sums and saves a copy of the map. Adding what a bridge writes is part of the product.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from visionlab.backbones.mobile_former import MobileFormer
from visionlab.backbones.mobile_former_blocks import Head, MobileFormerBlock
from visionlab.backbones.mobile_former_bridge import Bypass, ToFormer, ToMobile
from visionlab.backbones.mobile_former_mobile import (
    ConvNorm,
    DownMobile,
    DynamicReLU,
    LiteMobile,
    RegularMobile,
    StaticReLU,
    shuffled,
)

__all__ = ["FastMobileFormer", "inference_form"]


class Spatial(nn.Module):
    """A convolution of a map (B, H, W, C) with more than one pixel, its batch norm folded in."""

    def __init__(self, layer: ConvNorm) -> None:
        super().__init__()
        self.conv = folded(layer).to(memory_format=torch.channels_last)

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h2 w2 d"]:
        """Return the convolved map."""
        return self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class TwoSlopes(nn.Module):
    """max(a1 x, a2 x) in the place of x; the slopes come from the first token.

    Args:
        layer: of the plain network.
        shuffle: parts of a shuffle in front of it there, which is missing here: the slopes move instead.
    """

    def __init__(self, layer: DynamicReLU, shuffle: int) -> None:
        super().__init__()
        self.slopes = layer.slopes
        last = cast(nn.Linear, self.slopes.mlp[-1])
        order = source(last.out_features // 2, shuffle).argsort()
        last.weight = nn.Parameter(last.weight.unflatten(0, (2, -1))[:, order].flatten(0, 1))
        last.bias = nn.Parameter(last.bias.unflatten(0, (2, -1))[:, order].flatten())

    def forward(self, x: Float[Tensor, "b h w c"], tokens: Float[Tensor, "b m d"]) -> Float[Tensor, "b h w c"]:
        """Return the activated map; ``x`` is overwritten."""
        a1, a2 = self.slopes(tokens[:, :1])[:, 0, :, None, None].unbind(1)
        falling = x * a2
        return torch.maximum(x.mul_(a1), falling, out=falling)


class SixSlope(nn.Module):
    """ReLU6 in the place of x."""

    def forward(self, x: Tensor, *_: object) -> Tensor:
        """Return the activated map; ``x`` is overwritten."""
        return x.clamp_(0, 6)


class FastMobile(nn.Module):
    """Mobile sub-block: layers and activations in a chain, in one part or two.

    Args:
        parts: each a convolution, its activation, and so on; an activation hears the tokens.
        first: whether what goes into the first part is added to what leaves it; it is for each further part.
    """

    def __init__(self, parts: Sequence[Sequence[nn.Module]], *, first: bool) -> None:
        super().__init__()
        self.parts = nn.ModuleList(nn.ModuleList(part) for part in parts)
        self.first = first

    def forward(self, x: Float[Tensor, "b h w c"], tokens: Float[Tensor, "b m d"]) -> Float[Tensor, "b h2 w2 e"]:
        """Return the map of the sub-block."""
        for i, part in enumerate(self.parts):
            y = x
            for layer in cast(nn.ModuleList, part):
                y = layer(y, tokens) if isinstance(layer, TwoSlopes | SixSlope) else layer(y)
            x = y.add_(x) if i or self.first else y
        return x


class Heads(nn.Module):
    """Spread (B, M, C) over heads, (B, heads M, C): each row is that of its token, zero outside the head's channels."""

    mask: Tensor

    def __init__(self, heads: int, channels: int, like: Tensor) -> None:
        super().__init__()
        own = torch.eye(heads, dtype=like.dtype, device=like.device).repeat_interleave(channels // heads, dim=1)
        self.register_buffer("mask", own[:, None])

    def forward(self, x: Float[Tensor, "b m c"]) -> Float[Tensor, "b km c"]:
        """Return the rows of all heads."""
        return (x[:, None] * self.mask).flatten(1, 2)

    def gathered(self, x: Float[Tensor, "b km c"]) -> Float[Tensor, "b m c"]:
        """Put together what each head has in its own channels."""
        return (x.unflatten(1, (len(self.mask), -1)) * self.mask).sum(1)


class FastToFormer(nn.Module):
    """`ToFormer` on a map (B, H, W, C)."""

    def __init__(self, bridge: ToFormer) -> None:
        super().__init__()
        self.query, self.gate, self.proj, self.norm = bridge.query, bridge.gate, bridge.proj, bridge.norm
        self.scale = (self.query.out_features // bridge.heads) ** -0.5
        self.heads = Heads(bridge.heads, self.query.out_features, self.query.weight)

    def forward(self, tokens: Float[Tensor, "b m d"], x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b m d"]:
        """Return the tokens after reading the map."""
        pixels = x.flatten(1, 2)
        weights = (self.heads(self.query(tokens) * self.scale) @ pixels.mT).softmax(dim=-1)
        read = self.heads.gathered(weights @ pixels)
        return self.norm(tokens + self.proj(2 * self.gate(tokens) * read))


class FastToMobile(nn.Module):
    """`ToMobile` on a map (B, H, W, C)."""

    def __init__(self, bridge: ToMobile) -> None:
        super().__init__()
        self.key, self.value = bridge.key, bridge.value
        self.scale = (self.key.out_features // bridge.heads) ** -0.5
        self.heads = Heads(bridge.heads, self.key.out_features, self.key.weight)

    def forward(self, x: Float[Tensor, "b h w c"], tokens: Float[Tensor, "b m d"]) -> Float[Tensor, "b h w c"]:
        """Return the map after every pixel has taken from the tokens."""
        pixels = x.flatten(1, 2)
        logits = self.heads(self.key(tokens) * self.scale) @ pixels.mT
        weights = logits.unflatten(1, (-1, tokens.shape[1])).softmax(dim=2).flatten(1, 2)
        return torch.baddbmm(pixels, weights.mT, self.heads(self.value(tokens))).view(x.shape)


class FastBlock(nn.Module):
    """A block as `MobileFormerBlock`; a part that was cut there is cut here."""

    def __init__(self, block: MobileFormerBlock) -> None:
        super().__init__()
        self.to_former = FastToFormer(block.to_former) if isinstance(block.to_former, ToFormer) else Bypass()
        self.former = block.former
        self.mobile = fast_mobile(block.mobile)
        self.to_mobile = FastToMobile(block.to_mobile) if isinstance(block.to_mobile, ToMobile) else Bypass()

    def forward(self, x: Float[Tensor, "b h w c"], tokens: Float[Tensor, "b m d"]) -> tuple[Tensor, Tensor]:
        """Return the block's map and tokens."""
        tokens = self.former(self.to_former(tokens, x))
        return self.to_mobile(self.mobile(x, tokens), tokens), tokens


class FastMobileFormer(nn.Module):
    """Stem, blocks and head as `inference_form` lays them out; images (B, in_chans, H, W) to logits.

    Args:
        model: a network in evaluation mode; its parts are taken over.
    """

    def __init__(self, model: MobileFormer) -> None:
        super().__init__()
        head = cast(Head, model.head)
        self.tokens = model.tokens.weight
        self.stem = Spatial(model.stem)
        blocks = [block for stage in model.stages for block in stage.get_submodule("blocks").children()]
        self.blocks = nn.ModuleList(FastBlock(cast(MobileFormerBlock, block)) for block in blocks)
        self.to_former = FastToFormer(model.to_former) if isinstance(model.to_former, ToFormer) else Bypass()
        self.widen = pointwise(head.conv, before=head.groups)
        self.fc = fuse_linear_bn_eval(head.fc, head.norm)
        self.classifier = head.classifier

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        """Classify normalised images: what the plain network returns in evaluation mode."""
        tokens = self.tokens.expand(x.shape[0], -1, -1)
        x = self.stem(x.permute(0, 2, 3, 1)).clamp_(0, 6)
        for block in self.blocks:
            x, tokens = block(x, tokens)
        tokens = self.to_former(tokens, x)
        pooled = F.hardswish(self.widen(x).clamp_(0, 6).mean(dim=(1, 2)))
        return self.classifier(F.hardswish(self.fc(torch.cat([pooled, tokens[:, :1].flatten(1)], dim=1))))


@torch.no_grad()
def inference_form(model: MobileFormer) -> FastMobileFormer:
    """Return a module that computes what ``model`` computes in evaluation mode, faster; ``model`` stays as it is.

    Raises:
        ValueError: if the network does not pool its last map, was pruned, or its slopes differ from pixel to pixel.
    """
    if model.global_pool != "avg" or not isinstance(model.head, Head):
        raise ValueError(
            f"model: expected a whole network with global_pool 'avg', got {model.global_pool!r} and"
            f" a {type(model.head).__name__}"
        )
    if any(isinstance(block, MobileFormerBlock) and block.votes is not None for block in model.modules()):
        raise ValueError("model: slopes='spatial' has no fast form; its slopes are as large as its maps")
    return FastMobileFormer(copy.deepcopy(model).eval()).eval().requires_grad_(False)


def fast_mobile(mobile: nn.Module) -> nn.Module:
    """Return the fast form of a Mobile sub-block."""
    if isinstance(mobile, LiteMobile):
        chain = [Spatial(mobile.conv1), SixSlope(), pointwise(mobile.conv2, before=mobile.conv1.shuffle)]
        return FastMobile([chain], first=mobile.residual)
    if isinstance(mobile, DownMobile):
        layers = (mobile.conv1, mobile.act1, mobile.conv2), (mobile.conv3, mobile.act3, mobile.conv4)
        parts = [
            [Spatial(conv), fast_act(act, conv.shuffle), pointwise(last, before=conv.shuffle)]
            for conv, act, last in layers
        ]
        return FastMobile(parts, first=False)
    if isinstance(mobile, RegularMobile):
        wide = [pointwise(mobile.conv1), fast_act(mobile.act1), Spatial(mobile.conv2), fast_act(mobile.act2)]
        return FastMobile([[*wide, pointwise(mobile.conv3)]], first=mobile.residual)
    return mobile


def fast_act(act: nn.Module, shuffle: int = 1) -> nn.Module:
    """Return the activation in place; arguments as of `TwoSlopes`."""
    if not isinstance(act, StaticReLU | DynamicReLU):
        raise ValueError(f"model: expected the activations of a Mobile-Former, got {type(act).__name__}")
    return SixSlope() if isinstance(act, StaticReLU) else TwoSlopes(act, shuffle)


def folded(layer: ConvNorm) -> nn.Conv2d:
    """Return the convolution with its batch norm in its weights and bias."""
    return fuse_conv_bn_eval(layer.conv, layer.norm)


def pointwise(layer: ConvNorm, *, before: int = 1) -> nn.Linear:
    """Return a 1x1 convolution and the shuffles around it as one matrix; groups become zeros in it.

    Args:
        layer: convolution, norm and shuffle.
        before: parts of a shuffle in front of it.
    """
    conv = folded(layer)
    matrix = torch.block_diag(*conv.weight[:, :, 0, 0].chunk(conv.groups))
    rows, columns = source(conv.out_channels, layer.shuffle), source(conv.in_channels, before)
    dense = nn.Linear(conv.in_channels, conv.out_channels)
    dense.weight = nn.Parameter(matrix[:, columns.argsort()][rows])
    dense.bias = nn.Parameter(cast(Tensor, conv.bias)[rows])
    return dense


def source(channels: int, parts: int) -> Tensor:
    """Return for each channel behind a shuffle the one in front from which it comes."""
    return shuffled(torch.arange(channels)[None, :, None, None].float(), parts).flatten().long()
