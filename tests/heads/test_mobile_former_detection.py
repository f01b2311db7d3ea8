"""Our sketch of E2E-MF: shapes, matching, learning, positions that adapt, and targets that make no sense."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from visionlab.backbones.mobile_former import MobileFormer
from visionlab.backbones.mobile_former_cuts import cut
from visionlab.backbones.mobile_former_mobile import Down, Lite, Regular
from visionlab.data import world
from visionlab.heads.detection import targets_of
from visionlab.heads.mobile_former_detection import MobileFormerDetector, Predictions, match, set_losses, sine_places
from visionlab.watch import watch

STAGES = ((Lite(2, 8, 2),), (Down(4, 12, 2),), (Down(4, 16, 2), Regular(32, 16)), (Down(4, 24, 2),))


def small(kinds: int = 3, **changes: Any) -> MobileFormerDetector:
    torch.manual_seed(0)
    backbone = MobileFormer(STAGES, stem=8, tokens=(3, 16), slopes="spatial")
    return MobileFormerDetector(backbone, kinds, **({"queries": 10, "dim": 32, "blocks": (1, 2, 1)} | changes))


def test_each_head_block_tells_boxes_and_classes() -> None:
    network = small().eval()
    with watch(network, "blocks.*.softmax") as seen:
        told = network(torch.randn(2, 3, 96, 75))
    assert told.logits.shape == (4, 2, 10, 4)
    assert told.boxes.shape == (4, 2, 10, 4)
    assert (told.boxes > 0).all()
    assert (told.boxes < 1).all()
    pixels = [y.shape[-1] for name, y in seen.items() if name.endswith("to_former.softmax")]
    assert pixels == [3 * 3, 6 * 5, 6 * 5, 12 * 10]
    found = network.detect(torch.randn(2, 3, 96, 75))
    assert all(set(each) == {"boxes", "labels", "scores"} for each in found)
    assert all((each["boxes"] <= torch.tensor([75, 96, 75, 96])).all() for each in found)


def test_a_published_backbone_carries_it() -> None:
    with torch.device("meta"):
        backbone = timm.create_model("mobile_former_508m", slopes="spatial", num_classes=0)
        network = MobileFormerDetector(backbone, 80)
        told = network.eval()(torch.empty(1, 3, 224, 224))
    assert told.logits.shape == (9, 1, 100, 81)
    assert told.boxes.shape == (9, 1, 100, 4)


def test_two_steps_on_boxes_of_the_world_reach_every_parameter_and_lower_the_loss(tmp_path: Any) -> None:
    data = world.dataset("detection", n=4, size=64, objects=2, sizes="large", root=tmp_path)
    images, boxes = data.tensors()
    assert isinstance(boxes, Tensor)
    targets = targets_of(boxes, (64, 64))
    network = small(len(data.classes))
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(3):
        parts = set_losses(network(images), targets, (64, 64))
        assert set(parts) == {"class", "box", "overlap"}
        loss = sum(parts.values())
        optimiser.zero_grad()
        loss.backward()
        losses.append(loss.item())
        silent = [name for name, p in network.named_parameters() if p.grad is None]
        # What follows the last block has nobody to hear it.
        last = "blocks.2.0."
        assert all(name.startswith((last, "backbone.")) for name in silent), silent
        optimiser.step()
    assert losses[2] < losses[0]


def test_the_best_queries_are_matched_and_a_perfect_answer_costs_nothing_but_doubt() -> None:
    wanted = torch.tensor([[0.3, 0.3, 0.2, 0.2], [0.7, 0.6, 0.4, 0.4]])
    boxes = torch.tensor([[0.7, 0.6, 0.4, 0.4], [0.5, 0.5, 0.9, 0.9], [0.3, 0.3, 0.2, 0.2]])
    logits = torch.tensor([[0.0, 20.0, 0.0], [0.0, 0.0, 20.0], [20.0, 0.0, 0.0]])
    queries, objects = match(logits, boxes, torch.tensor([0, 1]), wanted)
    assert sorted(zip(queries.tolist(), objects.tolist(), strict=True)) == [(0, 1), (2, 0)]
    target = {"boxes": torch.tensor([[20.0, 40, 40, 80], [50, 80, 90, 160]]), "labels": torch.tensor([1, 2])}
    losses = set_losses(Predictions(logits[None, None], boxes[None, None]), [target], (200, 100))
    # The overlap divides by areas of some hundredths plus 1e-7.
    assert all(loss < 1e-4 for loss in losses.values())


def test_a_scene_without_objects_is_learnt_from() -> None:
    network = small()
    target = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}
    losses = set_losses(network(torch.randn(2, 3, 64, 64)), [target, target], (64, 64))
    assert losses["class"] > 0
    assert losses["box"] == losses["overlap"] == 0


def test_positions_adapt_from_block_to_block_and_decide_where_queries_look() -> None:
    network = small().eval()
    x = torch.randn(1, 3, 64, 64)
    first, second = network.blocks[1]
    seen = []
    handles = [block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[2])) for block in (first, second)]
    before = network(x).boxes
    for handle in handles:
        handle.remove()
    assert not torch.equal(seen[0], seen[1])
    with torch.no_grad():
        network.positions.weight.neg_()
    assert not torch.allclose(network(x).boxes, before)


def test_a_detector_without_its_bridges_still_runs() -> None:
    network = small().eval()
    x = torch.randn(2, 3, 64, 64)
    cut(network, "blocks.*.to_former")
    boxes = network(x).boxes
    assert torch.allclose(boxes[:, 0], boxes[:, 1])
    cut(network, "blocks.*.former", "blocks.*.to_mobile")
    assert network(x).boxes.isfinite().all()


def test_places_differ_everywhere_and_rows_differ_from_columns() -> None:
    places = sine_places(torch.zeros(1, 8, 5, 7))
    assert places.shape == (8, 5, 7)
    flat = places.flatten(1).T
    assert torch.cdist(flat, flat).fill_diagonal_(1).min() > 1e-3
    assert torch.equal(places[:4, :, 0], places[:4, :, 6])
    assert torch.equal(places[4:, 0], places[4:, 4])
    with pytest.raises(ValueError, match="x: sines and cosines of two axes need a multiple of 4 channels, got 6"):
        sine_places(torch.zeros(1, 6, 2, 2))


def test_what_does_not_fit_is_refused_with_its_numbers() -> None:
    with pytest.raises(ValueError, match=r"blocks: \(1, 1, 1, 1, 1\) on the last of 4 maps"):
        small(blocks=(1,) * 5)
    stages = ((Lite(2, 8, 2),), (Down(4, 10, 2),), (Down(4, 14, 2),))
    with pytest.raises(ValueError, match=r"backbone: expected maps of a multiple of 4 channels, got \[14, 10, 8\]"):
        MobileFormerDetector(MobileFormer(stages, stem=8, tokens=(3, 16)), 3)
    told = Predictions(torch.zeros(1, 1, 3, 4), torch.full((1, 1, 3, 4), 0.5))
    target = {"boxes": torch.tensor([[0.0, 0, 5, 5]]), "labels": torch.tensor([4])}
    with pytest.raises(ValueError, match=r"targets: expected labels 1 to 3; image 0 has \[4\]"):
        set_losses(told, [target], (8, 8))
    with pytest.raises(ValueError, match="targets: expected those of 1 images, got 2"):
        set_losses(told, [target, target], (8, 8))
