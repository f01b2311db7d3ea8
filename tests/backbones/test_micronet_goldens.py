"""MicroNet against outputs of the published code, in float64: logits, every block, head."""

from __future__ import annotations

import pytest
import timm
import torch

from tests.filling import GOLDENS, distance, golden, images, published_state
from visionlab.watch import watch

TOLERANCE = 1e-6
NAMES = sorted(path.stem for path in GOLDENS.glob("micronet_m*_224.json"))


@pytest.mark.parametrize("name", NAMES)
def test_it_computes_what_the_published_code_computes(name: str) -> None:
    content = golden(name)
    network = timm.create_model(content["model"]).double().eval()
    network.load_state_dict(published_state(content), strict=True)
    assert sum(parameter.numel() for parameter in network.parameters()) == content["params"]
    blocks = [f"stages.{i}.blocks.{j}" for i, stage in enumerate(network.stages) for j in range(len(stage.blocks))]
    with torch.no_grad(), watch(network, "stem", *blocks, "neck.*") as seen:
        out = network(images(content["input"]["batch"], content["input"]["size"]))
    ours = {f"features.{i}": seen[module] for i, module in enumerate(("stem", *blocks))}
    ours |= {"avgpool": seen["neck.0"], "classifier.0": seen["neck.1"]}
    listed = content["intermediate"]
    assert ours.keys() == listed.keys()
    errors = {key: distance(ours[key].reshape(listed[key]["shape"]), listed[key]) for key in listed}
    errors["output"] = distance(out, content["output"])
    assert max(errors.values()) <= TOLERANCE, errors
