"""Losses for labels that may be wrong, for each point: cross entropy, SCE, GCE and truncated GCE.

With p the softmax of the logits and y the given label:

=============  =====================================================  ==============================
loss           of one point                                           source
=============  =====================================================  ==============================
cross entropy  -ln p_y
SCE            alpha (-ln p_y) + beta (-ln 1e-4) (1 - p_y)            Wang et al., ICCV 2019
GCE            (1 - p_y^q) / q                                        Zhang and Sabuncu, NeurIPS 2018
truncated GCE  w ((1 - p_y^q) / q - (1 - threshold^q) / q)            the same
=============  =====================================================  ==============================

PNAL (arXiv 2107.14230) compares itself with them. Its code runs GCE at q = 1, and an SCE that takes logits for
probabilities; here SCE has the softmax it was meant to have.

All take logits (..., K) and labels (...), and return float32 or wider values (...), 0 where a label is `UNLABELLED`.
A mean over labelled points is ``masked_mean(loss(logits, labels), labels != UNLABELLED)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from visionlab.data.clouds import UNLABELLED

__all__ = [
    "LOSSES",
    "TRUNCATED",
    "UNLABELLED",
    "cross_entropy",
    "gce",
    "masked_mean",
    "sce",
    "truncated_gce",
    "truncation_weights",
]

NO_CHANCE = 1e-4
"""What SCE puts in place of the zeros of a one-hot label, whose logarithm it takes."""


def cross_entropy(logits: Float[Tensor, "*n k"], labels: Int[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Return -ln p_y for logits (..., K) and labels (...), 0 where there is no label.

    Raises:
        ValueError: if shapes do not fit or a label is out of range; so do all losses here.
    """
    given, labelled = _given(logits, labels)
    return torch.where(labelled, -given, 0)


def sce(
    logits: Float[Tensor, "*n k"], labels: Int[Tensor, "*n"], *, alpha: float | int = 1.0, beta: float | int = 1.0
) -> Float[Tensor, "*n"]:
    """Return symmetric cross entropy: alpha CE(y, p) + beta CE(p, y), whose second part is -ln(1e-4) (1 - p_y).

    Args:
        logits: (..., K).
        labels: (...).
        alpha: weight of cross entropy, 0 or more.
        beta: weight of its reverse, 0 or more.
    """
    if not (0 <= alpha < math.inf and 0 <= beta < math.inf):
        raise ValueError(f"alpha, beta: expected 0 or more, got {alpha} and {beta}")
    given, labelled = _given(logits, labels)
    return torch.where(labelled, -alpha * given + beta * math.log(NO_CHANCE) * given.expm1(), 0)


def gce(logits: Float[Tensor, "*n k"], labels: Int[Tensor, "*n"], *, q: float | int = 0.7) -> Float[Tensor, "*n"]:
    """Return generalised cross entropy (1 - p_y^q) / q: towards q = 0 cross entropy, at 1 half the absolute error.

    Args:
        logits: (..., K).
        labels: (...).
        q: above 0, up to 1. The paper of GCE has 0.7, the code of PNAL 1.
    """
    _check_q(q)
    given, labelled = _given(logits, labels)
    return torch.where(labelled, -(q * given).expm1() / q, 0)


def truncated_gce(
    logits: Float[Tensor, "*n k"],
    labels: Int[Tensor, "*n"],
    weights: Float[Tensor, "*n"] | Bool[Tensor, "*n"] | None = None,
    *,
    q: float | int = 0.7,
    threshold: float | int = 0.5,
) -> Float[Tensor, "*n"]:
    """Return w ((1 - p_y^q) / q - (1 - threshold^q) / q), which is negative for points that are well predicted.

    Args:
        logits: (..., K).
        labels: (...).
        weights: w (...), 1 or 0, as `truncation_weights` made them some epochs ago; by default 1, as at the start.
        q: above 0, up to 1.
        threshold: probability above which a point counts as well predicted, the k of the paper.
    """
    _check_threshold(threshold)
    values = gce(logits, labels, q=q) - (1 - threshold**q) / q
    kept = labels != UNLABELLED if weights is None else (labels != UNLABELLED) & (weights != 0)
    return torch.where(kept, values if weights is None else values * weights, 0)


@torch.no_grad()
def truncation_weights(
    logits: Float[Tensor, "*n k"], labels: Int[Tensor, "*n"], *, q: float | int = 0.7, threshold: float | int = 0.5
) -> Float[Tensor, "*n"]:
    """Return the weights of truncated GCE from here on: 1 where its loss lies below that of p_y = threshold, else 0.

    They are kept for each training point. The code of PNAL sets them anew in epochs e with e mod 3 = 2. Unlabelled
    points have 0.
    """
    _check_threshold(threshold)
    kept = (gce(logits, labels, q=q) < (1 - threshold**q) / q) & (labels != UNLABELLED)
    return kept.to(_wide(logits))


def masked_mean(values: Float[Tensor, "*n"], mask: Bool[Tensor, "*n"]) -> Float[Tensor, ""]:
    """Return the mean of the values (...) where the mask (...) is set; 0 with zero gradients where it is set nowhere.

    Raises:
        ValueError: if the shapes differ.
    """
    if values.shape != mask.shape:
        raise ValueError(f"mask: expected {tuple(values.shape)} as the values, got {tuple(mask.shape)}")
    return torch.where(mask, values, 0).sum() / mask.sum().clamp(min=1)


def _given(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return ln p_y (...) and where there is a label; ln p_0 where there is none."""
    if logits.shape[:-1] != labels.shape:
        raise ValueError(f"labels: expected {tuple(logits.shape[:-1])} as the logits, got {tuple(labels.shape)}")
    classes = logits.shape[-1]
    if labels.numel() and (labels.min() < UNLABELLED or labels.max() >= classes):
        least, most = int(labels.min()), int(labels.max())
        raise ValueError(f"labels: expected {UNLABELLED} to {classes - 1}, got {least} to {most}")
    logs = logits.log_softmax(-1, dtype=_wide(logits))
    return logs.gather(-1, labels.clamp(min=0).long()[..., None])[..., 0], labels != UNLABELLED


def _wide(logits: Tensor) -> torch.dtype:
    return torch.promote_types(logits.dtype, torch.float32)


def _check_q(q: float | int) -> None:
    if not 0 < q <= 1:
        raise ValueError(f"q: expected above 0 and up to 1, got {q}")


def _check_threshold(threshold: float | int) -> None:
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold: expected above 0 and up to 1, got {threshold}")


TRUNCATED = {"truncated GCE": 0.7, "truncated GCE, q = 1": 1.0}
"""Losses with a weight for each point, and their q."""
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross entropy": cross_entropy,
    "SCE": sce,
    "GCE": gce,
    "GCE, q = 1": partial(gce, q=1.0),
    **{name: partial(truncated_gce, q=q) for name, q in TRUNCATED.items()},
}
"""The losses by name; those with q = 1 are what the code of PNAL runs."""
