"""Lab 02: what learners are measured by is what the network computes, and what is revealed is true."""

from __future__ import annotations

import pytest
import timm
import torch

from visionlab.backbones.mobile_former_bridge import Former, ToFormer, ToMobile
from visionlab.backbones.mobile_former_mobile import DynamicReLU
from visionlab.exercises.mobile_former import REVEALED, dynamic_relu, read, write
from visionlab.experiments.experiment import recorded
from visionlab.experiments.mobile_former_costs import counted
from visionlab.measure.cost import multiply_adds
from visionlab.watch import watch


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_read_is_the_reading_of_the_network_with_one_head(rng: torch.Generator) -> None:
    bridge = ToFormer(6, 10, heads=1).eval()
    tokens, x = torch.randn(2, 3, 10, generator=rng), torch.randn(2, 6, 4, 5, generator=rng)
    torch.nn.init.zeros_(bridge.query.bias)
    with torch.no_grad(), watch(bridge, "softmax") as seen:
        bridge(tokens, x)
        expected = seen["softmax"][:, 0] @ x.flatten(2).transpose(1, 2)
        assert torch.allclose(read(tokens, x, bridge.query.weight.T), expected, atol=1e-5)


def test_write_is_the_writing_of_the_network_with_one_head(rng: torch.Generator) -> None:
    bridge = ToMobile(6, 10, heads=1).eval()
    tokens, x = torch.randn(2, 3, 10, generator=rng), torch.randn(2, 6, 4, 5, generator=rng)
    torch.nn.init.zeros_(bridge.key.bias)
    torch.nn.init.zeros_(bridge.value.bias)
    with torch.no_grad():
        got = write(x, tokens, bridge.key.weight.T, bridge.value.weight.T)
        assert torch.allclose(got, bridge(x, tokens), atol=1e-5)


def test_dynamic_relu_is_that_of_the_network(rng: torch.Generator) -> None:
    activation = DynamicReLU(12, 5).eval()
    tokens, x = torch.randn(2, 3, 12, generator=rng), torch.randn(2, 5, 4, 3, generator=rng)
    with torch.no_grad():
        scores = 20 * activation.slopes.mlp(tokens[:, 0])
        activation.slopes.mlp[2].weight *= 20
        activation.slopes.mlp[2].bias *= 20
        assert torch.allclose(dynamic_relu(x, scores), activation(x, tokens), atol=1e-5)
    assert scores.abs().max() > 1, "slopes far from those of a ReLU"


def test_the_former_alone_costs_the_same_at_every_resolution() -> None:
    tokens = torch.zeros(1, 3, 32)
    growth = {}
    for name, module in (("Mobile→Former", ToFormer(16, 32)), ("Former→Mobile", ToMobile(16, 32))):
        both = []
        for side in (256, 512):
            x = torch.zeros(1, 16, side, side)
            both.append(multiply_adds(module, *((tokens, x) if name == "Mobile→Former" else (x, tokens))))
        growth[name] = both[1] / both[0]
    assert all(value == pytest.approx(4, abs=0.01) for value in growth.values())
    assert multiply_adds(Former(32), tokens) > 0, "and it is given no map"
    answer, words = REVEALED["resolution"]
    assert answer == "the Former"
    assert "four times the work" in words
    with torch.device("meta"):  # shapes decide the counts
        big = timm.create_model("mobile_former_294m")
    network = {side: counted(big, side) for side in (224, 448)}
    assert network[224]["Former"] == network[448]["Former"]
    assert f"cost {network[448]['bridges'] / network[224]['bridges']:.1f} times as much" in words


def test_the_revealed_answers_on_the_puzzle_are_the_recorded_ones() -> None:
    result = recorded("mobile_former/majority")
    answer, words = REVEALED["alone"]
    alone = result.summary("Mobile alone", "accuracy (%)").mean
    assert answer == "about three quarters"
    assert alone == pytest.approx(75, abs=1)
    assert words.startswith(f"{alone:.0f} %, over {'five' if len(result.seeds) == 5 else '?'} seeds")
    assert result.summary("wide Mobile", "accuracy (%)").mean == pytest.approx(alone, abs=1)
    answer, words = REVEALED["cut"]
    assert answer == "either of them"
    assert "Either way 100 % become 50" in words
    assert result.summary("both bridges", "accuracy (%)").mean > 99.5
    for wire in ("reading", "writing"):
        assert result.summary("both bridges", f"accuracy without {wire} (%)").mean == pytest.approx(50, abs=2)
