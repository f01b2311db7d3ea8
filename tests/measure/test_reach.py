"""Reach, against products of adjacency matrices."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from visionlab.backbones.cswin_variants import may_attend, stripe_regions, window_regions
from visionlab.measure.reach import reach, reach_of_token


def blocks() -> list[list[Tensor]]:
    vertical, horizontal = (stripe_regions(5, 8, orientation=o, stripe_width=2) for o in ("vertical", "horizontal"))
    return [[window_regions(5, 8, window=3)], [window_regions(5, 8, window=3, shift=1)], [vertical, horizontal]]


def test_it_equals_the_product_of_adjacency_matrices() -> None:
    products = [torch.eye(40)]
    for block in blocks():
        adjacent = torch.stack([may_attend(region) for region in block]).any(dim=0).float()
        products.append(((adjacent @ products[-1]) > 0).float())
    assert reach(blocks()) == pytest.approx([product.mean().item() for product in products[1:]])
    for row, column in ((0, 0), (4, 7), (2, 3)):
        for seen, product in zip(reach_of_token(blocks(), row, column), products[1:], strict=True):
            assert torch.equal(seen.flatten(), product[row * 8 + column] > 0)


def stripes(side: int, width: int) -> tuple[Tensor, Tensor]:
    vertical, horizontal = (
        stripe_regions(side, side, orientation=o, stripe_width=width) for o in ("vertical", "horizontal")
    )
    return vertical, horizontal


def swin(side: int) -> list[list[Tensor]]:
    return [[window_regions(side, side, window=7, shift=shift)] for shift in (0, 3)]


@pytest.mark.parametrize(
    ("side", "sequence", "fractions"),
    [
        (28, [stripes(28, 2)] * 2, [0.1378, 1]),
        (28, [stripes(28, 2)[1:], stripes(28, 2)[:1]], [0.0714, 1]),
        (28, swin(28) * 3, [0.0625, 0.1914, 0.3906, 0.5625, 0.7656, 0.8789]),
        (14, [stripes(14, 7)] * 2, [0.75, 1]),
        (14, [stripes(14, 7)[1:], stripes(14, 7)[:1]], [0.5, 1]),
        (14, swin(14) * 2, [0.25, 0.5625, 1, 1]),
    ],
    ids=["cswin-28", "axial-28", "swin-28", "cswin-14", "axial-14", "swin-14"],
)
def test_the_published_mechanisms_reach_what_dense_products_reach(
    side: int, sequence: list[Sequence[Tensor]], fractions: list[float]
) -> None:
    product, expected = torch.eye(side * side), []
    for block in sequence:
        adjacent = torch.stack([may_attend(region) for region in block]).any(dim=0).float()
        product = ((adjacent @ product) > 0).float()
        expected.append(product.mean().item())
    assert reach(sequence) == pytest.approx(expected)
    assert [round(value, 4) for value in expected] == fractions


def test_one_region_is_full_attention_and_own_regions_are_none() -> None:
    assert reach([[torch.zeros(3, 4, dtype=torch.long)]]) == [1.0]
    assert reach([[torch.arange(12).view(3, 4)]] * 2) == pytest.approx([1 / 12, 1 / 12])


def test_shifted_windows_are_cut_at_the_border() -> None:
    sizes = window_regions(8, 8, window=4, shift=2).flatten().bincount()
    assert sorted(sizes[sizes > 0].tolist()) == [4, 4, 4, 4, 8, 8, 8, 8, 16]


def test_impossible_questions_are_refused() -> None:
    with pytest.raises(ValueError, match="blocks: expected at least one block"):
        reach([])
    with pytest.raises(ValueError, match="blocks: region maps of one size"):
        reach([[torch.zeros(2, 2, dtype=torch.long)], [torch.zeros(3, 2, dtype=torch.long)]])
    with pytest.raises(ValueError, match=r"row, column: expected a token of a 5x8 map, got \(5, 0\)"):
        reach_of_token(blocks(), 5, 0)
