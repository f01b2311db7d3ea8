"""The fast form of Mobile-Former: the same numbers without norms, shuffles or copies, exportable, and faster."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.backbones.test_mobile_former import NANO, nano
from tests.filling import difference
from visionlab.backbones.mobile_former import MobileFormer
from visionlab.backbones.mobile_former_cuts import cut
from visionlab.backbones.mobile_former_inference import inference_form
from visionlab.backbones.mobile_former_nano import excited, nano_network


def shaken(**changes: Any) -> MobileFormer:
    """A small network whose batch norms have statistics of their own."""
    network = nano(**changes).double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return network


@pytest.mark.parametrize(
    "changes",
    [
        {"slopes": "static"},
        {"slopes": "static", "tokens": (0, 16)},
        {"groups": 4},
        {"num_classes": 0},
        {"tokens": (1, 16)},
        {"in_chans": 1},
        {"stages": (*NANO["stages"][:1], NANO["stages"][1][::-1])},
    ],
)
def test_every_option_of_the_network_has_a_fast_form(changes: dict[str, Any]) -> None:
    network = shaken(**changes)
    x = torch.randn(2, changes.get("in_chans", 3), 31, 32, dtype=torch.double)
    with torch.no_grad():
        assert difference(network(x), inference_form(network)(x)) < 1e-12


@pytest.mark.parametrize("wire", ["*to_former", "*.former", "*to_mobile"])
def test_what_was_cut_stays_cut(wire: str) -> None:
    network = shaken()
    x = torch.randn(2, 3, 31, 32, dtype=torch.double)
    with torch.no_grad():
        whole = network(x)
        cut(network, wire)
        assert difference(whole, network(x)) > 1e-6
        assert difference(network(x), inference_form(network)(x)) < 1e-12


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nano(global_pool=""), "expected a whole network with global_pool 'avg', got '' and a Head"),
        (nano(slopes="spatial"), "slopes='spatial' has no fast form"),
        (excited(nano_network(tokens=(0, 32), slopes="static")), "the activations of a Mobile-Former, got Excite"),
    ],
)
def test_a_network_without_fast_form_is_refused(network: MobileFormer, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inference_form(network)


def test_a_pruned_network_is_refused() -> None:
    network = nano()
    network.prune_intermediate_layers([0])
    with pytest.raises(ValueError, match="expected a whole network"):
        inference_form(network)
