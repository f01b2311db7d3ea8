"""The fast form of Mobile-Former: the same numbers without norms, shuffles or copies, exportable, and faster."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from tests.backbones.test_mobile_former import NANO, nano
from tests.filling import entry
from visionlab.backbones.mobile_former import CONFIGURATIONS, MobileFormer
from visionlab.backbones.mobile_former_cuts import cut
from visionlab.backbones.mobile_former_inference import inference_form


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def network(request: pytest.FixtureRequest) -> MobileFormer:
    """A network with weights and statistics of the goldens' rule, unlike fresh ones."""
    network = timm.create_model(f"mobile_former_{request.param}").double().eval()
    network.load_state_dict({name: entry(name, tuple(old.shape)) for name, old in network.state_dict().items()})
    return network


def difference(a: Tensor, b: Tensor) -> float:
    return ((a - b).abs().max() / a.abs().max()).item()


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


def test_the_fast_form_computes_the_same(network: MobileFormer) -> None:
    x = torch.randn(2, 3, 96, 65, dtype=torch.double)
    with torch.no_grad():
        expected = network(x)
        assert expected.std() > 0.01
        assert difference(expected, inference_form(network)(x)) < 1e-12


def test_single_precision_and_other_sizes_agree(network: MobileFormer) -> None:
    fast = inference_form(network).float()
    with torch.no_grad():
        for size in ((224, 224), (1, 3), (33, 70)):
            x = torch.randn(1, 3, *size)
            assert difference(network(x.double()), fast(x)) < 1e-4


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


def test_no_norm_of_batches_and_no_small_convolution_remains(network: MobileFormer) -> None:
    layers = list(inference_form(network).modules())
    assert not [layer for layer in layers if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert all(layer.kernel_size == (3, 3) for layer in layers if isinstance(layer, nn.Conv2d))


def test_the_images_and_the_plain_network_stay_as_they_are() -> None:
    network = shaken().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fast = inference_form(network)
    x = torch.randn(2, 3, 32, 32, dtype=torch.double)
    images = x.clone()
    with torch.no_grad():
        fast(images)
    assert torch.equal(images, x)
    assert network.training
    assert not fast.training
    assert not any(p.requires_grad for p in fast.parameters())
    for tensor in (*fast.parameters(), *fast.buffers()):
        tensor.data.zero_()
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nano(global_pool=""), "expected a whole network with global_pool 'avg', got '' and a Head"),
        (nano(slopes="spatial"), "slopes='spatial' has no fast form"),
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
