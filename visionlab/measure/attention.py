"""What a query attends to, stage by stage: the form in which probes answer and pictures ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["HeadGroup", "StageView"]


@dataclass(frozen=True)
class HeadGroup:
    """What the heads that share a stripe attend to.

    Args:
        name: "vertical stripe", "horizontal stripe" or "whole map".
        weights: attention of the query's token, mean over the heads, (h, w); zero outside the stripe. Sums to 1, or to
            less where padding takes a share.
        mask: the tokens of the stripe, (h, w) bool.
    """

    name: str
    weights: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class StageView:
    """The answer of one stage: the query's token (row, column), its head groups, a line that says it, and a title."""

    token: tuple[int, int]
    groups: Sequence[HeadGroup]
    text: str
    title: str = ""
