"""Published MicroNet checkpoints: one filter from their key names to ours, and a plain word when they do not fit.

`MicroNet` runs the filter before every ``load_state_dict``, so a published file loads unchanged and strictly, through
``timm.create_model(name, checkpoint_path=file)`` as well. The published names count the places of a block's list,
empty ones too; the places that a file fills tell which kind of block it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from visionlab.backbones.published import refuse_others, rename

__all__ = ["describe", "in_our_names", "our_names", "read_published_names"]

SEPARABLE = {"0": "column", "1": "norm1", "2": "row", "3": "norm2"}
FACTOR = {"0": "conv", "1": "norm"}
LAYERS = {
    "lite": {"0": "depthwise", "1": "act1", "4": "squeeze", "5": "act2"},
    "regular": {"0": "expand", "1": "act1", "3": "depthwise", "5": "act2", "7": "squeeze", "8": "act3"},
    "last": {"0": "expand", "1": "act"},
}
HEAD = {
    "classifier.0.linear.0": "neck.1.linear",
    "classifier.0.linear.1": "neck.1.norm",
    "classifier.2.linear.0": "head.linear",
    "classifier.2.linear.1": "head.norm",
}
PLACE = re.compile(r"^features\.(\d+)\.layers\.(\d+)\.(.+)")


def our_names(keys: Iterable[str], depths: Iterable[int]) -> dict[str, str]:
    """Return our name of each published key; a name of ours stays as it is.

    Args:
        keys: of a checkpoint, or of whole blocks of it.
        depths: blocks of each stage of our network; blocks beyond them are counted on in the last stage.
    """
    keys = list(keys)
    filled: dict[str, set[str]] = {}
    for key in keys:
        place = PLACE.match(key.removeprefix("module."))
        if place:
            filled.setdefault(place[1], set()).add(place[2])
    layouts = {n: "regular" if "7" in places else "lite" if "4" in places else "last" for n, places in filled.items()}
    homes = [(stage, block) for stage, depth in enumerate(depths) for block in range(depth)]
    return {key: _our_name(key.removeprefix("module."), layouts, homes) for key in keys}


def _our_name(key: str, layouts: Mapping[str, str], homes: list[tuple[int, int]]) -> str:
    stem = re.match(r"^features\.0\.stem\.0\.conv\.([0-3])\.(.+)", key)
    if stem:
        return f"stem.{SEPARABLE[stem[1]]}.{stem[2]}"
    for published, ours in HEAD.items():
        if key.startswith(published + "."):
            return ours + key.removeprefix(published)
    place = PLACE.match(key)
    if not place:
        return key
    number, layer, rest = int(place[1]) - 1, LAYERS[layouts[place[1]]].get(place[2], place[2]), place[3]
    stage, block = homes[number] if number < len(homes) else (homes[-1][0], homes[-1][1] + 1 + number - len(homes))
    rest = re.sub(r"^fc\.0\.", "coefficients.fc1.", re.sub(r"^fc\.2\.", "coefficients.fc2.", rest))
    parts = SEPARABLE if layer == "depthwise" else FACTOR
    rest = re.sub(r"^conv\.(\d)\.", lambda m: parts.get(m[1], m[0]) + ".", rest)
    return f"stages.{stage}.blocks.{block}.{layer}.{rest}"


def in_our_names(state: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
    """Return a state dict in our names: timm adapts stem and classifier of ``pretrained=True`` files by name.

    Of a classifier for other classes timm drops weight and bias of the linear layer; its batch norm is dropped here.
    """
    names = our_names(state, _depths(model))
    renamed = {names[key]: tensor for key, tensor in state.items()}
    own, theirs = model.state_dict().get("head.linear.weight"), renamed.get("head.linear.weight")
    if own is None or theirs is None or own.shape != theirs.shape:
        renamed = {key: tensor for key, tensor in renamed.items() if not key.startswith("head.norm.")}
    return renamed


def _depths(model: nn.Module) -> list[int]:
    return [len(stage.blocks) for stage in model.get_submodule("stages").children()]  # type: ignore[arg-type]


def describe(state: Mapping[str, Any], prefix: str = "") -> str:
    """Say in words which MicroNet a state dict in our names holds: the widths of stem, blocks and head."""
    stem, neck, head = (state.get(prefix + f"{name}.weight") for name in ("stem.row", "neck.1.linear", "head.linear"))
    widths: dict[tuple[int, int], int] = {}
    for key, tensor in state.items():
        found = re.match(re.escape(prefix) + r"stages\.(\d+)\.blocks\.(\d+)\.(expand|squeeze)\.conv\.weight$", key)
        place = (int(found[1]), int(found[2])) if found else None
        # The width behind a block that expands and squeezes is the squeezed one.
        if found and place is not None and (found[3] == "squeeze" or place not in widths):
            widths[place] = tensor.shape[0]
    blocks = "-".join(str(widths[place]) for place in sorted(widths)) or "none"
    return ", ".join(
        (
            "no stem" if stem is None else f"stem {stem.shape[0]}",
            f"blocks {blocks}",
            "no hidden layer" if neck is None else f"head {neck.shape[0]}",
            "no classifier" if head is None else f"{head.shape[0]} classes",
        )
    )


def read_published_names(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Rename published keys to ours, and refuse a checkpoint of another network before any tensor is copied.

    A part of a checkpoint, without some blocks or the classifier, is left to ``load_state_dict`` and its ``strict``.

    Raises:
        ValueError: if nothing in the checkpoint belongs to a MicroNet, a tensor has another shape than this network's,
            or there are more blocks or blocks of another kind; the message describes both networks.
    """
    below = [key.removeprefix(prefix) for key in state if key.startswith(prefix)]
    rename(state, prefix, our_names(below, _depths(module)).__getitem__)
    own = module.state_dict(prefix=prefix)
    foreign = next((key for key in state if key.startswith(prefix + "stages.") and key not in own), None)
    other = f"{foreign} has no place in it" if foreign else False
    refuse_others(own, state, prefix, "MicroNet", describe, head="head.", other=other)
