"""How good a segmentation or a detection is: mean intersection over union, average precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor
from torchvision.ops import box_iou

__all__ = ["average_precision", "mean_iou", "sure_boxes"]


def mean_iou(
    found: Integer[Tensor, "n h w"], truth: Integer[Tensor, "n h w"], classes: int, *, ignore: int = 255
) -> float:
    """Mean over classes of intersection over union, over all pixels together; classes that occur nowhere are left out.

    Args:
        found: predicted classes.
        truth: true ones; pixels of class ``ignore`` are left out.
        classes: how many there are.

    Raises:
        ValueError: shapes differ, or a class is out of range.
    """
    if found.shape != truth.shape:
        raise ValueError(f"found: expected {tuple(truth.shape)}, as the truth has; got {tuple(found.shape)}")
    counted = truth != ignore
    a, b = found[counted].long(), truth[counted].long()
    if a.numel() == 0:
        raise ValueError("truth: expected pixels that count; got none")
    if min(a.min(), b.min()) < 0 or max(a.max(), b.max()) >= classes:
        raise ValueError(f"classes: expected all to lie in 0 to {classes - 1}; got {int(max(a.max(), b.max()))}")
    table = torch.bincount(a * classes + b, minlength=classes * classes).view(classes, classes).double()
    either = table.sum(0) + table.sum(1) - table.diag()
    return float((table.diag()[either > 0] / either[either > 0]).mean())


def average_precision(
    found: Sequence[dict[str, Tensor]], truth: Sequence[dict[str, Tensor]], *, iou: float = 0.5
) -> float:
    """Mean over classes of the area under the curve of precision over recall, each precision the best to its right.

    Detections are taken from the surest to the least sure; one is right if it overlaps by ``iou`` a true box of its
    image and class that no surer one has taken, and takes the one that it overlaps most. At 0.5 that is COCO's AP50,
    but for COCO's reading of the curve at 101 points; classes without a true box are left out.

    Args:
        found: for each image "boxes" (m, 4), "labels" (m,), "scores" (m,), as torchvision's detectors give them.
        truth: for each image "boxes" and "labels".
        iou: least intersection over union.

    Raises:
        ValueError: there are not as many images in both, or no true box at all.
    """
    if len(found) != len(truth):
        raise ValueError(f"found: expected {len(truth)} images, as the truth has; got {len(found)}")
    kinds = torch.cat([each["labels"] for each in truth]).unique().tolist() if truth else []
    if not kinds:
        raise ValueError("truth: expected at least one true box; got none")
    return float(torch.stack([_area(*_hits(found, truth, kind, iou)) for kind in kinds]).mean())


def _hits(
    found: Sequence[dict[str, Tensor]], truth: Sequence[dict[str, Tensor]], kind: int, iou: float
) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"], int]:
    """Scores of all detections of a kind, whether each is right, and how many true boxes there are."""
    scores, right, count = [torch.zeros(0)], [torch.zeros(0)], 0
    for detections, objects in zip(found, truth, strict=True):
        boxes = objects["boxes"][objects["labels"] == kind].float()
        of_kind = detections["labels"] == kind
        order = detections["scores"][of_kind].argsort(descending=True, stable=True)
        overlap = box_iou(detections["boxes"][of_kind][order].float(), boxes)
        taken = torch.zeros(len(boxes), dtype=torch.bool)
        hit = torch.zeros(len(order))
        for i in range(len(order)):
            free = torch.where(taken, -1.0, overlap[i].cpu())
            if len(boxes) and free.max() >= iou:
                taken[free.argmax()] = True
                hit[i] = 1
        scores.append(detections["scores"][of_kind][order].float().cpu())
        right.append(hit)
        count += len(boxes)
    return torch.cat(scores), torch.cat(right), count


def _area(scores: Float[Tensor, " m"], right: Float[Tensor, " m"], count: int) -> Float[Tensor, ""]:
    hits = right[scores.argsort(descending=True, stable=True)].double()
    recall = hits.cumsum(0) / count
    precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)
    best = precision.flip(0).cummax(0).values.flip(0)
    steps = recall.diff(prepend=recall.new_zeros(1))
    return (steps * best).sum()


def sure_boxes(found: Sequence[Mapping[str, Tensor]], least: float = 0.5) -> np.ndarray:
    """Return what a detector is sure of, to be looked at.

    Args:
        found: of each image, boxes (k, 4), labels from 1 on and scores.
        least: score from which on a box is kept.

    Returns:
        (n, 6): the number of the image, left, top, right, bottom, and the class from 0 on.
    """
    sure = [
        [i, *box.tolist(), label - 1]
        for i, each in enumerate(found)
        for box, score, label in zip(each["boxes"], each["scores"], each["labels"].tolist(), strict=True)
        if score >= least
    ]
    return np.array(sure, dtype=np.float32).reshape(-1, 6)
