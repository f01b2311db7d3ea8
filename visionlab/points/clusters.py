"""Clusters of points that look as if they were of one object, made once, before training, without any label.

PNAL (arXiv 2107.14230) corrects labels by such clusters. They shall be small rather than large: two objects in one
cluster get one label for good.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.cluster import DBSCAN, KMeans, MiniBatchKMeans
from sklearn.mixture import GaussianMixture
from torch import Tensor

from visionlab.data.clouds import UNLABELLED

__all__ = ["COLOUR", "EPS", "best_labels", "by_look", "dbscan", "gaussian", "kmeans", "published_features", "purity"]

EPS = 0.018
"""Radius of the released clusters, in the units of `published_features`; for dense scans."""
CEILING = 0.9
COLOUR = 6.0
"""Metres that `by_look` takes black and white in one channel to be apart."""
MANY = 10_000
"""Points from which on k-means works through parts of them at a time."""


def published_features(xyz: Float[Tensor, "n 3"], rgb: Float[Tensor, "n 3"]) -> Float[Tensor, "n 6"]:
    """What the published code clusters by: place in the room and colour, 1.25 times each, the ceiling torn off.

    Place is 0 to 1 along each axis, and then taken from its mean; height counts 1.25 times more, and five times more
    again from 0.9 times the largest height on. (A step that should tear off the floor never does anything there, since
    heights below the mean are negative; it is left out.)

    Args:
        xyz: in any unit.
        rgb: in [0, 1].
    """
    low, high = xyz.amin(0), xyz.amax(0)
    place = (xyz - low) / (high - low).clamp(min=1e-6)
    place = place - place.mean(0)
    up = 1.25 * place[:, 2]
    up = torch.where(up >= CEILING * up.max(), 5 * up, up)
    return torch.cat([1.25 * place[:, :2], 1.25 * up[:, None], 1.25 * rgb], 1)


def dbscan(features: Float[Tensor, "n f"], eps: float = EPS) -> Int[Tensor, " n"]:
    """Clusters (N,) of points that chains of steps of at most ``eps`` connect; a point on its own is one as well.

    Raises:
        ValueError: if eps is not positive, or there are no points.
    """
    if eps <= 0:
        raise ValueError(f"eps: expected more than 0, got {eps}")
    found = DBSCAN(eps=eps, min_samples=1, leaf_size=30).fit_predict(_numbers(features))
    return torch.from_numpy(found).long()


def kmeans(features: Float[Tensor, "n f"], clusters: int, *, seed: int = 0) -> Int[Tensor, " n"]:
    """So many clusters (N,) around means; as many as there are points, if there are fewer.

    Raises:
        ValueError: if there are no points, or fewer than one cluster is asked for.
    """
    numbers = _numbers(features)
    if clusters < 1:
        raise ValueError(f"clusters: expected 1 or more, got {clusters}")
    clusters = min(clusters, len(np.unique(numbers, axis=0)))
    kind = MiniBatchKMeans if len(numbers) > MANY else KMeans
    found = kind(clusters, n_init=1, random_state=seed).fit_predict(numbers)
    return torch.from_numpy(found).long()


def by_look(xyz: Float[Tensor, "n 3"], rgb: Float[Tensor, "n 3"], clusters: int, *, seed: int = 0) -> Int[Tensor, " n"]:
    """So many clusters (N,) of points that lie together and look alike: `kmeans` on metres and `COLOUR` times colours.

    Raises:
        ValueError: as `kmeans`.
    """
    return kmeans(torch.cat([xyz, COLOUR * rgb], 1), clusters, seed=seed)


def gaussian(features: Float[Tensor, "n f"], clusters: int = 100, *, seed: int = 0) -> Int[Tensor, " n"]:
    """So many clusters (N,) as Gaussians of any shape: what the published code runs under the name of DBSCAN.

    Raises:
        ValueError: as `kmeans`.
    """
    numbers = _numbers(features)
    if clusters < 1:
        raise ValueError(f"clusters: expected 1 or more, got {clusters}")
    mixture = GaussianMixture(min(clusters, len(np.unique(numbers, axis=0))), random_state=seed)
    return torch.from_numpy(mixture.fit_predict(numbers)).long()


def best_labels(cluster: Int[Tensor, " n"], labels: Int[Tensor, " n"], classes: int) -> Int[Tensor, " n"]:
    """The labels (N,) that a perfect vote would give: each cluster the class that most of its points have.

    Points without a label do not vote, but get the class of their cluster.
    """
    ids, place = cluster.unique(return_inverse=True)
    known = labels != UNLABELLED
    table = torch.bincount(place[known] * classes + labels[known], minlength=len(ids) * classes).view(-1, classes)
    return torch.where(table.amax(1) > 0, table.argmax(1), UNLABELLED)[place]


def purity(cluster: Int[Tensor, " n"], labels: Int[Tensor, " n"], classes: int) -> float:
    """Share of labelled points whose class is that of most of their cluster: the most that correction can reach."""
    known = labels != UNLABELLED
    return (best_labels(cluster, labels, classes) == labels)[known].double().mean().item()


def _numbers(features: Tensor) -> np.ndarray:
    if features.ndim != 2 or len(features) == 0 or not torch.isfinite(features).all():
        raise ValueError(f"features: expected (N, F), some, all finite; got {tuple(features.shape)}")
    return features.double().cpu().numpy()
