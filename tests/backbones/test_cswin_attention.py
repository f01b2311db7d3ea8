"""Cross-shaped window attention: against a plain form, and by the properties that the paper gives it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.plain_cswin import cross_shaped_attention, plain
from visionlab.backbones import cswin_attention
from visionlab.backbones.cswin_attention import (
    Attend,
    CrossShapedWindowAttention,
    StripeAttention,
    attention_cost,
    from_stripes,
    stripe_indices,
    to_stripes,
    window_size,
)
from visionlab.backbones.cswin_positions import convolve_within
from visionlab.backbones.cswin_variants import RegionAttention, stripe_regions
from visionlab.measure.cost import multiply_adds
from visionlab.watch import watch


def attention(dim: int = 8, heads: int = 4, sw: int = 2, whole: bool = False) -> CrossShapedWindowAttention:
    torch.manual_seed(0)
    return CrossShapedWindowAttention(dim, heads=heads, stripe_width=sw, whole=whole).double()


def a_map(*size: int) -> Tensor:
    return torch.randn(*size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2))
@settings(max_examples=40, deadline=None)
def test_from_stripes_undoes_to_stripes(b: int, rows: int, cols: int, h: int, w: int, c: int) -> None:
    x = torch.arange(b * rows * h * cols * w * c).view(b, rows * h, cols * w, c).double()
    windows = to_stripes(x, h, w)
    assert windows.shape == (b * rows * cols, h * w, c)
    assert torch.equal(from_stripes(windows, (rows * h, cols * w), h, w), x)


def test_stripes_of_a_4x4_map_are_those_of_the_paper() -> None:
    assert stripe_indices((4, 4), "vertical", 2).tolist() == [[0, 1, 4, 5, 8, 9, 12, 13], [2, 3, 6, 7, 10, 11, 14, 15]]
    assert stripe_indices((4, 4), "horizontal", 2).tolist() == [list(range(8)), list(range(8, 16))]
    assert stripe_indices((2, 3), "whole", 9).tolist() == [list(range(6))]


def test_padding_is_centred_with_the_odd_one_behind() -> None:
    assert stripe_indices((16, 1), "horizontal", 7).flatten().tolist() == [-1, -1, *range(16), -1, -1, -1]
    assert stripe_indices((1, 20), "vertical", 7).flatten().tolist() == [*range(20), -1]


def test_every_token_is_in_exactly_one_window() -> None:
    for size in ((5, 9), (7, 7), (1, 3)):
        for orientation in ("vertical", "horizontal"):
            index = stripe_indices(size, orientation, 4).flatten()
            assert sorted(index[index >= 0].tolist()) == list(range(size[0] * size[1]))


@pytest.mark.parametrize("window", [(3, 2), (0, 2), (2, 5), (-1, 2)])
def test_a_window_that_does_not_divide_the_map_is_refused(window: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"x: a map of 4x4 .* pad it first"):
        to_stripes(torch.zeros(1, 4, 4, 1), *window)


@pytest.mark.parametrize(
    ("size", "sw", "whole"),
    [
        ((4, 4), 1, False),
        ((4, 6), 2, False),
        ((5, 7), 3, False),
        ((3, 3), 7, False),
        ((1, 1), 1, False),
        ((4, 5), 7, True),
    ],
)
def test_it_equals_the_plain_form_on_any_size(size: tuple[int, int], sw: int, whole: bool) -> None:
    module, x = attention(sw=sw, whole=whole), a_map(2, *size, 8)
    expected = module(x)
    assert torch.allclose(expected, cross_shaped_attention(module, x), rtol=1e-10, atol=1e-12)
    assert torch.allclose(expected, plain(module)(x), rtol=1e-10, atol=1e-12)


def test_it_equals_masked_full_attention_over_the_same_stripes() -> None:
    module = attention(sw=3)
    groups = [
        lambda h, w, o=orientation: stripe_regions(h, w, orientation=o, stripe_width=3)
        for orientation in ("vertical", "horizontal")
    ]
    twin = RegionAttention(8, heads=4, groups=groups).double()
    twin.qkv, twin.proj = module.qkv, module.proj
    for lepe, branch in zip(twin.lepe, module.branches, strict=True):
        lepe.load_state_dict(branch.lepe.state_dict())
    x = a_map(2, 9, 6, 8)
    assert torch.allclose(module(x), twin(x), rtol=1e-10, atol=1e-12)


def test_a_stripe_as_wide_as_the_map_is_full_attention() -> None:
    whole = attention(whole=True)
    wide = attention(sw=6)
    wide.qkv, wide.proj = whole.qkv, whole.proj
    wide.branches[0].lepe.weight.data, wide.branches[1].lepe.weight.data = whole.branches[0].lepe.weight.data.chunk(2)
    wide.branches[0].lepe.bias.data, wide.branches[1].lepe.bias.data = whole.branches[0].lepe.bias.data.chunk(2)
    x = a_map(1, 6, 6, 8)
    assert torch.allclose(wide(x), whole(x), rtol=1e-10, atol=1e-12)


def test_vertical_and_horizontal_heads_see_only_their_stripes() -> None:
    module = attention(sw=2)
    qkv = a_map(1, 6, 8, 3, 4).requires_grad_()
    for branch, expected in zip(module.branches, ((slice(None), slice(4, 6)), (slice(2, 4), slice(None))), strict=True):
        (gradient,) = torch.autograd.grad(branch(qkv)[0, 3, 5].sum(), qkv)
        seen = gradient[0].abs().sum(dim=(-1, -2)) > 0
        mask = torch.zeros(6, 8, dtype=torch.bool)
        mask[expected] = True
        assert torch.equal(seen, mask)


def test_one_block_sees_a_cross_and_two_see_everything() -> None:
    first, second = attention(sw=1), attention(sw=1)
    x = a_map(1, 7, 5, 8).requires_grad_()
    (one,) = torch.autograd.grad(first(x)[0, 2, 3].sum(), x)
    (two,) = torch.autograd.grad(second(first(x))[0, 2, 3].sum(), x)
    cross = torch.zeros(7, 5, dtype=torch.bool)
    cross[2], cross[:, 3] = True, True
    assert torch.equal(one[0].abs().sum(dim=-1) > 0, cross)
    assert bool((two[0].abs().sum(dim=-1) > 0).all())


def test_padded_tokens_take_part_in_the_softmax() -> None:
    branch = StripeAttention(2, heads=1, orientation="vertical", stripe_width=2).double()
    torch.nn.init.zeros_(branch.lepe.weight)
    torch.nn.init.zeros_(branch.lepe.bias)
    qkv = torch.zeros(1, 1, 1, 3, 2, dtype=torch.float64)
    qkv[..., 2, :] = 1.0
    # One real token and one padded one, both with logit 0: half of the weight falls on zeros.
    assert torch.equal(branch(qkv), torch.full((1, 1, 1, 2), 0.5, dtype=torch.float64))


def test_six_of_nine_taps_are_dead_where_the_stripe_is_one_token_wide() -> None:
    module = attention(sw=1)
    module(a_map(1, 5, 5, 8)).square().sum().backward()
    alive = [branch.lepe.weight.grad.abs().sum(dim=(0, 1)) > 0 for branch in module.branches]
    assert alive[0].tolist() == [[False, True, False]] * 3
    assert alive[1].tolist() == [[False] * 3, [True] * 3, [False] * 3]


def test_lepe_inside_stripes_differs_from_a_whole_map_convolution_along_the_seams_only() -> None:
    torch.manual_seed(0)
    lepe = torch.nn.Conv2d(4, 4, 3, padding=1, groups=4).double()
    x = a_map(1, 4, 6, 4)
    inside = convolve_within(x, lepe, stripe_regions(4, 6, orientation="vertical", stripe_width=3))
    everywhere = lepe(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    differs = (inside - everywhere).abs().amax(dim=(0, 1, 3)) > 1e-12
    assert differs.tolist() == [False, False, True, True, False, False]


def test_the_fused_kernel_computes_what_the_readable_path_computes() -> None:
    q, k, v = (a_map(5, 2, 6, 4) for _ in range(3))
    assert torch.allclose(Attend()(q, k, v), F.scaled_dot_product_attention(q, k, v), rtol=1e-10, atol=1e-12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("size", [(9, 7), (9, 9)])
def test_cuda_agrees_with_the_cpu(size: tuple[int, int]) -> None:
    module, x = attention(sw=3), a_map(2, *size, 8)
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            assert torch.allclose(module.cuda()(x.cuda()).cpu(), module.cpu()(x), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("sw", "whole"), [(1, False), (2, False), (7, False), (7, True)])
def test_equation_3_counts_what_a_counter_counts(sw: int, whole: bool) -> None:
    module = CrossShapedWindowAttention(16, heads=4, stripe_width=sw, whole=whole)
    lepe = 14 * 14 * 16 * 9
    counted = multiply_adds(module, torch.zeros(1, 14, 14, 16))
    assert counted - lepe == attention_cost(14, 14, 16, None if whole else sw)


def test_non_contiguous_maps_are_taken() -> None:
    module, x = attention(sw=2), a_map(1, 6, 4, 8)
    assert torch.allclose(module(x.transpose(1, 2)), module(x.transpose(1, 2).contiguous()))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.05), (torch.float16, 0.005)])
def test_low_precision_stays_close(dtype: torch.dtype, tolerance: float) -> None:
    module, x = attention(sw=2), a_map(1, 6, 4, 8)
    exact, low = module(x), module.to(dtype)(x.to(dtype))
    assert low.dtype == dtype
    assert (low.double() - exact).abs().max() < tolerance


def test_an_empty_batch_gives_an_empty_batch() -> None:
    assert attention()(a_map(0, 5, 4, 8)).shape == (0, 5, 4, 8)


@pytest.mark.parametrize(("dim", "heads"), [(8, 3), (8, 1), (9, 4)])
def test_heads_that_do_not_split_are_refused(dim: int, heads: int) -> None:
    with pytest.raises(ValueError, match=f"heads: {heads} heads do not split {dim} channels"):
        CrossShapedWindowAttention(dim, heads=heads, stripe_width=1)


def test_window_sizes_follow_the_orientation() -> None:
    assert window_size("vertical", 3, (6, 9)) == (6, 3)
    assert window_size("horizontal", 3, (6, 9)) == (3, 9)
    assert window_size("whole", 3, (6, 9)) == (6, 9)


@pytest.mark.parametrize(("side", "sw"), [(8, 1), (8, 2), (6, 3), (4, 4), (1, 1)])
def test_both_branches_at_once_give_what_they_give_one_by_one(side: int, sw: int) -> None:
    together, apart = attention(sw=sw), attention(sw=sw)
    for branch in apart.branches:
        branch.attend.fused_attn = False
    x = a_map(2, side, side, 8)
    found, expected = together(x), apart(x)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(together(x), expected, rtol=1e-12, atol=1e-12)
    for out in (found, expected):
        out.square().sum().backward()
    for (name, one), other in zip(together.named_parameters(), apart.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-10, atol=1e-12, msg=name)
    assert multiply_adds(together, x) == multiply_adds(apart, x)


def test_large_maps_are_computed_branch_by_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    both = cswin_attention.attend_crosswise
    monkeypatch.setattr(cswin_attention, "attend_crosswise", lambda *given: calls.append(1) or both(*given))
    module = attention()
    side = int((cswin_attention.SMALL / 8) ** 0.5) // 2 * 2
    module(a_map(1, side, side, 8))
    assert calls == [1]
    module(a_map(1, side + 2, side + 2, 8))
    assert calls == [1]


def test_gpus_compute_both_branches_at_once_in_training_alone() -> None:
    x = torch.empty(1, 8, 8, 4096, device="meta")  # on no CPU, and not small
    assert cswin_attention.as_one(x, 2) and not cswin_attention.as_one(x, 3)
    assert not cswin_attention.as_one(x[:, :6], 2)
    with torch.inference_mode():
        assert not cswin_attention.as_one(x, 2)
    assert not cswin_attention.as_one(torch.empty(1, 8, 8, 4096), 2)


def test_branches_are_computed_one_by_one_where_they_are_watched_or_the_map_is_not_square() -> None:
    module = attention()
    calls: list[str] = []
    for name, branch in module.named_modules():
        if isinstance(branch, StripeAttention):
            branch.register_forward_hook(lambda *_, name=name: calls.append(name))
    module(a_map(1, 8, 8, 8))
    assert not calls
    with watch(module, "branches.*.attend.softmax") as seen:
        module(a_map(1, 8, 8, 8))
    assert len(seen) == len(calls) == 2
    module(a_map(1, 8, 6, 8))
    module(a_map(1, 7, 7, 8))
    assert len(calls) == 6
