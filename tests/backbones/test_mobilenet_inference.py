"""The rivals' fast form: MobileNets of timm with their norms in the weights, which compute the same."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from tests.filling import difference, filled
from visionlab.backbones.mobilenet_inference import inference_form

NAMES = (
    "mobilenetv3_small_050",
    "mobilenetv3_large_100",
    "mobilenetv2_050",
    "lcnet_050",
    "tinynet_e",
    "mobilenetv4_conv_small_050",
)


@pytest.mark.parametrize("name", NAMES)
def test_it_computes_the_same_without_a_norm(name: str) -> None:
    network = filled(timm.create_model(name).double().eval())
    fast = inference_form(network)
    assert not [module for module in fast.modules() if isinstance(module, nn.BatchNorm2d)]
    x = torch.randn(2, 3, 64, 96, dtype=torch.double)
    with torch.no_grad():
        expected = network(x)
        assert expected.std() > 0.01
        assert difference(expected, fast(x)) < 1e-12
        assert difference(expected, fast.float()(x.float())) < 1e-4


def test_maps_stay_pixel_by_pixel() -> None:
    fast = inference_form(timm.create_model("mobilenetv3_small_050"))
    with torch.no_grad():
        maps = fast.forward_features(torch.randn(2, 3, 64, 64))
    assert maps.is_contiguous(memory_format=torch.channels_last)


def test_the_plain_network_stays_as_it_is() -> None:
    network = timm.create_model("mobilenetv3_small_050").train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fast = inference_form(network)
    assert network.training and not fast.training
    assert all(p.requires_grad for p in network.parameters())
    assert not any(p.requires_grad for p in fast.parameters())
    for tensor in (*fast.parameters(), *fast.buffers()):
        tensor.data.zero_()
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
