"""The point networks: numbers of the published code in float64, the fast forms against plain ones, properties."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.filling import distance, golden, published_state
from visionlab.points import dgcnn
from visionlab.points.dgcnn import DGCNN, EdgeConv, PooledEdgeConv, SmallDGCNN, load_published, split
from visionlab.points.neighbours import nearest
from visionlab.watch import watch

TOLERANCE = 1e-6
GOLDENS = ("pnal_dgcnn_open", "pnal_dgcnn_batch_open")
NETWORKS = {"published": lambda: DGCNN(5, k=4, dropout=0.0), "small": lambda: SmallDGCNN(5, k=4)}


def filled(content: dict[str, Any]) -> DGCNN:
    network = DGCNN(content["kwargs"]["out_channels"], content["kwargs"]["k"]).double().eval()
    network.load_state_dict(published_state(content))
    return network


def given(content: dict[str, Any]) -> Tensor:
    listed = content["input"]
    shape = (listed["batch"], listed["points"], listed["channels"])
    return torch.from_numpy(np.random.RandomState(listed["seed"]).standard_normal(shape))


def clouds(rng: torch.Generator, batch: int = 2, points: int = 24) -> Tensor:
    return torch.randn(batch, points, 9, generator=rng)


def gathered(x: Tensor, neighbours: Tensor) -> Tensor:
    """[x_i, x_j - x_i] of each edge, by a loop over clouds."""
    others = torch.stack([cloud[index] for cloud, index in zip(x, neighbours, strict=True)])
    own = x[:, :, None].expand_as(others)
    return torch.cat([own, others - own], dim=3)


@pytest.mark.parametrize("name", GOLDENS)
def test_network_computes_what_the_published_code_computes(name: str) -> None:
    content = golden(name)
    network = filled(content)
    stages = list(content["intermediate"])
    assert stages == ["conv1", "conv2", "conv3", "lin1"]
    with torch.no_grad(), watch(network, *stages) as seen:
        logits = network(given(content)).flatten(0, 1)
    errors = {stage: distance(seen[stage].flatten(0, -2), content["intermediate"][stage]) for stage in stages}
    errors["logits"] = distance(logits, content["output"])
    errors["log-softmax"] = distance(logits.log_softmax(1), content["output_log_softmax"])
    assert max(errors.values()) <= TOLERANCE, errors
    winners = logits.argmax(1)
    assert winners[: len(content["argmax_head"])].tolist() == content["argmax_head"]
    assert torch.bincount(winners, minlength=logits.shape[1]).tolist() == content["argmax_histogram"]


def test_published_network_has_528397_parameters_for_13_classes_and_the_published_names() -> None:
    network, content = DGCNN(13), golden("pnal_dgcnn_open")
    assert sum(p.numel() for p in network.parameters()) == content["params"] == 528_397
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == content["state_dict"]
    assert network.k == content["kwargs"]["k"]


def test_small_network_has_82247_parameters_for_7_classes() -> None:
    assert sum(p.numel() for p in SmallDGCNN(7).parameters()) == 82_247


def test_split_equals_the_linear_layer_on_each_edge(rng: torch.Generator) -> None:
    x, linear = clouds(rng).double(), nn.Linear(18, 7).double()
    neighbours = nearest(x, 5)
    own, other = split(linear, x)
    fast = torch.stack([own[b][:, None] + other[b][neighbours[b]] for b in range(2)])
    torch.testing.assert_close(fast, linear(gathered(x, neighbours)))


def stirred(network: nn.Module, rng: torch.Generator) -> nn.Module:
    """Give batch norms statistics, shifts and scales: of every third channel below zero, of the first one zero."""
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm1d):
            for values, low, high in ((norm.running_mean, -1, 1), (norm.running_var, 0.1, 3), (norm.bias, -1, 1)):
                values.data.uniform_(low, high, generator=rng)
            norm.weight.data.uniform_(0.5, 2, generator=rng)
            norm.weight.data[1::3] *= -1
            norm.weight.data[0] = 0
    return network


def plain_two_layers(conv: EdgeConv, x: Tensor, neighbours: Tensor) -> Tensor:
    edges = gathered(x, neighbours)
    return conv.nn(edges.flatten(0, 2)).view(*neighbours.shape, -1).max(2).values


def plain_one_layer(conv: PooledEdgeConv, x: Tensor, neighbours: Tensor) -> Tensor:
    pooled = conv.linear(gathered(x, neighbours)).relu().max(2).values
    return conv.norm(pooled.flatten(0, 1)).view_as(pooled)


@pytest.mark.parametrize(("kind", "plain"), [(EdgeConv, plain_two_layers), (PooledEdgeConv, plain_one_layer)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("edges", [1, 2 * 5 * 7, 10**6])
def test_fast_convolution_equals_the_plain_one_with_gradients(
    kind: type[nn.Module],
    plain: Any,
    training: bool,
    edges: int,
    monkeypatch: pytest.MonkeyPatch,
    rng: torch.Generator,
) -> None:
    monkeypatch.setattr(dgcnn, "EDGES_CPU", edges)
    x = clouds(rng, points=23).double().requires_grad_()
    conv = stirred(kind(9, 7).double(), rng).train(training)
    neighbours = nearest(x, 5)
    results = []
    for form in (conv, lambda x, neighbours: plain(conv, x, neighbours)):
        conv.zero_grad()
        x.grad = None
        out = form(x, neighbours)
        out.square().sum().backward()
        # Without the first channel's: where all edges are scaled to the same value, any of them may be the maximum.
        results.append([out.detach(), x.grad.clone(), *(p.grad[1:].clone() for p in conv.parameters())])
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("layer", [0, 1])
def test_one_batch_norm_that_trains_is_enough_to_need_all_edges(layer: int, rng: torch.Generator) -> None:
    x = clouds(rng).double()
    conv = stirred(EdgeConv(9, 7).double(), rng).eval()
    conv.nn[layer][2].train()
    neighbours = nearest(x, 5)
    torch.testing.assert_close(conv(x, neighbours), plain_two_layers(conv, x, neighbours), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("training", [True, False])
def test_network_of_fast_convolutions_equals_one_of_plain_ones(training: bool, rng: torch.Generator) -> None:
    network = stirred(DGCNN(5, k=6, dropout=0.0).double(), rng).train(training)
    x = level = clouds(rng, batch=3, points=37).double()
    levels = []
    for conv in (network.conv1, network.conv2, network.conv3):
        level = plain_two_layers(conv, level, nearest(level, 6))
        levels.append(level)
    plain = network.mlp(network.lin1(torch.cat(levels, 2).flatten(0, 1))).view(3, 37, 5)
    torch.testing.assert_close(network(x), plain, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", NETWORKS)
def test_permuted_points_give_permuted_logits(name: str, rng: torch.Generator) -> None:
    network, x = NETWORKS[name]().double().eval(), clouds(rng).double()
    order = torch.randperm(x.shape[1], generator=rng)
    torch.testing.assert_close(network(x[:, order]), network(x)[:, order])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_cloud_does_not_see_the_others_of_its_batch(name: str, rng: torch.Generator) -> None:
    network, x = NETWORKS[name]().double().eval(), clouds(rng, batch=3).double()
    torch.testing.assert_close(network(x)[1:2], network(x[1:2]))
    x = x.requires_grad_()
    network(x)[1].sum().backward()
    assert x.grad[1].abs().sum() > 0
    assert x.grad[[0, 2]].abs().sum() == 0


@pytest.mark.parametrize("name", NETWORKS)
def test_all_parameters_get_gradients_and_a_step_lowers_the_loss(name: str, rng: torch.Generator) -> None:
    network, x = NETWORKS[name](), clouds(rng)
    labels = torch.randint(5, x.shape[:2], generator=rng)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(5):
        loss = nn.functional.cross_entropy(network(x).flatten(0, 1), labels.flatten())
        optimiser.zero_grad()
        loss.backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_run_in_any_floating_type_and_under_autocast(
    name: str, dtype: torch.dtype, rng: torch.Generator
) -> None:
    network, x = NETWORKS[name](), clouds(rng)
    exact = network.eval()(x)
    low = network.to(dtype)(x.to(dtype))
    assert low.dtype == dtype
    assert torch.isfinite(low).all()
    assert (low.float() - exact).abs().mean() < 0.1 * exact.abs().mean()
    if dtype != torch.float32:
        network.float().train()
        with torch.autocast("cpu", dtype):
            loss = network(x).float().square().mean()
        loss.backward()
        assert all(torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_strided_input_gives_the_same_logits(name: str, rng: torch.Generator) -> None:
    network, x = NETWORKS[name]().eval(), clouds(rng)
    torch.testing.assert_close(network(x.mT.contiguous().mT), network(x))


def test_graph_in_space_is_made_of_the_last_three_channels(rng: torch.Generator) -> None:
    network, x = SmallDGCNN(3, k=4).eval(), clouds(rng)
    with watch(network, "conv1") as seen:
        network(x)
        torch.testing.assert_close(seen["conv1"], network.conv1(x, nearest(x[..., 6:], 4)))


def test_width_scales_the_small_network() -> None:
    narrow = SmallDGCNN(7, width=0.75)
    assert narrow.conv3.linear.out_features == 48
    assert narrow(torch.randn(1, 12, 9)).shape == (1, 12, 7)
    assert SmallDGCNN(2, k=3, channels=3, width=1 / 32)(torch.randn(2, 5, 3)).shape == (2, 5, 2)


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize("name", NETWORKS)
def test_bad_clouds_are_refused(name: str) -> None:
    network = NETWORKS[name]()
    for points, words in (
        (torch.zeros(1, 8, 6), r"points: expected \(B, N, 9\), got \(1, 8, 6\)"),
        (torch.zeros(8, 9), r"points: expected \(B, N, 9\), got \(8, 9\)"),
        (torch.zeros(1, 3, 9), "k: expected 1 to 3, the points of a cloud, got 4"),
        (torch.full((1, 8, 9), torch.nan), "features: expected finite numbers"),
    ):
        with pytest.raises(ValueError, match=words):
            network(points)


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("classes: expected 1 or more, got 0", {"classes": 0}),
        ("k: expected 1 or more, got 0", {"classes": 2, "k": 0}),
        ("channels: expected 3 or more, got 2", {"classes": 2, "channels": 2}),
        ("width: expected 1/32 or more, got 0.01", {"classes": 2, "width": 0.01}),
        ("dropout: expected 0 to 1, got 2", {"classes": 2, "dropout": 2}),
    ],
)
def test_bad_sizes_are_refused(words: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=words):
        SmallDGCNN(**arguments)


def test_published_checkpoints_are_read_from_files(tmp_path: Path, rng: torch.Generator) -> None:
    network, x = DGCNN(6, k=5).eval(), clouds(rng)
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    file = tmp_path / "model.t7"
    torch.save({"model": state, "optimizer": {"lr": 0.1}, "epoch": 3, "best_OA": 0.5}, file)
    for source in (file, str(file), {"model": network.state_dict()}):
        loaded = load_published(source, k=5)
        assert not loaded.training
        torch.testing.assert_close(loaded(x), network(x))


def test_other_checkpoints_are_refused(tmp_path: Path) -> None:
    state = DGCNN(6).state_dict()
    short = {name: value for name, value in state.items() if name != "lin1.0.0.bias"}
    wide = {**state, "lin1.0.0.bias": torch.zeros(3)}
    file = tmp_path / "text.pth"
    file.write_text("no checkpoint")
    for source, words in (
        ({"ema": state}, "under 'model', got entries ema"),
        ({"model": 3}, "under 'model', got entries model"),
        ({"model": {}}, "expected conv1.nn.0.0.weight and mlp.4.weight, got none"),
        ({"model": short}, "Missing key.*lin1.0.0.bias"),
        ({"model": wide}, "size mismatch for lin1.0.0.bias"),
        (file, "text.pth is not a checkpoint of tensors"),
    ):
        with pytest.raises(ValueError, match=f"(?s)^source: .*{words}"):
            load_published(source)
    torch.save([1], file)
    with pytest.raises(ValueError, match="got a list"):
        load_published(file)
    with pytest.raises(FileNotFoundError):
        load_published(tmp_path / "none.pth")
