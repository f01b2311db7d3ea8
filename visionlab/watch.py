"""One recorder for every network: hooks on named submodules catch attention maps, gates, codes and features."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase

from torch import Tensor, nn

__all__ = ["watch"]


@contextmanager
def watch(model: nn.Module, *patterns: str) -> Iterator[dict[str, Tensor]]:
    """Record what submodules return while the block runs.

    Fused attention, which never forms its weights, is replaced by the readable path meanwhile (in modules with timm's
    ``fused_attn`` convention).

    Args:
        model: any network.
        patterns: names of submodules with shell wildcards, for instance ``"*.softmax"``.

    Yields:
        The latest output (detached) of each matching submodule by its name, in the order of the calls.

    Raises:
        ValueError: if a pattern matches no submodule.
        TypeError: while the network runs, if a matching submodule returns anything but one tensor.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.Softmax(-1))
        >>> with watch(net, "1") as seen:
        ...     _ = net(torch.zeros(1, 2))
        >>> seen["1"].shape
        torch.Size([1, 3])
    """
    names = [name for name, _ in model.named_modules() if name]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(f"patterns: {pattern!r} matches no submodule; there are {', '.join(names[:12])}, …")
    seen: dict[str, Tensor] = {}

    def record(name: str):  # type: ignore[no-untyped-def]
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if not isinstance(output, Tensor):
                raise TypeError(f"patterns: {name!r} returns a {type(output).__name__}; only tensors can be watched")
            seen.pop(name, None)
            seen[name] = output.detach()

        return hook

    fused = [module for module in model.modules() if getattr(module, "fused_attn", False)]
    handles = [
        module.register_forward_hook(record(name))
        for name, module in model.named_modules()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    ]
    for module in fused:
        module.fused_attn = False  # type: ignore[assignment]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
        for module in fused:
            module.fused_attn = True  # type: ignore[assignment]
