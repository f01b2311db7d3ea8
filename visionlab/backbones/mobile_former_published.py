"""Published Mobile-Former checkpoints: one filter from their key names to ours, and a plain word when they do not fit.

`MobileFormer` runs the filter before every ``load_state_dict``, so a published file loads unchanged and strictly,
through ``timm.create_model(name, checkpoint_path=file)`` as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from visionlab.backbones.published import refuse_others, rename

__all__ = ["in_our_names", "our_name", "read_published_names"]

PARTS = {"0": "conv", "1": "norm", "4": "conv", "5": "norm"}

OUTSIDE = (
    (r"^stem\.0\.", "stem.conv."),
    (r"^stem\.1\.", "stem.norm."),
    (r"^classifier\.conv\.1\.", "head.conv.conv."),
    (r"^classifier\.conv\.2\.", "head.conv.norm."),
    (r"^classifier\.fc\.0\.", "head.fc."),
    (r"^classifier\.fc\.1\.", "head.norm."),
    (r"^classifier\.classifier\.1\.", "head.classifier."),
)
# A lite bottleneck has all its layers in one list, `conv`; the other blocks have `conv1`, `conv2` and so on.
INSIDE = (
    (r"(^|\.)conv\.([0145])\.", lambda m: f"{m[1]}mobile.conv{1 if m[2] in '01' else 2}.{PARTS[m[2]]}."),
    (r"(^|\.)conv(\d)\.([01])\.", lambda m: f"{m[1]}mobile.conv{m[2]}.{PARTS[m[3]]}."),
    (r"(^|\.)hyper(\d)\.hyper\.", r"\1mobile.act\2.slopes.mlp."),
    (r"(^|\.)local_global\.alpha\.", r"\1to_former.gate."),
    (r"(^|\.)local_global\.q\.", r"\1to_former.query."),
    (r"(^|\.)local_global\.proj\.", r"\1to_former.proj."),
    (r"(^|\.)local_global\.layer_norm\.", r"\1to_former.norm."),
    (r"(^|\.)global_block\.q\.", r"\1former.query."),
    (r"(^|\.)global_block\.channel_mlp\.", r"\1former.proj."),
    (r"(^|\.)global_block\.layer_norm\.", r"\1former.norm1."),
    (r"(^|\.)global_block\.ffn\.", r"\1former.mlp."),
    (r"(^|\.)global_block\.ffn_norm\.", r"\1former.norm2."),
    (r"(^|\.)global_local\.k\.", r"\1to_mobile.key."),
    (r"(^|\.)global_local\.proj\.", r"\1to_mobile.value."),
)
VARIANTS = {
    (96, 3, 4): "26M",
    (96, 3, 1): "52M",
    (128, 4, 1): "96M",
    (128, 6, 1): "151M",
    (160, 6, 1): "214M",
    (192, 6, 1): "294M",
    (240, 6, 1): "508M",
}
"""What tells the published networks apart: channels of the last map, tokens, groups of the 1x1 convolutions."""


def block_names(model: nn.Module) -> list[str]:
    """Return our names of the blocks in their order; the published ones are numbered through all stages."""
    return [name for name, _ in model.named_modules() if re.fullmatch(r"stages\.\d+\.blocks\.\d+", name)]


def our_name(key: str, blocks: Sequence[str]) -> str:
    """Return our name of a published key, given `block_names`; a name of ours stays as it is."""
    if not key.startswith(("stages.", "head.", "to_former.", "stem.conv.", "stem.norm.")):
        for pattern, ours in OUTSIDE:
            key = re.sub(pattern, ours, key)
        if key.startswith(("features.", "local_global.")):
            for pattern, inside in INSIDE:
                key = re.sub(pattern, inside, key)
    number = re.match(r"features\.(\d+)\.", key)
    if number and int(number[1]) < len(blocks):
        key = f"{blocks[int(number[1])]}.{key.removeprefix(number[0])}"
    return key


def in_our_names(state: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
    """Return a state dict in our names: timm adapts stem and classifier of ``pretrained=True`` files by name."""
    blocks = block_names(model)
    return {our_name(key, blocks): tensor for key, tensor in state.items()}


def widths(state: Mapping[str, Any], prefix: str = "") -> tuple[int, ...]:
    """Return the channels that each block of a state dict in our names gives, in the order of the blocks."""
    found: dict[str, int] = {}
    for key, tensor in state.items():
        # The last convolution of a block comes last; blocks that the network lacks keep their published number.
        block = re.match(
            re.escape(prefix) + r"((?:stages\.\d+\.blocks|features)\.\d+)\.mobile\.conv\d\.conv\.weight$", key
        )
        if block:
            found[block[1]] = tensor.shape[0]
    return tuple(found.values())


def describe(state: Mapping[str, Any], prefix: str = "") -> str:
    """Say in words which Mobile-Former a state dict in our names holds."""
    tokens, stem = state.get(prefix + "tokens.weight"), state.get(prefix + "stem.conv.weight")
    last, classifier = state.get(prefix + "head.conv.conv.weight"), state.get(prefix + "head.classifier.weight")
    blocks = widths(state, prefix)
    groups = max(1, blocks[-1] // last.shape[1]) if blocks and last is not None else 1
    name = VARIANTS.get((blocks[-1] if blocks else 0, 0 if tokens is None else tokens.shape[0], groups))
    return ", ".join(
        [
            *([f"variant {name}"] if name else []),
            "no tokens" if tokens is None else f"{tokens.shape[0]} tokens of {tokens.shape[1]}",
            "no stem" if stem is None else f"stem {stem.shape[0]} from {stem.shape[1]} channels",
            f"{len(blocks)} blocks of {blocks} channels" + (f" in {groups} groups" if groups > 1 else ""),
            "no classifier" if classifier is None else f"{classifier.shape[0]} classes",
        ]
    )


def read_published_names(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Rename published keys to ours, and refuse a checkpoint of another network before any tensor is copied.

    A part of a checkpoint, without some blocks or the classifier, is left to ``load_state_dict`` and its ``strict``.

    Raises:
        ValueError: if nothing in the checkpoint belongs to a Mobile-Former, a tensor has another shape than this
            network's, or there are more blocks; the message describes both networks.
    """
    blocks = block_names(module)
    rename(state, prefix, lambda key: our_name(key, blocks))
    own = module.state_dict(prefix=prefix)
    more = len(widths(state, prefix)) > len(blocks)
    refuse_others(own, state, prefix, "Mobile-Former", describe, head="head.classifier.", other=more)
