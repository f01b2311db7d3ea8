"""The bridge, the Former and the dynamic ReLU: against plain forms, and by the properties that the paper gives them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from visionlab.backbones.mobile_former_blocks import MobileFormerBlock
from visionlab.backbones.mobile_former_bridge import Former, ToFormer, ToMobile
from visionlab.backbones.mobile_former_mobile import (
    DynamicReLU,
    Lite,
    LiteMobile,
    Regular,
    RegularMobile,
    Slopes,
    shuffled,
)
from visionlab.watch import watch

C, D, M = 8, 16, 5


def loud(module: nn.Module) -> nn.Module:
    """With weights large enough that every part matters."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            nn.init.normal_(layer.bias, std=0.3)
    return module.double().eval()


@pytest.fixture
def streams(rng: torch.Generator) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(2, C, 4, 6, dtype=torch.float64, generator=rng)
    return x, torch.randn(2, M, D, dtype=torch.float64, generator=rng)


def block() -> MobileFormerBlock:
    mobile = RegularMobile(C, Regular(24, C), lambda channels: DynamicReLU(D, channels))
    return loud(MobileFormerBlock(mobile, ToFormer(C, D), Former(D), ToMobile(C, D)))


def heads_first(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def test_both_bridges_and_the_former_equal_fused_attention(streams: tuple[Tensor, Tensor]) -> None:
    x, z = streams
    pixels = x.flatten(2).transpose(1, 2)
    to_former, former, to_mobile = loud(ToFormer(C, D)), loud(Former(D)), loud(ToMobile(C, D))
    k = heads_first(pixels, 2)
    read = F.scaled_dot_product_attention(heads_first(to_former.query(z), 2), k, k).transpose(1, 2).flatten(2)
    expected = to_former.norm(z + to_former.proj(2 * to_former.gate(z) * read))
    assert torch.allclose(to_former(z, x), expected)
    k = heads_first(z, 4)
    heard = F.scaled_dot_product_attention(heads_first(former.query(z), 4), k, k).transpose(1, 2).flatten(2)
    expected = former.norm1(z + former.proj(heard))
    assert torch.allclose(former(z), former.norm2(expected + former.mlp(expected)))
    taken = F.scaled_dot_product_attention(k_of(pixels), k_of(to_mobile.key(z)), k_of(to_mobile.value(z)))
    expected = x + taken.transpose(1, 2).flatten(2).transpose(1, 2).view_as(x)
    assert torch.allclose(to_mobile(x, z), expected)


def k_of(x: Tensor) -> Tensor:
    return heads_first(x, 2)


def test_tokens_read_pixels_in_any_order_and_a_map_takes_from_tokens_in_any_order(
    streams: tuple[Tensor, Tensor],
) -> None:
    x, z = streams
    pixels, tokens = torch.randperm(24), torch.randperm(M)
    mixed = x.flatten(2)[:, :, pixels].view_as(x)
    to_former, former, to_mobile = loud(ToFormer(C, D)), loud(Former(D)), loud(ToMobile(C, D))
    assert torch.allclose(to_former(z, mixed), to_former(z, x))
    assert torch.allclose(to_former(z[:, tokens], x), to_former(z, x)[:, tokens])
    assert torch.allclose(former(z[:, tokens]), former(z)[:, tokens])
    assert torch.allclose(to_mobile(x, z[:, tokens]), to_mobile(x, z))
    assert torch.allclose(to_mobile(mixed, z), to_mobile(x, z).flatten(2)[:, :, pixels].view_as(x))


def test_in_a_block_the_order_of_all_tokens_but_the_first_is_free(streams: tuple[Tensor, Tensor]) -> None:
    x, z = streams
    network = block()
    y, out = network(x, z)
    order = torch.tensor([0, 3, 1, 4, 2])
    y2, out2 = network(x, z[:, order])
    assert torch.allclose(y2, y)
    assert torch.allclose(out2, out[:, order])
    assert not torch.allclose(network(x, z[:, [1, 0, 2, 3, 4]])[0], y)


def test_a_bridge_that_projects_to_zero_changes_nothing(streams: tuple[Tensor, Tensor]) -> None:
    x, z = streams
    to_former, to_mobile = loud(ToFormer(C, D)), loud(ToMobile(C, D))
    for layer in (to_former.proj, to_mobile.value):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    assert torch.equal(to_mobile(x, z), x)
    assert torch.allclose(to_former(z, x), F.layer_norm(z, (D,)))


def test_the_softmaxes_say_who_reads_and_writes_what(streams: tuple[Tensor, Tensor]) -> None:
    x, z = streams
    network = block()
    with watch(network, "*softmax") as seen:
        y, _ = network(x, z)
    read, written = seen["to_former.softmax"], seen["to_mobile.softmax"]
    assert read.shape == written.shape == (2, 2, M, 24)
    assert seen["former.softmax"].shape == (2, 4, M, M)
    assert torch.allclose(read.sum(-1), torch.ones((), dtype=read.dtype))
    assert torch.allclose(written.sum(-2), torch.ones((), dtype=read.dtype))
    # A pixel whose product with a token's key stands out listens to it.
    to_mobile = network.to_mobile
    nn.init.zeros_(to_mobile.key.weight)
    loudest = torch.zeros(2, M, C, dtype=torch.float64)
    loudest[:, 3, : C // 2] = 100.0
    to_mobile.key.register_forward_hook(lambda *_: loudest)
    with watch(network, "to_mobile.softmax") as seen:
        to_mobile(torch.ones_like(y), z)
    assert torch.allclose(seen["to_mobile.softmax"][:, 0, 3], torch.ones((), dtype=y.dtype))
    assert torch.allclose(seen["to_mobile.softmax"][:, 1], torch.full((), 1 / M, dtype=y.dtype))


def test_the_gate_opens_and_closes_what_a_token_reads(streams: tuple[Tensor, Tensor]) -> None:
    x, z = streams
    to_former = loud(ToFormer(C, D))
    nn.init.zeros_(to_former.gate[0].weight)
    nn.init.constant_(to_former.gate[0].bias, -3.0)
    assert torch.allclose(to_former(z, x), F.layer_norm(z + to_former.proj.bias, (D,)))


@given(st.floats(-4, 4), st.floats(-2, 2))
@settings(max_examples=30, deadline=None)
def test_slopes_stay_in_their_ranges_and_start_at_a_plain_relu(p: float, q: float) -> None:
    slopes = Slopes(D, C).double()
    nn.init.zeros_(slopes.mlp[2].weight)
    nn.init.constant_(slopes.mlp[2].bias[:C], p)
    nn.init.constant_(slopes.mlp[2].bias[C:], q)
    a1, a2 = slopes(torch.randn(1, 1, D, dtype=torch.float64))[0, 0]
    assert torch.allclose(a1, torch.full_like(a1, 2 * min(max(p + 3, 0), 6) / 6))
    assert torch.allclose(a2, torch.full_like(a2, 2 * min(max(q + 3, 0), 6) / 6 - 1))
    assert 0 <= a1.min() <= a1.max() <= 2
    assert -1 <= a2.min() <= a2.max() <= 1


def test_a_dynamic_relu_hears_the_first_token_or_at_each_place_the_ones_that_vote(
    streams: tuple[Tensor, Tensor],
) -> None:
    x, z = streams
    act = loud(DynamicReLU(D, C))
    a1, a2 = act.slopes(z)[:, 0].unbind(1)
    expected = torch.maximum(a1[..., None, None] * x, a2[..., None, None] * x)
    assert torch.allclose(act(x, z), expected)
    changed = z.clone()
    changed[:, 1:] = 0
    assert torch.equal(act(x, changed), act(x, z))
    votes = torch.zeros(2, M, 4, 6, dtype=torch.float64)
    votes[:, 0, :, :3] = 1
    votes[:, 2, :, 3:] = 1
    voted = act(x, z, votes)
    assert torch.allclose(voted[..., :3], expected[..., :3])
    assert torch.allclose(voted[..., 3:], act(x, z[:, 2:3])[..., 3:])


def test_shuffling_deals_channels_out_and_twice_brings_them_back() -> None:
    x = torch.arange(12.0).view(1, 12, 1, 1)
    assert shuffled(x, 4).flatten().tolist() == [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]
    assert torch.equal(shuffled(x, 4), F.channel_shuffle(x, 4))
    assert torch.equal(shuffled(shuffled(x, 4), 3), x)
    assert shuffled(x, 1) is x


def test_a_residual_joins_only_maps_of_one_size() -> None:
    x = torch.randn(1, C, 4, 4, dtype=torch.float64)
    lite = LiteMobile(C, Lite(2, C, 1)).double().eval()
    nn.init.zeros_(lite.conv2.conv.weight)
    assert torch.equal(lite(x), x)
    for spec in (Lite(2, C, 2), Lite(2, C + 2, 1)):
        other = LiteMobile(C, spec).double().eval()
        nn.init.zeros_(other.conv2.conv.weight)
        assert not other(x).any()
