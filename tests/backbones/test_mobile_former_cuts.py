"""Wires cut and tokens silenced: what changes, what does not, and that everything comes back."""

from __future__ import annotations

import doctest

import pytest
import torch
from torch import Tensor

from tests.backbones.test_mobile_former import nano
from visionlab.backbones import mobile_former_cuts
from visionlab.backbones.mobile_former import MobileFormer
from visionlab.backbones.mobile_former_bridge import Bypass
from visionlab.backbones.mobile_former_cuts import bypass, cut, freeze_slopes, overwrite, silence
from visionlab.watch import watch


@pytest.fixture(params=["token", "spatial"])
def network(request: pytest.FixtureRequest) -> MobileFormer:
    return nano(slopes=request.param).double()


@pytest.fixture
def x(rng: torch.Generator) -> Tensor:
    return torch.randn(2, 3, 32, 48, dtype=torch.float64, generator=rng)


def maps(network: MobileFormer, x: Tensor) -> list[Tensor]:
    return network.forward_intermediates(x, intermediates_only=True)


def test_examples_run() -> None:
    assert doctest.testmod(mobile_former_cuts).failed == 0


def test_without_reading_the_tokens_are_the_same_for_every_image(network: MobileFormer, x: Tensor) -> None:
    with bypass(network, "*to_former"):
        tokens = network.forward_features(x).tokens
        assert torch.allclose(tokens[0], tokens[1])
    tokens = network.forward_features(x).tokens
    assert not torch.allclose(tokens[0], tokens[1])


def test_without_writing_and_with_slopes_held_the_map_hears_no_token(network: MobileFormer, x: Tensor) -> None:
    expected = maps(network, x)
    with bypass(network, "*.to_mobile"), freeze_slopes(network):
        deaf = maps(network, x)
        with overwrite(network, {"tokens": torch.randn(3, 16)}):
            assert all(torch.allclose(a, b) for a, b in zip(maps(network, x), deaf, strict=True))
    assert not torch.allclose(deaf[-1], expected[-1])
    assert all(torch.equal(a, b) for a, b in zip(maps(network, x), expected, strict=True))


def test_a_cut_is_for_good_and_takes_the_parameters_along(network: MobileFormer, x: Tensor) -> None:
    before = sum(p.numel() for p in network.parameters())
    removed = cut(network, "stages.1.*.former", "*.to_mobile")
    assert len(removed) == 6
    assert all(isinstance(network.get_submodule(name), Bypass) for name in removed)
    assert before - sum(p.numel() for p in network.parameters()) == sum(
        p.numel() for module in removed.values() for p in module.parameters()
    )
    assert network(x).isfinite().all()


def test_a_cut_is_undone_when_an_error_ends_the_block(network: MobileFormer, x: Tensor) -> None:
    expected = network(x)
    with pytest.raises(RuntimeError, match="inside"), bypass(network, "*former"), silence(network, 1):
        raise RuntimeError("inside")
    assert torch.equal(network(x), expected)


def test_nobody_hears_a_silenced_token(network: MobileFormer, x: Tensor) -> None:
    with silence(network, 2):
        with watch(network, "*softmax") as seen:
            expected = maps(network, x)
        written = [y for name, y in seen.items() if name.endswith("to_mobile.softmax")]
        assert len(written) == 4
        assert all(not y[:, :, 2].any() for y in written)
        assert all(torch.allclose(y.sum(2), torch.ones((), dtype=y.dtype)) for y in written)
        assert all(not y[..., 2].any() for name, y in seen.items() if name.endswith(".former.softmax"))
        assert all(not y[:, 2].any() for name, y in seen.items() if name.endswith("votes.softmax"))
        with overwrite(network, {"tokens": torch.randn(3, 16)}, tokens=2):
            assert all(torch.allclose(a, b) for a, b in zip(maps(network, x), expected, strict=True))
    assert not torch.allclose(maps(network, x)[-1], expected[-1])


def test_to_silence_a_token_is_to_have_one_less(x: Tensor) -> None:
    network, smaller = nano().double(), nano(tokens=(2, 16)).double()
    state = network.state_dict()
    smaller.load_state_dict(state | {"tokens.weight": state["tokens.weight"][:2]})
    with silence(network, 2):
        assert torch.allclose(network(x), smaller(x))


def test_tokens_of_another_image_can_be_injected(network: MobileFormer, x: Tensor) -> None:
    name = "stages.1.blocks.0.former"
    with watch(network, name) as seen:
        network(x)
    swapped = seen[name].flip(0)
    assert torch.equal(kept(network, x, name, seen[name]), network(x))
    assert not torch.allclose(kept(network, x, name, swapped), network(x))
    with overwrite(network, {name: swapped}, tokens=[1, 2]), watch(network, name) as changed:
        network(x)
    assert torch.equal(changed[name][:, 0], seen[name][:, 0])
    assert torch.equal(changed[name][:, 1:], swapped[:, 1:])


def kept(network: MobileFormer, x: Tensor, name: str, value: Tensor) -> Tensor:
    with overwrite(network, {name: value}):
        return network(x)


def test_what_is_not_there_cannot_be_cut() -> None:
    network = nano(slopes="static", tokens=(0, 16))
    with pytest.raises(ValueError, match=r"patterns: '\*to_former' matches no bridge or Former; there are none"):
        cut(network, "*to_former")
    with pytest.raises(
        ValueError, match=r"patterns: 'stages' matches no bridge or Former; there are stages\.0\.blocks\.1"
    ):
        cut(nano(), "stages")
    with (
        pytest.raises(ValueError, match="token: expected one of two tokens or more, 0 to 2, got 3"),
        silence(nano(), 3),
    ):
        pass
    with pytest.raises(ValueError, match="of two tokens or more"), silence(nano(tokens=(1, 16)), 0):
        pass
    with pytest.raises(ValueError, match="no dynamic ReLU"), freeze_slopes(network):
        pass
    with (
        pytest.raises(ValueError, match="values: 'former' is no submodule"),
        overwrite(nano(), {"former": torch.ones(1)}),
    ):
        pass
