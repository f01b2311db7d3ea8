"""CSWin Transformer: a general vision backbone with cross-shaped windows.

Dong et al., CVPR 2022, arXiv 2107.00652; published code ``microsoft/CSWin-Transformer``.

========================================================  =================================================
paper                                                     here
========================================================  =================================================
section 3.1, overall architecture, figure 2               `CSWinTransformer`, `Stem`, `Merge`
section 3.2, cross-shaped window attention, eqs 1-2       `cswin_attention.CrossShapedWindowAttention`
figure 1, stripes                                         `cswin_attention.to_stripes`, `from_stripes`
eq. 3, cost                                               `cswin_attention.attention_cost`
section 3.3, locally-enhanced positional encoding, eq. 5  `cswin_attention.StripeAttention`, its ``lepe``
section 3.4, block, eq. 6                                 `CSWinBlock`
table 1, configurations                                   `CONFIGURATIONS`
sections 4.2-4.3, backbone for dense prediction           `cswin_pyramid.CSWinPyramid`
section 4.4, rivals of the ablations                      `cswin_variants`
published weights                                         `cswin_published.read_published_names`
experiments and claims                                    `visionlab.experiments.cswin`
========================================================  =================================================

Where paper and published code differ, the weights decide, so this follows the code: the first half of the heads looks
along *vertical* stripes, LePE is a 3x3 depth-wise convolution of the values *inside* each stripe, and the last stage of
CSWin-L has 24 heads. Beyond the published classifier, any image size works: a stripe that the map does not divide into
is padded as in the published segmentation code (zeros, centred, after the projection, unmasked).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from einops import rearrange
from jaxtyping import Float
from timm.layers import DropPath, Mlp, to_2tuple, trunc_normal_
from timm.models import checkpoint, generate_default_cfgs, register_model
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from visionlab.backbones.cswin_attention import CrossShapedWindowAttention
from visionlab.backbones.cswin_published import in_our_names, read_published_names
from visionlab.backbones.published import built

__all__ = ["CONFIGURATIONS", "CSWinBlock", "CSWinTransformer"]


class CSWinBlock(nn.Module):
    """x + Attention(LN(x)), then x + MLP(LN(x)) (eq. 6); each residual branch is dropped at rate ``drop_path``."""

    def __init__(self, dim: int, attention: nn.Module, *, mlp_ratio: float = 4.0, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = attention
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        """Return the map after attention and MLP."""
        x = x + self.drop_path(self.attention(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class Stem(nn.Module):
    """Overlapping token embedding: a 7x7 convolution of stride 4 and a LayerNorm; image to map (B, H/4, W/4, C)."""

    def __init__(self, in_chans: int, dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_chans, dim, 7, stride=4, padding=2)
        self.norm: nn.Module = nn.LayerNorm(dim)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h2 w2 d"]:
        """Embed images (B, in_chans, H, W); both sides must have at least 3 pixels."""
        if x.ndim != 4 or x.shape[1] != self.conv.in_channels or min(x.shape[2:]) < 3:
            raise ValueError(
                f"x: expected images (B, {self.conv.in_channels}, H, W) with H, W >= 3, got shape {tuple(x.shape)}"
            )
        return self.norm(rearrange(self.conv(x), "b c h w -> b h w c"))


class Merge(nn.Module):
    """Between stages: a 3x3 convolution of stride 2 halves the sides (rounding up) and widens, then a LayerNorm."""

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, out_dim, 3, stride=2, padding=1)
        self.norm = nn.LayerNorm(out_dim)

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h2 w2 d"]:
        """Return the map of the next stage."""
        x = self.conv(rearrange(x, "b h w c -> b c h w"))
        return self.norm(rearrange(x, "b c h w -> b h w c"))


class CSWinStage(nn.Module):
    """The merge that leads into the stage (none before the first), then its blocks."""

    def __init__(self, merge: nn.Module, blocks: Sequence[CSWinBlock]) -> None:
        super().__init__()
        self.merge = merge
        self.blocks = nn.Sequential(*blocks)
        self.grad_checkpointing = False

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h2 w2 d"]:
        """Run the stage on a map."""
        x = self.merge(x)
        for block in self.blocks:
            recompute = self.grad_checkpointing and torch.is_grad_enabled()
            x = checkpoint(block, x) if recompute else block(x)
        return x


class CSWinTransformer(nn.Module):
    """The four-stage network of figure 2, with a classifier on the mean of the normed tokens.

    Args:
        img_size: the size that the network is made for. It decides one thing: a stage whose map is exactly as large
            as its stripe width attends over the whole map with one branch, as in the published classifier. ``None``
            leaves that to the last stage alone. The network itself runs on any size.
        in_chans: image channels.
        num_classes: outputs of the classifier; 0 for none.
        global_pool: "avg", or "" to classify each token.
        dim: channels C of the first stage; they double at each merge.
        depths: blocks of each stage.
        heads: attention heads of each stage.
        stripe_widths: sw of each stage; the last stage attends over the whole map.
        mlp_ratio: hidden width of the MLP over its input width.
        qkv_bias: whether the query-key-value projection has a bias.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth of the last block; it grows linearly from 0 at the first.
    """

    def __init__(
        self,
        img_size: int | tuple[int, int] | None = 224,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        *,
        dim: int = 64,
        depths: Sequence[int] = (1, 2, 21, 1),
        heads: Sequence[int] = (2, 4, 8, 16),
        stripe_widths: Sequence[int] = (1, 2, 7, 7),
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        for name, value in (("depths", depths), ("heads", heads), ("stripe_widths", stripe_widths)):
            if len(value) != 4 or min(value) < 1:
                raise ValueError(f"{name}: expected four whole numbers >= 1, one a stage, got {tuple(value)}")
        self.num_classes = num_classes
        self.global_pool = _known_pool(global_pool)
        self.stem = Stem(in_chans, dim)
        last = max(1, sum(depths) - 1)
        rates = [drop_path_rate * i / last for i in range(sum(depths))]
        stages: list[CSWinStage] = []
        self.feature_info: list[dict[str, Any]] = []
        for i, side in enumerate(_map_sides(img_size)):
            width, sw = dim * 2**i, stripe_widths[i]
            blocks = []
            for rate in rates[sum(depths[:i]) : sum(depths[: i + 1])]:
                attention = CrossShapedWindowAttention(
                    width, heads=heads[i], stripe_width=sw, qkv_bias=qkv_bias, whole=i == 3 or side == (sw, sw)
                )
                blocks.append(CSWinBlock(width, attention, mlp_ratio=mlp_ratio, drop_path=rate))
            stages.append(CSWinStage(Merge(width // 2, width) if i else nn.Identity(), blocks))
            self.feature_info.append({"num_chs": width, "reduction": 4 * 2**i, "module": f"stages.{i}"})
        self.stages = nn.Sequential(*stages)
        self.num_features = self.head_hidden_size = 8 * dim
        self.norm: nn.Module = nn.LayerNorm(self.num_features)
        self.head_drop = nn.Dropout(drop_rate)
        self.head: nn.Module = nn.Linear(self.num_features, num_classes) if num_classes > 0 else nn.Identity()
        self.apply(initialise)
        self.register_load_state_dict_pre_hook(read_published_names)

    def forward_features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Return the normed map of the last stage, (B, num_features, H/32, W/32)."""
        return rearrange(self.norm(self.stages(self.stem(x))), "b h w c -> b c h w")

    def forward_head(self, x: Float[Tensor, "b d h w"], pre_logits: bool = False) -> Tensor:
        """Pool a map of `forward_features` and classify it; ``pre_logits`` stops before the classifier.

        Without pooling: logits (B, H, W, num_classes) of each place, or the map itself before the classifier.
        """
        pooled = self.global_pool == "avg"
        x = self.head_drop(x.mean(dim=(2, 3)) if pooled else x)
        if pre_logits or self.num_classes == 0:
            return x
        return self.head(x if pooled else rearrange(x, "b c h w -> b h w c"))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Tensor:
        """Classify normalised images (B, in_chans, H, W): logits (B, num_classes)."""
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(
        self,
        x: Float[Tensor, "b c h w"],
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """Return the last map and those of the chosen stages, or with ``intermediates_only`` these alone (as timm's).

        The last map, (B, C, H, W), is normed unless ``stop_early`` left out the stages behind the chosen ones.
        """
        if output_fmt not in ("NCHW", "NHWC"):
            raise ValueError(f"output_fmt: expected NCHW or NHWC, got {output_fmt!r}")
        wanted, last = feature_take_indices(len(self.stages), indices)
        maps = []
        x = self.stem(x)
        for i, stage in enumerate(self.stages[: last + 1] if stop_early else self.stages):
            x = stage(x)
            if i in wanted:
                y = self.norm(x) if norm and i == len(self.stages) - 1 else x
                maps.append(rearrange(y, "b h w c -> b c h w") if output_fmt == "NCHW" else y)
        if intermediates_only:
            return maps
        if i == len(self.stages) - 1:
            x = self.norm(x)
        return rearrange(x, "b h w c -> b c h w"), maps

    def prune_intermediate_layers(
        self, indices: int | Sequence[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop what the chosen stages do not need (timm's contract); returns their indices."""
        wanted, last = feature_take_indices(len(self.stages), indices)
        # Norm and classifier are as wide as the last stage, and go with it.
        shorter = last < len(self.stages) - 1
        self.stages = self.stages[: last + 1]
        self.num_features = self.head_hidden_size = self.feature_info[last]["num_chs"]
        if prune_norm or shorter:
            self.norm = nn.Identity()
        if prune_head or shorter:
            self.reset_classifier(0, "")
        return wanted

    def get_classifier(self) -> nn.Module:
        """Return the last linear layer."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Put a new classifier of ``num_classes`` outputs (0: none) on the network."""
        self.num_classes = num_classes
        if global_pool is not None:
            self.global_pool = _known_pool(global_pool)
        head = nn.Linear(self.num_features, num_classes) if num_classes > 0 else nn.Identity()
        self.head = head.apply(initialise).to(self.stem.conv.weight)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each block in the backward pass instead of storing its activations."""
        for stage in self.stages:
            cast(CSWinStage, stage).grad_checkpointing = enable

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return timm's rule for layer-wise learning rates: by stage if ``coarse``, else by block."""
        blocks = [
            (r"^stages\.(\d+)\.blocks\.(\d+)", None),
            (r"^stages\.(\d+)\.merge", (0,)),
            (r"^norm", (99999,)),
        ]
        return {"stem": r"^stem", "blocks": r"^stages\.(\d+)" if coarse else blocks}


def _known_pool(global_pool: str) -> str:
    if global_pool not in ("avg", ""):
        raise ValueError(f"global_pool: expected 'avg' or '', got {global_pool!r}")
    return global_pool


def _map_sides(img_size: int | tuple[int, int] | None) -> list[tuple[int, int] | None]:
    if img_size is None:
        return [None] * 4
    height, width = to_2tuple(img_size)
    sides = [((height - 3) // 4 + 1, (width - 3) // 4 + 1)]
    for _ in range(3):
        sides.append(((sides[-1][0] + 1) // 2, (sides[-1][1] + 1) // 2))
    return list(sides)


def initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "tiny": {"dim": 64, "depths": (1, 2, 21, 1), "heads": (2, 4, 8, 16)},
    "small": {"dim": 64, "depths": (2, 4, 32, 2), "heads": (2, 4, 8, 16)},
    "base": {"dim": 96, "depths": (2, 4, 32, 2), "heads": (4, 8, 16, 32)},
    "large": {"dim": 144, "depths": (2, 4, 32, 2), "heads": (6, 12, 24, 24)},
}
"""Table 1, with the heads of the published code."""


def _cfg(size: int = 224, crop_pct: float = 0.9) -> dict[str, Any]:
    return {
        "url": "",
        "num_classes": 1000,
        "input_size": (3, size, size),
        "pool_size": (size // 32, size // 32),
        "crop_pct": crop_pct,
        "interpolation": "bicubic",
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "first_conv": "stem.conv",
        "classifier": "head",
        "license": "mit",
        "paper_ids": "arXiv:2107.00652",
        "paper_name": "CSWin Transformer: A General Vision Transformer Backbone with Cross-Shaped Windows",
        "origin_url": "microsoft/CSWin-Transformer",
    }


default_cfgs = generate_default_cfgs(
    {f"cswin_{size}_224.untrained": _cfg() for size in CONFIGURATIONS}
    | {f"cswin_{size}_384.untrained": _cfg(384, crop_pct=1.0) for size in ("base", "large")}
)


def _build(name: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    _, size, pixels = name.split("_")
    wide = 12 if pixels == "384" else 7
    defaults = {"img_size": int(pixels), "stripe_widths": (1, 2, wide, wide)} | CONFIGURATIONS[size]
    return built(CSWinTransformer, name, pretrained, in_our_names, **(defaults | kwargs))


@register_model
def cswin_tiny_224(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """CSWin-T: 22.3 M parameters, 4.3 G multiply-adds."""
    return _build("cswin_tiny_224", pretrained, **kwargs)


@register_model
def cswin_small_224(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """CSWin-S: 34.6 M parameters, 6.8 G multiply-adds."""
    return _build("cswin_small_224", pretrained, **kwargs)


@register_model
def cswin_base_224(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """CSWin-B: 77.4 M parameters, 15.0 G multiply-adds."""
    return _build("cswin_base_224", pretrained, **kwargs)


@register_model
def cswin_large_224(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """CSWin-L: 173.3 M parameters, 33.1 G multiply-adds."""
    return _build("cswin_large_224", pretrained, **kwargs)


@register_model
def cswin_base_384(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """CSWin-B at 384 pixels: stripe widths 1, 2, 12, 12; 47.0 G multiply-adds."""
    return _build("cswin_base_384", pretrained, **kwargs)


@register_model
def cswin_large_384(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """CSWin-L at 384 pixels: stripe widths 1, 2, 12, 12; 101.9 G multiply-adds."""
    return _build("cswin_large_384", pretrained, **kwargs)
