from __future__ import annotations

import math

import pytest
import torch

from visionlab.measure.points import segmented, selected


def test_scores_are_those_of_a_count_by_hand() -> None:
    truth = torch.tensor([0, 0, 0, 1, 1, 2, -1])
    found = torch.tensor([0, 0, 1, 1, 1, 0, 2])
    scores = segmented(found, truth, 4)
    assert scores.accuracy == pytest.approx(100 * 4 / 6)
    assert scores.iou[:3].tolist() == pytest.approx([50.0, 100 * 2 / 3, 0.0], rel=1e-5)
    assert math.isnan(scores.iou[3])
    assert scores.mean_iou == pytest.approx((50 + 200 / 3) / 3)
    batched = segmented(found[:6].view(2, 3), truth[:6].view(2, 3), 4)
    assert batched.accuracy == scores.accuracy


def test_selection_and_correction_are_counted_apart() -> None:
    truth = torch.tensor([0, 1, 2, 0, 1, 2])
    given = torch.tensor([0, 1, 0, 1, 1, 2])  # two are wrong
    labels = torch.tensor([0, 2, 2, -1, 1, -1])  # four are selected, one of the two wrong ones mended, one broken
    found = selected(labels, given, truth)
    assert found.share == pytest.approx(100 * 4 / 6)
    assert found.precision == pytest.approx(75.0)
    assert found.recall == pytest.approx(50.0)
    assert found.mended == pytest.approx(50.0)
    assert found.broken == pytest.approx(25.0)
    nothing = selected(torch.full((6,), -1), given, truth)
    assert nothing.share == 0
    assert math.isnan(nothing.precision)


def test_bad_labels_are_named() -> None:
    some = torch.tensor([0, 1])
    with pytest.raises(ValueError, match="classes: expected all to lie in 0 to 0"):
        segmented(some, some, 1)
    with pytest.raises(ValueError, match="truth: expected points with a class"):
        segmented(some, torch.tensor([-1, -1]), 2)
    with pytest.raises(Exception, match="found"):
        segmented(some, torch.tensor([0, 1, 1]), 2)
