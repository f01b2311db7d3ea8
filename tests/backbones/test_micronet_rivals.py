"""The networks of one frame: equal multiply-adds, one difference at a time, and each part as its definition says."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from visionlab.backbones.micronet import MicroNet, multiply_adds_of_shift_max
from visionlab.backbones.micronet_factorized import GroupedPointwise, MicroDepthwise
from visionlab.backbones.micronet_inference import inference_form
from visionlab.backbones.micronet_rivals import (
    RIVALS,
    Design,
    PlainDepthwise,
    SqueezeExcite,
    StaticCoefficients,
    micronet_nano,
)
from visionlab.backbones.micronet_shiftmax import DynamicShiftMax
from visionlab.measure.cost import multiply_adds, parameters

EQUAL = (
    "MobileNet", "MobileNetV3", "+ factorized pointwise", "+ factorized depthwise", "+ lite combination",
    "+ static Shift-Max", "MicroNet",
)  # fmt: skip


def cost(network: nn.Module) -> int:
    image = torch.zeros(1, 3, 64, 64)
    return multiply_adds(network, image) + multiply_adds_of_shift_max(network, image)


def kinds(network: nn.Module) -> set[type[nn.Module]]:
    return {type(module) for module in network.modules()}


def test_rivals_cost_the_same_within_five_percent() -> None:
    budget = cost(RIVALS["MicroNet"].build(10))
    assert budget == 391_920
    for name in EQUAL:
        assert cost(RIVALS[name].build(10)) == pytest.approx(budget, rel=0.05), name
    assert cost(RIVALS["wide MobileNet"].build(10)) == pytest.approx(cost(RIVALS["wide MicroNet"].build(10)), rel=0.05)
    assert cost(RIVALS["narrow MicroNet"].build(10)) < 0.65 * budget
    for name in ("MicroNet, ReLU6", "MicroNet, squeeze-excite", "MicroNet, Dynamic ReLU"):
        assert cost(RIVALS[name].build(10)) < budget


@pytest.mark.parametrize("name", RIVALS)
def test_every_network_learns_from_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    network = RIVALS[name].build(7)
    images = torch.randn(8, 3, 64, 64)
    logits = network(images)
    assert logits.shape == (8, 7)
    F.cross_entropy(logits, torch.arange(8) % 7).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, key
    assert network.eval()(images[:1]).shape == (1, 7)


def test_each_step_changes_one_thing() -> None:
    parts = {name: kinds(RIVALS[name].build(10)) for name in RIVALS}
    groups = {
        name: max(m.conv.groups for m in RIVALS[name].build(10).modules() if isinstance(m, GroupedPointwise))
        for name in RIVALS
    }
    for name in RIVALS:
        plain = name in ("MobileNet", "MobileNetV3", "wide MobileNet")
        assert (groups[name] == 1) == plain
        assert (PlainDepthwise in parts[name]) == (plain or name == "+ factorized pointwise")
        assert (MicroDepthwise in parts[name]) != (PlainDepthwise in parts[name])
        assert (SqueezeExcite in parts[name]) == (name in ("MobileNetV3", "MicroNet, squeeze-excite"))
        assert (StaticCoefficients in parts[name]) == (name == "+ static Shift-Max")
    lite = {name: design.lite for name, design in RIVALS.items()}
    assert {name for name, blocks in lite.items() if blocks == 0} == {
        "MobileNet", "MobileNetV3", "wide MobileNet", "+ factorized pointwise", "+ factorized depthwise",
    }  # fmt: skip


def test_activations_differ_in_nothing_else() -> None:
    whole = RIVALS["MicroNet"]
    for name, activation in (
        ("MicroNet, ReLU6", "ReLU6"), ("MicroNet, squeeze-excite", "squeeze-excite"),
        ("MicroNet, Dynamic ReLU", "Dynamic ReLU"),
    ):  # fmt: skip
        assert RIVALS[name] == dataclasses.replace(whole, activation=activation)
    relu, dynamic = RIVALS["MicroNet, ReLU6"].build(10), RIVALS["MicroNet, Dynamic ReLU"].build(10)
    assert not any(isinstance(module, DynamicShiftMax) for module in relu.modules())
    assert {m.shifts for m in dynamic.modules() if isinstance(m, DynamicShiftMax)} == {1}


def test_a_plain_depthwise_convolution_can_be_what_the_pair_is() -> None:
    torch.manual_seed(0)
    pair = MicroDepthwise(6, kernel=5, stride=2).double()
    plain = PlainDepthwise(pair).double()
    with torch.no_grad():
        plain.conv.weight.copy_(pair.column.weight * pair.row.weight)
    x = torch.randn(2, 6, 9, 12, dtype=torch.float64)
    # Without what the norm between them adds, which is zero before training, in evaluation mode both are one.
    expected, found = pair.eval()(x), plain.eval()(x)
    assert found.shape == (2, 6, 5, 6)
    assert torch.allclose(found, expected, rtol=1e-4)  # the norm between divides by sqrt(1 + 1e-5)


def test_squeeze_and_excite_multiplies_by_a_gate_of_the_mean() -> None:
    torch.manual_seed(0)
    layer = SqueezeExcite(6, hidden=4, act=nn.ReLU6()).double()
    nn.init.normal_(layer.fc1.weight)
    nn.init.normal_(layer.fc2.weight)
    x = 3 * torch.randn(2, 6, 3, 5, dtype=torch.float64)
    bent = x.clamp(0, 6)
    for i in range(2):
        mean = bent[i].mean((1, 2))
        gate = ((layer.fc2(layer.fc1(mean).clamp(min=0)) + 3) / 6).clamp(0, 1)
        assert torch.allclose(layer(x)[i], bent[i] * gate[:, None, None])


def test_static_coefficients_are_the_same_for_every_image_and_begin_apart() -> None:
    torch.manual_seed(0)
    network = RIVALS["+ static Shift-Max"].build(10)
    layer = next(m for m in network.modules() if isinstance(m, DynamicShiftMax))
    a = layer.coefficients(torch.randn(3, 16, 8, 8))
    assert a.shape == (3, 2, 2, 16)
    assert torch.equal(a[0], a[2])
    assert not torch.equal(a[0, 0], a[0, 1])
    assert (a - layer.coefficients.offsets).abs().max() <= 2
    assert "stages.0.blocks.0.act1.coefficients.raw" in network.state_dict()


def test_the_nano_is_a_micronet_with_a_fast_form() -> None:
    torch.manual_seed(0)
    network = micronet_nano(5).eval().double()
    assert isinstance(network, MicroNet)
    assert parameters(micronet_nano()) == 59_708
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(inference_form(network)(x), network(x), atol=1e-9)


def test_widths_that_cannot_be_grouped_are_refused() -> None:
    with pytest.raises(ValueError, match="groups"):
        Design(widths=(8, 12, 16, 31, 32)).build(10)
