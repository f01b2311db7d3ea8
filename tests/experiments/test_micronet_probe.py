"""What a probe of Dynamic Shift-Max reports is what the network computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from visionlab.backbones.micronet import MicroNet
from visionlab.backbones.micronet_rivals import RIVALS, micronet_nano
from visionlab.backbones.micronet_shiftmax import DynamicShiftMax
from visionlab.experiments.micronet_probe import separable_share, shift_max_views


@pytest.fixture(scope="module")
def lively() -> MicroNet:
    """A network whose coefficients do depend on the image."""
    torch.manual_seed(0)
    network = micronet_nano()
    for layer in network.modules():
        if isinstance(layer, DynamicShiftMax):
            nn.init.normal_(layer.coefficients.fc1.weight, std=3.0)
            nn.init.normal_(layer.coefficients.fc2.weight, std=3.0)
    return network


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_coefficients_and_neighbours_give_back_the_output(lively: MicroNet, images: Tensor) -> None:
    views = shift_max_views(lively, images)
    layers = [layer for layer in lively.modules() if isinstance(layer, DynamicShiftMax)]
    assert len(views) == len(layers) == 14
    caught: list[tuple[Tensor, Tensor]] = []
    handles = [layer.register_forward_hook(lambda _, given, out: caught.append((given[0], out))) for layer in layers]
    with torch.no_grad():
        lively.eval()(images)
    for handle in handles:
        handle.remove()
    for view, (x, y) in zip(views, caught, strict=True):
        a, neighbour = torch.from_numpy(view.coefficients)[..., None, None], x[:, view.neighbours]
        branches = [a[:, k, 0] * x + a[:, k, 1] * neighbour for k in range(a.shape[1])]
        assert torch.allclose(torch.stack(branches).amax(0), y, atol=1e-4 * y.abs().max().item())
        if len(branches) == 2:
            expected = (branches[1] > branches[0]).double().mean((2, 3))
            assert np.allclose(view.second, expected, atol=0.02)
            assert 0 < view.second.mean() < 1
        else:
            assert not view.second.any()
        assert view.moves == pytest.approx(view.coefficients.std(axis=0).mean())
        assert view.moves > 0
        assert np.abs(view.coefficients - view.offsets[..., None]).max() <= 2 + 1e-6


def test_layers_are_named_in_order_and_in_words(lively: MicroNet, images: Tensor) -> None:
    views = shift_max_views(lively, images)
    assert [view.name for view in views[:4]] == [
        "block 1, behind the depthwise", "block 1, behind the squeeze",
        "block 2, behind the depthwise", "block 2, behind the squeeze",
    ]  # fmt: skip
    assert [view.name for view in views[4:7]] == [
        f"block 3, behind the {w}" for w in ("expansion", "depthwise", "squeeze")
    ]
    assert views[-1].name == "block 6, behind the expansion"
    assert views[0].text.startswith("block 1, behind the depthwise: 16 channels, two branches; coefficients move by ")
    assert views[-1].text.startswith("block 6, behind the expansion: 96 channels, linear; coefficients move by ")


def test_one_image_alone_moves_nothing_and_the_mode_stays(lively: MicroNet, images: Tensor) -> None:
    lively.train()
    before = {name: value.clone() for name, value in lively.state_dict().items()}
    views = shift_max_views(lively, images[:1])
    assert all(view.moves == 0 for view in views)
    assert lively.training
    assert all(torch.equal(value, before[name]) for name, value in lively.state_dict().items())


@pytest.mark.parametrize("name", ["MicroNet, ReLU6", "+ static Shift-Max", "MobileNet"])
def test_networks_without_it_are_refused(name: str, images: Tensor) -> None:
    with pytest.raises(ValueError, match="model: expected a MicroNet with Dynamic Shift-Max, got one without"):
        shift_max_views(RIVALS[name].build(10), images)


def test_dynamic_relu_has_no_neighbour_to_report_but_two_branches(images: Tensor) -> None:
    views = shift_max_views(RIVALS["MicroNet, Dynamic ReLU"].build(10), images)
    assert views[0].coefficients.shape == (3, 2, 1, 16)


def test_a_column_times_a_row_is_separable_and_a_diagonal_is_not() -> None:
    network = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 8, 3), nn.Conv2d(4, 4, (3, 1), groups=4))
    with torch.no_grad():
        network[0].weight[0, 0] = torch.outer(torch.tensor([1.0, 2, 1]), torch.tensor([-1.0, 0, 1]))
        network[0].weight[1, 0] = torch.eye(3)
        network[0].weight[2, 0] = torch.diag(torch.tensor([3.0, 1.0, 0.0]))
        network[0].weight[3, 0] = torch.ones(3, 3)
    found = separable_share(network)
    assert list(found) == ["0"]
    assert found["0"] == pytest.approx([100, 100 / 3, 90, 100])


def test_pairs_of_column_and_row_have_nothing_to_separate() -> None:
    with pytest.raises(ValueError, match="expected a network with k x k depthwise convolutions"):
        separable_share(micronet_nano())
    assert len(separable_share(RIVALS["MobileNet"].build(10))) == 5
