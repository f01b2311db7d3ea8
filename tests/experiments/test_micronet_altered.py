"""Changed coefficients change the network while the block runs, and no longer."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from visionlab.backbones.micronet_shiftmax import Coefficients, DynamicShiftMax, circular_shift
from visionlab.experiments.micronet_altered import ALTERED, altered


def layer() -> tuple[DynamicShiftMax, torch.Tensor]:
    made = DynamicShiftMax(8, 2, hidden=4)
    nn.init.normal_(made.coefficients.fc2.weight, std=3)
    return made, torch.randn(3, 8, 4, 4) + torch.arange(3.0)[:, None, None, None]


@torch.no_grad()
def test_each_change_is_what_it_is_called() -> None:
    made, x = layer()
    a, shifted = made.coefficients(x)[..., None, None], circular_shift(x, 2)
    plain = made(x)
    got = {}
    for name, change in ALTERED.items():
        with altered(made, change):
            got[name] = made(x)
    assert torch.equal(got["as trained"], plain)
    assert torch.allclose(got["the offsets alone"], x)
    assert torch.allclose(got["without the neighbour"], torch.maximum(a[:, 0, 0] * x, a[:, 1, 0] * x))
    for name, b in (("the mean image's", a.mean(0, keepdim=True)), ("another image's", a[[2, 0, 1]])):
        mixes = [b[:, k, 0] * x + b[:, k, 1] * shifted for k in (0, 1)]
        assert torch.allclose(got[name], torch.maximum(*mixes), atol=1e-6)
        assert not torch.allclose(got[name], plain)
    assert torch.equal(made(x), plain)


@torch.no_grad()
def test_every_activation_of_a_network_is_changed_and_restored_even_after_an_error() -> None:
    model = timm.create_model("micronet_m0", num_classes=3).eval()
    for branch in model.modules():
        if isinstance(branch, Coefficients):
            nn.init.normal_(branch.fc2.weight)
    x = torch.randn(2, 3, 32, 32)
    plain, changed = model(x), 0
    with altered(model, lambda a, offsets: a * 0.5):
        changed = sum(len(m._forward_hooks) for m in model.modules())
        assert not torch.equal(model(x), plain)
    assert changed == sum(isinstance(m, DynamicShiftMax) for m in model.modules())
    with pytest.raises(ZeroDivisionError), altered(model, lambda a, offsets: 1 / 0):
        model(x)
    assert torch.equal(model(x), plain)


def test_a_network_without_is_refused() -> None:
    wrong = pytest.raises(ValueError, match="expected a MicroNet with Dynamic Shift-Max, got one without")
    with wrong, altered(nn.Linear(2, 2), ALTERED["as trained"]):
        pass
