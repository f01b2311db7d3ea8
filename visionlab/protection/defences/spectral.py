"""Spectral signatures: poisoned images of a class stand out along one direction of its features (arXiv 1811.00636).

As published, a class is centred on its own mean. That fails where the poison is a large part of the class, since then
it moves the mean. A defender with a few clean images of the class can centre on theirs, and `examine` does.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from visionlab.protection.defences.case import Case, Finding, clean_means, features_of

__all__ = ["examine", "outlier_scores"]


def outlier_scores(features: Float[Tensor, "n c"], centre: Float[Tensor, " c"] | None = None) -> Float[Tensor, " n"]:
    """Squared projection (N,) of the features of *one* class on their first singular direction.

    Args:
        features: of all that is called so.
        centre: they are measured from here; by default from their own mean, as published.
    """
    centred = features.double() - (features.double().mean(0) if centre is None else centre.double())
    if len(centred) < 2:
        return torch.zeros(len(centred))
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    return (centred @ directions[0]).square().float()


def examine(case: Case) -> Finding:
    """Score each training image within its class; the score is how far the worst class has moved from clean images.

    Of a class: the mean squared distance of its training images from the mean of clean ones, over that of clean ones.
    """
    assert case.training_images is not None
    assert case.training_labels is not None
    features = features_of(case.predictor, case.training_images)
    means, spreads = clean_means(case)
    scores, moved = torch.zeros(len(features)), torch.zeros(len(means))
    for label in case.training_labels.unique().tolist():
        members = case.training_labels == label
        scores[members] = outlier_scores(features[members], means[label])
        moved[label] = (features[members] - means[label]).square().sum(1).mean() / spreads[label].clamp(min=1e-12)
    meaning = "spread of a class's training images about the mean of clean ones, over that of the clean ones"
    details = {"spread of each class": moved}
    return Finding("spectral signatures", moved.max().item(), meaning, scores, details, by_class=moved)
