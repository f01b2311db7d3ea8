"""Mobile-Former: bridging MobileNet and Transformer.

Chen et al., CVPR 2022, arXiv 2108.05895; published code ``AAboys/MobileFormer``.

=====================================================  ==========================================================
paper                                                  here
=====================================================  ==========================================================
parallel structure, two streams (section 3, figure 1)  `MobileFormer`, `Streams`
Mobile-Former block                                    `mobile_former_blocks.MobileFormerBlock`
tokens                                                 `mobile_former_bridge.Tokens`
two-way bridge: Mobile→Former, Mobile←Former           `mobile_former_bridge.ToFormer`, `ToMobile`
Former sub-block                                       `mobile_former_bridge.Former`
Mobile sub-block                                       `mobile_former_mobile.RegularMobile`
dynamic ReLU steered by the first token                `mobile_former_mobile.DynamicReLU`, `Slopes`
down-sampling block, lite bottleneck                   `mobile_former_mobile.DownMobile`, `LiteMobile`
stem, head                                             `mobile_former_blocks.Stem`, `Head`
variants, 26M to 508M                                  `CONFIGURATIONS`
spatial-aware dynamic ReLU (object detection)          ``slopes="spatial"``, `mobile_former_mobile.Votes`
ablations: no bridge, no dynamic ReLU, fewer tokens    `mobile_former_cuts`, ``slopes="static"``, ``tokens=(M, d)``
end-to-end detector                                    `visionlab.heads.mobile_former_detection`, our sketch
published weights                                      `mobile_former_published.read_published_names`
the same function, made fast                           `mobile_former_inference.inference_form`
=====================================================  ==========================================================

Where paper and published code differ, the weights decide, so this follows the code: Mobile→Former has a gate, norms
stand behind the sums, the Former takes the tokens unprojected as keys and values and has 4 heads where the bridges have
2, and one more Mobile→Former stands before the head. Images of any size work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from einops import rearrange
from jaxtyping import Float
from timm.models import generate_default_cfgs, register_model
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from visionlab.backbones.mobile_former_blocks import BareHead, Head, MobileFormerBlock, Spec, Stage, Stem, make_block
from visionlab.backbones.mobile_former_bridge import Bypass, ToFormer, Tokens
from visionlab.backbones.mobile_former_mobile import Down, Lite, Regular
from visionlab.backbones.mobile_former_published import in_our_names, read_published_names
from visionlab.backbones.published import built

__all__ = ["CONFIGURATIONS", "MobileFormer", "MobileFormerBlock", "Streams"]


class Streams(NamedTuple):
    """The two streams: a map (B, C, H, W) of local and tokens (B, M, d) of global features."""

    map: Tensor
    tokens: Tensor


class MobileFormer(nn.Module):
    """A MobileNet and a transformer of a few tokens side by side, with a bridge in every block (figure 1).

    Args:
        stages: the blocks of each stage, as `Lite`, `Down` and `Regular`.
        in_chans: image channels.
        num_classes: outputs of the classifier; 0 for none.
        global_pool: "avg", or "" to classify each place of the last map.
        stem: channels of the stem.
        stem_stride: its stride.
        tokens: M and d. No tokens, M = 0, leave the Mobile alone, without a bridge (``slopes="static"`` only).
        groups: of all 1x1 convolutions.
        head_ratio: channels of the head's convolution over those of the last map.
        head_width: outputs of the head's first linear layer.
        slopes: where those of the activations come from: the first "token"; all tokens, by "spatial" votes; or none,
            "static", a ReLU6.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth of the last block; it grows linearly from the first, which has 1/n of it.

    Raises:
        ValueError: if widths, heads and groups do not go together, or an option is unknown.
    """

    def __init__(
        self,
        stages: Sequence[Sequence[Spec]],
        *,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        stem: int = 16,
        stem_stride: int = 2,
        tokens: tuple[int, int] = (6, 192),
        groups: int = 1,
        head_ratio: int = 6,
        head_width: int = 1920,
        slopes: str = "token",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        number, dim = tokens
        _check(stages, number, slopes)
        self.global_pool = _known_pool(global_pool)
        self.tokens = Tokens(number, dim)
        self.stem = Stem(in_chans, stem, 3, stride=stem_stride)
        self.feature_info: list[dict[str, Any]] = []
        channels, reduction = stem, stem_stride
        built: list[Stage] = []
        rate = drop_path_rate / sum(len(specs) for specs in stages)
        for i, specs in enumerate(stages):
            blocks: list[MobileFormerBlock] = []
            for spec in specs:
                drop_path = rate * (1 + len(blocks) + sum(len(earlier) for earlier in stages[:i]))
                blocks.append(make_block(channels, spec, tokens, groups=groups, slopes=slopes, drop_path=drop_path))
                channels, reduction = spec.out, reduction * spec.stride
            built.append(Stage(blocks))
            self.feature_info.append({"num_chs": channels, "reduction": reduction, "module": f"stages.{i}"})
        self.stages = nn.ModuleList(built)
        self.to_former = ToFormer(channels, dim, drop_path=drop_path_rate) if number else Bypass()
        self.num_features, self.head_hidden_size = channels, head_width
        self.head: Head | BareHead = Head(
            channels, dim if number else 0, ratio=head_ratio, width=head_width, groups=groups, drop_rate=drop_rate
        )
        self.apply(initialise)
        self.reset_classifier(num_classes)
        self.register_load_state_dict_pre_hook(read_published_names)

    def forward_features(self, x: Float[Tensor, "b c h w"]) -> Streams:
        """Return the map of the last stage, (B, num_features, H/32, W/32), and the tokens that have read it."""
        x, tokens = self.stem(x), self.tokens(x.shape[0])
        for stage in self.stages:
            x, tokens = stage(x, tokens)
        return Streams(x, self.to_former(tokens, x))

    def forward_head(self, x: tuple[Tensor, Tensor], pre_logits: bool = False) -> Tensor:
        """Classify the streams of `forward_features`; ``pre_logits`` stops before the classifier."""
        return self.head(*x, self.global_pool, pre_logits)

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
        """Return the last `Streams` and the maps of the chosen stages, or with ``intermediates_only`` these alone.

        As timm's; there is no norm behind the last map, so ``norm`` changes nothing.
        """
        if output_fmt not in ("NCHW", "NHWC"):
            raise ValueError(f"output_fmt: expected NCHW or NHWC, got {output_fmt!r}")
        wanted, last = feature_take_indices(len(self.stages), indices)
        maps = []
        x, tokens = self.stem(x), self.tokens(x.shape[0])
        for i, stage in enumerate(self.stages[: last + 1] if stop_early else self.stages):
            x, tokens = stage(x, tokens)
            if i in wanted:
                maps.append(x if output_fmt == "NCHW" else rearrange(x, "b c h w -> b h w c"))
        if intermediates_only:
            return maps
        if i == len(self.stages) - 1:
            tokens = self.to_former(tokens, x)
        return Streams(x, tokens), maps

    def prune_intermediate_layers(
        self, indices: int | Sequence[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop what the chosen stages do not need (timm's contract); returns their indices."""
        wanted, last = feature_take_indices(len(self.stages), indices)
        # The last Mobile→Former and the head are as wide as the last stage, and go with it.
        shorter = last < len(self.stages) - 1
        self.stages = self.stages[: last + 1]
        self.num_features = self.feature_info[last]["num_chs"]
        if prune_norm or shorter:
            self.to_former = Bypass()
        if prune_head or shorter:
            self.head = BareHead()
            self.head_hidden_size = self.num_features
            self.reset_classifier(0, "")
        return wanted

    def get_classifier(self) -> nn.Module:
        """Return the last linear layer."""
        return self.head.classifier

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Put a new classifier of ``num_classes`` outputs (0: none) on the network."""
        self.num_classes = num_classes
        if global_pool is not None:
            self.global_pool = _known_pool(global_pool)
        classifier = nn.Linear(self.head_hidden_size, num_classes) if num_classes > 0 else nn.Identity()
        self.head.classifier = classifier.apply(initialise).to(self.stem.conv.weight)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each block in the backward pass instead of storing its activations."""
        for stage in self.stages:
            cast(Stage, stage).grad_checkpointing = enable

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return timm's rule for layer-wise learning rates: by stage if ``coarse``, else by block."""
        blocks = [(r"^stages\.(\d+)\.blocks\.(\d+)", None), (r"^to_former", (99999,))]
        return {"stem": r"^stem|^tokens", "blocks": r"^stages\.(\d+)" if coarse else blocks}


def _check(stages: Sequence[Sequence[Spec]], tokens: int, slopes: str) -> None:
    if not stages or not all(stages):
        raise ValueError(f"stages: expected one block or more in each, got {[len(specs) for specs in stages]}")
    if slopes not in ("token", "spatial", "static"):
        raise ValueError(f"slopes: expected 'token', 'spatial' or 'static', got {slopes!r}")
    if tokens < 0 or (tokens == 0 and slopes != "static"):
        raise ValueError(f"tokens: slopes={slopes!r} needs one token or more, got {tokens}")


def _known_pool(global_pool: str) -> str:
    if global_pool not in ("avg", ""):
        raise ValueError(f"global_pool: expected 'avg' or '', got {global_pool!r}")
    return global_pool


def initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
        nn.init.normal_(module.weight, std=(2 / fan_out) ** 0.5)
    elif isinstance(module, nn.Linear):
        # Without bias and nearly without weight, the slopes of every activation start at (1, 0).
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)


CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "52m": {
        "tokens": (3, 128),
        "stem": 8,
        "stages": (
            (Lite(3, 12, 2), Regular(36, 12)),
            (Down(6, 24, 4), Regular(72, 24)),
            (Down(6, 48, 4), Regular(192, 48), Regular(288, 64)),
            (Down(6, 96, 4), Regular(576, 96)),
        ),
        "head_width": 1024,
    },
    "96m": {
        "tokens": (4, 128),
        "stem": 12,
        "stages": (
            (Lite(2, 12, 1), Down(6, 16, 4)),
            (Down(6, 32, 4), Regular(96, 32)),
            (Down(6, 64, 4), Regular(256, 64), Regular(384, 88)),
            (Down(6, 128, 4), Regular(768, 128)),
        ),
        "head_width": 1280,
    },
    "151m": {
        "tokens": (6, 192),
        "stem": 12,
        "stages": (
            (Lite(2, 12, 1), Down(6, 16, 4), Regular(48, 16)),
            (Down(6, 32, 4), Regular(96, 32)),
            (Down(6, 64, 4), Regular(256, 64), Regular(384, 88), Regular(528, 88)),
            (Down(6, 128, 4), Regular(768, 128), Regular(768, 128)),
        ),
        "head_width": 1280,
    },
    "214m": {
        "tokens": (6, 192),
        "stem": 12,
        "stages": (
            (Lite(2, 12, 1), Down(6, 20, 4), Regular(60, 20)),
            (Down(6, 40, 4), Regular(160, 40)),
            (Down(6, 80, 4), Regular(320, 80), Regular(480, 112), Regular(672, 112)),
            (Down(6, 160, 4), Regular(960, 160), Regular(960, 160)),
        ),
        "head_width": 1600,
    },
    "294m": {
        "tokens": (6, 192),
        "stem": 16,
        "stages": (
            (Lite(2, 16, 1), Down(6, 24, 4), Regular(96, 24)),
            (Down(6, 48, 4), Regular(192, 48)),
            (Down(6, 96, 4), Regular(384, 96), Regular(576, 128), Regular(768, 128)),
            (Down(6, 192, 4), Regular(1152, 192), Regular(1152, 192)),
        ),
        "head_width": 1920,
    },
    "508m": {
        "tokens": (6, 192),
        "stem": 24,
        "stages": (
            (Lite(2, 24, 1), Down(6, 40, 4), Regular(120, 40)),
            (Down(6, 72, 4), Regular(216, 72)),
            (Down(6, 128, 4), Regular(512, 128), Regular(768, 176), Regular(1056, 176)),
            (Down(6, 240, 4), Regular(1440, 240), Regular(1440, 240)),
        ),
        "head_width": 1920,
    },
}
"""The variants by their multiply-adds, as published; `Lite`, `Down` and `Regular` tell the blocks."""
CONFIGURATIONS["26m"] = CONFIGURATIONS["52m"] | {"groups": 4}


def _cfg() -> dict[str, Any]:
    return {
        "url": "",
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "crop_pct": 0.875,
        "interpolation": "bilinear",
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "first_conv": "stem.conv",
        "classifier": "head.classifier",
        "license": "not stated",
        "paper_ids": "arXiv:2108.05895",
        "paper_name": "Mobile-Former: Bridging MobileNet and Transformer",
        "origin_url": "AAboys/MobileFormer",
    }


default_cfgs = generate_default_cfgs({f"mobile_former_{size}.untrained": _cfg() for size in CONFIGURATIONS})


def _build(name: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    configuration = CONFIGURATIONS[name.removeprefix("mobile_former_")]
    return built(MobileFormer, name, pretrained, in_our_names, **(configuration | kwargs))


@register_model
def mobile_former_26m(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Mobile-Former-26M: 3.2 M parameters; the 52M with 1x1 convolutions in 4 groups."""
    return _build("mobile_former_26m", pretrained, **kwargs)


@register_model
def mobile_former_52m(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Mobile-Former-52M: 3.5 M parameters."""
    return _build("mobile_former_52m", pretrained, **kwargs)


@register_model
def mobile_former_96m(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Mobile-Former-96M: 4.6 M parameters."""
    return _build("mobile_former_96m", pretrained, **kwargs)


@register_model
def mobile_former_151m(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Mobile-Former-151M: 7.6 M parameters."""
    return _build("mobile_former_151m", pretrained, **kwargs)


@register_model
def mobile_former_214m(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Mobile-Former-214M: 9.4 M parameters."""
    return _build("mobile_former_214m", pretrained, **kwargs)


@register_model
def mobile_former_294m(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Mobile-Former-294M: 11.4 M parameters."""
    return _build("mobile_former_294m", pretrained, **kwargs)


@register_model
def mobile_former_508m(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Mobile-Former-508M: 14.0 M parameters."""
    return _build("mobile_former_508m", pretrained, **kwargs)
