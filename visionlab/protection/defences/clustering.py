"""Activation clustering: the features of a poisoned class fall into two groups (arXiv 1811.03728).

Honest and poisoned images of the target's class reach the same answer for different reasons, so their features differ.
The published rule, "the smaller group is the poison", fails where the poison is not the smaller one. A defender with a
few clean images suspects the group that lies farther from them instead, and `examine` does.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score
from torch import Tensor

from visionlab.protection.defences.case import Case, Finding, clean_means, features_of

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
    """Split each class of the training set; the score is the silhouette of the class that falls apart best.

    A training image is suspicious if it is in the group that lies farther from the clean images of its class.
    """
    assert case.training_images is not None
    assert case.training_labels is not None
    features = features_of(case.predictor, case.training_images)
    means, _ = clean_means(case)
    suspects, silhouettes, shares = torch.zeros(len(features)), torch.zeros(len(means)), torch.zeros(len(means))
    for label in case.training_labels.unique().tolist():
        members = case.training_labels == label
        own = features[members]
        group, silhouettes[label] = two_groups(own, seed=case.seed)
        if group.any():
            away = [(own[part].mean(0) - means[label]).norm() for part in (group, ~group)]
            group = group if away[0] >= away[1] else ~group
        shares[label] = group.float().mean()
        suspects[members] = group.float() * silhouettes[label]
    details = {"silhouette of each class": silhouettes, "share of the farther group": shares}
    meaning, best = "best silhouette of a class split in two", silhouettes.max().item()
    return Finding("activation clustering", best, meaning, suspects, details, by_class=silhouettes)
