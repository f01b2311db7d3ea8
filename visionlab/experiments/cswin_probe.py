"""Look inside a CSWin: which tokens a query attends to, stage by stage and head group by head group.

One forward pass records the attention weights of the last block of every stage; each query is an index into them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from visionlab.backbones.cswin import CSWinStage, CSWinTransformer
from visionlab.backbones.cswin_attention import CrossShapedWindowAttention, StripeAttention, stripe_indices
from visionlab.backbones.cswin_variants import FlatTransformer, RegionAttention, may_attend
from visionlab.measure.attention import HeadGroup, StageView
from visionlab.watch import watch

__all__ = ["Field", "StripeProbe", "block_names", "receptive_field", "region_views", "side_by_side"]

NAMES = {"vertical": "vertical stripe", "horizontal": "horizontal stripe", "whole": "whole map"}


@dataclass(frozen=True)
class _Branch:
    orientation: str
    stripe_width: int
    windows: Int[Tensor, "windows tokens"]
    weights: Float[Tensor, "windows heads tokens tokens"]


class StripeProbe:
    """The attention of one image, ready to be asked about any of its pixels.

    Args:
        model: a CSWin classifier (the last block of each stage answers) or a flat network of cross-shaped blocks (each
            block answers), of any weights.
        image: normalised, (1, 3, H, W) or (3, H, W), of any size.

    Raises:
        ValueError: if there is not exactly one image, or the model has no cross-shaped attention.
    """

    def __init__(self, model: CSWinTransformer | FlatTransformer, image: Float[Tensor, "*b 3 h w"]) -> None:
        image = image[None] if image.ndim == 3 else image
        if image.ndim != 4 or len(image) != 1:
            raise ValueError(f"image: expected one image (1, 3, H, W), got shape {tuple(image.shape)}")
        self.size = (image.shape[2], image.shape[3])
        names = _answering(model)
        model.eval()
        with (
            torch.no_grad(),
            watch(
                model, *(f"{name}.qkv" for name in names), *(f"{name}.branches.*.attend.softmax" for name in names)
            ) as seen,
        ):
            model(image)
        self.map_sizes = [(seen[f"{name}.qkv"].shape[1], seen[f"{name}.qkv"].shape[2]) for name in names]
        self.titles = [
            ("stage" if isinstance(model, CSWinTransformer) else "block") + f" {i + 1}" for i in range(len(names))
        ]
        self._stages = [
            [
                self._branch(branch, size, seen[f"{name}.branches.{b}.attend.softmax"])
                for b, branch in enumerate(model.get_submodule(f"{name}.branches").children())
            ]
            for name, size in zip(names, self.map_sizes, strict=True)
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
        return StageView((row, column), groups, self._text(stage, (row, column), groups), self.titles[stage])

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
        return f"{self.titles[stage]}, {h}x{w} tokens: token ({token[0]}, {token[1]}) sees " + " and ".join(parts)


def _answering(model: nn.Module) -> list[str]:
    """Name the attentions that answer: of the last block of each stage, or of each block of a flat network."""
    if isinstance(model, CSWinTransformer):
        depths = [len(cast(CSWinStage, stage).blocks) for stage in model.stages]
        return [f"stages.{s}.blocks.{depth - 1}.attention" for s, depth in enumerate(depths)]
    if isinstance(model, FlatTransformer) and isinstance(model.blocks[0].attention, CrossShapedWindowAttention):
        return [f"blocks.{i}.attention" for i in range(len(model.blocks))]
    raise ValueError(f"model: expected a network with cross-shaped attention, got {type(model).__name__}")


def region_views(model: FlatTransformer, image: Float[Tensor, "1 3 h w"], y: int, x: int) -> list[StageView]:
    """Return what the token under pixel (y, x) attends to in each block of a flat network of `RegionAttention`.

    Raises:
        ValueError: if the pixel lies outside the image or the model has another attention.
    """
    height, width = image.shape[2:]
    if not (0 <= y < height and 0 <= x < width):
        raise ValueError(f"y, x: expected a pixel of a {height}x{width} image, got ({y}, {x})")
    attentions = [block.attention for block in model.blocks]
    if not all(isinstance(attention, RegionAttention) for attention in attentions):
        raise ValueError("model: expected a flat network of regions, got one of cross-shaped windows")
    model.eval()
    with torch.no_grad(), watch(model, "blocks.*.attention.softmax") as seen:
        h, w = model.embed(image).shape[2:]
        model(image)
    row, column = y * h // height, x * w // width
    views = []
    for i, attention in enumerate(cast("list[RegionAttention]", attentions)):
        weights = seen[f"blocks.{i}.attention.softmax"][0, :, row * w + column].cpu().float()
        masks = [may_attend(regions(h, w))[row * w + column].view(h, w).numpy() for regions in attention.groups]
        parts = [part.mean(dim=0).view(h, w).numpy() for part in weights.chunk(len(masks))]
        groups = tuple(HeadGroup("its part", part, mask) for part, mask in zip(parts, masks, strict=True))
        counts = " and ".join(str(int(mask.sum())) for mask in masks)
        text = f"block {i + 1}, {h}x{w} tokens: token ({row}, {column}) sees {counts} tokens"
        views.append(StageView((row, column), groups, text, f"block {i + 1}"))
    return views


def side_by_side(views: Mapping[str, Sequence[StageView]]) -> list[StageView]:
    """Merge the views of several networks, block by block: the head groups of all in turn, with the network's name."""
    merged = []
    for blocks in zip(*views.values(), strict=True):
        groups = [replace(g, name=name) for name, view in zip(views, blocks, strict=True) for g in view.groups]
        merged.append(replace(blocks[0], groups=tuple(groups), text="\n".join(view.text for view in blocks)))
    return merged


@dataclass(frozen=True)
class Field:
    """What can influence a token after some block: the gradient of the token by each token of the stem, largest = 1.

    Args:
        name: "stage 2, block 1".
        strength: (h, w) of the stem's map; exactly zero where nothing gets through.
    """

    name: str
    strength: np.ndarray

    def share(self, above: float = 0.0) -> float:
        """Return the part of the image that influences the token more than ``above``, in percent."""
        return 100 * float((self.strength > above).mean())


def block_names(model: CSWinTransformer) -> list[str]:
    """Name the blocks in order: "stage 1, block 1", …"""
    depths = [len(cast(CSWinStage, stage).blocks) for stage in model.stages]
    return [f"stage {s + 1}, block {b + 1}" for s, depth in enumerate(depths) for b in range(depth)]


def receptive_field(model: CSWinTransformer, image: Float[Tensor, "1 3 h w"], y: int, x: int, depth: int) -> Field:
    """Return how strongly each part of an image acts on the token under pixel (y, x) after the first ``depth`` blocks.

    Raises:
        ValueError: if the pixel lies outside the image or the network has not as many blocks.
    """
    (height, width), names = image.shape[2:], block_names(model)
    if not (0 <= y < height and 0 <= x < width):
        raise ValueError(f"y, x: expected a pixel of a {height}x{width} image, got ({y}, {x})")
    if not 1 <= depth <= len(names):
        raise ValueError(f"depth: expected 1 to {len(names)} blocks, got {depth}")
    model.eval()
    with torch.enable_grad():
        stem = model.stem(image).detach().requires_grad_()
        tokens, left = stem, depth
        for stage in model.stages:
            tokens = cast(CSWinStage, stage).merge(tokens)
            for block in list(cast(CSWinStage, stage).blocks)[:left]:
                tokens, left = block(tokens), left - 1
            if left == 0:
                break
        h, w = tokens.shape[1:3]
        token = tokens[0, y * h // height, x * w // width].sum()
        gradient = torch.autograd.grad(token, stem)[0][0].abs().sum(dim=-1)
    return Field(names[depth - 1], (gradient / gradient.max()).cpu().numpy())
