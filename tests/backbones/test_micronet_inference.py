"""The fast form of MicroNet: the same numbers without shuffles, batch norms or pairs, exportable, and faster."""

from __future__ import annotations

from itertools import pairwise

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backbones.test_micronet import TOY, toy
from tests.filling import difference
from visionlab.backbones.micronet import CONFIGURATIONS
from visionlab.backbones.micronet_inference import (
    Gather,
    InPlaceShiftMax,
    MergedConvolution,
    inference_form,
)
from visionlab.backbones.micronet_rivals import RIVALS


@pytest.mark.parametrize("size", CONFIGURATIONS)
def test_the_shift_behind_every_depthwise_factor_is_a_roll(size: str) -> None:
    network = timm.create_model(f"micronet_{size}")
    behind = [
        next_layer.shift
        for block in inference_form(network).blocks
        for layer, next_layer in pairwise(block.layers)
        if isinstance(layer, MergedConvolution) and isinstance(next_layer, InPlaceShiftMax)
    ]
    # The last block has no depthwise factor, the first of M0 to M2 no shift behind it.
    assert len(behind) == len(CONFIGURATIONS[size]["rows"]) - (1 if size == "m3" else 2)
    assert all(len(shift.pieces) <= 3 for shift in behind)


@settings(deadline=None)
@given(st.permutations(range(7)), st.integers(0, 7))
def test_a_gather_puts_channels_in_order_in_pieces_or_by_index(index: list[int], moved: int) -> None:
    x = torch.randn(2, 3, 1, 7)
    for order in (index, [*range(moved, 7), *range(moved)]):
        assert torch.equal(Gather(torch.tensor(order))(x), x[..., order])


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
def test_every_option_of_the_network_has_a_fast_form(changes: dict) -> None:
    network = toy(**changes).double()
    x = torch.randn(2, 3, 31, 32, dtype=torch.double)
    with torch.no_grad():
        assert difference(network(x), inference_form(network)(x)) < 1e-12


def test_a_network_that_does_not_pool_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a whole network with global_pool 'avg', got ''"):
        inference_form(toy(global_pool=""))


def test_a_pruned_network_and_other_layers_are_refused() -> None:
    pruned = toy()
    pruned.prune_intermediate_layers([0])
    pruned.reset_classifier(5, "avg")
    with pytest.raises(ValueError, match="expected a whole network with global_pool 'avg', got 'avg' and a neck of"):
        inference_form(pruned)
    for name in ("MobileNet", "MobileNetV3", "+ factorized pointwise"):
        with pytest.raises(ValueError, match="expected the layers of a MicroNet, got a "):
            inference_form(RIVALS[name].build(10))
