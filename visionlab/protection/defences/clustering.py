"""Activation clustering: the features of a poisoned class fall into two groups (arXiv 1811.03728).

Honest and poisoned images of the target's class reach the same answer for different reasons, so their features differ.
The published rule, "the smaller group is the poison", fails where the poison is not the smaller one. A defender with a
few clean images suspects the group that lies farther from them instead, and `examine` does: a training image is the
more suspicious the farther it lies towards that group. They also tell how honest images scatter, so that features can
be measured in units of that (`whitening`); without it k-means splits a class by whatever varies most in it.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score
from torch import Tensor

from visionlab.protection.defences.case import Case, Finding, clean_means, features_of

__all__ = ["examine", "two_groups", "whitening"]


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


def whitening(case: Case, means: Float[Tensor, "k c"]) -> Float[Tensor, "c c"]:
    """The matrix (C, C) that makes the clean images of a class scatter alike in all directions of feature space.

    What tells a poisoned image is often faint beside what tells one honest image of the class from another.

    Args:
        case: its clean images are looked at.
        means: of each class's clean images.
    """
    away = features_of(case.predictor, case.images).double() - means[case.labels].double()
    covariance = away.T @ away / len(away)
    # Few images leave directions without any scatter, which must not be blown up.
    ridge = 0.1 * covariance.diagonal().mean().clamp(min=1e-12)
    root = torch.linalg.cholesky(covariance + ridge * torch.eye(len(covariance), dtype=torch.float64))
    return torch.linalg.inv(root).T.float()


def examine(case: Case) -> Finding:
    """Split each class of the training set, and see how far it lies from the clean images of the class.

    The score of a class is the distance between the means of its training images and of clean ones, in units of the
    scatter of clean ones (`whitening`). The published score, the silhouette of the split, is among the details: honest
    classes may have two groups by nature, and it is as high for them. How suspicious a training image is: its place
    along the line from the mean of the group nearer to the clean images (0) to that of the farther one (1), times the
    score of its class.
    """
    assert case.training_images is not None
    assert case.training_labels is not None
    means, _ = clean_means(case)
    white = whitening(case, means)
    features, means = features_of(case.predictor, case.training_images) @ white, means @ white
    moved, silhouettes, shares = (torch.zeros(len(means)) for _ in range(3))
    suspects = torch.zeros(len(features))
    for label in case.training_labels.unique().tolist():
        members = case.training_labels == label
        own = features[members]
        moved[label] = (own.mean(0) - means[label]).norm()
        group, silhouettes[label] = two_groups(own, seed=case.seed)
        if group.any():
            away = [(own[part].mean(0) - means[label]).norm() for part in (group, ~group)]
            group = group if away[0] >= away[1] else ~group
            line = own[group].mean(0) - own[~group].mean(0)
            place = (own - own[~group].mean(0)) @ line / line.square().sum().clamp(min=1e-12)
            suspects[members] = place * moved[label]
        shares[label] = group.float().mean()
    details = {"silhouette of each class": silhouettes, "share of the farther group": shares, "moved": moved}
    meaning = "distance of a class's training images from clean ones, in units of how clean ones scatter"
    return Finding("activation clustering", moved.max().item(), meaning, suspects, details, by_class=moved)
