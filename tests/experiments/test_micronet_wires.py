"""A channel that is followed along the wires is one whose change arrives, in the network itself."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from visionlab.backbones.micronet import MicroNet
from visionlab.backbones.micronet_blocks import Row
from visionlab.backbones.micronet_factorized import ChannelShuffle
from visionlab.backbones.micronet_shiftmax import DynamicShiftMax
from visionlab.experiments.micronet_wires import followed

SMALL = (
    Row("A", (2, 2), 12, 1, 3, (0, 8), (4, 4), (2, 0, 1), 1),
    Row("A", (2, 2), 12, 1, 3, (0, 12), (4, 4), (2, 2, 1), 1),
    Row("C", (1, 4), 16, 1, 3, (4, 4), (4, 4), (2, 2, 1), 1),
    Row("C", (1, 4), 16, 1, 3, (4, 4), (8, 4), (0, 2, 0), 1),
    Row("last", (1, 4), 64, 1, 3, (8, 8), (0, 0), (2, 2, 1), 1),
)


def network() -> MicroNet:
    return MicroNet(num_classes=0, stem=(4, 2), rows=SMALL, head_width=8).eval()


def wired(*, shuffles: bool, shifts: bool) -> MicroNet:
    """A network with positive weights and fixed coefficients, in which a change cannot be lost on its way."""
    model = network().double()
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.abs_()
            if isinstance(layer, ChannelShuffle) and not shuffles:
                layer.groups = 1
            if isinstance(layer, DynamicShiftMax):
                nn.init.zeros_(layer.coefficients.fc2.weight)
                layer.coefficients.offsets[:, 0] = 0.5
                layer.coefficients.offsets[:, 1:] = 0.5 if shifts else 0.0
    return model


@pytest.mark.parametrize("shuffles", [True, False])
@pytest.mark.parametrize("shifts", [True, False])
@torch.no_grad()
def test_what_is_reached_is_what_changes(shuffles: bool, shifts: bool) -> None:
    model = wired(shuffles=shuffles, shifts=shifts)
    blocks = [block for stage in model.stages for block in stage.blocks]
    for channel in range(8):
        steps = followed(model, channel, shuffles=shuffles, shifts=shifts)
        outputs = [step for step in steps if step.layer.endswith("output")]
        assert len(outputs) == len(blocks)
        x = torch.full((1, 8, 6, 6), 1e-4, dtype=torch.double)
        y = x.clone()
        y[:, channel] *= 2
        for block, step in zip(blocks, outputs, strict=True):
            x, y = block(x), block(y)
            changed = ((x - y).abs() > 1e-12 * x.abs().max()).any(dim=3).any(dim=2)[0]
            assert torch.equal(step.channels, changed), step.layer


def test_layers_are_named_with_their_channels() -> None:
    steps = followed(network(), 3)
    named = [(step.layer, len(step.channels)) for step in steps]
    assert named[:11] == [
        ("stem", 8), ("block 1, depthwise", 32), ("block 1, squeeze", 12), ("block 1, output", 12),
        ("block 2, depthwise", 48), ("block 2, squeeze", 12), ("block 2, output", 12),
        ("block 3, expand", 48), ("block 3, depthwise", 48), ("block 3, squeeze", 16), ("block 3, output", 16),
    ]  # fmt: skip
    assert named[-2:] == [("block 5, expand", 64), ("block 5, output", 64)]
    assert len({step.layer for step in steps}) == len(steps)
    assert steps[0].share == 12.5
    assert steps[0].channels.nonzero().flatten().tolist() == [3]


@pytest.mark.parametrize("size", ["m0", "m1", "m2", "m3"])
def test_every_channel_of_a_published_stem_reaches_everything_but_with_neither_shuffle_nor_shift(size: str) -> None:
    model = timm.create_model(f"micronet_{size}")
    for channel in range(model.stem.row.out_channels):
        for more in ({}, {"shuffles": False}, {"shifts": False}):
            assert followed(model, channel, **more)[-1].share == 100
        assert followed(model, channel, shuffles=False, shifts=False)[-1].share == 50


@pytest.mark.parametrize("channel", [-1, 8])
def test_an_unknown_channel_is_refused(channel: int) -> None:
    with pytest.raises(ValueError, match=f"channel: expected one of the stem's 8, got {channel}"):
        followed(network(), channel)
