"""Mobile-Former against outputs of the published code, in float64: both streams after every block, and the logits."""

from __future__ import annotations

import re

import pytest
import timm
import torch

from tests.filling import distance, golden, images, published_state
from visionlab.backbones.mobile_former import MobileFormer
from visionlab.backbones.mobile_former_published import block_names
from visionlab.measure.cost import multiply_adds, parameters
from visionlab.watch import watch

TOLERANCE = 1e-6
NAME = "mobile_former_52m"


@pytest.fixture(scope="module")
def network() -> MobileFormer:
    network = timm.create_model(NAME).double().eval()
    network.load_state_dict(published_state(golden(f"{NAME}_224")), strict=True)
    return network


def test_both_streams_are_those_of_the_published_code_after_every_block(network: MobileFormer) -> None:
    content = golden(f"{NAME}_224")
    blocks = block_names(network)
    # The map leaves a block by the bridge to Mobile, the tokens by the Former.
    ends = {f"features.{i}.features": f"{block}.to_mobile" for i, block in enumerate(blocks)}
    ends |= {f"features.{i}.tokens": f"{block}.former" for i, block in enumerate(blocks)}
    ends |= {"stem": "stem", "local_global.tokens": "to_former"}
    x = images(content["input"]["batch"], content["input"]["size"])
    with torch.no_grad(), watch(network, *ends.values()) as seen:
        out = network(x)
        features = network.forward_features(x)
        pre_logits = network.forward_head(features, pre_logits=True)
    got = {
        name: seen[module].transpose(0, 1) if name.endswith("tokens") else seen[module] for name, module in ends.items()
    }
    last_map, last_tokens = seen[f"{blocks[-1]}.to_mobile"], seen[f"{blocks[-1]}.former"]
    logits = network.to_former.logits(last_tokens, last_map).unflatten(-1, last_map.shape[2:])
    got |= {"local_global.attention_logits": logits, "classifier.fc": pre_logits}
    listed = content["intermediate"]
    assert got.keys() == listed.keys()
    errors = {name: distance(y, listed[name]) for name, y in got.items()} | {"output": distance(out, content["output"])}
    assert max(errors.values()) <= TOLERANCE, errors


def test_a_float32_network_in_channels_last_gives_the_same_to_its_precision(network: MobileFormer) -> None:
    content = golden(f"{NAME}_224")
    x = images(content["input"]["batch"], content["input"]["size"]).float()
    single = timm.create_model(NAME).eval()
    single.load_state_dict(published_state(content))
    single = single.to(memory_format=torch.channels_last)
    with torch.no_grad():
        out = single(x.contiguous(memory_format=torch.channels_last))
    assert distance(out, content["output"]) <= 1e-4


def test_parameters_multiply_adds_and_entries_equal_those_of_the_published_code(network: MobileFormer) -> None:
    content = golden(f"{NAME}_224")
    assert parameters(network) == content["params"]
    with torch.device("meta"):
        assert multiply_adds(timm.create_model(NAME), torch.empty(1, 3, 224, 224)) == content["madds"]["measured"]
    assert len(network.state_dict()) == len(content["state_dict"])
    assert all(re.match(r"tokens|stem|stages|to_former|head", key) for key in network.state_dict())
