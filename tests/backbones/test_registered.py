"""One contract for every network of every paper: timm's."""

from __future__ import annotations

import copy
import importlib
import pkgutil
from typing import Any

import pytest
import timm
import torch
from timm.models import group_parameters
from timm.optim import param_groups_layer_decay
from torch import Tensor, nn

from visionlab import backbones
from visionlab.papers import PAPERS


def registered(module: str) -> list[str]:
    """The networks that a module registers with timm, in the order of the file: the smallest first."""
    names = vars(importlib.import_module(module))
    return [name for name in names if timm.is_model(name) and timm.models.model_entrypoint(name).__module__ == module]


FAMILIES = [
    family
    for module in pkgutil.iter_modules(backbones.__path__, "visionlab.backbones.")
    if (family := registered(module.name))
]
NAMES = [name for family in FAMILIES for name in family]
SMALLEST = [family[0] for family in FAMILIES]


def meta(name: str, **options: Any) -> nn.Module:
    """The real network without its memory: enough for names and shapes."""
    with torch.device("meta"):
        return timm.create_model(name, **options)


def images(network: nn.Module, batch: int = 1) -> Tensor:
    device = next(network.parameters()).device
    return torch.rand(batch, *network.pretrained_cfg["input_size"], device=device)


def last_map(features: Any) -> Tensor:
    """Of a network with two streams, that of pixels."""
    return features if isinstance(features, Tensor) else features.map


@pytest.fixture(scope="module", params=SMALLEST)
def real(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(request.param).eval()


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.key)
def test_the_networks_of_a_paper_are_those_that_its_module_registers(paper: Any) -> None:
    assert list(paper.models) == registered(paper.front)


@pytest.mark.parametrize("name", NAMES)
def test_its_configuration_is_true(name: str) -> None:
    network = meta(name)
    cfg = network.pretrained_cfg
    assert isinstance(network.get_submodule(cfg["classifier"]), nn.Linear)
    assert isinstance(network.get_submodule(cfg["first_conv"]), nn.Conv2d)
    assert network.get_submodule(cfg["classifier"]).out_features == cfg["num_classes"]
    assert tuple(last_map(network.forward_features(images(network))).shape[2:]) == tuple(cfg["pool_size"])
    assert all(cfg[key] for key in ("license", "paper_ids", "paper_name", "origin_url", "mean", "std", "interpolation"))
    assert 0.8 <= cfg["crop_pct"] <= 1


@pytest.mark.parametrize("name", NAMES)
def test_feature_info_tells_the_maps(name: str) -> None:
    network = meta(name, features_only=True)
    x = torch.empty(2, 3, 224, 224, device="meta")
    for y, channels, reduction in zip(
        network(x), network.feature_info.channels(), network.feature_info.reduction(), strict=True
    ):
        assert y.shape == (2, channels, 224 // reduction, 224 // reduction)


@pytest.mark.parametrize("name", NAMES)
def test_layers_are_grouped_from_the_input_to_the_head(name: str) -> None:
    network = meta(name)
    groups = param_groups_layer_decay(network, weight_decay=0.05, layer_decay=0.5)
    scales = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    assert len(scales) == len(list(network.parameters()))
    order = [scales[id(parameter)] for _, parameter in network.named_parameters()]
    assert order == sorted(order), "later layers learn faster"
    assert len(set(order)) > 4
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    assert decayed == {id(p) for p in network.parameters() if p.ndim > 1}


@pytest.mark.parametrize("name", NAMES)
def test_coarse_groups_are_stem_stages_and_head(name: str) -> None:
    network = meta(name)
    groups = group_parameters(network, network.group_matcher(coarse=True), reverse=True)
    assert sorted(groups) == sorted(key for key, _ in network.named_parameters())
    stages = [
        {group for key, group in groups.items() if key.startswith(i["module"] + ".")} for i in network.feature_info
    ]
    assert stages == [{i + 1} for i in range(len(stages))]


@pytest.mark.parametrize("name", SMALLEST)
def test_other_channels_and_no_classifier_can_be_asked_for(name: str) -> None:
    network = meta(name, in_chans=1, num_classes=0)
    assert network.get_submodule(network.pretrained_cfg["first_conv"]).in_channels == 1
    x = torch.empty(2, 1, *network.pretrained_cfg["input_size"][1:], device="meta")
    assert network(x).shape == (2, network.head_hidden_size)


@pytest.mark.parametrize("name", SMALLEST)
def test_maps_can_be_chosen_from_the_end(name: str) -> None:
    network = meta(name, features_only=True, out_indices=(-3, -2))
    chosen = [meta(name).feature_info[i] for i in (-3, -2)]
    assert network.feature_info.channels() == [info["num_chs"] for info in chosen]
    assert network.feature_info.reduction() == [info["reduction"] for info in chosen]
    x = torch.empty(1, 3, 224, 224, device="meta")
    assert [y.shape[1] for y in network(x)] == network.feature_info.channels()


def test_the_forward_pass_is_features_then_head(real: nn.Module) -> None:
    x = images(real, 2)
    with torch.no_grad():
        logits, features = real(x), real.forward_features(x)
        assert torch.equal(logits, real.forward_head(features))
        pre = real.forward_head(features, pre_logits=True)
    assert logits.shape == (2, real.num_classes)
    assert pre.shape == (2, real.head_hidden_size)
    assert last_map(features).shape[1] == real.num_features


def test_intermediate_maps_are_those_on_the_way(real: nn.Module) -> None:
    x = images(real)
    with torch.no_grad():
        final, maps = real.forward_intermediates(x)
        assert all(torch.equal(a, b) for a, b in zip(final, real.forward_features(x), strict=True))
        assert [y.shape[1] for y in maps] == [info["num_chs"] for info in real.feature_info]
        assert torch.equal(real.forward_intermediates(x, norm=True, intermediates_only=True)[-1], last_map(final))
        early = real.forward_intermediates(x, indices=[0, 1], stop_early=True, intermediates_only=True)
        assert all(torch.equal(a, b) for a, b in zip(early, maps[:2], strict=True))
        stopped = real.forward_intermediates(x, indices=[1], stop_early=True)[0]
        assert torch.equal(last_map(stopped), maps[1])
        whole = real.forward_intermediates(x, indices=1, stop_early=True)[0]
        assert all(torch.equal(a, b) for a, b in zip(whole, final, strict=True))
        last = real.forward_intermediates(x, indices=1, output_fmt="NHWC", intermediates_only=True)
        assert torch.equal(last[0].permute(0, 3, 1, 2), maps[-1])
    with pytest.raises(ValueError, match="output_fmt: expected NCHW or NHWC, got 'NLC'"):
        real.forward_intermediates(x, output_fmt="NLC")


@pytest.mark.parametrize("name", SMALLEST)
def test_the_classifier_can_be_replaced_and_removed(name: str) -> None:
    network = meta(name).eval()  # a batch norm of the head takes no single image in training
    x = images(network)
    network.reset_classifier(7)
    assert network(x).shape == (1, 7)
    assert network.get_classifier().out_features == 7
    network.reset_classifier(0)
    assert network(x).shape == (1, network.head_hidden_size)
    network.reset_classifier(3, "")
    assert network(x).shape[-1] == 3
    assert network(x).ndim == 4
    features = network.forward_head(network.forward_features(x), pre_logits=True)
    assert features.shape[1] == network.head_hidden_size
    network.reset_classifier(0, "")
    assert network(x).shape == features.shape, "a map, as timm's networks return it"


@pytest.mark.parametrize("name", SMALLEST)
def test_a_network_is_built_where_and_as_precise_as_wanted(name: str) -> None:
    with torch.device("meta"):
        network = timm.create_model(name, dtype=torch.float64, device="meta")
    assert {p.dtype for p in network.parameters()} == {torch.float64}
    assert {p.device.type for p in network.parameters()} == {"meta"}
    with torch.device("meta"):
        pyramid = timm.create_model(name, features_only=True, dtype=torch.float64)
    assert {p.dtype for p in pyramid.parameters()} == {torch.float64}


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("name", SMALLEST)
def test_layers_behind_the_wanted_maps_can_be_pruned(name: str, norm: bool) -> None:
    network = meta(name)
    whole = sum(p.numel() for p in network.parameters())
    assert network.prune_intermediate_layers([0, 1], prune_norm=not norm, prune_head=False) == [0, 1]
    assert sum(p.numel() for p in network.parameters()) < whole / 3
    x = images(network)
    last, maps = network.forward_intermediates(x, [0, 1], norm=norm)
    assert len(maps) == 2
    assert last_map(last).shape == maps[1].shape == last_map(network.forward_features(x)).shape
    assert last_map(last).shape[1] == network.num_features == network(x).shape[1]


def test_a_pruned_network_computes_the_same_maps(real: nn.Module) -> None:
    x = images(real)
    with torch.no_grad():
        expected = real.forward_intermediates(x, [0, 1], intermediates_only=True)
        pruned = copy.deepcopy(real)
        pruned.prune_intermediate_layers([0, 1])
        assert torch.equal(last_map(pruned.forward_features(x)), expected[1])
    assert pruned.num_features == expected[1].shape[1]


def test_checkpointing_can_be_switched(real: nn.Module) -> None:
    x = images(real)
    expected = real(x)
    assert expected.requires_grad
    real.set_grad_checkpointing()
    assert torch.equal(real(x), expected)
    real.set_grad_checkpointing(False)
