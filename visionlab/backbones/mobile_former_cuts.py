"""Wires of a Mobile-Former cut: bridges bypassed, tokens silenced or exchanged, slopes held fast (ablations).

None of this needs the network's help: modules are exchanged, or hooks change what they take and return. `cut` is for
good, for a network that is to be trained so; the others undo what they did when their block ends. What a cut network
looks at is seen as ever, by `visionlab.watch`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from typing import cast

import torch
from torch import Tensor, nn

from visionlab.backbones.mobile_former import MobileFormer
from visionlab.backbones.mobile_former_bridge import Bypass, Former, ToFormer, ToMobile
from visionlab.backbones.mobile_former_mobile import Slopes, Votes

__all__ = ["bypass", "cut", "freeze_slopes", "overwrite", "silence"]


def cut(network: nn.Module, *patterns: str) -> dict[str, nn.Module]:
    """Put a `Bypass` in the place of bridges and Formers, for good; returns what stood there, by name.

    Args:
        network: a Mobile-Former.
        patterns: names with shell wildcards: ``"*to_former"`` is all reading, ``"*to_mobile"`` all writing,
            ``"stages.2.*.former"`` the Formers of one stage.

    Raises:
        ValueError: if a pattern matches no bridge and no Former.

    Example:
        >>> from visionlab.backbones.mobile_former_mobile import Regular
        >>> network = MobileFormer([[Regular(24, 8)] * 2], stem=8, tokens=(3, 16))
        >>> list(cut(network, "*.to_mobile"))
        ['stages.0.blocks.0.to_mobile', 'stages.0.blocks.1.to_mobile']
    """
    kinds = (ToFormer, Former, ToMobile)
    wires: dict[str, nn.Module] = {
        name: module for name, module in network.named_modules() if isinstance(module, kinds)
    }
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in wires):
            there = ", ".join(wires) or "none"
            raise ValueError(f"patterns: {pattern!r} matches no bridge or Former; there are {there}")
    removed = {name: wire for name, wire in wires.items() if any(fnmatchcase(name, pattern) for pattern in patterns)}
    for name in removed:
        network.set_submodule(name, Bypass())
    return removed


@contextmanager
def bypass(network: nn.Module, *patterns: str) -> Iterator[None]:
    """Cut while the block runs; arguments as of `cut`."""
    removed = cut(network, *patterns)
    try:
        yield
    finally:
        for name, module in removed.items():
            network.set_submodule(name, module)


@contextmanager
def silence(network: MobileFormer, token: int) -> Iterator[None]:
    """Let no pixel and no other token hear a token while the block runs: its weight in their softmaxes is 0.

    The token reads on. Token 0 also steers the slopes (see `freeze_slopes`) and stands before the classifier.

    Raises:
        ValueError: if there is no such token, or no other one.
    """
    listeners = [module for module in network.modules() if isinstance(module, Former | ToMobile | Votes)]
    number = network.tokens.weight.shape[0]
    if number < 2 or not 0 <= token < number:
        raise ValueError(f"token: expected one of two tokens or more, 0 to {number - 1}, got {token}")

    def deafen(softmax: nn.Softmax, inputs: tuple[Tensor]) -> Tensor:
        # The axis of the softmax is that of the tokens in all three.
        index = torch.tensor([token], device=inputs[0].device)
        return inputs[0].index_fill(cast(int, softmax.dim), index, float("-inf"))

    with ExitStack() as stack:
        for module in listeners:
            stack.callback(module.softmax.register_forward_pre_hook(deafen).remove)
        yield


@contextmanager
def freeze_slopes(network: nn.Module, a1: float = 1.0, a2: float = 0.0) -> Iterator[None]:
    """Hold every dynamic ReLU at max(a1 x, a2 x) while the block runs; (1, 0) is the plain ReLU.

    Raises:
        ValueError: if the network has no dynamic ReLU.
    """
    slopes = [module for module in network.modules() if isinstance(module, Slopes)]
    if not slopes:
        raise ValueError("network: has no dynamic ReLU, nothing to freeze")

    def hold(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        return output.new_tensor([a1, a2])[:, None].expand_as(output)

    with ExitStack() as stack:
        for module in slopes:
            stack.callback(module.register_forward_hook(hold).remove)
        yield


@contextmanager
def overwrite(
    network: nn.Module, values: Mapping[str, Tensor], tokens: int | Sequence[int] | None = None
) -> Iterator[None]:
    """Put other tokens in the place of those that modules return, while the block runs.

    With means over a data set it takes a token's message away; with the tokens of another image it injects them.

    Args:
        network: a Mobile-Former.
        values: by name of a module that returns tokens, ``"tokens"``, ``"*.to_former"`` or ``"*.former"`` without
            wildcards: what they become, (M, d) for all images or (B, M, d), as `visionlab.watch` catches them.
        tokens: which of them; all if not given.

    Raises:
        ValueError: if a name is none of a module.
    """
    modules = dict(network.named_modules())
    unknown = [name for name in values if name not in modules]
    if unknown:
        raise ValueError(f"values: {unknown[0]!r} is no submodule")

    def put(name: str):  # type: ignore[no-untyped-def]
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            other = values[name].to(output).expand_as(output)
            if tokens is None:
                return other
            chosen = torch.as_tensor(tokens, device=output.device).flatten()
            return output.index_copy(1, chosen, other[:, chosen])

        return hook

    with ExitStack() as stack:
        for name in values:
            stack.callback(modules[name].register_forward_hook(put(name)).remove)
        yield
