"""MicroNet: image recognition with extremely low FLOPs.

Li et al., ICCV 2021, arXiv 2108.05894; published code ``liyunsheng13/micronet``.

========================================================  =================================================
paper                                                     here
========================================================  =================================================
micro-factorized pointwise convolution, W = P Phi Q^T     `micronet_factorized.MicroFactorizedPointwise`
its groups, G = sqrt(C/R)                                 `micronet_factorized.pointwise_groups`
Phi, the channel shuffle                                  `micronet_factorized.channel_shuffle`
connectivity, E = C^2 / (R G^2), and who reaches whom     `micronet_factorized.wiring`
micro-factorized depthwise convolution                    `micronet_factorized.MicroDepthwise`
lite and regular combination, Micro-Blocks A, B, C        `micronet_blocks.LiteBlock`, `MicroBlock`
Dynamic Shift-Max                                         `micronet_shiftmax.shift_max`, `DynamicShiftMax`
its coefficients, which depend on the input               `micronet_shiftmax.Coefficients`
its relation to Dynamic ReLU (J = 1)                      `micronet_shiftmax.DynamicShiftMax`, its ``offsets``
stem                                                      `micronet_blocks.Stem`
table of MicroNet-M0 to M3                                `CONFIGURATIONS`
cost                                                      `multiply_adds_of_shift_max`
published weights                                         `micronet_published.read_published_names`
the same function, made fast                              `micronet_inference.inference_form`
========================================================  =================================================

Where paper and published code differ, the weights decide, so this follows the code. The chain of layers is cut at the
narrow points: the pointwise factor that ends a block and the one that begins the next are Q^T and P of one product, so
that the tables here have one row more than the paper's. Dynamic Shift-Max also rolls by one inside a group. M3 has it
only behind the depthwise factors. The logits themselves pass batch norm and h-swish.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from timm.models import checkpoint, generate_default_cfgs, register_model
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from visionlab.backbones.micronet_blocks import NormedLinear, Row, Stem, build_block, initialise
from visionlab.backbones.micronet_published import in_our_names, read_published_names
from visionlab.backbones.micronet_shiftmax import DynamicShiftMax, Offsets
from visionlab.backbones.published import built

__all__ = ["CONFIGURATIONS", "MicroNet", "MicroNetStage", "multiply_adds_of_shift_max"]


class MicroNetStage(nn.Module):
    """Blocks whose maps are of one size: the first may halve it."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.grad_checkpointing = False

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Run the stage on a map."""
        for block in self.blocks:
            recompute = self.grad_checkpointing and torch.is_grad_enabled()
            x = checkpoint(block, x) if recompute else block(x)
        return x


class MicroNet(nn.Module):
    """Stem, stages of micro-blocks, and a head with one hidden layer. Images of any size from one pixel on are taken.

    Args:
        in_chans: image channels.
        num_classes: outputs of the classifier; 0 for none, which leaves the hidden features of the head.
        global_pool: "avg", or "" to classify each position of the last map.
        stem: (o1, o2), see `Stem`.
        rows: the blocks. Each row of stride 2, and the first, begins a stage.
        head_width: hidden width of the head.
        offsets: alpha of Dynamic Shift-Max, a row for each branch of the maximum; rows of one number make it Dynamic
            ReLU.
        drop_rate: dropout before the classifier.
        normed_logits: whether the logits pass batch norm and h-swish, as in the published networks.

    Raises:
        ValueError: if groups do not divide the channels of their block, or there is no row.
    """

    def __init__(
        self,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        *,
        stem: tuple[int, int],
        rows: Sequence[Row],
        head_width: int,
        offsets: Offsets = ((1.0, 0.0), (1.0, 0.0)),
        drop_rate: float = 0.0,
        normed_logits: bool = True,
    ) -> None:
        super().__init__()
        if not rows:
            raise ValueError("rows: expected at least one, got none")
        self.num_classes = num_classes
        self.global_pool = _known_pool(global_pool)
        self.stem = Stem(in_chans, stem)
        stages: list[list[nn.Module]] = []
        self.feature_info: list[dict[str, Any]] = []
        channels, reduction = stem[0] * stem[1], 2
        for i, row in enumerate(rows):
            reduction *= row.stride
            if i == 0 or row.stride > 1:
                self.feature_info.append({"module": f"stages.{len(stages)}", "reduction": reduction})
                stages.append([])
            stages[-1].append(build_block(channels, row, offsets))
            channels = row.out
            self.feature_info[-1]["num_chs"] = channels
        self.stages = nn.Sequential(*(MicroNetStage(blocks) for blocks in stages))
        self.num_features, self.head_hidden_size = channels, head_width
        self.neck: nn.Module = nn.Sequential(nn.Hardswish(), NormedLinear(channels, head_width))
        self.head_drop = nn.Dropout(drop_rate)
        self._make_head = partial(NormedLinear, normed=normed_logits)
        self.head: nn.Module = self._make_head(head_width, num_classes) if num_classes > 0 else nn.Identity()
        self.apply(initialise)
        self.register_load_state_dict_pre_hook(read_published_names)

    def forward_features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Return the map of the last stage, (B, num_features, H/32, W/32)."""
        return self.stages(self.stem(x))

    def forward_head(self, x: Float[Tensor, "b d h w"], pre_logits: bool = False) -> Tensor:
        """Pool a map of `forward_features` and classify it; ``pre_logits`` stops before the classifier.

        Without pooling: logits (B, H, W, num_classes) of each place, or a map (B, D, H, W) before the classifier.
        """
        x, pooled = F.relu6(x), self.global_pool == "avg"
        x = x.mean(dim=(2, 3)) if pooled else rearrange(x, "b c h w -> b h w c")
        x = self.head_drop(self.neck(x))
        if pre_logits or self.num_classes == 0:
            return x if pooled else rearrange(x, "b h w c -> b c h w")
        return self.head(x)

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

        ``norm`` changes nothing: batch norms are inside the blocks, and none follows the last one.
        """
        if output_fmt not in ("NCHW", "NHWC"):
            raise ValueError(f"output_fmt: expected NCHW or NHWC, got {output_fmt!r}")
        wanted, last = feature_take_indices(len(self.stages), indices)
        maps = []
        x = self.stem(x)
        for i, stage in enumerate(self.stages[: last + 1] if stop_early else self.stages):
            x = stage(x)
            if i in wanted:
                maps.append(x if output_fmt == "NCHW" else rearrange(x, "b c h w -> b h w c"))
        return maps if intermediates_only else (x, maps)

    def prune_intermediate_layers(
        self, indices: int | Sequence[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop what the chosen stages do not need (timm's contract); returns their indices.

        The head's hidden layer is as wide as the last stage and goes with it, or with ``prune_norm``.
        """
        wanted, last = feature_take_indices(len(self.stages), indices)
        shorter = last < len(self.stages) - 1
        self.stages = self.stages[: last + 1]
        self.num_features = self.feature_info[last]["num_chs"]
        if prune_norm or shorter:
            self.neck = nn.Identity()
            self.head_hidden_size = self.num_features
        if prune_head or prune_norm or shorter:
            self.reset_classifier(0, "")
        return wanted

    def get_classifier(self) -> nn.Module:
        """Return the last linear layer."""
        return self.head.linear if isinstance(self.head, NormedLinear) else self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Put a new classifier of ``num_classes`` outputs (0: none) on the network, with its batch norm."""
        self.num_classes = num_classes
        if global_pool is not None:
            self.global_pool = _known_pool(global_pool)
        head = self._make_head(self.head_hidden_size, num_classes) if num_classes > 0 else nn.Identity()
        self.head = head.apply(initialise).to(self.stem.column.weight).train(self.training)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each block in the backward pass instead of storing its activations.

        In training mode batch norms then see each batch twice, which moves their running averages faster.
        """
        for stage in self.stages:
            stage.grad_checkpointing = enable  # type: ignore[assignment]

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return timm's rule for layer-wise learning rates: by stage if ``coarse``, else by block."""
        blocks = [(r"^stages\.(\d+)\.blocks\.(\d+)", None), (r"^neck", (99999,))]
        return {"stem": r"^stem", "blocks": r"^stages\.(\d+)" if coarse else blocks}


def multiply_adds_of_shift_max(model: nn.Module, x: Tensor) -> int:
    """Count the multiply-adds of all mixes of Dynamic Shift-Max in one forward pass of ``model`` on ``x``.

    Counters of convolutions and linear layers do not see them; the published figures of MicroNet contain them.
    """
    counts: list[int] = []
    handles = [
        module.register_forward_pre_hook(lambda layer, inputs: counts.append(layer.multiply_adds(*inputs)))
        for module in model.modules()
        if isinstance(module, DynamicShiftMax)
    ]
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(x)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return sum(counts)


def _known_pool(global_pool: str) -> str:
    if global_pool not in ("avg", ""):
        raise ValueError(f"global_pool: expected 'avg' or '', got {global_pool!r}")
    return global_pool


FIRST, ALL, MIDDLE = (2, 0, 1), (2, 2, 1), (0, 2, 0)  # where Dynamic Shift-Max stands, see `Row.activations`
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "m0": {
        "stem": (2, 2),
        "head_width": 640,
        "drop_rate": 0.05,
        "rows": (  # kind, (c1, c2), out, stride, kernel, (g1, g2), (g3, g4), (y1, y2, y3), r
            Row("A", (2, 2), 8, 2, 3, (0, 4), (2, 2), FIRST, 1),
            Row("A", (2, 2), 12, 2, 3, (0, 8), (4, 4), ALL, 1),
            Row("A", (2, 2), 16, 2, 5, (0, 12), (4, 4), ALL, 1),
            Row("B", (1, 4), 32, 1, 5, (4, 4), (4, 4), ALL, 1),
            Row("C", (1, 4), 64, 2, 5, (8, 8), (8, 8), ALL, 1),
            Row("C", (1, 4), 96, 1, 3, (8, 8), (8, 8), ALL, 2),
            Row("last", (1, 4), 384, 1, 3, (12, 12), (0, 0), ALL, 2),
        ),
    },
    "m1": {
        "stem": (3, 2),
        "head_width": 960,
        "drop_rate": 0.05,
        "rows": (
            Row("A", (2, 2), 8, 2, 3, (0, 6), (2, 2), FIRST, 1),
            Row("A", (2, 2), 16, 2, 3, (0, 8), (4, 4), ALL, 1),
            Row("A", (2, 2), 16, 2, 5, (0, 16), (4, 4), ALL, 1),
            Row("B", (1, 6), 32, 1, 5, (4, 4), (4, 4), ALL, 1),
            Row("C", (1, 6), 64, 2, 5, (8, 8), (8, 8), ALL, 1),
            Row("C", (1, 6), 96, 1, 3, (8, 8), (8, 8), ALL, 2),
            Row("last", (1, 6), 576, 1, 3, (12, 12), (0, 0), ALL, 2),
        ),
    },
    "m2": {
        "stem": (4, 2),
        "head_width": 1024,
        "drop_rate": 0.1,
        "rows": (
            Row("A", (2, 2), 12, 2, 3, (0, 8), (4, 4), FIRST, 1),
            Row("A", (2, 2), 16, 2, 3, (0, 12), (4, 4), ALL, 1),
            Row("A", (2, 2), 24, 1, 3, (0, 16), (4, 4), ALL, 1),
            Row("B", (1, 6), 32, 2, 5, (6, 6), (4, 4), ALL, 1),
            Row("C", (1, 6), 32, 1, 5, (8, 8), (4, 4), ALL, 2),
            Row("C", (1, 6), 64, 1, 5, (8, 8), (8, 8), ALL, 2),
            Row("C", (1, 6), 96, 2, 5, (8, 8), (8, 8), ALL, 2),
            Row("C", (1, 6), 128, 1, 3, (12, 12), (8, 8), ALL, 2),
            Row("last", (1, 6), 768, 1, 3, (16, 16), (0, 0), ALL, 2),
        ),
    },
    "m3": {
        "stem": (4, 3),
        "head_width": 1024,
        "drop_rate": 0.1,
        "offsets": ((1.0, 0.0), (0.5, 0.5)),
        "rows": (
            Row("A", (2, 2), 16, 2, 3, (0, 12), (4, 4), MIDDLE, 1),
            Row("A", (2, 2), 24, 2, 3, (0, 16), (4, 4), MIDDLE, 1),
            Row("A", (2, 2), 24, 1, 3, (0, 24), (4, 4), MIDDLE, 1),
            Row("B", (1, 6), 32, 2, 5, (6, 6), (4, 4), MIDDLE, 1),
            Row("C", (1, 6), 32, 1, 5, (8, 8), (4, 4), MIDDLE, 2),
            Row("C", (1, 6), 64, 1, 5, (8, 8), (8, 8), MIDDLE, 2),
            Row("C", (1, 6), 80, 1, 5, (8, 8), (8, 8), MIDDLE, 2),
            Row("C", (1, 6), 80, 1, 5, (10, 10), (8, 8), MIDDLE, 2),
            Row("C", (1, 6), 120, 2, 5, (10, 10), (10, 10), MIDDLE, 2),
            Row("C", (1, 6), 120, 1, 5, (12, 12), (10, 10), MIDDLE, 2),
            Row("C", (1, 6), 144, 1, 3, (12, 12), (12, 12), MIDDLE, 2),
            Row("last", (1, 6), 864, 1, 3, (12, 12), (0, 0), MIDDLE, 2),
        ),
    },
}
"""The tables of the published code, which has one row more than the paper's: the expansion that ends its last block."""


default_cfgs = generate_default_cfgs(
    {
        f"micronet_{size}.untrained": {
            "url": "",
            "num_classes": 1000,
            "input_size": (3, 224, 224),
            "pool_size": (7, 7),
            "crop_pct": 0.875,
            "interpolation": "bilinear",
            "mean": (0.485, 0.456, 0.406),
            "std": (0.229, 0.224, 0.225),
            "first_conv": "stem.column",
            "classifier": "head.linear",
            "license": "mit",
            "paper_ids": "arXiv:2108.05894",
            "paper_name": "MicroNet: Improving Image Recognition with Extremely Low FLOPs",
            "origin_url": "liyunsheng13/micronet",
        }
        for size in CONFIGURATIONS
    }
)


def _build(size: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    return built(MicroNet, f"micronet_{size}", pretrained, in_our_names, **(CONFIGURATIONS[size] | kwargs))


@register_model
def micronet_m0(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """MicroNet-M0: 1.0 M parameters, 4 M multiply-adds."""
    return _build("m0", pretrained, **kwargs)


@register_model
def micronet_m1(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """MicroNet-M1: 1.8 M parameters, 6 M multiply-adds."""
    return _build("m1", pretrained, **kwargs)


@register_model
def micronet_m2(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """MicroNet-M2: 2.4 M parameters, 12 M multiply-adds."""
    return _build("m2", pretrained, **kwargs)


@register_model
def micronet_m3(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """MicroNet-M3: 2.6 M parameters, 21 M multiply-adds."""
    return _build("m3", pretrained, **kwargs)
