"""The same function as a MobileNet of timm in evaluation mode, made fast: what our fast forms have, for their rivals.

Batch norms are folded into the weights in front of them, and maps are kept pixel by pixel (channels last). A comparison
of times in which only one side is laid out well says nothing about networks.
"""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from timm.layers import BatchNormAct2d
from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["FOLDABLE", "inference_form"]

FOLDABLE = (MobileNetV3, EfficientNet)
"""Families of timm, with MobileNetV2, PP-LCNet and TinyNet: a norm defined after a convolution stands behind it."""


def inference_form(model: MobileNetV3 | EfficientNet) -> nn.Module:
    """Return a network with the answers of ``model`` in evaluation mode; the model itself stays as it is.

    Args:
        model: in any mode; images (B, in_chans, H, W) to logits, as the result.
    """
    fast = copy.deepcopy(model).eval().requires_grad_(False)
    for module in list(fast.modules()):
        for (name, conv), (norm_name, norm) in pairwise(dict(module.named_children()).items()):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, BatchNormAct2d):
                setattr(module, name, fuse_conv_bn_eval(conv, norm).requires_grad_(False))
                setattr(module, norm_name, norm.act)
    return fast.to(memory_format=torch.channels_last)
