"""How good labels of points are: overall accuracy, intersection over union by class, and what a correction is worth."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

__all__ = ["Segmented", "Selected", "segmented", "selected"]


@dataclass(frozen=True)
class Segmented:
    """Percent: of points whose class is right, and of intersection over union.

    Args:
        accuracy: overall accuracy.
        mean_iou: mean over the classes that occur, in truth or prediction.
        iou: (K,) of each class, NaN where it occurs in neither.
    """

    accuracy: float
    mean_iou: float
    iou: Float[Tensor, " k"]


def segmented(found: Integer[Tensor, "*n"], truth: Integer[Tensor, "*n"], classes: int) -> Segmented:
    """Compare predicted classes with true ones, of all points together; points of truth -1 are left out.

    Raises:
        ValueError: if shapes differ, a class is out of range, or no point has a true class.
    """
    if found.shape != truth.shape:
        raise ValueError(f"found: expected {tuple(truth.shape)}, as the truth has; got {tuple(found.shape)}")
    known = truth >= 0
    a, b = found[known].long(), truth[known].long()
    if a.numel() == 0:
        raise ValueError("truth: expected points with a class, got none")
    if int(a.min()) < 0 or max(int(a.max()), int(b.max())) >= classes:
        raise ValueError(f"classes: expected all to lie in 0 to {classes - 1}; got {int(a.min())} to {int(a.max())}")
    table = torch.bincount(b * classes + a, minlength=classes * classes).view(classes, classes).double()
    either = table.sum(0) + table.sum(1) - table.diag()
    iou = 100 * table.diag() / either  # NaN for 0 / 0
    return Segmented(100 * float(table.diag().sum() / table.sum()), float(iou[either > 0].mean()), iou)


@dataclass(frozen=True)
class Selected:
    """Percent: what a selection of points with labels of their own is worth.

    Args:
        share: of all points that are selected.
        precision: of the selected, whose label is right.
        recall: of all points, those that are selected with a right label.
        mended: of the points that were given a wrong label, those that have the right one.
        broken: of the points that were given the right label, those that have a wrong one.
    """

    share: float
    precision: float
    recall: float
    mended: float
    broken: float


def selected(labels: Integer[Tensor, "*n"], given: Integer[Tensor, "*n"], truth: Integer[Tensor, "*n"]) -> Selected:
    """Judge corrected labels, -1 where a point is not selected, by the truth; NaN where there is nothing to count.

    Raises:
        ValueError: if shapes differ.
    """
    if not labels.shape == given.shape == truth.shape:
        shapes = [tuple(each.shape) for each in (labels, given, truth)]
        raise ValueError(f"labels, given, truth: expected one shape, got {shapes}")
    chosen, right, was_right = labels >= 0, labels == truth, given == truth
    return Selected(
        _percent(chosen, torch.ones_like(chosen)),
        _percent(right, chosen),
        _percent(right, torch.ones_like(chosen)),
        _percent(right, ~was_right),
        _percent(chosen & ~right, was_right),
    )


def _percent(which: Bool[Tensor, "*n"], among: Bool[Tensor, "*n"]) -> float:
    return 100 * which[among].double().mean().item()
