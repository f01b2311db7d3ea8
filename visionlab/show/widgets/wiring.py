"""The wiring board of a micro-factorized pointwise convolution: who reaches whom, and what that costs.

The page draws and counts by itself, so that it follows a finger, and works where no kernel answers; a browser test
holds its numbers to those of `visionlab.backbones.micronet_factorized.wiring`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anywidget
import traitlets as t

from visionlab.show.widgets.packed import module

__all__ = ["WiringBoard"]

WIDTHS = (16, 18, 24, 32, 36, 48, 64, 72, 96, 128, 144)
REDUCTIONS = (2, 3, 4, 6, 8)


class WiringBoard(anywidget.AnyWidget):
    """P, Phi and Q^T as wires and as matrices, their product as a map of paths, with sliders and counters.

    ``values`` (channels, reduction, groups, shuffle, picked) is what is on show. The page changes it, and Python may:
    ``picked`` is the output channel whose paths are lit, or -1.

    Args:
        channels: C, one of `WIDTHS`.
        reduction: R, divides C.
        groups: G, divides C/R.
        shuffle: whether Phi shuffles, or leaves the channels as they are.
        picked: output channel, or -1 for none.

    Raises:
        ValueError: one of the numbers does not fit the others; the message names them.
    """

    _esm = module("paths.js", "redraw.js", "wiring.js")

    widths = t.List(t.Int()).tag(sync=True)
    reductions = t.List(t.Int()).tag(sync=True)
    values = t.Dict().tag(sync=True)

    def __init__(
        self, channels: int = 32, reduction: int = 2, groups: int = 4, *, shuffle: bool = True, picked: int = -1
    ) -> None:
        values = {
            "channels": channels, "reduction": reduction, "groups": groups, "shuffle": shuffle, "picked": picked
        }  # fmt: skip
        super().__init__(widths=list(WIDTHS), reductions=list(REDUCTIONS), values=_checked(values))

    def __repr__(self) -> str:
        return f"WiringBoard({', '.join(f'{name}={value}' for name, value in self.values.items())})"

    @t.validate("values")
    def _valid_values(self, proposal: Any) -> dict[str, Any]:
        return _checked(proposal["value"])


def _checked(values: Mapping[str, Any]) -> dict[str, Any]:
    if list(values) != ["channels", "reduction", "groups", "shuffle", "picked"]:
        raise ValueError(f"values must be channels, reduction, groups, shuffle, picked; got {', '.join(values)}")
    channels, reduction, groups, _, picked = values.values()
    if channels not in WIDTHS:
        raise ValueError(f"channels must be one of {', '.join(map(str, WIDTHS))}; got {channels}")
    fitting = [r for r in REDUCTIONS if channels % r == 0]
    if reduction not in fitting:
        raise ValueError(
            f"reduction must be one of {', '.join(map(str, fitting))}, for {channels} channels; got {reduction}"
        )
    hidden = channels // reduction
    if groups < 1 or hidden % groups:
        raise ValueError(f"groups must divide the {hidden} hidden channels; got {groups}")
    if not -1 <= picked < channels:
        raise ValueError(f"picked must be an output channel below {channels}, or -1; got {picked}")
    return dict(values)
