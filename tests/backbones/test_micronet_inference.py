"""The fast form of MicroNet: the same numbers without shuffles, batch norms or pairs, exportable, and faster."""

from __future__ import annotations

from itertools import pairwise

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.backbones.test_micronet import TOY, toy
from tests.filling import entry
from visionlab.backbones import micronet_inference
from visionlab.backbones.micronet import CONFIGURATIONS, MicroNet
from visionlab.backbones.micronet_factorized import ChannelShuffle
from visionlab.backbones.micronet_inference import (
    PIECES,
    Gather,
    GroupedLinear,
    InPlaceShiftMax,
    MergedConvolution,
    inference_form,
)


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def network(request: pytest.FixtureRequest) -> MicroNet:
    """A network with weights and statistics of the goldens' rule, unlike fresh ones."""
    network = timm.create_model(f"micronet_{request.param}").double().eval()
    network.load_state_dict({name: entry(name, tuple(old.shape)) for name, old in network.state_dict().items()})
    return network


def difference(a: Tensor, b: Tensor) -> float:
    return ((a - b).abs().max() / a.abs().max()).item()


@pytest.mark.parametrize("dense", [0, 4096, 10**9])
def test_the_fast_form_computes_the_same(network: MicroNet, dense: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(micronet_inference, "DENSE", dense)
    x = torch.randn(2, 3, 96, 65, dtype=torch.double)
    with torch.no_grad():
        expected = network(x)
        assert expected.std() > 0.01
        assert difference(expected, inference_form(network)(x)) < 1e-12


def test_single_precision_and_other_sizes_agree(network: MicroNet) -> None:
    fast = inference_form(network).float()
    with torch.no_grad():
        for size in ((224, 224), (1, 3), (33, 70)):
            x = torch.randn(1, 3, *size)
            assert difference(network(x.double()), fast(x)) < 1e-4


def test_no_shuffle_and_no_norm_remains(network: MicroNet) -> None:
    layers = list(inference_form(network).modules())
    assert not [layer for layer in layers if isinstance(layer, (ChannelShuffle, nn.BatchNorm1d, nn.BatchNorm2d))]


def test_the_shift_behind_every_depthwise_factor_is_a_roll(network: MicroNet) -> None:
    for block in inference_form(network).blocks:
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


def test_the_plain_network_stays_as_it_is_and_shares_nothing() -> None:
    network = toy().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fast = inference_form(network)
    assert network.training
    assert not fast.training
    assert not any(p.requires_grad for p in fast.parameters())
    for tensor in (*fast.parameters(), *fast.buffers()):
        tensor.data.zero_()
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(p.requires_grad for p in network.parameters())


def test_a_network_that_does_not_pool_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a network with global_pool 'avg', got ''"):
        inference_form(toy(global_pool=""))
