"""Spectral signatures: poisoned images of a class stand out along one direction of its features (arXiv 1811.00636)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from visionlab.protection.defences.case import Case, Finding, features_of

__all__ = ["examine", "outlier_scores"]


def outlier_scores(features: Float[Tensor, "n c"]) -> Float[Tensor, " n"]:
    """Squared projection (N,) of the centred features of *one* class on their first singular direction."""
    centred = features.double() - features.double().mean(0)
    if len(centred) < 2:
        return torch.zeros(len(centred))
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    return (centred @ directions[0]).square().float()


def examine(case: Case) -> Finding:
    """Score each training image within its class; the score is the largest share of variance in one direction."""
    assert case.training_images is not None
    assert case.training_labels is not None
    features = features_of(case.predictor, case.training_images)
    scores = torch.zeros(len(features))
    shares = torch.zeros(len(case.predictor.classes))
    for label in case.training_labels.unique().tolist():
        members = case.training_labels == label
        scores[members] = outlier_scores(features[members])
        spread = (features[members] - features[members].mean(0)).square().sum()
        shares[label] = scores[members].sum() / spread.clamp(min=1e-12)
    meaning = "largest share of a class's variance that lies in a single direction"
    return Finding("spectral signatures", shares.max().item(), meaning, scores, {"share of each class": shares})
