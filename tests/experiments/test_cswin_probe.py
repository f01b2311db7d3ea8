"""Probes of CSWin: what they say a token attends to is what the network computed."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from visionlab.backbones.cswin import CSWinTransformer
from visionlab.backbones.cswin_variants import flat_network
from visionlab.data import puzzles
from visionlab.experiments.cswin_images import NANO
from visionlab.experiments.cswin_probe import StripeProbe, block_names, receptive_field, region_views, side_by_side
from visionlab.measure.attention import StageView

# The second image gives odd maps, whose stripes of width 2 need padding.
SIZES = {(64, 64): [(16, 16), (8, 8), (4, 4), (2, 2)], (50, 77): [(12, 19), (6, 10), (3, 5), (2, 3)]}


@pytest.fixture(scope="module")
def network() -> CSWinTransformer:
    torch.manual_seed(0)
    return CSWinTransformer(**NANO, num_classes=10).eval()


def picture(height: int, width: int) -> Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(1))


def pixels(height: int, width: int) -> list[tuple[int, int]]:
    return [(0, 0), (height - 1, width - 1), (21, 33), (height - 1, 5)]


def queries_and_keys(network: CSWinTransformer, image: Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of the last block of each stage: two maps (H, W, heads, channels of a head)."""
    found = []
    with torch.no_grad():
        tokens = network.stem(image)
        for stage, heads in zip(network.stages, NANO["heads"], strict=True):
            tokens = stage.merge(tokens)
            for block in stage.blocks:
                before, tokens = tokens, block(tokens)
            q, k, _ = block.attention.qkv(block.norm1(before))[0].unflatten(-1, (3, heads, -1)).unbind(2)
            found.append((q.numpy(), k.numpy()))
    return found


def stripe(side: int, width: int, at: int) -> range:
    """The indices that share a stripe with ``at``; half of what is missing to whole stripes lies in front."""
    front = -side % width // 2
    first = (at + front) // width * width - front
    return range(max(0, first), min(side, first + width))


def by_hand(q: np.ndarray, k: np.ndarray, view: StageView, group: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights and mask of a head group, one key after the other."""
    (row, column), (h, w, heads, channels) = view.token, q.shape
    rows, columns, length = range(h), range(w), h * w
    if len(view.groups) == 2:
        rows, columns = (rows, stripe(w, width, column)) if group == 0 else (stripe(h, width, row), columns)
        length = width * (h if group == 0 else w)
    members = list(product(rows, columns))
    weights, mask = np.zeros((h, w)), np.zeros((h, w), dtype=bool)
    share = heads // len(view.groups)
    for head in range(group * share, (group + 1) * share):
        logits = [q[row, column, head] @ k[r, c, head] / channels**0.5 for r, c in members]
        # Tokens of padding have the key 0, and with it the logit 0.
        total = np.exp(logits).sum() + (length - len(members))
        for member, logit in zip(members, logits, strict=True):
            weights[member] += np.exp(logit) / total / share
            mask[member] = True
    return weights, mask


@pytest.mark.parametrize("size", SIZES)
def test_probed_attention_equals_the_softmax_of_queries_times_keys(
    network: CSWinTransformer, size: tuple[int, int]
) -> None:
    probe, stages = StripeProbe(network, picture(*size)), queries_and_keys(network, picture(*size))
    assert probe.map_sizes == SIZES[size]
    for y, x in pixels(*size):
        for view, (q, k), width in zip(probe.at(y, x), stages, NANO["stripe_widths"], strict=True):
            for i, group in enumerate(view.groups):
                weights, mask = by_hand(q, k, view, i, width)
                assert np.allclose(group.weights, weights, atol=1e-6), (view.title, group.name)
                assert np.array_equal(group.mask, mask), (view.title, group.name)
    assert [[group.name for group in view.groups] for view in probe.at(0, 0)] == [
        ["vertical stripe", "horizontal stripe"]
    ] * 3 + [["whole map"]]


@pytest.mark.parametrize("size", SIZES)
def test_probed_attention_is_a_distribution_over_the_stripe(network: CSWinTransformer, size: tuple[int, int]) -> None:
    probe, padded = StripeProbe(network, picture(*size)), 0
    for y, x in pixels(*size):
        for (h, w), view, width in zip(probe.map_sizes, probe.at(y, x), NANO["stripe_widths"], strict=True):
            for group in view.groups:
                assert group.weights.shape == group.mask.shape == (h, w)
                assert group.mask[view.token]
                assert not group.weights[~group.mask].any()
                assert (group.weights[group.mask] > 0).all()
                whole = {"vertical stripe": h * width, "horizontal stripe": w * width, "whole map": h * w}
                if group.mask.sum() == whole[group.name]:
                    assert group.weights.sum() == pytest.approx(1, abs=1e-5)
                else:
                    assert group.weights.sum() < 0.95, "padding takes a share"
                    padded += 1
    assert (padded > 0) == (size != (64, 64))


@pytest.mark.parametrize("size", SIZES)
def test_the_token_under_a_pixel_is_the_one_that_covers_it(network: CSWinTransformer, size: tuple[int, int]) -> None:
    probe = StripeProbe(network, picture(*size)[0])
    for stage, (h, w) in enumerate(SIZES[size]):
        # The edges of the tokens cut the image into h rows and w columns of equal height and width.
        for y in range(size[0]):
            row, _ = probe.token(stage, y, 0)
            assert row * size[0] / h <= y < (row + 1) * size[0] / h
        for x in range(size[1]):
            _, column = probe.token(stage, 0, x)
            assert column * size[1] / w <= x < (column + 1) * size[1] / w


def test_the_words_say_what_the_arrays_hold(network: CSWinTransformer) -> None:
    first, *_, last = StripeProbe(network, picture(64, 64)).at(20, 40)
    assert first.title == "stage 1"
    tops = [np.unravel_index(group.weights.argmax(), group.weights.shape) for group in first.groups]
    assert first.text == (
        "stage 1, 16x16 tokens: token (5, 10) sees"
        f" vertical stripe columns 10-10 (16 tokens, most at ({tops[0][0]}, 10)) and"
        f" horizontal stripe rows 5-5 (16 tokens, most at (5, {tops[1][1]}))"
    )
    assert last.text.startswith("stage 4, 2x2 tokens: token (0, 1) sees whole map all (4 tokens, most at (")


def test_a_flat_network_is_probed_block_by_block() -> None:
    images = puzzles.same_colour(1, generator=torch.Generator().manual_seed(0)).images
    probe = StripeProbe(flat_network("cswin"), images)
    assert probe.titles == ["block 1", "block 2"]
    assert probe.map_sizes == [(8, 8), (8, 8)]
    first, second = probe.at(0, 0)
    assert [group.name for group in second.groups] == ["vertical stripe", "horizontal stripe"]
    assert not np.array_equal(first.groups[0].weights, second.groups[0].weights)


def test_windows_are_probed_as_well_and_attend_within_their_part_only() -> None:
    images = puzzles.same_colour(1, generator=torch.Generator().manual_seed(0)).images
    network = flat_network("shifted window")
    first, second = region_views(network, images, 5, 26)
    assert first.token == second.token == (1, 6)
    assert (first.title, second.text) == ("block 1", "block 2, 8x8 tokens: token (1, 6) sees 4 tokens")
    (plain,), (shifted,) = first.groups, second.groups
    assert np.argwhere(plain.mask).tolist() == [[r, c] for r in range(4) for c in range(4, 8)]
    assert np.argwhere(shifted.mask).tolist() == [[r, c] for r in range(2) for c in range(6, 8)]
    for group in (plain, shifted):
        assert group.weights.sum() == pytest.approx(1, abs=1e-6)
        assert (group.weights[~group.mask] == 0).all() and (group.weights[group.mask] > 0).all()
    both = region_views(flat_network("cswin", "none"), images, 5, 26)[0].groups
    probed = StripeProbe(flat_network("cswin"), images).at(5, 26)[0].groups
    assert all(np.array_equal(ours.mask, theirs.mask) for ours, theirs in zip(both, probed, strict=True))
    with pytest.raises(ValueError, match="model: expected a flat network of regions, got one of cross-shaped windows"):
        region_views(flat_network("cswin"), images, 5, 26)
    with pytest.raises(ValueError, match=r"y, x: expected a pixel of a 32x32 image, got \(32, 0\)"):
        region_views(network, images, 32, 0)


def test_views_of_several_networks_stand_side_by_side_under_their_names() -> None:
    images = puzzles.same_colour(1, generator=torch.Generator().manual_seed(0)).images
    views = {name: region_views(flat_network(name), images, 5, 26) for name in ("axial", "global")}
    first, second = side_by_side(views)
    assert [group.name for group in first.groups] == ["axial", "global"]
    assert [int(group.mask.sum()) for group in first.groups + second.groups] == [16, 64, 16, 64]
    assert np.array_equal(second.groups[0].weights, views["axial"][1].groups[0].weights)
    assert (second.title, second.text.count("\n")) == ("block 2", 1)
    with pytest.raises(ValueError, match="zip"):
        side_by_side(views | {"short": views["axial"][:1]})


def test_probing_leaves_no_hook_behind(network: CSWinTransformer) -> None:
    StripeProbe(network, picture(64, 64))
    assert not any(module._forward_hooks for module in network.modules())


def test_probes_refuse_what_they_cannot_answer(network: CSWinTransformer) -> None:
    with pytest.raises(ValueError, match=r"image: expected one image \(1, 3, H, W\), got shape \(2, 3, 64, 64\)"):
        StripeProbe(network, torch.randn(2, 3, 64, 64))
    for mechanism in ("window", "axial", "shifted window"):
        with pytest.raises(ValueError, match="model: expected a network with cross-shaped attention, got FlatTransf"):
            StripeProbe(flat_network(mechanism), torch.randn(1, 3, 32, 32))
    probe = StripeProbe(network, picture(64, 64))
    for y, x in ((64, 0), (0, 64), (-1, 0), (0, -1)):
        with pytest.raises(ValueError, match=rf"y, x: expected a pixel of a 64x64 image, got \({y}, {x}\)"):
            probe.at(y, x)
        with pytest.raises(ValueError, match=rf"y, x: expected a pixel of a 64x64 image, got \({y}, {x}\)"):
            receptive_field(network, picture(64, 64), y, x, 1)
    for depth in (0, 9):
        with pytest.raises(ValueError, match=f"depth: expected 1 to 8 blocks, got {depth}"):
            receptive_field(network, picture(64, 64), 0, 0, depth)


def test_the_receptive_field_is_a_cross_after_one_block_and_everything_after_two(network: CSWinTransformer) -> None:
    first, second = (receptive_field(network, picture(64, 64), 22, 41, depth) for depth in (1, 2))
    seen = first.strength > 0
    assert first.name == "stage 1, block 1"
    assert seen.sum() == 31
    assert seen[5].all()
    assert seen[:, 10].all()
    assert first.share() == pytest.approx(100 * 31 / 256)
    assert second.share() == 100
    assert second.strength.max() == 1
    assert second.share(0.5) == pytest.approx(100 * (second.strength > 0.5).mean())
    assert 0 < second.share(0.5) < 100


def test_the_receptive_field_is_what_moves_the_token(network: CSWinTransformer) -> None:
    """Against another gradient: that of the token by each of the stem's tokens, through all blocks of the network."""
    image = picture(64, 64)
    names = block_names(network)
    depths = NANO["depths"]
    assert names == [f"stage {s + 1}, block {b + 1}" for s, depth in enumerate(depths) for b in range(depth)]
    stem = network.stem(image).detach().requires_grad_()
    tokens = stem
    for stage in network.stages:
        tokens = stage(tokens)
    tokens[0, 22 * 2 // 64, 41 * 2 // 64].sum().backward()
    expected = stem.grad[0].abs().sum(dim=-1)
    found = receptive_field(network, image, 22, 41, len(names))
    assert found.name == names[-1] == "stage 4, block 1"
    assert np.allclose(found.strength, (expected / expected.max()).numpy(), atol=1e-5)
    assert all(parameter.grad is None for parameter in network.stem.parameters())
