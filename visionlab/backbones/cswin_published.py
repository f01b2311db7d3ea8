"""Published CSWin checkpoints: one filter from their key names to ours, and a plain word when they do not fit.

`CSWinTransformer` runs the filter before every ``load_state_dict``, so a published file loads unchanged and strictly,
through ``timm.create_model(name, checkpoint_path=file)`` as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

__all__ = ["our_name", "read_published_names", "rename"]

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


def rename(state: dict[str, Tensor], prefix: str, rule: Callable[[str], str]) -> None:
    """Apply ``rule`` in place to every key below ``prefix``."""
    for key in [key for key in state if key.startswith(prefix)]:
        tensor = state.pop(key)
        state[prefix + rule(key.removeprefix(prefix))] = tensor


def describe(state: Mapping[str, Tensor], prefix: str = "") -> str:
    """Say in words which CSWin a state dict in our names holds."""

    def distinct(pattern: str) -> list[str]:
        found = (re.match(re.escape(prefix) + pattern, key) for key in state)
        return sorted({match[1] for match in found if match})

    blocks, branches = (
        distinct(r"stages\.(\d\.blocks\.\d+)\."),
        distinct(r"stages\.(\d\.blocks\.0\.attention\.branches\.\d)"),
    )
    depths, crosses = (
        tuple(sum(name.startswith(f"{stage}.") for name in names) for stage in range(4)) for names in (blocks, branches)
    )
    stem, head = state.get(prefix + "stem.conv.weight"), state.get(prefix + "head.weight")
    width = "no stem" if stem is None else f"{stem.shape[0]} channels from {stem.shape[1]}"
    classes = "no classifier" if head is None else f"{head.shape[0]} classes"
    return f"{width}, depths {depths}, stripe orientations {crosses}, {classes}"


def read_published_names(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Rename published keys to ours, and refuse a checkpoint of another size before any tensor is copied.

    Raises:
        ValueError: if a tensor has another shape than this network's; the message describes both networks.
    """
    rename(state, prefix, our_name)
    own = module.state_dict(prefix=prefix)
    clash = next((key for key, tensor in own.items() if key in state and state[key].shape != tensor.shape), None)
    if clash is not None:
        raise ValueError(
            f"checkpoint: holds a CSWin of {describe(state, prefix)}; this network has {describe(own, prefix)}"
            f" ({clash} is {tuple(state[clash].shape)}, expected {tuple(own[clash].shape)})"
        )
