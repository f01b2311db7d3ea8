"""Look inside a CSWin: which tokens a query attends to, stage by stage and head group by head group.

One forward pass records the attention weights of the last block of every stage; each query is an index into them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from visionlab.backbones.cswin import CSWinStage, CSWinTransformer
from visionlab.backbones.cswin_attention import StripeAttention, stripe_indices
from visionlab.watch import watch

__all__ = ["HeadGroup", "StageView", "StripeProbe"]

NAMES = {"vertical": "vertical stripe", "horizontal": "horizontal stripe", "whole": "whole map"}


@dataclass(frozen=True)
class HeadGroup:
    """What the heads of one stripe orientation attend to.

    Args:
        name: "vertical stripe", "horizontal stripe" or "whole map".
        weights: attention of the query's token, mean over the heads, (h, w); zero outside the stripe.
        mask: the tokens of the stripe, (h, w) bool.
    """

    name: str
    weights: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class StageView:
    """What one stage answers to a query: its token (row, column), its head groups, and a line that says it."""

    token: tuple[int, int]
    groups: tuple[HeadGroup, ...]
    text: str


@dataclass(frozen=True)
class _Branch:
    orientation: str
    stripe_width: int
    windows: Int[Tensor, "windows tokens"]
    weights: Float[Tensor, "windows heads tokens tokens"]


class StripeProbe:
    """The attention of one image, ready to be asked about any of its pixels.

    Args:
        model: a CSWin classifier, of any weights.
        image: normalised, (1, 3, H, W) or (3, H, W), of any size.

    Raises:
        ValueError: if the image holds more than one, or the model is none of CSWin.
    """

    def __init__(self, model: CSWinTransformer, image: Float[Tensor, "*b 3 h w"]) -> None:
        image = image[None] if image.ndim == 3 else image
        if image.ndim != 4 or len(image) != 1:
            raise ValueError(f"image: expected one image (1, 3, H, W), got shape {tuple(image.shape)}")
        if not isinstance(model, CSWinTransformer):
            raise ValueError(f"model: expected a CSWinTransformer, got {type(model).__name__}")
        self.size = (image.shape[2], image.shape[3])
        stages = [cast(CSWinStage, stage) for stage in model.stages]
        last = [f"stages.{s}.blocks.{len(stage.blocks) - 1}.attention" for s, stage in enumerate(stages)]
        model.eval()
        with torch.no_grad(), watch(model, *(f"{name}.branches.*.attend.softmax" for name in last)) as seen:
            maps = model.forward_intermediates(image, intermediates_only=True)
        self.map_sizes = [(y.shape[2], y.shape[3]) for y in maps]
        self._stages = [
            [
                self._branch(branch, size, seen[f"{name}.branches.{b}.attend.softmax"])
                for b, branch in enumerate(model.get_submodule(f"{name}.branches").children())
            ]
            for name, size in zip(last, self.map_sizes, strict=True)
        ]

    @staticmethod
    def _branch(branch: nn.Module, size: tuple[int, int], weights: Tensor) -> _Branch:
        branch = cast(StripeAttention, branch)
        windows = stripe_indices(size, branch.orientation, branch.stripe_width)
        return _Branch(branch.orientation, branch.stripe_width, windows, weights.cpu().float())

    def token(self, stage: int, y: int, x: int) -> tuple[int, int]:
        """Return the token (row, column) of a stage's map under an image pixel (y, x)."""
        (height, width), (h, w) = self.size, self.map_sizes[stage]
        if not (0 <= y < height and 0 <= x < width):
            raise ValueError(f"y, x: expected a pixel of a {height}x{width} image, got ({y}, {x})")
        return y * h // height, x * w // width

    def at(self, y: int, x: int) -> list[StageView]:
        """Return what each stage attends to from the token under pixel (y, x)."""
        return [self._view(stage, y, x) for stage in range(len(self._stages))]

    def _view(self, stage: int, y: int, x: int) -> StageView:
        row, column = self.token(stage, y, x)
        groups = tuple(self._group(branch, self.map_sizes[stage], row, column) for branch in self._stages[stage])
        return StageView((row, column), groups, self._text(stage, (row, column), groups))

    @staticmethod
    def _group(branch: _Branch, size: tuple[int, int], row: int, column: int) -> HeadGroup:
        window, position = (branch.windows == row * size[1] + column).nonzero()[0].tolist()
        tokens, weights = branch.windows[window], branch.weights[window, :, position].mean(dim=0)
        real = tokens >= 0
        flat, mask = torch.zeros(size[0] * size[1]), torch.zeros(size[0] * size[1], dtype=torch.bool)
        flat[tokens[real]], mask[tokens[real]] = weights[real], True
        return HeadGroup(NAMES[branch.orientation], flat.view(size).numpy(), mask.view(size).numpy())

    def _text(self, stage: int, token: tuple[int, int], groups: tuple[HeadGroup, ...]) -> str:
        h, w = self.map_sizes[stage]
        parts = []
        for group in groups:
            rows, columns = (np.flatnonzero(group.mask.any(axis=axis)) for axis in (1, 0))
            count = int(group.mask.sum())
            extent = {
                "vertical stripe": f"columns {columns[0]}-{columns[-1]}",
                "horizontal stripe": f"rows {rows[0]}-{rows[-1]}",
                "whole map": "all",
            }[group.name]
            top = np.unravel_index(int(group.weights.argmax()), group.weights.shape)
            parts.append(f"{group.name} {extent} ({count} tokens, most at ({top[0]}, {top[1]}))")
        return f"stage {stage + 1}, {h}x{w} tokens: token ({token[0]}, {token[1]}) sees " + " and ".join(parts)
