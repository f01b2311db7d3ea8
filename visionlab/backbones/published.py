"""What networks with published checkpoints share: they are built as timm builds its own, and filters of their files.

Filters rename keys in place, and refuse a file of another network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from timm.models import build_model_with_cfg
from torch import nn

__all__ = ["built", "refuse_others", "rename"]


def built(network: type[nn.Module], name: str, pretrained: bool, filtered: Callable[..., Any], **kwargs: Any) -> Any:
    """Return what ``timm.create_model`` is asked for: a network or its pyramid, with four maps unless told otherwise.

    Args:
        network: its class.
        name: as registered.
        pretrained: whether weights are loaded.
        filtered: the filter of published checkpoints.
        **kwargs: of the class; and "device" and "dtype", as of timm's networks.
    """
    device, dtype = kwargs.pop("device", None), kwargs.pop("dtype", None)
    made = build_model_with_cfg(
        network,
        name,
        pretrained,
        pretrained_filter_fn=filtered,
        feature_cfg={"out_indices": (0, 1, 2, 3), "feature_cls": "getter"},
        **kwargs,
    )
    return made.to(device=device, dtype=dtype)


def rename(state: dict[str, Any], prefix: str, rule: Callable[[str], str]) -> None:
    """Apply ``rule`` in place to every key below ``prefix``."""
    for key in [key for key in state if key.startswith(prefix)]:
        tensor = state.pop(key)
        state[prefix + rule(key.removeprefix(prefix))] = tensor


def refuse_others(
    own: Mapping[str, Any],
    state: Mapping[str, Any],
    prefix: str,
    family: str,
    describe: Callable[[Mapping[str, Any], str], str],
    *,
    head: str,
    other: bool | str = False,
) -> None:
    """Refuse a checkpoint of another network before any tensor is copied.

    Args:
        own: state dict of the network.
        state: of the checkpoint, in the network's names.
        prefix: of the network's keys in both.
        family: of networks.
        describe: says which of them a state dict below a prefix holds.
        head: how the names of classifiers begin.
        other: whether the checkpoint differs in what no shape tells, or words for that.

    Raises:
        ValueError: if nothing in the checkpoint belongs to the family, a tensor has another shape than this network's,
            or ``other``; the message describes both networks.
    """
    keys = [key for key in state if key.startswith(prefix)]
    if keys and own.keys().isdisjoint(keys):
        begin = ", ".join(key.removeprefix(prefix) for key in keys[:4])
        raise ValueError(f"checkpoint: holds no {family}; it begins with {begin}")
    clash = next((key for key, tensor in own.items() if key in state and state[key].shape != tensor.shape), None)
    if clash is None and not other:
        return
    message = f"checkpoint: holds a {family} of {describe(state, prefix)}; this network has {describe(own, prefix)}"
    if clash is not None:
        message += f" ({clash} is {tuple(state[clash].shape)}, expected {tuple(own[clash].shape)})"
        if clash.startswith(prefix + head):
            message += ". For other classes build it with those of the checkpoint, load, then call reset_classifier"
    elif isinstance(other, str):
        message += f" ({other})"
    raise ValueError(message)
