"""Published CSWin checkpoints: one filter from their key names to ours, and a plain word when they do not fit.

`CSWinTransformer` runs the filter before every ``load_state_dict``, so a published file loads unchanged and strictly,
through ``timm.create_model(name, checkpoint_path=file)`` as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from visionlab.backbones.published import refuse_others, rename

__all__ = ["in_our_names", "our_name", "read_published_names"]

RULES = (
    (r"^stage1_conv_embed\.0\.", "stem.conv."),
    (r"^stage1_conv_embed\.2\.", "stem.norm."),
    (r"^merge(\d)\.", r"stages.\1.merge."),
    (r"^stage(\d)\.(\d+)\.attns\.(\d)\.get_v\.", r"stage\1.\2.attention.branches.\3.lepe."),
    (r"^stage(\d)\.(\d+)\.(qkv|proj)\.", r"stage\1.\2.attention.\3."),
)


def our_name(key: str) -> str:
    """Return our name of a published key; a name of ours stays as it is."""
    for pattern, ours in RULES:
        key = re.sub(pattern, ours, key)
    return re.sub(r"^stage(\d)\.(\d+)\.", lambda m: f"stages.{int(m[1]) - 1}.blocks.{m[2]}.", key)


def in_our_names(state: Mapping[str, Any], _model: nn.Module | None = None) -> dict[str, Any]:
    """Return a state dict in our names: timm adapts stem and classifier of ``pretrained=True`` files by name."""
    return {our_name(key): tensor for key, tensor in state.items()}


def depths(state: Mapping[str, Any], prefix: str = "") -> tuple[int, ...]:
    """Count the blocks of each stage in a state dict in our names."""
    found = (re.match(re.escape(prefix) + r"stages\.(\d)\.blocks\.(\d+)\.", key) for key in state)
    blocks = {(match[1], match[2]) for match in found if match}
    return tuple(sum(stage == str(i) for stage, _ in blocks) for i in range(4))


def describe(state: Mapping[str, Any], prefix: str = "") -> str:
    """Say in words which CSWin a state dict in our names holds."""
    branches = tuple(
        sum(f"{prefix}stages.{stage}.blocks.0.attention.branches.{b}.lepe.weight" in state for b in range(2))
        for stage in range(4)
    )
    stem, head = state.get(prefix + "stem.conv.weight"), state.get(prefix + "head.weight")
    width = "no stem" if stem is None else f"{stem.shape[0]} channels from {stem.shape[1]}"
    classes = "no classifier" if head is None else f"{head.shape[0]} classes"
    return f"{width}, depths {depths(state, prefix)}, stripe orientations {branches}, {classes}"


def read_published_names(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Rename published keys to ours, and refuse a checkpoint of another network before any tensor is copied.

    A part of a checkpoint, without some stages or the classifier, is left to ``load_state_dict`` and its ``strict``.

    Raises:
        ValueError: if nothing in the checkpoint belongs to a CSWin, a tensor has another shape than this network's, or
            a stage another number of blocks; the message describes both networks.
    """
    rename(state, prefix, our_name)
    own = module.state_dict(prefix=prefix)
    stages = zip(depths(state, prefix), depths(own, prefix), strict=True)
    other = any(theirs and ours and theirs != ours for theirs, ours in stages)
    refuse_others(own, state, prefix, "CSWin", describe, head="head.weight", other=other)
