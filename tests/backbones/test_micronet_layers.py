"""The ideas of MicroNet one by one: factorized convolutions, who reaches whom, shuffles, Dynamic Shift-Max."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from visionlab.backbones.micronet import CONFIGURATIONS
from visionlab.backbones.micronet_blocks import activation
from visionlab.backbones.micronet_factorized import (
    GroupedPointwise,
    MicroDepthwise,
    MicroFactorizedPointwise,
    channel_shuffle,
    dense_matrix,
    pointwise_groups,
    wiring,
)
from visionlab.backbones.micronet_shiftmax import (
    Coefficients,
    DynamicShiftMax,
    circular_shift,
    coefficient_width,
    shift_max,
)
from visionlab.watch import watch


def channels_of(x: Tensor) -> list[int]:
    return x[0, :, 0, 0].int().tolist()


def numbered(channels: int) -> Tensor:
    """One image of one pixel, whose channels hold their own number."""
    return torch.arange(float(channels))[None, :, None, None]


def test_shuffle_deals_the_channels_of_each_group_out() -> None:
    assert channels_of(channel_shuffle(numbered(6), 2)) == [0, 3, 1, 4, 2, 5]
    assert channels_of(channel_shuffle(numbered(6), 3)) == [0, 2, 4, 1, 3, 5]


@pytest.mark.parametrize(("channels", "groups"), [(12, 1), (12, 3), (12, 4), (12, 12), (64, 8), (35, 5)])
def test_shuffle_is_a_permutation_which_the_other_number_undoes(channels: int, groups: int) -> None:
    x = torch.randn(2, channels, 3, 2)
    y = channel_shuffle(x, groups)
    assert torch.equal(y.sort(1).values, x.sort(1).values)
    assert torch.equal(channel_shuffle(y, channels // groups), x)
    for k in range(channels // groups):  # out[k G + i] = in[i C/G + k]
        for i in range(groups):
            assert torch.equal(y[:, k * groups + i], x[:, i * (channels // groups) + k])


def test_all_groups_of_the_published_tables_are_derived() -> None:
    for configuration in CONFIGURATIONS.values():
        channels = math.prod(configuration["stem"])
        for row in configuration["rows"]:
            hidden = row.out if row.kind == "last" else channels * math.prod(row.expansion)
            g = channels if row.kind == "A" else pointwise_groups(channels, hidden)
            assert row.groups == (0 if row.kind == "A" else g, g)
            out = 0 if row.kind == "last" else pointwise_groups(hidden, row.out)
            assert row.out_groups == (out, out)
            channels = row.out


def test_derived_groups_divide_both_widths() -> None:
    assert [pointwise_groups(*widths) for widths in ((1, 7), (7, 1), (16, 4), (7, 14), (13, 26))] == [1, 1, 2, 7, 13]
    with pytest.raises(ValueError, match="expected whole numbers >= 1, got 0 and 4"):
        pointwise_groups(0, 4)


@pytest.mark.parametrize(("channels", "hidden"), [(16, 4), (18, 9), (32, 16), (50, 25), (64, 16), (128, 64), (64, 64)])
def test_with_the_root_as_groups_each_input_reaches_each_output_once(channels: int, hidden: int) -> None:
    groups = math.isqrt(hidden)
    board = wiring(channels, hidden, groups)
    assert torch.equal(board.paths, torch.ones(channels, channels, dtype=torch.long))
    assert board.connectivity == channels


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_with_fewer_groups_there_are_several_paths(groups: int) -> None:
    board = wiring(128, 64, groups)
    assert board.connected.all()
    assert board.paths.float().mean() == 64 / groups**2
    assert board.connectivity == 128 * 64 // groups**2 > 128


@pytest.mark.parametrize("groups", [16, 32, 64])
def test_with_more_groups_pairs_are_cut_off(groups: int) -> None:
    board = wiring(128, 64, groups)
    assert board.paths.max() == 1
    assert board.connected.sum() == 128 * 128 * 64 // groups**2
    assert board.connectivity == 128 * 64 // groups**2 < 128


def test_parts_of_the_wiring_are_block_diagonal_and_a_permutation() -> None:
    board = wiring(12, 6, 3)
    assert board.p.shape == (12, 6)
    assert board.p.sum() == 3 * 4 * 2
    assert torch.equal(board.q_transposed, board.p.T)
    assert torch.equal(board.phi @ board.phi.T, torch.eye(6, dtype=torch.long))
    assert not torch.equal(board.phi, torch.eye(6, dtype=torch.long))
    assert torch.equal((board.p @ board.p.T > 0).long(), torch.block_diag(*[torch.ones(4, 4).long()] * 3)), "no Phi"


@pytest.mark.parametrize(("sizes", "words"), [((10, 6, 3), "divide 10 channels, got 3"), ((12, 8, 3), "8.*got 3")])
def test_wiring_refuses_groups_that_do_not_divide(sizes: tuple[int, int, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        wiring(*sizes)


@pytest.mark.parametrize(("channels", "reduction", "groups"), [(32, 2, None), (36, 4, None), (24, 2, 6), (24, 3, 1)])
def test_factorized_pointwise_is_a_matrix_with_the_pattern_of_its_wiring(
    channels: int, reduction: int, groups: int | None
) -> None:
    layer = MicroFactorizedPointwise(channels, reduction=reduction, groups=groups).double()
    x = torch.randn(2, channels, 5, 3, dtype=torch.double)
    w = layer.matrix()
    assert torch.allclose(layer(x), torch.einsum("oi,bihw->bohw", w, x), atol=1e-12)
    board = wiring(channels, channels // reduction, layer.shuffle.groups)
    assert torch.equal((w != 0).long(), board.connected)
    assert torch.linalg.matrix_rank(w) <= channels // reduction
    cost = sum(p.numel() for p in layer.parameters())
    assert cost == 2 * channels**2 // (reduction * layer.shuffle.groups)


def test_at_the_root_its_blocks_have_rank_one() -> None:
    layer = MicroFactorizedPointwise(32, reduction=2, groups=4)  # C/R = 16
    blocks = layer.matrix().unfold(0, 8, 8).unfold(1, 8, 8)
    assert blocks.shape == (4, 4, 8, 8)
    assert torch.equal(torch.linalg.matrix_rank(blocks, rtol=1e-4), torch.ones(4, 4).long())


def test_factorized_pointwise_refuses_what_does_not_divide() -> None:
    with pytest.raises(ValueError, match="reduction: expected groups that divide 10 channels, got 3"):
        MicroFactorizedPointwise(10, reduction=3)
    with pytest.raises(ValueError, match="divide 8 channels, got 5"):
        MicroFactorizedPointwise(16, groups=5)
    with pytest.raises(ValueError, match=r"output: expected groups that divide 6 channels, got 4"):
        GroupedPointwise(8, 6, 4)


def test_groups_of_a_pointwise_factor_do_not_see_each_other_and_can_be_reordered() -> None:
    layer = GroupedPointwise(12, 18, 3).eval()
    x = torch.randn(1, 12, 4, 4)
    expected = layer(x)
    order = torch.tensor([2, 0, 1])
    rows_in, rows_out = torch.arange(12).view(3, 4)[order].flatten(), torch.arange(18).view(3, 6)[order].flatten()
    moved = GroupedPointwise(12, 18, 3).eval()
    moved.conv.weight.data = layer.conv.weight.data[rows_out]
    assert torch.allclose(moved(x[:, rows_in]), expected[:, rows_out], atol=1e-6)
    assert torch.equal(dense_matrix(layer.conv)[:6, :4], layer.conv.weight[:6, :, 0, 0])
    assert torch.count_nonzero(dense_matrix(layer.conv)) == 12 * 18 // 3


@pytest.mark.parametrize("expansion", [(1, 1), (2, 2), (1, 4)])
@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_pair_is_a_convolution_with_kernels_of_rank_one(expansion: tuple[int, int], stride: int) -> None:
    layer = MicroDepthwise(3, kernel=5, stride=stride, expansion=expansion).double().eval()
    out = 3 * expansion[0] * expansion[1]
    column = layer.column.weight[:, 0, :, 0].repeat_interleave(expansion[1], 0)
    kernel = torch.einsum("oh,ow->ohw", column, layer.row.weight[:, 0, 0])
    x = torch.randn(2, 3, 9, 12, dtype=torch.double)
    expected = F.conv2d(x.repeat_interleave(out // 3, 1), kernel[:, None], stride=stride, padding=2, groups=out)
    for norm in (layer.norm1, layer.norm2):
        norm.eps = 0.0
    assert torch.allclose(layer(x), expected, atol=1e-12)


def test_even_kernels_are_refused() -> None:
    with pytest.raises(ValueError, match="kernel: expected an odd number >= 1, got 4"):
        MicroDepthwise(8, kernel=4)


def test_shift_takes_the_next_channel_of_the_next_group() -> None:
    assert channels_of(circular_shift(numbered(6), 2)) == [4, 5, 3, 1, 2, 0]
    assert channels_of(circular_shift(numbered(6), 1)) == [1, 2, 3, 4, 5, 0]
    with pytest.raises(ValueError, match="divide 6 channels, got 4"):
        circular_shift(numbered(6), 4)


def test_shift_max_is_its_formula() -> None:
    channels, groups = 12, 3
    size = channels // groups
    layer = DynamicShiftMax(channels, groups, hidden=4, offsets=((1.0, 0.0), (0.5, 0.5))).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, channels, 3, 5, dtype=torch.double)
    fc1, fc2 = layer.coefficients.fc1, layer.coefficients.fc2
    gate = fc2(fc1(x.mean((2, 3))).clamp(min=0))
    theta = 4 * ((gate + 3).clamp(0, 6) / 6 - 0.5)
    a1, b1, a2, b2 = theta.split(channels, 1)
    expected = torch.empty_like(x)
    for image in range(2):
        for u in range(groups):
            for v in range(size):
                i, j = u * size + v, (u + 1) % groups * size + (v + 1) % size
                mine, other = x[image, i], x[image, j]
                z1 = mine * (a1[image, i] + 1) + other * b1[image, i]
                z2 = mine * (a2[image, i] + 0.5) + other * (b2[image, i] + 0.5)
                expected[image, i] = torch.maximum(z1, z2)
    assert torch.allclose(layer(x), expected, atol=1e-12)


def test_linear_form_is_linear_in_the_mixed_channels() -> None:
    x, a = torch.randn(2, 8, 3, 3), torch.randn(2, 1, 2, 8)
    expected = a[:, 0, 0, :, None, None] * x + a[:, 0, 1, :, None, None] * circular_shift(x, 4)
    assert torch.allclose(shift_max([x, circular_shift(x, 4)], a), expected, atol=1e-6)


def test_without_the_shifted_channel_it_is_dynamic_relu() -> None:
    layer = DynamicShiftMax(8, 2, hidden=4, offsets=((1.0,), (0.0,)))
    x = torch.randn(2, 8, 3, 3)
    a = layer.coefficients(x)[..., None, None]
    assert torch.equal(layer(x), torch.maximum(a[:, 0, 0] * x, a[:, 1, 0] * x))
    torch.nn.init.zeros_(layer.coefficients.fc2.weight)
    torch.nn.init.zeros_(layer.coefficients.fc2.bias)
    assert torch.equal(layer(x), x.relu())


def test_with_zero_weights_and_the_first_offsets_it_is_the_identity() -> None:
    layer = DynamicShiftMax(8, 2, hidden=4)
    torch.nn.init.zeros_(layer.coefficients.fc2.weight)
    torch.nn.init.zeros_(layer.coefficients.fc2.bias)
    x = torch.randn(2, 8, 3, 3)
    assert torch.equal(layer(x), x)


def test_coefficients_are_a_watched_layer_of_limited_range() -> None:
    layer = torch.nn.Sequential(DynamicShiftMax(8, 2, hidden=4, offsets=((1.0, 0.0), (0.5, 0.5))))
    torch.nn.init.normal_(layer[0].coefficients.fc2.bias, std=100)
    with watch(layer, "*.coefficients") as seen:
        layer(torch.randn(3, 8, 4, 4))
    a = seen["0.coefficients"]
    assert a.shape == (3, 2, 2, 8)
    centred = a - torch.tensor([[1.0, 0.0], [0.5, 0.5]])[..., None]
    assert centred.min() == -2
    assert centred.max() == 2
    assert "offsets" not in Coefficients(4, hidden=4, offsets=((1.0, 0.0),)).state_dict()


def test_widths_of_coefficient_branches_are_multiples_of_four() -> None:
    got = [coefficient_width(*sizes) for sizes in ((8, 4), (12, 4), (48, 8), (96, 8), (384, 16), (1000, 16), (80, 1))]
    assert got == [4, 4, 8, 12, 24, 64, 80]
    assert coefficient_width(9, 1) == 12  # 8 would lose more than a tenth


def test_bad_activations_are_refused() -> None:
    with pytest.raises(ValueError, match="divide 10 channels, got 4"):
        DynamicShiftMax(10, 4, hidden=4)
    for offsets in ((), ((),), ((1.0, 0.0), (1.0,)), ((1.0, 0.0, 0.0),)):
        with pytest.raises(ValueError, match="offsets: expected rows of one or of two numbers"):
            DynamicShiftMax(8, 4, hidden=4, offsets=offsets)
    with pytest.raises(ValueError, match="activations: expected 0, 1 or 2, got 3"):
        activation(3, 8, 2, 8, ((1.0, 0.0),))
