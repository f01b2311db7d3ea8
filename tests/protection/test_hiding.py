from __future__ import annotations

import pytest
import torch
from torch import nn

from visionlab.measure.cost import multiply_adds, parameters
from visionlab.protection.hiding import Hider, Reader
from visionlab.protection.hiding_published import GuidanceExtractor, InjectionUNet, PatchDiscriminator, PlainUNet


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (Hider, 109_452),
        (Reader, 44_204),
        (InjectionUNet, 12_413_315),
        (lambda: InjectionUNet(levels=7), 30_243_203),
        (PlainUNet, 17_269_251),
        (GuidanceExtractor, 2_777_859),
        (PatchDiscriminator, 1_555_585),
    ],
)
def test_parameters_are_counted_as_published(network: type[nn.Module], expected: int) -> None:
    assert parameters(network()) == expected


@pytest.mark.parametrize(("network", "giga"), [(InjectionUNet, 0.247), (PlainUNet, 0.627)])
def test_multiply_adds_are_as_published(network: type[nn.Module], giga: float) -> None:
    images = torch.rand(1, 3, 32, 32)
    assert multiply_adds(network().eval(), images, images) / 1e9 == pytest.approx(giga, abs=0.001)
    assert multiply_adds(GuidanceExtractor(), images) / 1e9 == pytest.approx(0.94, abs=0.01)


def test_names_are_the_published_ones() -> None:
    names = set(InjectionUNet().state_dict())
    assert {"model.model.1.weight", "model.model.2.model.2.weight", "model.model.4.bias"} <= names
    inner = "model.model.2.model.4.model.4.model.4.model"
    assert {f"{inner}.2.weight", f"{inner}.4.weight", f"{inner}.6.running_mean"} <= names
    names = set(GuidanceExtractor().state_dict())
    assert {"conv3.weight", "res7.conv2.weight", "deconv3.bias", "deconv2.bias", "norm5.weight"} <= names
    assert "conv1.bias" not in names
    names = set(PlainUNet().state_dict())
    assert {"inc.double_conv.0.weight", "down4.maxpool_conv.1.double_conv.4.bias", "outc.conv.weight"} <= names


@pytest.mark.parametrize("size", [(8, 8), (9, 14), (31, 33), (64, 48)])
def test_small_networks_take_any_size(size: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *size)
    assert Hider()(images, images).shape == images.shape
    assert Reader()(images).shape == images.shape


def test_untrained_networks_hide_little_and_find_nothing() -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 3, 32, 32)
    assert Hider()(images, images).abs().mean() < 0.1
    assert (Reader()(images).mean() - 1).abs() < 0.3


def test_the_skip_carries_what_the_activation_gave() -> None:
    """As an in-place activation has it: below the first level no negative value comes through unscaled."""
    torch.manual_seed(0)
    level = InjectionUNet(base=8).model.model[2]
    x = torch.randn(1, 8, 32, 32)
    out = level.eval()(x)
    torch.testing.assert_close(out[:, :8], torch.where(x > 0, x, 0.2 * x))


@pytest.mark.usefixtures("as_users_run_it")
def test_sizes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="sides of 8 pixels or more, got 7 x 40"):
        Reader()(torch.rand(1, 3, 7, 40))
    images = torch.rand(1, 3, 40, 32)
    with pytest.raises(ValueError, match="multiples of 16, got 40 x 32"):
        InjectionUNet()(images, images)
    with pytest.raises(ValueError, match="levels: expected 5 or more, got 4"):
        InjectionUNet(levels=4)
