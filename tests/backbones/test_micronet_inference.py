"""The fast form of MicroNet: the same numbers without shuffles, batch norms or pairs, exportable, and faster."""

from __future__ import annotations

from itertools import pairwise

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.backbones.test_micronet import TOY, toy
from tests.filling import difference
from visionlab.backbones import micronet_inference
from visionlab.backbones.micronet import CONFIGURATIONS
from visionlab.backbones.micronet_inference import (
    PIECES,
    Gather,
    GroupedLinear,
    InPlaceShiftMax,
    MergedConvolution,
    inference_form,
)


@pytest.mark.parametrize("size", CONFIGURATIONS)
def test_the_shift_behind_every_depthwise_factor_is_a_roll(size: str) -> None:
    for block in inference_form(timm.create_model(f"micronet_{size}")).blocks:
        (behind,) = [
            next_layer
            for layer, next_layer in pairwise(block.layers)
            if isinstance(layer, MergedConvolution) and isinstance(next_layer, InPlaceShiftMax)
        ] or [None]
        if behind is not None and behind.shift is not None:
            assert len(behind.shift.pieces) <= PIECES


@settings(deadline=None)
@given(st.permutations(range(7)), st.integers(0, 7))
def test_a_gather_puts_channels_in_order_in_pieces_or_by_index(index: list[int], moved: int) -> None:
    x = torch.randn(2, 3, 1, 7)
    for order in (index, [*range(moved, 7), *range(moved)]):
        assert torch.equal(Gather(torch.tensor(order))(x), x[..., order])


def test_products_by_group_are_the_grouped_convolution() -> None:
    conv = nn.Conv2d(12, 20, 1, groups=4)
    x = torch.randn(3, 12, 5, 6)
    fast = GroupedLinear(conv.weight[:, :, 0, 0], conv.bias, 4)
    with torch.no_grad():
        assert torch.allclose(fast(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), conv(x), atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"normed_logits": False},
        {"num_classes": 0},
        {"offsets": ((1.0,), (0.0,))},
        {"offsets": ((1.0, 0.0), (0.5, 0.5))},
        {"rows": [row._replace(activations=(0, 0, 0)) for row in TOY["rows"]]},
        {"rows": [row._replace(activations=(0, 1, 1)) for row in TOY["rows"]]},
        {"rows": [row._replace(expansion=(1, 4)) for row in TOY["rows"]]},
    ],
)
@pytest.mark.parametrize("dense", [0, 10**9])
def test_every_option_of_the_network_has_a_fast_form(
    changes: dict, dense: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(micronet_inference, "DENSE", dense)
    network = toy(**changes).double()
    x = torch.randn(2, 3, 31, 32, dtype=torch.double)
    with torch.no_grad():
        assert difference(network(x), inference_form(network)(x)) < 1e-12


def test_a_network_that_does_not_pool_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a network with global_pool 'avg', got ''"):
        inference_form(toy(global_pool=""))
