"""Semantic FPN: a class for each pixel from a backbone's pyramid (Kirillov et al., arXiv 1901.02446, section 3.1).

It is the head of CSWin's table 6 (arXiv 2107.00652, section 4.3) and works on images of any size.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

from visionlab.heads.pyramid import Pyramid

__all__ = ["IGNORE", "SegmentationFPN", "segmentation_loss"]

IGNORE = 255  # a pixel of this class counts for nothing


class SegmentationFPN(nn.Module):
    """Top-down pyramid; each level convolved and doubled until it is as fine as the first; their sum, classified.

    Args:
        backbone: see `Pyramid`.
        num_classes: K, background among them.
        width: channels of the pyramid; 256 in the paper.
        head_width: channels behind it; 128 in the paper.
    """

    def __init__(self, backbone: nn.Module, num_classes: int, *, width: int = 256, head_width: int = 128) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes: expected at least 2, background among them; got {num_classes}")
        self.pyramid = Pyramid(backbone)
        self.fpn = FeaturePyramidNetwork(list(self.pyramid.channels), width)
        finest = self.pyramid.strides[0]
        self.branches = nn.ModuleList(
            _branch(width, head_width, doublings=round(math.log2(stride / finest))) for stride in self.pyramid.strides
        )
        self.classify = nn.Conv2d(head_width, num_classes, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        """Logits (B, K, H, W) of normalised images (B, 3, H, W)."""
        maps = self.pyramid(x)
        levels = self.fpn({str(i): y for i, y in enumerate(maps)}).values()
        side = maps[0].shape[-2:]
        total = torch.stack(
            [_resize(branch(level), side) for branch, level in zip(self.branches, levels, strict=True)]
        ).sum(0)
        return _resize(self.classify(total), x.shape[-2:])


def segmentation_loss(logits: Float[Tensor, "b k h w"], masks: Integer[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """Mean cross-entropy of the pixels, those of class `IGNORE` left out; 0 where all of them are.

    Raises:
        ValueError: a mask holds a class that there is not, or has another size than the logits.
    """
    if masks.shape[-2:] != logits.shape[-2:] or len(masks) != len(logits):
        raise ValueError(f"masks: expected {tuple(logits[:, 0].shape)}, got {tuple(masks.shape)}")
    unknown = masks[(masks != IGNORE) & ((masks < 0) | (masks >= logits.shape[1]))]
    if unknown.numel():
        raise ValueError(
            f"masks: expected classes 0 to {logits.shape[1] - 1}, or {IGNORE} for none; got {int(unknown[0])}"
        )
    total = F.cross_entropy(logits, masks.long(), ignore_index=IGNORE, reduction="sum")
    return total / (masks != IGNORE).sum().clamp(min=1)


def _branch(width: int, head_width: int, *, doublings: int) -> nn.Module:
    layers: list[nn.Module] = []
    for i in range(max(doublings, 1)):
        layers += [
            nn.Conv2d(width if i == 0 else head_width, head_width, 3, padding=1, bias=False),
            nn.GroupNorm(math.gcd(32, head_width), head_width),
            nn.ReLU(inplace=True),
        ]
        if doublings:
            layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
    return nn.Sequential(*layers)


def _resize(x: Tensor, size: torch.Size) -> Tensor:
    return x if x.shape[-2:] == size else F.interpolate(x, size, mode="bilinear", align_corners=False)
