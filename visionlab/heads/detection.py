"""Torchvision's detectors on any backbone's pyramid (CSWin, arXiv 2107.00652, section 4.2, and what others use)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torchvision.models.detection import FCOS
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork

from visionlab.heads.pyramid import Pyramid

__all__ = ["DetectionPyramid", "Detector", "detector", "targets_of"]


class DetectionPyramid(nn.Module):
    """A backbone with a feature pyramid on it, in the form that torchvision's detectors expect.

    Any of them takes it: ``FasterRCNN(DetectionPyramid(backbone), ...)``, ``MaskRCNN``, ``RetinaNet``, ``FCOS``.

    Args:
        backbone: see `Pyramid`.
        width: channels of each level.
    """

    def __init__(self, backbone: nn.Module, *, width: int = 256) -> None:
        super().__init__()
        self.pyramid = Pyramid(backbone)
        self.fpn = FeaturePyramidNetwork(list(self.pyramid.channels), width)
        self.out_channels = width
        self.strides = self.pyramid.strides

    def forward(self, x: Float[Tensor, "b c h w"]) -> OrderedDict[str, Tensor]:
        """Return the levels by name, "0" the finest."""
        return OrderedDict(self.fpn({str(i): y for i, y in enumerate(self.pyramid(x))}))


class Detector(FCOS):
    """Torchvision's FCOS (Tian et al., arXiv 1904.01355), which says what is wrong with the targets it is given."""

    def forward(self, images: Sequence[Tensor], targets: Sequence[Mapping[str, Tensor]] | None = None) -> Any:
        """Return the losses of images (3, H, W) in [0, 1] and targets in training, else what is found in each image.

        Raises:
            ValueError: a box is empty or reaches outside its image, a label is unknown, or there are not as many of
                them as of boxes; the image is named.
        """
        for number, (image, target) in enumerate(zip(images, targets or (), strict=targets is not None)):
            boxes, labels = target["boxes"], target["labels"]
            if len(labels) != len(boxes):
                raise ValueError(f"targets: image {number} has {len(boxes)} boxes and {len(labels)} labels")
            _check(boxes, (image.shape[-2], image.shape[-1]), number)
            kinds = self.head.classification_head.num_classes - 1
            if ((labels < 1) | (labels > kinds)).any():
                raise ValueError(f"targets: expected labels 1 to {kinds}; image {number} has {labels.tolist()}")
        return super().forward(images, targets)


def detector(
    backbone: nn.Module,
    num_classes: int,
    *,
    size: int | tuple[int, int] = (800, 1333),
    width: int = 256,
    **options: Any,
) -> Detector:
    """Build a detector without anchors, `Detector`, on a pyramid.

    It takes a list of images (3, H, W) in [0, 1] and normalises them itself; in training also `targets_of`.

    Args:
        backbone: see `Pyramid`.
        num_classes: kinds of objects, background not among them.
        size: images are resized so that the shorter side has this length, and the longer at most the second.
        width: channels of the pyramid, a multiple of 32.
        options: of `torchvision.models.detection.FCOS`, for instance ``score_thresh``.
    """
    if num_classes < 1:
        raise ValueError(f"num_classes: expected at least 1 kind of object; got {num_classes}")
    if width % 32:
        raise ValueError(f"width: expected a multiple of 32, the groups of FCOS's norm; got {width}")
    shorter, longer = (size, size) if isinstance(size, int) else size
    pyramid = DetectionPyramid(backbone, width=width)
    anchors = AnchorGenerator(
        sizes=tuple((stride,) for stride in pyramid.strides), aspect_ratios=((1.0,),) * len(pyramid.strides)
    )
    return Detector(
        pyramid, num_classes + 1, anchor_generator=anchors, min_size=shorter, max_size=longer, **options
    )  # label 0 is torchvision's background


def targets_of(boxes: Int[Tensor, "b k 5"] | Float[Tensor, "b k 5"], size: tuple[int, int]) -> list[dict[str, Tensor]]:
    """Boxes as torchvision's detectors want them, from those of ``world.dataset("detection")``.

    Args:
        boxes: left, top, right, bottom in pixels and class from 0 on; class -1 for no object.
        size: (height, width) of the images.

    Raises:
        ValueError: a box is empty or reaches outside the image; it is named.
    """
    targets = []
    for number, each in enumerate(boxes):
        there = each[each[:, 4] >= 0]
        _check(there[:, :4], size, number)
        targets.append({"boxes": there[:, :4].to(torch.float32), "labels": there[:, 4].long() + 1})
    return targets


def _check(boxes: Tensor, size: tuple[int, int], number: int) -> None:
    """Refuse boxes (k, 4) that are empty or reach outside an image of (height, width)."""
    left, top, right, bottom = boxes.unbind(1)
    wrong = (left < 0) | (top < 0) | (right > size[1]) | (bottom > size[0]) | (left >= right) | (top >= bottom)
    if wrong.any():
        raise ValueError(
            f"boxes: expected left < right and top < bottom within {size[0]} x {size[1]} pixels; image {number} has "
            f"{boxes[wrong][0].tolist()}"
        )
