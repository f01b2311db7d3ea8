"""Our sketch of E2E-MF, Mobile-Former as an end-to-end detector (arXiv 2108.05895; its code was never published).

Certain is that Mobile-Former blocks take the place of DETR's backbone, encoder and decoder. The backbone keeps its few
global tokens and has spatial-aware slopes; in the head, object queries are the tokens of more blocks, on maps of 1/32,
then 1/16, then 1/8 of the image, through the same bridge. *Adapting position embedding*: where DETR gives its queries
one learned position for all layers, here each block's tokens move it on for the next block. Widths of the head, the
number of its blocks and the form of the up-sampling are ours. Losses are DETR's (Carion et al., arXiv 2005.12872).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torchvision.ops import box_convert, generalized_box_iou, generalized_box_iou_loss

from visionlab.backbones.mobile_former import MobileFormer, MobileFormerBlock, initialise
from visionlab.backbones.mobile_former_bridge import Former, ToFormer, Tokens, ToMobile
from visionlab.backbones.mobile_former_mobile import ConvNorm, DynamicReLU, Regular, RegularMobile, Votes

__all__ = ["MobileFormerDetector", "Predictions", "match", "set_losses", "sine_places"]


class Predictions(NamedTuple):
    """What each head block says, the last one last.

    Logits (L, B, Q, K + 1), the last class being no object; boxes (L, B, Q, 4), centre, width and height over the
    image's.
    """

    logits: Tensor
    boxes: Tensor


def sine_places(x: Float[Tensor, "b c h w"], temperature: float = 10_000.0) -> Float[Tensor, "c h w"]:
    """Return the 2-D sine embedding of the places of a map: half of its channels tell the row, half the column.

    Raises:
        ValueError: if the channels are no multiple of 4.
    """
    channels, height, width = x.shape[1:]
    if channels % 4:
        raise ValueError(f"x: sines and cosines of two axes need a multiple of 4 channels, got {channels}")
    rates = temperature ** -(torch.arange(channels // 4, device=x.device, dtype=torch.float32) / (channels // 4))

    def along(length: int) -> Tensor:
        angle = (torch.arange(length, device=x.device) + 0.5) / length * 2 * math.pi
        return torch.cat([(rates[:, None] * angle).sin(), (rates[:, None] * angle).cos()])

    rows = along(height)[:, :, None].expand(-1, -1, width)
    return torch.cat([rows, along(width)[:, None].expand(-1, height, -1)]).to(x.dtype)


class QueryBlock(MobileFormerBlock):
    """A Mobile-Former block whose tokens are object queries with positions, on a map whose pixels have places.

    Positions and places decide who looks where; what is handed over is tokens and pixels alone. After the block the
    positions have adapted to what its tokens found.
    """

    def __init__(self, channels: int, hidden: int, dim: int) -> None:
        mobile = RegularMobile(channels, Regular(hidden, channels), partial(DynamicReLU, dim))
        super().__init__(mobile, ToFormer(channels, dim), Former(dim), ToMobile(channels, dim), Votes(1))
        self.adapt = nn.Linear(dim, dim)

    def forward(  # type: ignore[override]
        self, x: Float[Tensor, "b c h w"], tokens: Float[Tensor, "b q d"], positions: Float[Tensor, "b q d"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return map, tokens and positions."""
        places = sine_places(x)
        logits = self.to_former.logits(tokens + positions, x + places)
        tokens = self.to_former(tokens, x, logits)
        tokens = self.former(tokens, self.former.logits(tokens + positions))
        votes = None if self.votes is None or logits is None else self.votes(logits, (x.shape[2], x.shape[3]))
        x = self.mobile(x, tokens, votes)
        x = self.to_mobile(x, tokens, self.to_mobile.logits(x + places, tokens + positions))
        return x, tokens, positions + self.adapt(tokens)


class UpSampling(nn.Module):
    """To the next finer map: bilinear to its size, depthwise 3x3, 1x1, plus the backbone's map there."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.depthwise = ConvNorm(channels, channels, 3, groups=channels)
        self.pointwise = ConvNorm(channels, out)

    def forward(self, x: Float[Tensor, "b c h w"], finer: Float[Tensor, "b d h2 w2"]) -> Float[Tensor, "b d h2 w2"]:
        """Return the finer map."""
        x = F.interpolate(x, size=finer.shape[2:], mode="bilinear", align_corners=False)
        return finer + self.pointwise(F.relu6(self.depthwise(x)))


class MobileFormerDetector(nn.Module):
    """Boxes and classes of objects, each told by one query, without anchors and without suppression of doubles.

    Args:
        backbone: a `MobileFormer` of three stages or more, best with ``slopes="spatial"``; its head is taken off.
        num_classes: kinds of objects.
        queries: how many objects can be told at most.
        dim: channels of a query.
        blocks: Mobile-Former blocks on the last three maps of the backbone, the coarsest first.
        expand: hidden channels of a block over those of its map.

    Raises:
        ValueError: if there are too few stages, or the backbone's widths do not take the places.
    """

    def __init__(
        self,
        backbone: MobileFormer,
        num_classes: int,
        *,
        queries: int = 100,
        dim: int = 256,
        blocks: Sequence[int] = (3, 3, 3),
        expand: int = 4,
    ) -> None:
        super().__init__()
        if len(backbone.feature_info) < len(blocks) or min(blocks) < 1:
            raise ValueError(f"blocks: {tuple(blocks)} on the last of {len(backbone.feature_info)} maps")
        self.levels = [len(backbone.feature_info) - 1 - i for i in range(len(blocks))]
        widths = [int(backbone.feature_info[level]["num_chs"]) for level in self.levels]
        if any(width % 4 for width in widths):
            raise ValueError(f"backbone: expected maps of a multiple of 4 channels, got {widths}")
        backbone.prune_intermediate_layers(self.levels, prune_norm=True)
        self.backbone = backbone
        self.queries, self.positions = Tokens(queries, dim), Tokens(queries, dim)
        self.up = nn.ModuleList(UpSampling(a, b) for a, b in pairwise(widths))
        self.blocks = nn.ModuleList(
            nn.ModuleList(QueryBlock(width, expand * width, dim) for _ in range(number))
            for width, number in zip(widths, blocks, strict=True)
        )
        self.classes = nn.Linear(dim, num_classes + 1)
        self.boxes = nn.Sequential(
            nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, 4), nn.Sigmoid()
        )
        # The MLP of the boxes keeps torch's start: with Mobile-Former's small weights all queries would begin as one.
        for part in (self.up, self.blocks):
            part.apply(initialise)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Predictions:
        """Tell the objects of normalised images (B, 3, H, W)."""
        maps = self.backbone.forward_intermediates(x, sorted(self.levels), intermediates_only=True)[::-1]
        tokens, positions, y = self.queries(len(x)), self.positions(len(x)), maps[0]
        told = []
        for level, blocks in enumerate(self.blocks):
            y = y if level == 0 else self.up[level - 1](y, maps[level])
            for block in cast(nn.ModuleList, blocks):
                y, tokens, positions = block(y, tokens, positions)
                told.append(tokens)
        every = torch.stack(told)
        return Predictions(self.classes(every), self.boxes(every))

    @torch.no_grad()
    def detect(self, x: Float[Tensor, "b c h w"]) -> list[dict[str, Tensor]]:
        """Return boxes in pixels, labels from 1 on and scores of each image, as torchvision's detectors do."""
        logits, boxes = (last[-1] for last in self(x))
        scores, labels = logits.softmax(-1)[..., :-1].max(-1)
        size = x.new_tensor([x.shape[3], x.shape[2]]).repeat(2)
        corners = box_convert(boxes, "cxcywh", "xyxy").clamp(0, 1) * size
        return [
            {"boxes": b, "labels": label + 1, "scores": s} for b, label, s in zip(corners, labels, scores, strict=True)
        ]


def match(
    logits: Float[Tensor, "q k"], boxes: Float[Tensor, "q 4"], labels: Tensor, wanted: Float[Tensor, "n 4"]
) -> tuple[Tensor, Tensor]:
    """Return which query tells which object of one image, at the least cost: - p(class) + 5 L1 + 2 (- GIoU)."""
    cost = -logits.softmax(-1)[:, labels] + 5 * torch.cdist(boxes, wanted, p=1)
    cost = cost - 2 * generalized_box_iou(*(box_convert(b, "cxcywh", "xyxy") for b in (boxes, wanted)))
    rows, columns = linear_sum_assignment(cost.detach().float().cpu().numpy())
    return torch.as_tensor(rows, device=boxes.device), torch.as_tensor(columns, device=boxes.device)


def set_losses(
    told: Predictions, targets: Sequence[Mapping[str, Tensor]], size: tuple[int, int], *, no_object: float = 0.1
) -> dict[str, Tensor]:
    """Return DETR's losses, each summed over the head blocks: class, boxes (times 5) and overlap (times 2).

    Args:
        told: by `MobileFormerDetector`.
        targets: of each image: boxes in pixels and labels from 1 on, as of `visionlab.heads.detection.targets_of`.
        size: (height, width) of the images.
        no_object: weight of the queries that tell no object.

    Raises:
        ValueError: if there are not as many targets as images, or a label is none of the classes.
    """
    kinds = told.logits.shape[-1] - 1
    if len(targets) != told.logits.shape[1]:
        raise ValueError(f"targets: expected those of {told.logits.shape[1]} images, got {len(targets)}")
    for number, target in enumerate(targets):
        if ((target["labels"] < 1) | (target["labels"] > kinds)).any():
            raise ValueError(f"targets: expected labels 1 to {kinds}; image {number} has {target['labels'].tolist()}")
    scale = told.boxes.new_tensor([size[1], size[0]]).repeat(2)
    wanted = [box_convert(target["boxes"].to(scale) / scale, "xyxy", "cxcywh") for target in targets]
    labels = [target["labels"] - 1 for target in targets]
    objects = max(1, sum(len(each) for each in labels))
    weight = told.logits.new_ones(kinds + 1)
    weight[-1] = no_object
    losses = {name: told.logits.new_zeros(()) for name in ("class", "box", "overlap")}
    for logits, boxes in zip(*told, strict=True):
        classes = torch.full(logits.shape[:2], kinds, device=logits.device)
        for i, (label, goal) in enumerate(zip(labels, wanted, strict=True)):
            queries, found = match(logits[i], boxes[i], label, goal)
            classes[i, queries] = label[found]
            a, b = boxes[i, queries], goal[found]
            losses["box"] = losses["box"] + 5 * (a - b).abs().sum() / objects
            corners = (box_convert(each, "cxcywh", "xyxy") for each in (a, b))
            losses["overlap"] = losses["overlap"] + 2 * generalized_box_iou_loss(*corners, reduction="sum") / objects
        losses["class"] = losses["class"] + F.cross_entropy(logits.flatten(0, 1), classes.flatten(), weight)
    return losses
