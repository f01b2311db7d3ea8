"""Exact neighbours: against a loop over all pairs, with copies and ties, in all types, by pairs and by tree."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from visionlab.points import neighbours
from visionlab.points.neighbours import nearest

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def by_loop(points: Tensor, k: int, queries: Tensor | None = None) -> Tensor:
    """Sort all points by (distance, index), itself first, one query after the other."""
    asked = points if queries is None else queries
    rows = []
    for i, query in enumerate(asked.double()):
        squared = (points.double() - query).square().sum(1).float()
        if queries is None:
            squared[i] = -1
        rows.append(squared.sort(stable=True).indices[:k])
    return torch.stack(rows)


@pytest.fixture(params=["pairs", "tree"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "TREE_FROM", 1 if request.param == "tree" else 10**9)


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("channels", [1, 2, 3, 9])
@pytest.mark.parametrize("k", [1, 7, 40])
def test_neighbours_are_those_of_a_loop_over_all_points(channels: int, k: int, rng: torch.Generator) -> None:
    x = torch.rand(2, 40, channels, generator=rng)
    queries = torch.rand(2, 11, channels, generator=rng)
    for b, found in enumerate(nearest(x, k)):
        assert torch.equal(found, by_loop(x[b], k))
    for b, found in enumerate(nearest(x, k, queries=queries)):
        assert torch.equal(found, by_loop(x[b], k, queries[b]))


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("k", [1, 5, 9, 49])
def test_ties_on_a_grid_go_to_the_smaller_index(k: int) -> None:
    side = torch.arange(7.0)
    x = torch.cartesian_prod(side, side)
    assert torch.equal(nearest(x[None], k)[0], by_loop(x, k))


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("k", [1, 4, 6, 20])
def test_copies_are_points_of_their_own_and_each_point_is_its_own_first(k: int, rng: torch.Generator) -> None:
    x = torch.randn(5, 3, generator=rng)[torch.randint(5, (30,), generator=rng)]
    found = nearest(x[None], k)[0]
    assert torch.equal(found[:, 0], torch.arange(30))
    assert torch.equal(found, by_loop(x, k))
    same = torch.full((1, 9, 3), 0.3)
    assert nearest(same, 3)[0].tolist() == [[0, 1, 2], [1, 0, 2], *[[i, 0, 1] for i in range(2, 9)]]


def test_many_points_in_many_chunks_and_far_from_the_origin(
    monkeypatch: pytest.MonkeyPatch, rng: torch.Generator
) -> None:
    x = torch.rand(1, 3000, 3, generator=rng) + 100
    tree = nearest(x, 8)
    monkeypatch.setattr(neighbours, "TREE_FROM", 10**9)
    monkeypatch.setattr(neighbours, "PAIRS_CPU", 3000 * 7)
    assert torch.equal(nearest(x, 8), tree)
    monkeypatch.setattr(neighbours, "PAIRS_CPU", 1)
    some = x[:, :20]
    assert torch.equal(nearest(x, 8, queries=some)[..., 1:], tree[:, :20, 1:])


@pytest.mark.parametrize("budget", [1, 13 * 37, 37 * 37, 2 * 37 * 37 + 1, 10**6])
@pytest.mark.parametrize("channels", [3, 32])
def test_how_many_pairs_are_held_at_once_does_not_matter(
    budget: int, channels: int, monkeypatch: pytest.MonkeyPatch, rng: torch.Generator
) -> None:
    monkeypatch.setattr(neighbours, "PAIRS_CPU", budget)
    x = torch.randn(5, 37, channels, generator=rng).relu().round(decimals=1)
    queries = torch.randn(5, 11, channels, generator=rng).round(decimals=1)
    assert torch.equal(nearest(x, 8), torch.stack([by_loop(cloud, 8) for cloud in x]))
    some = torch.stack([by_loop(cloud, 8, asked) for cloud, asked in zip(x, queries, strict=True)])
    assert torch.equal(nearest(x, 8, queries=queries), some)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_floating_type_is_exact_for_its_own_numbers(dtype: torch.dtype, rng: torch.Generator) -> None:
    x = (torch.randn(1, 50, 6, generator=rng) * 10).to(dtype)
    assert torch.equal(nearest(x, 9)[0], by_loop(x[0], 9))


def test_layout_and_gradients_do_not_matter(rng: torch.Generator) -> None:
    x = torch.randn(2, 30, 5, generator=rng)
    found = nearest(x, 4)
    assert found.dtype == torch.int64
    assert torch.equal(nearest(x.mT.contiguous().mT.requires_grad_(), 4), found)
    assert torch.equal(nearest(torch.cat([x, x], 2)[:, ::1, 5:], 4), found)
    assert not nearest(x.requires_grad_(), 4).requires_grad


@pytest.mark.usefixtures("_way")
def test_order_of_points_and_of_clouds_does_not_matter(rng: torch.Generator) -> None:
    x = torch.randn(3, 60, 3, generator=rng)
    order = torch.randperm(60, generator=rng)
    found = nearest(x, 6)
    assert torch.equal(order[nearest(x[:, order], 6)], found[:, order])
    assert torch.equal(nearest(x[[2, 0, 1]], 6), found[[2, 0, 1]])


@pytest.mark.usefixtures("as_users_run_it")
def test_bad_input_is_refused() -> None:
    x = torch.rand(2, 5, 3)
    broken = x.clone()
    broken[1, 2, 0] = torch.nan
    for words, features, k, queries in (
        ("k: expected 1 to 5, the points of a cloud, got 6", x, 6, None),
        ("k: expected 1 to 5, the points of a cloud, got 0", x, 0, None),
        (r"features: expected \(B, N, C\), got \(5, 3\)", x[0], 2, None),
        (r"features: expected numbers, got shape \(0, 5, 3\)", x[:0], 2, None),
        ("features: expected finite numbers", broken, 2, None),
        ("queries: expected finite numbers", x, 2, broken),
        (r"queries: expected \(2, M, 3\) as the features, got \(2, 5, 2\)", x, 2, x[..., :2]),
        (r"queries: expected \(2, M, 3\) as the features, got \(2, 0, 3\)", x, 2, x[:, :0]),
    ):
        with pytest.raises(ValueError, match=words):
            nearest(features, k, queries=queries)


@CUDA
def test_a_gpu_finds_the_same(rng: torch.Generator) -> None:
    for shape in ((2, 3000, 3), (1, 500, 64)):
        x = torch.randn(shape, generator=rng)
        assert torch.equal(nearest(x.cuda(), 12).cpu(), nearest(x, 12))
