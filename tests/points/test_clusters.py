from __future__ import annotations

import pytest
import torch

from visionlab.points.clusters import best_labels, dbscan, gaussian, kmeans, published_features, purity


def test_features_are_those_of_the_card() -> None:
    xyz = torch.tensor([[0.0, 0.0, 0.0], [4.0, 2.0, 3.0], [2.0, 1.0, 2.9]])
    rgb = torch.tensor([[0.0, 0.5, 1.0], [1.0, 1.0, 1.0], [0.2, 0.4, 0.6]])
    found = published_features(xyz, rgb)
    torch.testing.assert_close(found[:, 3:], 1.25 * rgb)
    place = torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.5, 0.5, 2.9 / 3]])
    place = place - place.mean(0)
    torch.testing.assert_close(found[:, :2], 1.25 * place[:, :2])
    height = 1.25 * place[:, 2]
    torch.testing.assert_close(found[:, 2], 1.25 * torch.stack([height[0], 5 * height[1], 5 * height[2]]))
    flat = published_features(torch.zeros(3, 3), rgb)
    assert torch.isfinite(flat).all(), "a room without extent"


def test_chains_of_short_steps_are_one_cluster() -> None:
    line = torch.arange(10.0)[:, None] * 0.5
    far = torch.tensor([[50.0]])
    found = dbscan(torch.cat([line, far, line + 100]), eps=0.6)
    assert found.tolist() == [0] * 10 + [1] + [2] * 10
    assert dbscan(line, eps=0.4).tolist() == list(range(10))


def test_as_many_clusters_as_asked_but_never_more_than_points() -> None:
    g = torch.Generator().manual_seed(0)
    features = torch.cat([torch.randn(40, 6, generator=g) * 0.1 + centre for centre in (0.0, 5.0, 10.0)])
    for find in (kmeans, gaussian):
        found = find(features, 3)
        assert [len(part.unique()) for part in found.split(40)] == [1, 1, 1]
        assert len(found.unique()) == 3
        assert len(find(features[:2], 9).unique()) <= 2
    assert len(kmeans(torch.zeros(5, 3), 3).unique()) == 1, "five times the same point"


def test_purity_is_what_a_perfect_vote_reaches() -> None:
    cluster = torch.tensor([9, 9, 9, 4, 4, 1])
    labels = torch.tensor([2, 2, 0, 1, -1, -1])
    assert best_labels(cluster, labels, 3).tolist() == [2, 2, 2, 1, 1, -1]
    assert purity(cluster, labels, 3) == pytest.approx(3 / 4)


def test_bad_clusters_are_named() -> None:
    with pytest.raises(ValueError, match="eps: expected more than 0"):
        dbscan(torch.zeros(3, 2), 0.0)
    with pytest.raises(ValueError, match="features: expected"):
        dbscan(torch.zeros(0, 2))
    with pytest.raises(ValueError, match="features: expected"):
        kmeans(torch.full((3, 2), torch.nan), 2)
    for find in (kmeans, gaussian):
        with pytest.raises(ValueError, match="clusters: expected 1 or more"):
            find(torch.zeros(3, 2), 0)
