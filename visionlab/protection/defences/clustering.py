"""Activation clustering: the features of a poisoned class fall into two groups (arXiv 1811.03728).

Honest and poisoned images of the target's class reach the same answer for different reasons, so their features differ.
The original rule, "the smaller group is the poison", fails where the poison is not the smaller one.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score
from torch import Tensor

from visionlab.protection.defences.case import Case, Finding, features_of

__all__ = ["examine", "two_groups"]


def two_groups(
    features: Float[Tensor, "n c"], *, components: int = 10, seed: int = 0
) -> tuple[Bool[Tensor, " n"], float]:
    """Split the features of one class in two; returns who is in the smaller group, and the silhouette of the split.

    The silhouette, from -1 to 1, says how much nearer each is to its own group than to the other.
    """
    n = len(features)
    if n < 4:
        return torch.zeros(n, dtype=torch.bool), 0.0
    if features.double().std(0).max() < 1e-9:
        return torch.zeros(n, dtype=torch.bool), 0.0  # all alike
    reduced = PCA(min(components, n, features.shape[1]), random_state=seed).fit_transform(features.double().numpy())
    groups = torch.from_numpy(KMeans(2, n_init=10, random_state=seed).fit_predict(reduced)).bool()
    smaller = groups if groups.sum() * 2 <= n else ~groups
    return smaller, float(silhouette_score(reduced, groups.numpy()))


def examine(case: Case) -> Finding:
    """Split each class of the training set; the score is the best silhouette of a class."""
    assert case.training_images is not None
    assert case.training_labels is not None
    features = features_of(case.predictor, case.training_images)
    classes = len(case.predictor.classes)
    suspects, silhouettes, sizes = torch.zeros(len(features)), torch.zeros(classes), torch.zeros(classes)
    for label in case.training_labels.unique().tolist():
        members = case.training_labels == label
        smaller, silhouettes[label] = two_groups(features[members], seed=case.seed)
        sizes[label] = smaller.float().mean()
        suspects[members] = smaller.float() * silhouettes[label]
    details = {"silhouette of each class": silhouettes, "share of the smaller group": sizes}
    return Finding(
        "activation clustering", silhouettes.max().item(), "best silhouette of a class split in two", suspects, details
    )
