"""Losses for wrong labels against formulas written out in NumPy, their limits, gradients, and extreme logits."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from visionlab.points.robust_losses import (
    LOSSES,
    UNLABELLED,
    cross_entropy,
    gce,
    masked_mean,
    sce,
    truncated_gce,
    truncation_weights,
)

Loss = Callable[[Tensor, Tensor], Tensor]


@pytest.fixture
def points(rng: torch.Generator) -> tuple[Tensor, Tensor]:
    logits = 3 * torch.randn(4, 9, 5, generator=rng, dtype=torch.float64)
    labels = torch.randint(-1, 5, (4, 9), generator=rng)
    assert (labels == UNLABELLED).any()
    return logits, labels


def written_out(name: str, logits: np.ndarray, label: int) -> float:
    """One point, in plain NumPy."""
    p = np.exp(logits) / np.exp(logits).sum()
    onehot = np.eye(len(p))[label]
    q = 1.0 if name.endswith("q = 1") else 0.7
    box_cox = (1 - p[label] ** q) / q
    return {
        "cross entropy": -np.log(p[label]),
        "SCE": -np.log(p[label]) - (p * np.log(np.maximum(onehot, 1e-4))).sum(),
        "GCE": box_cox,
        "GCE, q = 1": 1 - p[label],
        "truncated GCE": box_cox - (1 - 0.5**q) / q,
        "truncated GCE, q = 1": 0.5 - p[label],
    }[name]


@pytest.mark.parametrize("name", LOSSES)
def test_losses_equal_their_formulas_point_by_point(name: str, points: tuple[Tensor, Tensor]) -> None:
    logits, labels = points
    values = LOSSES[name](logits, labels)
    assert values.shape == labels.shape
    for index in np.ndindex(*labels.shape):
        label = int(labels[index])
        expected = 0.0 if label == UNLABELLED else written_out(name, logits[index].numpy(), label)
        assert values[index].item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_right_and_unlabelled_points_have_none(name: str, points: tuple[Tensor, Tensor]) -> None:
    logits, labels = points[0][:2, :4].clone().requires_grad_(), points[1][:2, :4].clone()
    labels[0, 0] = UNLABELLED
    assert torch.autograd.gradcheck(lambda x: LOSSES[name](x, labels), logits)
    LOSSES[name](logits, labels).sum().backward()
    assert (logits.grad[labels == UNLABELLED] == 0).all()
    assert (logits.grad[labels != UNLABELLED] != 0).any(-1).all()


def test_gce_is_cross_entropy_near_0_and_half_the_absolute_error_at_1(points: tuple[Tensor, Tensor]) -> None:
    logits, labels = points
    torch.testing.assert_close(gce(logits, labels, q=1e-9), cross_entropy(logits, labels), rtol=1e-7, atol=1e-9)
    onehot = torch.nn.functional.one_hot(labels.clamp(min=0), 5)
    error = (onehot - logits.softmax(-1)).abs().sum(-1) / 2
    torch.testing.assert_close(gce(logits, labels, q=1), torch.where(labels == UNLABELLED, 0, error))


def test_sce_is_a_weighted_sum(points: tuple[Tensor, Tensor]) -> None:
    logits, labels = points
    forward, reverse = sce(logits, labels, beta=0), sce(logits, labels, alpha=0)
    torch.testing.assert_close(forward, cross_entropy(logits, labels))
    torch.testing.assert_close(reverse, -math.log(1e-4) * gce(logits, labels, q=1))
    torch.testing.assert_close(sce(logits, labels, alpha=0.1, beta=2), 0.1 * forward + 2 * reverse)


def test_robust_losses_are_bounded_and_cross_entropy_is_not() -> None:
    wrong = torch.tensor([[60.0, 0.0, 0.0]])
    label = torch.tensor([1])
    assert cross_entropy(wrong, label).item() == pytest.approx(60)
    assert gce(wrong, label, q=0.7).item() == pytest.approx(1 / 0.7)
    assert gce(wrong, label, q=1).item() == pytest.approx(1)
    assert sce(wrong, label, alpha=0).item() == pytest.approx(-math.log(1e-4))


@pytest.mark.parametrize("q", [0.3, 0.7, 1.0])
def test_truncation_keeps_points_whose_label_has_more_than_the_threshold(
    q: float, points: tuple[Tensor, Tensor]
) -> None:
    logits, labels = points
    weights = truncation_weights(logits, labels, q=q)
    given = logits.softmax(-1).gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    assert torch.equal(weights == 1, (given > 0.5) & (labels != UNLABELLED))
    assert weights.dtype == torch.float64
    assert 0 < weights.mean() < 1
    whole = truncated_gce(logits, labels, q=q)
    for kept in (weights, weights.bool()):
        torch.testing.assert_close(truncated_gce(logits, labels, kept, q=q), weights * whole)
    assert (weights * whole <= 0).all()
    assert truncation_weights(logits, labels, q=q, threshold=1.0).sum() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", LOSSES)
def test_extreme_logits_give_numbers(name: str, dtype: torch.dtype) -> None:
    big = 0.9 * torch.finfo(dtype).max
    logits = torch.tensor([[0, 0], [1e4, 0], [-1e4, 0], [big, 0], [0, big], [1e-6, 0]], dtype=dtype)
    logits.requires_grad_()
    labels = torch.tensor([0, 0, 0, 0, 0, UNLABELLED])
    values = LOSSES[name](logits, labels)
    assert values.dtype == torch.float32
    assert torch.isfinite(values).all()
    values.sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_mean_of_nothing_is_zero_with_zero_gradients(points: tuple[Tensor, Tensor]) -> None:
    logits, labels = points[0].clone().requires_grad_(), points[1]
    values = cross_entropy(logits, labels)
    mean = masked_mean(values, torch.zeros_like(labels, dtype=torch.bool))
    mean.backward(retain_graph=True)
    assert mean.item() == 0
    assert (logits.grad == 0).all()
    some = labels != UNLABELLED
    torch.testing.assert_close(masked_mean(values, some), values[some].mean())
    torch.testing.assert_close(
        masked_mean(values, some),
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=UNLABELLED),
    )
    some[0, 0] = False
    broken = torch.where(some, values.detach(), torch.nan)
    torch.testing.assert_close(masked_mean(broken, some), values[some].mean())


def test_single_points_and_no_points_are_taken() -> None:
    assert cross_entropy(torch.zeros(4), torch.tensor(2)).item() == pytest.approx(math.log(4))
    assert gce(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)).shape == (0,)


@pytest.mark.usefixtures("as_users_run_it")
def test_bad_input_is_refused() -> None:
    logits, labels = torch.zeros(3, 4), torch.zeros(3, dtype=torch.long)
    for words, call in (
        (r"labels: expected \(3,\) as the logits, got \(2,\)", partial(gce, logits, labels[:2])),
        ("labels: expected -1 to 3, got 0 to 4", partial(cross_entropy, logits, labels + torch.tensor([0, 4, 0]))),
        ("labels: expected -1 to 3, got -2 to -2", partial(sce, logits, labels - 2)),
        ("q: expected above 0 and up to 1, got 0", partial(gce, logits, labels, q=0)),
        ("q: expected above 0 and up to 1, got 1.5", partial(truncated_gce, logits, labels, q=1.5)),
        ("threshold: expected above 0 and up to 1, got 0", partial(truncated_gce, logits, labels, threshold=0)),
        ("threshold: expected above 0 and up to 1, got 2", partial(truncation_weights, logits, labels, threshold=2)),
        ("alpha, beta: expected 0 or more, got -1 and 1", partial(sce, logits, labels, alpha=-1)),
        (r"mask: expected \(3,\) as the values, got \(2,\)", partial(masked_mean, logits[:, 0], labels[:2] == 0)),
    ):
        with pytest.raises(ValueError, match=words):
            call()
