"""Blocks, stem and head of Mobile-Former (arXiv 2108.05895, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from timm.models import checkpoint
from torch import Tensor, nn

from visionlab.backbones.mobile_former_bridge import Bypass, Former, ToFormer, ToMobile
from visionlab.backbones.mobile_former_mobile import (
    ConvNorm,
    Down,
    DownMobile,
    DynamicReLU,
    Lite,
    LiteMobile,
    Regular,
    RegularMobile,
    StaticReLU,
    Votes,
    shuffled,
)

__all__ = ["BareHead", "Head", "MobileFormerBlock", "Spec", "Stage", "Stem", "make_block"]

Spec = Lite | Down | Regular


class MobileFormerBlock(nn.Module):
    """Mobile→Former on the input map, Former, Mobile with the slopes of the new tokens, Mobile←Former on its result.

    Any of the four may be a `Bypass`. The map leaves by ``to_mobile`` and the tokens by ``former``, so a hook on these
    sees what the block returns.
    """

    def __init__(
        self,
        mobile: nn.Module,
        to_former: ToFormer | None = None,
        former: Former | None = None,
        to_mobile: ToMobile | None = None,
        votes: Votes | None = None,
    ) -> None:
        super().__init__()
        self.to_former: ToFormer | Bypass = to_former or Bypass()
        self.former: Former | Bypass = former or Bypass()
        self.mobile = mobile
        self.to_mobile: ToMobile | Bypass = to_mobile or Bypass()
        self.votes = votes

    def forward(self, x: Float[Tensor, "b c h w"], tokens: Float[Tensor, "b m d"]) -> tuple[Tensor, Tensor]:
        """Return the block's map and tokens."""
        logits = None if self.votes is None else self.to_former.logits(tokens, x)
        # A bridge that was cut has no logits, and then the first token steers every place.
        votes = None if self.votes is None or logits is None else self.votes(logits, (x.shape[2], x.shape[3]))
        tokens = self.former(self.to_former(tokens, x, logits))
        return self.to_mobile(self.mobile(x, tokens, votes), tokens), tokens


def make_block(
    channels: int, spec: Spec, tokens: tuple[int, int], *, groups: int, slopes: str, drop_path: float
) -> MobileFormerBlock:
    """Build a block on a map of ``channels``; arguments as of `visionlab.backbones.mobile_former.MobileFormer`."""
    number, dim = tokens
    if isinstance(spec, Lite):
        return MobileFormerBlock(LiteMobile(channels, spec, groups=groups))
    act = (lambda _: StaticReLU()) if slopes == "static" else partial(DynamicReLU, dim)
    mobile = (
        DownMobile(channels, spec, act, groups=groups, drop_path=drop_path)
        if isinstance(spec, Down)
        else RegularMobile(channels, spec, act, groups=groups, drop_path=drop_path)
    )
    if number == 0:
        return MobileFormerBlock(mobile)
    return MobileFormerBlock(
        mobile,
        ToFormer(channels, dim, drop_path=drop_path),
        Former(dim, drop_path=drop_path),
        ToMobile(spec.out, dim, drop_path=drop_path),
        Votes(spec.stride) if slopes == "spatial" else None,
    )


class Stage(nn.Module):
    """Blocks one after the other, the first of which may shrink the map."""

    def __init__(self, blocks: Sequence[MobileFormerBlock]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.grad_checkpointing = False

    def forward(self, x: Float[Tensor, "b c h w"], tokens: Float[Tensor, "b m d"]) -> tuple[Tensor, Tensor]:
        """Run the stage on both streams."""
        for block in self.blocks:
            recompute = self.grad_checkpointing and torch.is_grad_enabled()
            x, tokens = checkpoint(block, x, tokens) if recompute else block(x, tokens)
        return x, tokens


class Stem(ConvNorm):
    """3x3 convolution, BatchNorm, ReLU6."""

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """Embed normalised images (B, in_chans, H, W); both sides must have at least one pixel."""
        channels = self.conv.in_channels
        if x.ndim != 4 or x.shape[1] != channels or min(x.shape[2:]) < 1:
            # A side shrinks to its half, rounded up, so one pixel outlives every stride.
            raise ValueError(f"x: expected images (B, {channels}, H, W) with H, W >= 1, got shape {tuple(x.shape)}")
        return F.relu6(super().forward(x))


class Head(nn.Module):
    """1x1, BatchNorm, ReLU6, mean, hardswish; the first token beside it; two linear layers.

    Args:
        channels: of the last map.
        token_dim: channels of the first token.
        ratio: the 1x1 convolution has so many times the channels of the map.
        width: outputs of the first linear layer.
        groups: of the 1x1 convolution.
        drop_rate: dropout before the classifier.
    """

    def __init__(self, channels: int, token_dim: int, *, ratio: int, width: int, groups: int, drop_rate: float) -> None:
        super().__init__()
        self.groups = groups
        self.conv = ConvNorm(channels, ratio * channels, groups=groups)
        self.fc = nn.Linear(ratio * channels + token_dim, width)
        self.norm = nn.BatchNorm1d(width)
        self.drop = nn.Dropout(drop_rate)
        self.classifier: nn.Module = nn.Identity()

    def forward(
        self, x: Float[Tensor, "b c h w"], tokens: Float[Tensor, "b m d"], pool: str, pre_logits: bool
    ) -> Tensor:
        """Return logits (B, K) or what comes before them, (B, D); without pooling (B, H, W, K) or (B, D, H, W)."""
        x = F.relu6(self.conv(shuffled(x, self.groups)))
        x = F.hardswish(x.mean(dim=(2, 3), keepdim=True) if pool == "avg" else x)
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            raise ValueError("x: training needs 2 or more images, because the head norms over the batch; got 1")
        # Without tokens (M = 0) nothing is put beside the map.
        first = tokens[:, :1].flatten(1)[:, :, None, None].expand(-1, -1, *x.shape[2:])
        rows = rearrange(torch.cat([x, first], dim=1), "b c h w -> (b h w) c")
        y = self.drop(F.hardswish(self.norm(self.fc(rows))))
        y = y if pre_logits else self.classifier(y)
        return y if pool == "avg" else _at_places(y, x, self.classifier, pre_logits)


class BareHead(nn.Module):
    """The head of a network whose last stages were pruned: the mean of its map, or the map itself."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier: nn.Module = nn.Identity()

    def forward(self, x: Float[Tensor, "b c h w"], _: Tensor, pool: str, pre_logits: bool) -> Tensor:
        """Return what the other head does."""
        y = x.mean(dim=(2, 3)) if pool == "avg" else rearrange(x, "b c h w -> (b h w) c")
        y = y if pre_logits else self.classifier(y)
        return y if pool == "avg" else _at_places(y, x, self.classifier, pre_logits)


def _at_places(rows: Tensor, x: Tensor, classifier: nn.Module, pre_logits: bool) -> Tensor:
    """Return rows of places as logits (B, H, W, K) or, before a classifier, as a map (B, D, H, W)."""
    features = pre_logits or isinstance(classifier, nn.Identity)
    to = "b c h w" if features else "b h w c"
    return rearrange(rows, f"(b h w) c -> {to}", h=x.shape[2], w=x.shape[3])
