"""CSWin against outputs of the published code, in float64: classifier, pyramid, intermediate maps, gradients."""

from __future__ import annotations

import re
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from tests.filling import distance, golden, images, published_state
from visionlab.backbones.cswin import CONFIGURATIONS, CSWinTransformer
from visionlab.backbones.cswin_published import our_name
from visionlab.backbones.cswin_pyramid import CSWinPyramid
from visionlab.watch import watch

TOLERANCE = 1e-6
NANO = {"num_classes": 10, "dim": 16, "depths": (1, 1, 2, 1), "heads": (2, 4, 8, 8)}
CLASSIFIERS = {
    "cswin_nano_64": lambda: CSWinTransformer(64, **NANO, stripe_widths=(1, 2, 2, 2)),
    "cswin_nano_fullstage3_64": lambda: CSWinTransformer(64, **NANO, stripe_widths=(1, 2, 4, 4), qkv_bias=False),
    "cswin_tiny_224": lambda: timm.create_model("cswin_tiny_224"),
}


def our_module(published: str) -> str:
    """Return our name of a published module."""
    if published.startswith("stage1_conv_embed"):
        return "stem"
    if re.fullmatch(r"merge\d", published):
        return f"stages.{published[-1]}.merge"
    attention = re.fullmatch(r"stage(\d)\.(\d+)\.attns\.(\d)", published)
    if attention:
        return f"stages.{int(attention[1]) - 1}.blocks.{attention[2]}.attention.branches.{attention[3]}"
    block = re.fullmatch(r"stage(\d)\.(\d+)", published)
    return f"stages.{int(block[1]) - 1}.blocks.{block[2]}" if block else published


def filled(network: nn.Module, content: dict[str, Any]) -> nn.Module:
    network = network.double().eval()
    network.load_state_dict(published_state(content), strict=True)
    assert sum(parameter.numel() for parameter in network.parameters()) == content["params"]
    return network


def as_tokens(y: Tensor) -> Tensor:
    return y.flatten(1, 2) if y.ndim == 4 else y


def compare_intermediates(network: nn.Module, x: Tensor, listed: dict[str, Any], prefix: str = "") -> Any:
    modules = {name: prefix + our_module(name) for name in listed if name != "forward_features"}
    with torch.no_grad(), watch(network, *modules.values()) as seen:
        out = network(x)
    errors = {name: distance(as_tokens(seen[module]), listed[name]) for name, module in modules.items()}
    assert max(errors.values()) <= TOLERANCE, errors
    return out


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifier_computes_what_the_published_code_computes(name: str) -> None:
    content = golden(name)
    network = filled(CLASSIFIERS[name](), content)
    x = images(content["input"]["batch"], content["input"]["size"])
    out = compare_intermediates(network, x, content["intermediate"])
    assert distance(out, content["output"]) <= TOLERANCE
    if "forward_features" in content["intermediate"]:
        pooled = network.forward_head(network.forward_features(x), pre_logits=True)
        assert distance(pooled, content["intermediate"]["forward_features"]) <= TOLERANCE


@pytest.mark.parametrize("name", [name for name in CLASSIFIERS if "gradients" in golden(name)])
def test_gradients_equal_those_of_the_published_code(name: str) -> None:
    content = golden(name)
    network = filled(CLASSIFIERS[name](), content)
    loss = network(images(content["input"]["batch"], content["input"]["size"])).square().mean()
    loss.backward()
    listed = dict(content["gradients"])
    listed.pop("loss")
    assert loss.item() == pytest.approx(listed.pop("loss_value"), rel=TOLERANCE)
    parameters = dict(network.named_parameters())
    errors = {key: distance(parameters[our_name(key)].grad, summary) for key, summary in listed.items()}
    assert len(errors) >= 9
    assert max(errors.values()) <= TOLERANCE, errors


def test_pyramid_computes_what_the_published_segmentation_backbone_computes() -> None:
    content = golden("cswin_seg_tiny_256x320")
    network = filled(CSWinPyramid(**CONFIGURATIONS["tiny"]), content)
    height, width = content["input"]["crop"]
    x = images(content["input"]["batch"], content["input"]["size"])[:, :, :height, :width]
    maps = compare_intermediates(network, x, content["intermediate"], prefix="trunk.")
    errors = [distance(y, content["output"][f"stage{i + 1}"]) for i, y in enumerate(maps)]
    assert max(errors) <= TOLERANCE, errors
