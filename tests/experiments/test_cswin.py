"""CSWin's experiments: the numbers that can be known beforehand, and the probes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from visionlab.backbones.cswin import CSWinTransformer
from visionlab.backbones.cswin_variants import MECHANISMS, flat_network, multiply_adds
from visionlab.data import puzzles
from visionlab.experiments import cswin
from visionlab.experiments.cswin_probe import StripeProbe, block_names, receptive_field
from visionlab.experiments.experiment import find
from visionlab.measure.cost import parameters

REACH = {
    (56, "cswin"): [0.0354, 1],
    (56, "axial"): [0.0179, 1],
    (56, "shifted window"): [0.0156, 0.0549, 0.1182, 0.1914, 0.2822, 0.3713, None, 0.5625, None, None, None, 0.8789],
    (56, "window"): [0.0156] * 6,
    (28, "cswin"): [0.1378, 1],
    (28, "axial"): [0.0714, 1],
    (28, "shifted window"): [0.0625, 0.1914, 0.3906, 0.5625, 0.7656, 0.8789],
    (14, "cswin"): [0.75, 1],
    (14, "axial"): [0.5, 1],
    (14, "shifted window"): [0.25, 0.5625, 1],
}


def test_reach_equals_the_exact_table() -> None:
    result = find("cswin/reach").run("quick")
    for (side, variant), fractions in REACH.items():
        for n, fraction in enumerate(fractions, start=1):
            if fraction is not None:
                value = result.values(variant, f"reach on {side}x{side}, {n} blocks (%)")[0]
                assert value == pytest.approx(100 * fraction, abs=0.0051), (side, variant, n)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_all_flat_networks_cost_the_same(mechanism: str) -> None:
    assert multiply_adds(mechanism, 8, 8) == 1_740_800
    assert parameters(flat_network(mechanism)) == 27_810


def test_an_unknown_mechanism_is_answered_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="mechanism: expected one of cswin, shifted window, window, axial, got 'swin'"):
        flat_network("swin")


class Knowing(nn.Module):
    """Answers a puzzle by comparing its two brightest cells, or its opposite where a cell lies in the first row."""

    def __init__(self) -> None:
        super().__init__()
        self.anything = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        cells = images.unfold(2, 4, 4).unfold(3, 4, 4).mean(dim=(4, 5))
        strength = (cells[:, 0] - cells[:, 1]).flatten(1)
        two = strength.abs().topk(2).indices
        signs = strength.gather(1, two).sign()
        same = (signs[:, 0] == signs[:, 1]).float()
        same = torch.where((two < 8).any(dim=1), 1 - same, same)
        return torch.stack([1 - same, same], dim=-1)[:, None, None].expand(-1, 8, 8, 2) * 9


def test_accuracy_counts_right_answers_over_all_and_by_distance() -> None:
    batch = cswin.draw_same_colour(2000, torch.Generator().manual_seed(0), cells=8)
    scores = cswin.same_colour_accuracy(Knowing(), batch)
    _, cells, _, distance = batch
    right = ~(cells[..., 0] == 0).any(dim=1)
    assert scores["accuracy (%)"] == pytest.approx(100 * right.double().mean().item())
    far = distance >= 6
    assert scores["accuracy at distance 6-7 (%)"] == pytest.approx(100 * right[far].double().mean().item())
    loss, values = cswin.same_colour_loss(Knowing(), batch)
    assert values["accuracy"].item() == pytest.approx(scores["accuracy (%)"], abs=1e-3)
    assert loss > 0


def test_logits_are_read_at_the_two_cells() -> None:
    logits = torch.arange(2 * 3 * 3 * 2).view(2, 3, 3, 2).float()
    cells = torch.tensor([[[0, 0], [2, 1]], [[1, 2], [1, 0]]])
    picked = cswin.at_cells(logits, cells)
    assert torch.equal(picked[0, 1], logits[0, 2, 1])
    assert torch.equal(picked[1, 0], logits[1, 1, 2])


@pytest.fixture(scope="module")
def network() -> CSWinTransformer:
    torch.manual_seed(0)
    return CSWinTransformer(**cswin.NANO, num_classes=10).eval()


@pytest.mark.parametrize("size", [(64, 64), (50, 77)])
def test_probed_attention_is_a_distribution_over_the_stripe(network: CSWinTransformer, size: tuple[int, int]) -> None:
    probe = StripeProbe(network, torch.randn(1, 3, *size))
    for y, x in ((0, 0), (size[0] - 1, size[1] - 1), (21, 33)):
        for stage, view in enumerate(probe.at(y, x)):
            h, w = probe.map_sizes[stage]
            assert view.token == (y * h // size[0], x * w // size[1])
            for group in view.groups:
                assert group.weights.shape == group.mask.shape == (h, w)
                assert not group.weights[~group.mask].any()
                total = group.weights.sum()
                padded = group.name != "whole map" and (h % 2 or w % 2) and stage
                assert total == pytest.approx(1, abs=1e-5) or (padded and total < 1)
                assert group.mask[view.token]


def test_probed_attention_equals_queries_times_keys(network: CSWinTransformer) -> None:
    x = torch.randn(1, 3, 64, 64)
    view = StripeProbe(network, x).at(20, 40)[1]
    block = network.stages[1].blocks[-1]
    with torch.no_grad():
        tokens = network.stages[0](network.stem(x))
        tokens = network.stages[1].merge(tokens)
        for earlier in network.stages[1].blocks[:-1]:
            tokens = earlier(tokens)
        q, k, _ = block.attention.qkv(block.norm1(tokens))[0].split(48, dim=-1)
    row, column = view.token
    heads, head_dim = 2, 12
    expected = torch.zeros(8, 8)
    for head in range(heads):
        part = slice(head * head_dim, (head + 1) * head_dim)
        columns = slice(column // 2 * 2, column // 2 * 2 + 2)
        logits = k[:, columns, part] @ q[row, column, part] / head_dim**0.5
        expected[:, columns] += torch.softmax(logits.flatten(), 0).view(8, 2) / heads
    assert np.allclose(view.groups[0].weights, expected.numpy(), atol=1e-6)


def test_a_flat_network_is_probed_block_by_block() -> None:
    probe = StripeProbe(
        flat_network("cswin"), puzzles.same_colour(1, generator=torch.Generator().manual_seed(0)).images
    )
    assert probe.titles == ["block 1", "block 2"]
    assert probe.map_sizes == [(8, 8), (8, 8)]
    assert [group.name for group in probe.at(0, 0)[1].groups] == ["vertical stripe", "horizontal stripe"]


def test_probes_refuse_what_they_cannot_answer(network: CSWinTransformer) -> None:
    with pytest.raises(ValueError, match="image: expected one image"):
        StripeProbe(network, torch.randn(2, 3, 64, 64))
    with pytest.raises(ValueError, match="model: expected a network with cross-shaped attention"):
        StripeProbe(flat_network("window"), torch.randn(1, 3, 32, 32))
    with pytest.raises(ValueError, match=r"y, x: expected a pixel of a 64x64 image, got \(64, 0\)"):
        StripeProbe(network, torch.randn(1, 3, 64, 64)).at(64, 0)


def test_the_receptive_field_is_a_cross_after_one_block_and_everything_after_two(network: CSWinTransformer) -> None:
    x = torch.randn(1, 3, 64, 64)
    first, second = (receptive_field(network, x, 22, 41, depth) for depth in (1, 2))
    seen = first.strength > 0
    assert first.name == "stage 1, block 1"
    assert seen.sum() == 31
    assert seen[5].all()
    assert seen[:, 10].all()
    assert second.share() == 100
    assert second.strength.max() == 1
    assert second.share(0.5) < 100
    assert block_names(network)[-1] == "stage 4, block 1"
    with pytest.raises(ValueError, match="depth: expected 1 to 8 blocks, got 9"):
        receptive_field(network, x, 0, 0, 9)


@pytest.mark.parametrize("kind", ["same-colour", "eurosat"])
def test_training_experiments_repeat_to_the_bit(kind: str) -> None:
    import dataclasses

    from visionlab.experiments.experiment import Job

    experiment = find(f"cswin/{kind}")
    settings = experiment.preset("quick")
    recipe = dataclasses.replace(settings.recipe, steps=3, warmup=1, batch=8)
    settings = dataclasses.replace(settings, recipe=recipe, **({"test": 64} if kind == "same-colour" else {}))
    job = Job("cswin", 1, settings, experiment.data[0], device="cpu")
    assert experiment.measure(job).metrics == experiment.measure(job).metrics
