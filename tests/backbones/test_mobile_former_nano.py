"""The small Mobile-Former, and its Mobile alone with the activations of MobileNetV3."""

from __future__ import annotations

import torch
from torch import nn

from visionlab.backbones.micronet_rivals import SqueezeExcite
from visionlab.backbones.mobile_former_mobile import StaticReLU
from visionlab.backbones.mobile_former_nano import excited, nano_network


def test_a_mobile_gets_squeeze_excite_behind_its_depthwise_convolutions_and_h_swish_elsewhere() -> None:
    plain = nano_network(tokens=(0, 32), slopes="static")
    # Three times: down-sampling (two depthwise convolutions with an activation) and regular (one, and a 1x1).
    assert sum(isinstance(layer, StaticReLU) for layer in plain.modules()) == 3 * (2 + 2)
    network = excited(plain).eval()
    assert network is plain
    squeezed = [layer for layer in network.modules() if isinstance(layer, SqueezeExcite)]
    assert not any(isinstance(layer, StaticReLU) for layer in network.modules())
    assert len(squeezed) == 3 * 3
    block = network.stages[1].get_submodule("blocks.1").mobile
    assert [type(block.act1).__name__, type(block.act2).__name__] == ["Hardswish", "Excite"]
    assert block.act2.fc1.in_features == block.conv2.conv.out_channels
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        before = network(x)
        for layer in squeezed:  # a gate of one: what is left is h-swish alone
            nn.init.zeros_(layer.fc2.weight)
            nn.init.constant_(layer.fc2.bias, 3.0)
        after = network(x)
        assert not torch.allclose(before, after)


def test_a_network_with_tokens_keeps_its_slopes() -> None:
    network = nano_network()
    kinds = [type(layer) for layer in network.modules()]
    assert [type(layer) for layer in excited(network).modules()] == kinds
