"""The recorder: it sees what named submodules return, and leaves no trace."""

from __future__ import annotations

import pytest
import timm
import torch

from visionlab.backbones.cswin import CSWinTransformer
from visionlab.watch import watch


def nano() -> CSWinTransformer:
    torch.manual_seed(0)
    return CSWinTransformer(64, dim=16, depths=(1, 1, 2, 1), heads=(2, 4, 8, 8), stripe_widths=(1, 2, 2, 2)).eval()


def hooks(model: torch.nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def test_attention_of_our_networks_is_seen_and_sums_to_one() -> None:
    network, x = nano(), torch.randn(2, 3, 64, 64)
    before = network(x)
    with watch(network, "*.softmax") as seen:
        # On small maps both branches are computed at once where nobody looks: the same sum in another order.
        torch.testing.assert_close(network(x), before)
    assert len(seen) == 9
    assert seen["stages.0.blocks.0.attention.branches.0.attend.softmax"].shape == (32, 1, 16, 16)
    assert all(torch.allclose(w.sum(dim=-1), torch.ones(())) for w in seen.values())
    assert not any(w.requires_grad for w in seen.values())
    assert hooks(network) == 0


def test_it_looks_into_timms_networks_too() -> None:
    network = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=2).eval()
    with watch(network, "blocks.*.attn.attn_drop") as seen, torch.no_grad():
        network(torch.randn(1, 3, 32, 32))
    assert len(seen) == 12
    assert torch.allclose(seen["blocks.3.attn.attn_drop"].sum(dim=-1), torch.ones(()), atol=1e-5)
    assert hooks(network) == 0
    assert all(block.attn.fused_attn for block in network.blocks)


def test_fused_attention_is_back_afterwards_even_after_an_error() -> None:
    network = nano()
    attend, other = (branch.attend for branch in network.stages[0].blocks[0].attention.branches)
    other.fused_attn = False
    with pytest.raises(KeyError), watch(network, "norm"):
        assert not attend.fused_attn
        raise KeyError
    assert attend.fused_attn
    assert not other.fused_attn, "what was off before stays off"
    assert hooks(network) == 0


def test_the_latest_call_counts_and_several_patterns_may_be_given() -> None:
    network = nano()
    with watch(network, "stem", "head") as seen, torch.no_grad():
        network(torch.zeros(1, 3, 64, 64))
        last = network(torch.ones(1, 3, 64, 64))
    assert torch.equal(seen["head"], last)
    assert list(seen) == ["stem", "head"]


def test_a_pattern_without_match_is_refused() -> None:
    with (
        pytest.raises(ValueError, match=r"patterns: 'attn' matches no submodule; there are stem, stem\.conv"),
        watch(nano(), "attn"),
    ):
        pass


def test_a_submodule_that_returns_no_tensor_is_named() -> None:
    network = torch.nn.TransformerEncoderLayer(8, 2, dropout=0.0, batch_first=True)
    with (
        pytest.raises(TypeError, match="'self_attn' returns a tuple; only tensors can be watched"),
        watch(network, "self_attn"),
    ):
        network(torch.zeros(1, 3, 8))
    assert hooks(network) == 0
