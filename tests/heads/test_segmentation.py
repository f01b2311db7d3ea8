"""Semantic FPN on pyramids of several makes, at any size; its loss refuses masks that make no sense."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visionlab.backbones.cswin_pyramid import CSWinPyramid
from visionlab.data import world
from visionlab.heads.pyramid import Pyramid
from visionlab.heads.segmentation import IGNORE, SegmentationFPN, segmentation_loss

NANO: dict[str, Any] = {"dim": 8, "depths": (1, 1, 1, 1), "heads": (2, 2, 4, 4), "stripe_widths": (1, 2, 2, 2)}
SIZES = [(64, 64), (96, 64), (65, 47), (33, 100), (32, 16)]


def nano() -> CSWinPyramid:
    torch.manual_seed(0)
    return CSWinPyramid(**NANO)


def timm_backbone(name: str, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, features_only=True, pretrained=False, **options)


@pytest.mark.parametrize("size", SIZES)
def test_there_is_a_class_for_each_pixel_whatever_the_size(size: tuple[int, int]) -> None:
    head = SegmentationFPN(nano(), 5, width=16, head_width=8)
    assert head(torch.randn(2, 3, *size)).shape == (2, 5, *size)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet18", {}),
        ("cswin_tiny_224", {"dim": 16, "depths": (1, 1, 1, 1)}),
        ("swin_tiny_patch4_window7_224", {"img_size": 64, "depths": (1, 1, 1, 1), "embed_dim": 24}),
        ("convnext_atto", {}),
    ],
)
def test_any_backbone_of_timm_gives_a_pyramid(name: str, options: dict[str, Any]) -> None:
    pyramid = Pyramid(timm_backbone(name, **options))
    maps = pyramid(torch.randn(1, 3, 64, 64))
    assert [tuple(y.shape) for y in maps] == [
        (1, channels, 64 // stride, 64 // stride)
        for channels, stride in zip(pyramid.channels, pyramid.strides, strict=True)
    ]
    head = SegmentationFPN(timm_backbone(name, **options), 3, width=16, head_width=8)
    loss = segmentation_loss(head(torch.randn(2, 3, 64, 64)), torch.randint(3, (2, 64, 64)))
    loss.backward()
    assert all(parameter.grad is not None for parameter in head.classify.parameters())
    assert sum(parameter.grad is not None for parameter in head.pyramid.parameters()) > 4


def test_levels_are_summed_at_the_finest() -> None:
    head = SegmentationFPN(nano(), 3, width=16, head_width=8).double().eval()
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    maps = head.pyramid(x)
    lateral = [head.fpn.inner_blocks[i](y) for i, y in enumerate(maps)]
    for i in (2, 1, 0):
        lateral[i] = lateral[i] + F.interpolate(lateral[i + 1], lateral[i].shape[-2:], mode="nearest")
    levels = [head.fpn.layer_blocks[i](y) for i, y in enumerate(lateral)]
    total = 0
    for i, level in enumerate(levels):
        y, layers = level, list(head.branches[i])
        if i == 0:
            y = layers[2](layers[1](layers[0](y)))
        else:
            for j in range(i):
                convolution, norm, relu, _ = layers[4 * j : 4 * j + 4]
                y = F.interpolate(relu(norm(convolution(y))), scale_factor=2, mode="bilinear", align_corners=False)
        total = total + y
    expected = F.interpolate(head.classify(total), (64, 64), mode="bilinear", align_corners=False)
    torch.testing.assert_close(head(x), expected, rtol=1e-10, atol=1e-12)


def test_it_learns_a_few_scenes_by_heart(tmp_path: Any) -> None:
    images, masks = world.dataset("segmentation", n=4, size=64, objects=2, root=tmp_path).tensors()
    assert isinstance(masks, Tensor)
    head = SegmentationFPN(nano(), 17, width=16, head_width=16)
    optimiser = torch.optim.AdamW(head.parameters(), lr=5e-3)
    x = (images - 0.5) / 0.25
    losses = []
    for _ in range(40):
        loss = segmentation_loss(head(x), masks.long())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_masks_with_nothing_to_learn_cost_nothing() -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = segmentation_loss(logits, torch.full((2, 4, 4), IGNORE))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None and not logits.grad.any()


def test_ignored_pixels_count_for_nothing() -> None:
    logits, masks = torch.randn(2, 3, 4, 4), torch.randint(3, (2, 4, 4))
    part = masks.clone()
    part[:, :2] = IGNORE
    expected = F.cross_entropy(logits[:, :, 2:], masks[:, 2:])
    torch.testing.assert_close(segmentation_loss(logits, part), expected)
    other = logits.clone()
    other[:, :, :2] += 3
    torch.testing.assert_close(segmentation_loss(other, part), expected)


@pytest.mark.usefixtures("as_users_run_it")
def test_masks_and_backbones_that_make_no_sense_are_refused() -> None:
    logits = torch.randn(2, 3, 4, 4)
    with pytest.raises(ValueError, match="masks: expected classes 0 to 2, or 255 for none; got 3"):
        segmentation_loss(logits, torch.full((2, 4, 4), 3))
    with pytest.raises(ValueError, match="masks: expected classes 0 to 2, or 255 for none; got -1"):
        segmentation_loss(logits, torch.full((2, 4, 4), -1))
    with pytest.raises(ValueError, match=r"masks: expected \(2, 4, 4\), got \(2, 8, 8\)"):
        segmentation_loss(logits, torch.zeros(2, 8, 8, dtype=torch.int64))
    with pytest.raises(ValueError, match="num_classes: expected at least 2"):
        SegmentationFPN(nano(), 1)
    with pytest.raises(
        ValueError, match=r"backbone: expected maps, from CSWinPyramid or timm.create_model.*; got Conv2d"
    ):
        Pyramid(nn.Conv2d(3, 8, 3))
