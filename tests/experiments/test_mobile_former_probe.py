"""Probes of Mobile-Former: what they say was read and heard is what the network computed, and cuts do what they say."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.backbones.test_mobile_former import nano
from visionlab.backbones.mobile_former import MobileFormer
from visionlab.backbones.mobile_former_cuts import bypass, cut
from visionlab.backbones.mobile_former_flat import flat_network
from visionlab.experiments.mobile_former_probe import (
    Cuts,
    answer,
    applied,
    block_names,
    exchanged,
    inject,
    look,
    token_means,
)

BLOCKS = ("stages.0.blocks.1", "stages.1.blocks.0", "stages.1.blocks.1", "stages.2.blocks.0")


@pytest.fixture(params=["token", "spatial", "static"])
def network(request: pytest.FixtureRequest) -> MobileFormer:
    return nano(slopes=request.param)


@pytest.fixture
def image(rng: torch.Generator) -> Tensor:
    return torch.randn(1, 3, 40, 56, generator=rng)


@pytest.fixture
def others(rng: torch.Generator) -> Tensor:
    return torch.randn(5, 3, 32, 32, generator=rng)


def test_every_block_with_tokens_is_seen_and_so_is_the_last_reading(network: MobileFormer, image: Tensor) -> None:
    views = look(network, image)
    assert tuple(view.name for view in views) == (*BLOCKS, "to_former") == block_names(network)
    assert [view.title for view in views] == [
        "stage 1, block 2", "stage 2, block 1", "stage 2, block 2", "stage 3, block 1", "before the head",
    ]  # fmt: skip
    for view, following in pairwise(views):
        assert view.heard.shape[1:] == following.read.shape[1:], "what goes out of one block comes into the next"
    assert views[0].read.shape == (3, 20, 28)
    assert views[-1].hears is None
    for view in views:
        assert np.allclose(view.read.sum(axis=(1, 2)), 1, atol=1e-5)
        if view.hears is not None:
            assert np.allclose(view.hears.sum(axis=1), 1, atol=1e-5)
            assert np.allclose(view.heard, view.hears.mean(axis=0))


def test_what_is_said_to_be_read_is_what_the_tokens_take(network: MobileFormer, image: Tensor) -> None:
    """By hand, one token, head and pixel after the other."""
    view = look(network, image[0])[0]
    block = network.stages[0].blocks[1]
    with torch.no_grad():
        x = network.stages[0].blocks[0].mobile(network.stem(image), None)
        query = block.to_former.query(network.tokens(1))[0]
        half = x.shape[1] // 2
        for head in range(2):
            channels = slice(head * half, (head + 1) * half)
            scores = torch.stack([(query[0, channels] * pixel).sum() for pixel in x[0, channels].flatten(1).T])
            weights = (scores / half**0.5).exp()
            expected = (weights / weights.sum()).view(x.shape[2:])
            assert view.reads is not None
            assert np.allclose(view.reads[head, 0], expected.numpy(), atol=1e-6)


def test_likeness_is_the_cosine_of_the_tokens(network: MobileFormer, image: Tensor) -> None:
    last = look(network, image)[-1]
    tokens = network.forward_features(image).tokens[0].detach().numpy()
    assert np.allclose(last.tokens, tokens, atol=1e-5)
    for i in range(3):
        for j in range(3):
            cosine = tokens[i] @ tokens[j] / np.linalg.norm(tokens[i]) / np.linalg.norm(tokens[j])
            assert last.cosine[i, j] == pytest.approx(cosine, abs=1e-5)


def test_slopes_are_those_of_each_activation(image: Tensor) -> None:
    views = look(nano(), image)
    assert [[y.shape for y in view.slopes] for view in views] == [
        [(1, 2, 32), (1, 2, 16)], [(1, 2, 16), (1, 2, 32)], [(1, 2, 32), (1, 2, 32)], [(1, 2, 24), (1, 2, 24)], [],
    ]  # fmt: skip
    spatial = look(nano(slopes="spatial"), image)
    assert spatial[1].slopes[0].shape == (3, 2, 16)
    assert spatial[1].votes is not None
    assert spatial[1].votes.shape == spatial[1].heard.shape
    assert np.allclose(spatial[1].votes.sum(axis=0), 1, atol=1e-6)
    assert look(nano(slopes="static"), image)[1].slopes == ()
    with torch.no_grad():
        slopes = nano().stages[0].blocks[1].mobile.act1.slopes(torch.from_numpy(views[0].tokens[None, :1]))
    assert np.allclose(views[0].slopes[0], slopes[0].numpy(), atol=1e-6)


def test_a_flat_network_is_seen_as_well() -> None:
    torch.manual_seed(0)
    flat, image = flat_network().eval(), torch.randn(1, 3, 32, 32)
    views = look(flat, image)
    assert [view.name for view in views] == [f"stages.0.blocks.{i}" for i in range(4)]
    assert all(view.read.shape == view.heard.shape == (3, 16, 16) for view in views)
    assert answer(flat, image).shape == (1, 16, 16, 2)


def test_cuts_are_those_of_the_wires(network: MobileFormer, others: Tensor) -> None:
    plain = answer(network, others)
    assert np.allclose(plain.sum(axis=-1), 1, atol=1e-5)
    assert np.array_equal(answer(network, others, Cuts()), plain)
    for cuts, pattern in (
        (Cuts(reading=True), "*to_former"),
        (Cuts(former=True), "*.former"),
        (Cuts(writing=True), "*.to_mobile"),
    ):
        with bypass(network, pattern), torch.no_grad():
            expected = network(others).softmax(-1).numpy()
        assert np.allclose(answer(network, others, cuts), expected, atol=1e-6)
        assert not np.allclose(expected, plain, atol=1e-4)
    frozen = answer(network, others, Cuts(slopes=True))
    static = not any(name.endswith("slopes") for name, _ in network.named_modules())
    assert np.array_equal(frozen, plain) == static
    assert not np.allclose(answer(network, others, Cuts(silent=(1, 2))), plain, atol=1e-4)
    assert np.array_equal(answer(network, others), plain), "everything is as it was"


def test_all_wires_cut_leave_nothing_to_read_or_hear(image: Tensor) -> None:
    network = nano()
    with applied(network, Cuts(reading=True, former=True, writing=True)):
        views = look(network, image)
    assert [view.name for view in views] == list(BLOCKS)
    assert all(view.reads is None and view.hears is None for view in views)
    start = network.tokens.weight.detach().numpy()
    assert all(np.array_equal(view.tokens, start) for view in views)
    with pytest.raises(ValueError, match="stage 1, block 2: no token reads here"):
        _ = views[0].read
    with pytest.raises(ValueError, match="stage 1, block 2: no pixel hears a token here"):
        _ = views[0].heard
    assert look(network, image)[0].reads is not None


def test_a_network_without_some_wires_need_not_have_them_cut(others: Tensor) -> None:
    network = nano(slopes="static")
    cut(network, "*.to_mobile", "*.former")
    plain = answer(network, others)
    assert np.array_equal(answer(network, others, Cuts(former=True, writing=True, slopes=True)), plain)
    assert not np.array_equal(answer(network, others, Cuts(reading=True)), plain)


def test_averaged_tokens_tell_nothing_of_the_image(network: MobileFormer, others: Tensor) -> None:
    means = token_means(network, others, batch=2)
    assert set(means) == {*(f"{name}.{part}" for name in BLOCKS for part in ("to_former", "former")), "to_former"}
    with torch.no_grad():
        tokens = network.forward_features(others).tokens
    assert torch.allclose(means["to_former"], tokens.mean(dim=0), atol=1e-5)
    everything = Cuts(averaged=(0, 1, 2))
    with applied(network, everything, means), torch.no_grad():
        streams = network.forward_features(others)
    assert torch.allclose(streams.tokens, means["to_former"].expand_as(streams.tokens), atol=1e-6)
    assert not np.allclose(answer(network, others, Cuts(averaged=(1,)), means), answer(network, others), atol=1e-4)


def test_ones_own_tokens_change_nothing_and_anothers_move_what_comes_after(
    network: MobileFormer, image: Tensor, others: Tensor
) -> None:
    same = inject(network, image, image, BLOCKS[1])
    assert np.array_equal(same.injected, same.alone)
    assert all(not moved.any() for moved in same.moved)
    other = inject(network, image, others[:1], BLOCKS[1])
    assert np.allclose(other.alone, answer(network, image)[0])
    assert np.allclose(other.donor, answer(network, others[:1])[0])
    assert other.titles == ("stage 1, block 2", "stage 2, block 1", "stage 2, block 2", "stage 3, block 1")
    assert [moved.shape for moved in other.moved] == [view.heard.shape[1:] for view in look(network, image)[:-1]]
    assert [bool(moved.any()) for moved in other.moved] == [False, True, True, True]
    assert not np.allclose(other.injected, other.alone, atol=1e-4)
    late = inject(network, image, others[0], "to_former", tokens=[1, 2])
    assert np.array_equal(late.injected, late.alone), "the head hears the first token alone"
    assert not np.array_equal(inject(network, image, others[0], "to_former", tokens=[0]).injected, late.alone)


@pytest.mark.parametrize("after", [BLOCKS[1], "to_former"])
def test_tokens_are_exchanged_pair_by_pair(network: MobileFormer, image: Tensor, others: Tensor, after: str) -> None:
    images = image.expand(2, -1, -1, -1)
    both = exchanged(network, images, others[:2], after)
    for got, donor in zip(both, others[:2], strict=True):
        assert np.allclose(got, inject(network, image, donor, after).injected, atol=1e-6)
    assert not np.allclose(both[0], both[1], atol=1e-5)
    with pytest.raises(ValueError, match=r"after: expected one of stages.0.blocks.1, .*; got 'head'"):
        exchanged(network, images, others[:2], "head")


def test_what_does_not_exist_cannot_be_asked(image: Tensor) -> None:
    alone, network = nano(slopes="static", tokens=(0, 16)), nano()
    with pytest.raises(ValueError, match="model: expected a Mobile-Former with tokens"):
        look(alone, image)
    with pytest.raises(ValueError, match=r"image: expected one image \(1, 3, H, W\), got shape \(2, 3, 40, 56\)"):
        look(network, image.expand(2, -1, -1, -1))
    for cuts, words in (
        (Cuts(silent=(3,)), r"silent: expected tokens 0 to 2, got \(3,\)"),
        (Cuts(averaged=(-1,)), r"averaged: expected tokens 0 to 2, got \(-1,\)"),
        (Cuts(silent=(0, 1, 2)), "silent: one of the 3 tokens has to be heard"),
        (Cuts(averaged=(0,)), "means: averaged tokens need those of `token_means`"),
    ):
        with pytest.raises(ValueError, match=words):
            answer(network, image, cuts)
    with pytest.raises(ValueError, match=r"after: expected one of stages.0.blocks.1, .*; got 'stem'"):
        inject(network, image, image, "stem")
    with pytest.raises(ValueError, match=r"tokens: expected 0 to 2, got \(5,\)"):
        inject(network, image, image, BLOCKS[0], tokens=[5])
