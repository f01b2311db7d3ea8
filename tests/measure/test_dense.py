"""Mean IoU and average precision against plain loops and cases worked out by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from visionlab.measure.dense import average_precision, mean_iou, sure_boxes


def plain_iou(found: Tensor, truth: Tensor, classes: int) -> float:
    shares = []
    for kind in range(classes):
        pairs = [(a == kind, b == kind) for a, b in zip(found.flatten(), truth.flatten(), strict=True) if b != 255]
        either = sum(a or b for a, b in pairs)
        if either:
            shares.append(sum(a and b for a, b in pairs) / either)
    return float(sum(shares) / len(shares))


@given(st.integers(0, 2**31), st.integers(2, 5))
@settings(max_examples=25, deadline=None)
def test_mean_iou_is_that_of_plain_loops(seed: int, classes: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    found, truth = (torch.randint(classes, (2, 4, 5), generator=rng) for _ in range(2))
    truth[0, 0, :2] = 255
    assert mean_iou(found, truth, classes) == pytest.approx(plain_iou(found, truth, classes))


def test_mean_iou_by_hand() -> None:
    truth = torch.tensor([[[0, 0], [1, 1]]])
    assert mean_iou(truth, truth, 7) == 1
    assert mean_iou(1 - truth, truth, 2) == 0
    assert mean_iou(torch.zeros_like(truth), truth, 2) == pytest.approx((2 / 4 + 0) / 2)


def boxes(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32).view(-1, 4)


ONE = {"boxes": boxes((0, 0, 10, 10), (20, 20, 30, 30)), "labels": torch.tensor([1, 1])}


def told(found: Tensor, labels: list[int], scores: list[float]) -> dict[str, Tensor]:
    return {"boxes": found, "labels": torch.tensor(labels, dtype=torch.int64), "scores": torch.tensor(scores)}


def test_average_precision_by_hand() -> None:
    perfect = told(ONE["boxes"], [1, 1], [0.9, 0.8])
    assert average_precision([perfect], [ONE]) == 1
    half = told(ONE["boxes"][:1], [1], [0.9])
    assert average_precision([half], [ONE]) == 0.5
    # Surest first: wrong, right, right. Precision 0, 1/2, 2/3; the best to the right of each is 2/3.
    late = told(boxes((50, 50, 60, 60), (0, 0, 10, 10), (20, 20, 30, 30)), [1, 1, 1], [0.9, 0.8, 0.7])
    assert average_precision([late], [ONE]) == pytest.approx(2 / 3)
    twice = told(boxes((0, 0, 10, 10), (0, 0, 10, 10)), [1, 1], [0.9, 0.8])
    assert average_precision([twice], [ONE]) == 0.5
    other = told(ONE["boxes"], [2, 2], [0.9, 0.8])
    assert average_precision([other], [ONE]) == 0
    nothing = told(boxes(), [], [])
    assert average_precision([nothing], [ONE]) == 0
    # Overlap 50 of 150: a third.
    off = told(boxes((5, 0, 15, 10)), [1], [0.9])
    assert average_precision([off], [ONE]) == 0
    assert average_precision([off], [ONE], iou=0.33) == 0.5


def test_a_box_belongs_to_its_image_and_classes_count_alike() -> None:
    two = [ONE, {"boxes": boxes((0, 0, 10, 10)), "labels": torch.tensor([2])}]
    found = [told(ONE["boxes"], [1, 1], [0.9, 0.8]), told(boxes(), [], [])]
    assert average_precision(found, two) == 0.5
    swapped = [told(boxes((0, 0, 10, 10)), [2], [0.9]), told(ONE["boxes"], [1, 1], [0.9, 0.8])]
    assert average_precision(swapped, two) == 0
    empty = {"boxes": boxes(), "labels": torch.zeros(0, dtype=torch.int64)}
    alarm = told(boxes((0, 0, 10, 10)), [1], [0.95])
    assert average_precision([told(ONE["boxes"], [1, 1], [0.9, 0.8]), alarm], [ONE, empty]) == pytest.approx(2 / 3)


@given(st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_it_is_scikit_learns_where_each_detection_is_right_or_wrong_and_none_is_missed(seed: int) -> None:
    """With all true boxes found and all scores different, both curves are the same but for the envelope."""
    from sklearn.metrics import precision_recall_curve

    rng = torch.Generator().manual_seed(seed)
    right = torch.rand(12, generator=rng) < 0.5
    right[0] = True
    scores = torch.rand(12, generator=rng)
    places = torch.arange(12.0)[:, None] * 20
    found = told(torch.cat([places, places, places + 10, places + 10], 1), [1] * 12, scores.tolist())
    truth = {"boxes": found["boxes"][right], "labels": torch.ones(int(right.sum()), dtype=torch.int64)}
    precision, recall, _ = precision_recall_curve(right.numpy(), scores.numpy())
    best = torch.tensor(precision.copy()).cummax(0).values  # recall falls along the curve
    expected = float(((torch.tensor(recall[:-1] - recall[1:])) * best[:-1]).sum())
    assert average_precision([found], [truth]) == pytest.approx(expected, abs=1e-6)


def test_only_sure_boxes_are_kept() -> None:
    each = {"boxes": torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]]), "labels": torch.tensor([1, 3])}
    found = [each | {"scores": torch.tensor([0.4, 0.3])}, each | {"scores": torch.tensor([0.4, 0.5])}]
    assert sure_boxes(found).tolist() == [[1, 5, 6, 7, 8, 2]]
    assert sure_boxes(found[:1]).shape == (0, 6)


@pytest.mark.usefixtures("as_users_run_it")
def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="found: expected 2 images"):
        average_precision([], [ONE, ONE])
    with pytest.raises(ValueError, match="truth: expected at least one true box"):
        average_precision([], [])
    with pytest.raises(ValueError, match=r"found: expected \(1, 2, 2\)"):
        mean_iou(torch.zeros(1, 2, 3).long(), torch.zeros(1, 2, 2).long(), 2)
    with pytest.raises(ValueError, match="classes: expected all to lie in 0 to 1; got 4"):
        mean_iou(torch.full((1, 2, 2), 4), torch.zeros(1, 2, 2).long(), 2)
    with pytest.raises(ValueError, match="truth: expected pixels that count"):
        mean_iou(torch.zeros(1, 2, 2).long(), torch.full((1, 2, 2), 255), 2)
