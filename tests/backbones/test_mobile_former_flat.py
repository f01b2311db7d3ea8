"""The flat network: it answers at each place, and what is far away comes through the tokens or not at all."""

from __future__ import annotations

import pytest
import torch

from visionlab.backbones.mobile_former import MobileFormer
from visionlab.backbones.mobile_former_flat import flat_network


def reached(network: MobileFormer) -> torch.Tensor:
    """Which pixels of a 64x64 image the answer in the middle depends on."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
    image = torch.randn(1, 3, 64, 64, requires_grad=True)
    answer = network.eval()(image)
    assert answer.shape == (1, 32, 32, 2)
    answer[0, 16, 16].sum().backward()
    assert image.grad is not None
    return image.grad[0].abs().sum(0) > 0


@pytest.mark.parametrize("depth", [1, 4])
def test_convolutions_reach_no_further_than_their_kernels(depth: int) -> None:
    seen = reached(flat_network(depth=depth, tokens=(0, 32), slopes="static"))
    # The stem sees 3 pixels, and each block 2 more on either side, on a map of half the sides.
    rows, columns = seen.any(1).nonzero().flatten(), seen.any(0).nonzero().flatten()
    assert len(rows) == len(columns) == rows[-1] - rows[0] + 1 == 3 + 4 * depth


def test_tokens_bring_everything_to_every_place() -> None:
    assert reached(flat_network(slopes="static")).all()
    assert reached(flat_network(removed=("*.to_mobile",))).all(), "slopes carry it as well"


def test_squeeze_and_excite_brings_everything_to_every_place_without_a_token() -> None:
    assert reached(flat_network(tokens=(0, 32), slopes="static", excite=True)).all()
    with pytest.raises(ValueError, match="excite: expected slopes='static', whose place it takes, got slopes='token'"):
        flat_network(excite=True)


@pytest.mark.parametrize(
    ("removed", "slopes"), [("*to_former", "token"), ("*.to_mobile", "static")], ids=["not read", "not written"]
)
def test_one_direction_alone_brings_nothing(removed: str, slopes: str) -> None:
    seen = reached(flat_network(slopes=slopes, removed=(removed,)))
    assert seen.sum() <= 19 * 19


def test_what_is_not_there_cannot_be_removed() -> None:
    with pytest.raises(ValueError, match=r"patterns: '\*.to_mobile' matches no bridge or Former"):
        flat_network(tokens=(0, 32), slopes="static", removed=("*.to_mobile",))
    with pytest.raises(ValueError, match="2 heads do not split 17 channels"):
        flat_network(channels=17)
