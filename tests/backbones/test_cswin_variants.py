"""Rivals of cross-shaped windows and of LePE: what each token sees, what a position does, and what it all costs."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visionlab.backbones.cswin import CSWinTransformer
from visionlab.backbones.cswin_positions import (
    POSITIONS,
    AbsoluteEncoding,
    ConditionalEncoding,
    RelativeBias,
    convolve_within,
)
from visionlab.backbones.cswin_variants import (
    MECHANISMS,
    RegionAttention,
    flat_network,
    hierarchical_network,
    may_attend,
    multiply_adds,
    regions_of,
)
from visionlab.measure.cost import multiply_adds as counted
from visionlab.measure.cost import parameters

NANO: dict[str, Any] = {
    "img_size": 64, "dim": 16, "depths": (2, 2, 2, 1), "heads": (2, 4, 8, 8), "stripe_widths": (1, 2, 4, 2),
    "num_classes": 10,
}  # fmt: skip
SIZES = [(8, 8), (7, 9), (5, 4), (1, 6), (3, 1)]


def a_map(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def sees(mechanism: str, block: int, group: int, a: tuple[int, int], b: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether a sees b, told by where they lie; stripes are 2 wide, windows 4."""

    def stripe(place: int, side: int) -> int:
        before = (-side % 2) // 2  # what a stripe lacks is added half before, half behind
        return (place + before) // 2

    same_row, same_column = (stripe(x, s) == stripe(y, s) for x, y, s in zip(a, b, size, strict=True))
    shift = 2 if mechanism == "shifted window" and block % 2 else 0
    return {
        "cswin": same_column if group == 0 else same_row,
        "axial": same_row if block % 2 == 0 else same_column,
        "criss-cross": a[0] == b[0] or a[1] == b[1],
        "global": True,
    }.get(mechanism, all((x + shift) // 4 == (y + shift) // 4 for x, y in zip(a, b, strict=True)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_token_sees_what_its_mechanism_says(mechanism: str, size: tuple[int, int]) -> None:
    places = [(row, column) for row in range(size[0]) for column in range(size[1])]
    for block in range(3):
        groups = regions_of(mechanism, block, stripe_width=2, window=4)
        assert len(groups) == (2 if mechanism == "cswin" else 1)
        for group, regions in enumerate(groups):
            expected = [[sees(mechanism, block, group, a, b, size) for b in places] for a in places]
            assert may_attend(regions(*size)).tolist() == expected


@pytest.mark.parametrize("position", ["none", "rpe", "lepe"])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_attention_is_that_of_plain_loops(mechanism: str, position: str) -> None:
    height, width, dim, heads = 5, 6, 8, 4
    groups = regions_of(mechanism, 1, stripe_width=2, window=4)
    torch.manual_seed(0)
    module = RegionAttention(dim, heads=heads, groups=groups, position=position, size=(height, width)).double()
    x = a_map(1, height, width, dim)
    q, k, v = module.qkv(x)[0].flatten(0, 1).view(height * width, 3, heads, dim // heads).unbind(1)
    out = torch.zeros(height * width, heads, dim // heads, dtype=torch.float64)
    for head in range(heads):
        group = head * len(groups) // heads
        mask = may_attend(groups[group](height, width))
        for i in range(height * width):
            others = [j for j in range(height * width) if mask[i, j]]
            logits = torch.stack([q[i, head] @ k[j, head] / math.sqrt(dim // heads) for j in others])
            if position == "rpe":
                table = module.bias[group].table[0, head % (heads // len(groups))]
                middle = (table.shape[0] // 2, table.shape[1] // 2)
                logits = logits + torch.stack(
                    [table[middle[0] + j // width - i // width, middle[1] + j % width - i % width] for j in others]
                )
            out[i, head] = sum(p * v[j, head] for p, j in zip(logits.softmax(0), others, strict=True))
    values = out.flatten(1)
    if position == "lepe":
        flat = v.flatten(1).view(height, width, dim)
        share = dim // len(groups)
        for group, regions in enumerate(groups):
            part = flat[None, ..., group * share : (group + 1) * share]
            local = plainly_convolved(part[0], module.lepe[group], may_attend(regions(height, width)))
            values[:, group * share : (group + 1) * share] += local.flatten(0, 1)
    expected = module.proj(values).view(1, height, width, dim)
    torch.testing.assert_close(module(x), expected, rtol=1e-10, atol=1e-12)


def plainly_convolved(x: Tensor, convolution: nn.Conv2d, mask: Tensor) -> Tensor:
    height, width, _ = x.shape
    out = convolution.bias.expand_as(x).clone()
    for row in range(height):
        for column in range(width):
            for i in range(max(row - 1, 0), min(row + 2, height)):
                for j in range(max(column - 1, 0), min(column + 2, width)):
                    if mask[row * width + column, i * width + j]:
                        out[row, column] += x[i, j] * convolution.weight[:, 0, 1 + i - row, 1 + j - column]
    return out


def test_within_one_region_lepe_is_a_convolution() -> None:
    convolution, x = nn.Conv2d(4, 4, 3, padding=1, groups=4).double(), a_map(2, 5, 7, 4)
    expected = convolution(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    found = convolve_within(x, convolution, torch.zeros(5, 7, dtype=torch.int64))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


# Positions


def test_without_a_position_a_global_network_does_not_know_where_anything_is() -> None:
    torch.manual_seed(0)
    images = a_map(2, 3, 32, 32)
    order = torch.randperm(64)
    cells = F.unfold(images, 4, stride=4)
    moved = F.fold(cells[:, :, order], (32, 32), 4, stride=4)
    for position in POSITIONS:
        network = flat_network("global", position).double().eval()
        told = network(images).flatten(1, 2)[:, order]
        same = torch.allclose(told, network(moved).flatten(1, 2), rtol=1e-9, atol=1e-10)
        assert same == (position == "none"), position


def test_a_table_is_added_as_it_is_and_resized_for_another_map() -> None:
    encoding = AbsoluteEncoding(6, (4, 5)).double()
    x = a_map(2, 4, 5, 6)
    table = encoding.table[0].permute(1, 2, 0)
    torch.testing.assert_close(encoding(x), x + table)
    nn.init.constant_(encoding.table, 0.5)
    torch.testing.assert_close(encoding(torch.zeros(1, 9, 3, 6).double()), torch.full((1, 9, 3, 6), 0.5).double())
    encoding = AbsoluteEncoding(1, (4, 4)).double()
    with torch.no_grad():
        encoding.table.copy_(torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 4, 4))
    wide = encoding(torch.zeros(1, 8, 8, 1).double())[0, 4, :, 0]
    assert (wide.diff() > 0).all(), "what grows to the right still does"


def test_a_relative_bias_depends_on_the_offset_alone() -> None:
    torch.manual_seed(0)
    bias = RelativeBias(3, (4, 5)).double()
    everything = torch.ones(20, 20, dtype=torch.bool)
    found = bias(4, 5, everything).view(3, 4, 5, 4, 5)
    for down, across in ((1, 2), (-2, 1), (0, 0), (3, -4)):
        same = {
            round(found[0, row, column, row + down, column + across].item(), 12)
            for row in range(4)
            for column in range(5)
            if 0 <= row + down < 4 and 0 <= column + across < 5
        }
        assert len(same) == 1
    assert len(found[0].unique()) == 7 * 9
    assert bias(6, 7, torch.ones(42, 42, dtype=torch.bool)).shape == (3, 42, 42)


def test_conditional_encoding_is_a_residual_convolution() -> None:
    encoding, x = ConditionalEncoding(4).double(), a_map(2, 5, 6, 4)
    expected = x + encoding.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    torch.testing.assert_close(encoding(x), expected)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_every_pair_is_drop_in_and_every_parameter_learns(mechanism: str, position: str) -> None:
    torch.manual_seed(0)
    flat = flat_network(mechanism, position)
    whole = hierarchical_network(mechanism, position, windows=(4, 4, 4, 2), **NANO)
    for network, sizes in ((flat, [(32, 32), (48, 20)]), (whole, [(64, 64), (80, 96), (33, 47)])):
        for height, width in sizes:
            out = network(torch.randn(2, 3, height, width))
            assert out.isfinite().all()
            assert len(out) == 2
        network(torch.randn(2, 3, *sizes[0])).square().mean().backward()
        still = [name for name, parameter in network.named_parameters() if parameter.grad is None]
        assert not still
    whole.reset_classifier(4)
    whole.set_grad_checkpointing()
    whole(torch.randn(1, 3, 64, 64)).sum().backward()
    assert [x.shape[1] for x in whole.forward_intermediates(torch.randn(1, 3, 64, 64), intermediates_only=True)] == [
        16, 32, 64, 128,
    ]  # fmt: skip


def test_cswin_with_lepe_is_cswin_itself() -> None:
    torch.manual_seed(0)
    ours = hierarchical_network("cswin", windows=(4, 4, 4, 2), **NANO).double().eval()
    theirs = CSWinTransformer(**NANO).double().eval()
    theirs.load_state_dict(ours.state_dict())
    x = a_map(1, 3, 64, 64)
    assert torch.equal(ours(x), theirs(x))


# Costs


def test_all_mechanisms_of_the_paper_cost_the_same() -> None:
    flat = {name: multiply_adds(flat_network(name).blocks, 1, 8, 8, 32) for name in MECHANISMS}
    # Per token and channel: 12 C, the tokens in sight twice, 9 of LePE.
    each = {"cswin": 16, "shifted window": 16, "window": 16, "axial": 16, "criss-cross": 15, "global": 64}
    assert flat == {name: 2 * 64 * 32 * (12 * 32 + 2 * field + 9) for name, field in each.items()}
    whole = {
        name: multiply_adds(hierarchical_network(name, windows=(4, 4, 4, 2), **NANO), 1, 3, 64, 64)
        for name in MECHANISMS
    }
    assert whole["cswin"] == whole["shifted window"] == whole["window"] == whole["axial"]
    assert whole["cswin"] < whole["criss-cross"] < whole["global"]
    sizes = {parameters(hierarchical_network(name, windows=(4, 4, 4, 2), **NANO)) for name in MECHANISMS}
    assert sizes == {435_114}


def test_the_count_is_the_counters_where_nothing_is_masked() -> None:
    x = torch.zeros(1, 3, 64, 64)
    for mechanism, position in (("cswin", "lepe"), ("global", "none"), ("global", "ape"), ("global", "cpe*")):
        network = hierarchical_network(mechanism, position, windows=(4, 4, 4, 2), **NANO)
        assert multiply_adds(network, 1, 3, 64, 64) == counted(network, x)


def test_positions_cost_what_the_paper_says() -> None:
    cost = {name: multiply_adds(flat_network("cswin", name).blocks, 1, 8, 8, 32) for name in POSITIONS}
    assert cost["none"] == cost["ape"] == cost["rpe"] == cost["cpe"]  # the one convolution of CPE is before the blocks
    assert cost["lepe"] == cost["cpe*"] == cost["none"] + 2 * 64 * 32 * 9


@pytest.mark.usefixtures("as_users_run_it")
def test_unknown_names_and_heads_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"mechanism: expected one of cswin, .*, global, got 'swin'"):
        flat_network("swin")
    with pytest.raises(ValueError, match=r"position: expected one of none, ape, .*, lepe, got 'sine'"):
        flat_network("cswin", "sine")
    with pytest.raises(ValueError, match="position: expected"):
        hierarchical_network("cswin", "sine", windows=(4, 4, 4, 2), **NANO)
    with pytest.raises(ValueError, match="heads: 3 heads do not split 8 channels over 1 groups"):
        RegionAttention(8, heads=3, groups=regions_of("global", 0, stripe_width=1, window=2))
