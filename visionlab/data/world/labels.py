"""Masks, boxes and visibility: what the rays through the middles of the pixels say, at any quality and in any style."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from visionlab.data.world.batch import Batch
from visionlab.data.world.scene import Objects

__all__ = ["LEAST_PIXELS", "LEAST_VISIBLE", "Labels", "boxes_of", "label"]

LEAST_VISIBLE = 0.3  # of an object, for it to be counted
LEAST_PIXELS = 6


@dataclass(frozen=True)
class Labels(Batch):
    """The labels of n images.

    Attributes:
        instance: (n, H, W) the object's slot, or -1.
        semantic: (n, H, W) the object's shape (its place in SHAPE_NAMES, from 1 on), or 0.
        part: (n, H, W) its part (its place in PARTS, from 1 on), or 0.
        boxes: (n, K, 4) of what is visible: left, top, right, bottom in pixels, right and bottom outside; else zeros.
        full_boxes: (n, K, 4) the same of the object as if nothing stood before it, within the image.
        visibility: (n, K) share of the object's pixels within the image that nothing hides.
        counted: (n, K) whether the object counts: for boxes, captions, questions and classes alike. It does when
            at least 0.3 of it and at least 6 pixels are visible.
    """

    instance: Int[Tensor, "n h w"]
    semantic: Int[Tensor, "n h w"]
    part: Int[Tensor, "n h w"]
    boxes: Int[Tensor, "n k 4"]
    full_boxes: Int[Tensor, "n k 4"]
    visibility: Float[Tensor, "n k"]
    counted: Bool[Tensor, "n k"]


def label(
    objects: Objects, slot: Int[Tensor, "n h w"], part: Int[Tensor, "n h w"], seen: Bool[Tensor, "n k h w"]
) -> Labels:
    """Make the labels from the slot and part at each pixel, and from where each object alone would be seen."""
    k = objects.shape.shape[1]
    mask = slot[:, None] == torch.arange(k, device=slot.device)[:, None, None]
    boxes, visible = boxes_of(mask)
    full_boxes, whole = boxes_of(seen)
    shape = objects.shape.gather(1, slot.clamp(min=0).flatten(1)).view_as(slot)
    share = visible / whole.clamp(min=1)
    return Labels(
        instance=slot,
        semantic=torch.where(slot >= 0, shape + 1, 0),
        part=part + 1,
        boxes=boxes,
        full_boxes=full_boxes,
        visibility=share,
        counted=objects.present & (visible >= LEAST_PIXELS) & (share >= LEAST_VISIBLE),
    )


def boxes_of(mask: Bool[Tensor, "n k h w"]) -> tuple[Int[Tensor, "n k 4"], Int[Tensor, "n k"]]:
    """Left, top, right and bottom of masks, and their pixels; right and bottom lie outside. Zeros for empty masks."""
    columns, rows = mask.sum(2), mask.sum(3)
    (left, right), (top, bottom) = _ends(columns > 0), _ends(rows > 0)
    return torch.stack([left, top, right, bottom], dim=-1), rows.sum(2)


def _ends(line: Bool[Tensor, "n k s"]) -> tuple[Int[Tensor, "n k"], Int[Tensor, "n k"]]:
    place = torch.arange(line.shape[-1], device=line.device)
    first = torch.where(line, place, line.shape[-1]).amin(-1)
    last = torch.where(line, place + 1, 0).amax(-1)
    return torch.where(last > 0, first, 0), last
