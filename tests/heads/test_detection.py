"""Torchvision's detectors on our pyramids: shapes, learning by heart, empty scenes, and boxes that make no sense."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN, RetinaNet

from visionlab.backbones.cswin_pyramid import CSWinPyramid
from visionlab.data import world
from visionlab.heads.detection import DetectionPyramid, detector, targets_of
from visionlab.measure.dense import average_precision

NANO: dict[str, Any] = {"dim": 8, "depths": (1, 1, 1, 1), "heads": (2, 2, 4, 4), "stripe_widths": (1, 2, 2, 2)}


def nano() -> CSWinPyramid:
    torch.manual_seed(0)
    return CSWinPyramid(**NANO)


def test_it_learns_a_few_scenes_by_heart(tmp_path: Any) -> None:
    found = world.dataset("detection", n=4, size=64, objects=2, sizes="large", root=tmp_path)
    images, boxes = found.tensors()
    assert isinstance(boxes, Tensor)
    targets = targets_of(boxes, (64, 64))
    network = detector(nano(), len(found.classes), size=64, width=32)
    optimiser = torch.optim.AdamW(network.parameters(), lr=4e-3)
    for _ in range(60):
        loss = sum(network(list(images), targets).values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    network.eval()
    with torch.no_grad():
        told = network(list(images))
    assert average_precision(told, targets) > 0.9


@pytest.mark.parametrize("make", [FasterRCNN, RetinaNet])
def test_other_detectors_of_torchvision_take_the_same_pyramid(make: Any) -> None:
    network = make(DetectionPyramid(nano(), width=16), num_classes=4, min_size=64, max_size=64, **anchors(make))
    target = {"boxes": torch.tensor([[4.0, 5, 30, 40]]), "labels": torch.tensor([2])}
    losses = network([torch.rand(3, 64, 64)], [target])
    assert all(loss.isfinite() for loss in losses.values())
    network.eval()
    assert set(network([torch.rand(3, 48, 64)])[0]) == {"boxes", "labels", "scores"}


def anchors(make: Any) -> dict[str, Any]:
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    generator = AnchorGenerator(((8,), (16,), (32,), (64,)), ((0.5, 1.0, 2.0),) * 4)
    return {"rpn_anchor_generator" if make is FasterRCNN else "anchor_generator": generator}


def test_images_of_several_sizes_and_a_scene_without_objects_are_learnt_from() -> None:
    network = detector(nano(), 3, size=(48, 80), width=32)
    nothing = torch.zeros(1, 2, 5)
    nothing[..., 4] = -1
    one = torch.tensor([[[1, 2, 20, 30, 0], [0, 0, 0, 0, -1]]])
    targets = targets_of(nothing, (40, 64)) + targets_of(one, (64, 48))
    assert [len(each["boxes"]) for each in targets] == [0, 1]
    losses = network([torch.rand(3, 40, 64), torch.rand(3, 64, 48)], targets)
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    alone = network([torch.rand(3, 40, 64)], targets[:1])
    assert all(loss.isfinite() for loss in alone.values())


def test_targets_are_boxes_and_labels_from_one_on() -> None:
    boxes = torch.tensor([[[1, 2, 20, 30, 0], [0, 0, 0, 0, -1], [3, 4, 5, 6, 7]]])
    (target,) = targets_of(boxes, (32, 32))
    assert target["boxes"].tolist() == [[1, 2, 20, 30], [3, 4, 5, 6]]
    assert target["labels"].tolist() == [1, 8]
    assert target["boxes"].dtype == torch.float32 and target["labels"].dtype == torch.int64


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize(
    "box", [[-1, 0, 4, 4], [0, -2, 4, 4], [0, 0, 33, 4], [0, 0, 4, 25], [5, 0, 5, 4], [0, 6, 4, 2]]
)
def test_a_box_outside_the_image_or_without_inside_is_named(box: list[int]) -> None:
    with pytest.raises(ValueError, match=r"boxes: expected left < right .* within 24 x 32 pixels; image 1 has \["):
        targets_of(torch.tensor([[[0, 0, 2, 2, 0]], [[*box, 1]]]), (24, 32))


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize(
    ("box", "labels", "message"),
    [
        ([10, 10, 65, 20], [1], r"boxes: .* within 40 x 64 pixels; image 1 has \[10.0, 10.0, 65.0, 20.0\]"),
        ([10, 10, 10, 20], [1], "boxes: expected left < right"),
        ([10, 10, 20, 20], [4], r"targets: expected labels 1 to 3; image 1 has \[4\]"),
        ([10, 10, 20, 20], [0], r"targets: expected labels 1 to 3; image 1 has \[0\]"),
        ([10, 10, 20, 20], [], "targets: image 1 has 1 boxes and 0 labels"),
    ],
)
def test_targets_that_make_no_sense_are_named(box: list[int], labels: list[int], message: str) -> None:
    network = detector(nano(), 3, size=64, width=32)
    good = {"boxes": torch.tensor([[0.0, 0, 64, 40]]), "labels": torch.tensor([3])}
    bad = {"boxes": torch.tensor([box]).float(), "labels": torch.tensor(labels, dtype=torch.int64)}
    with pytest.raises(ValueError, match=message):
        network([torch.rand(3, 40, 64)] * 2, [good, bad])


@pytest.mark.usefixtures("as_users_run_it")
def test_no_kind_of_object_is_refused() -> None:
    with pytest.raises(ValueError, match="num_classes: expected at least 1"):
        detector(nano(), 0)
    with pytest.raises(ValueError, match=r"width: expected a multiple of 32.*; got 48"):
        detector(nano(), 3, width=48)
