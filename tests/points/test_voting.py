from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from visionlab.points.voting import RULES, Rule, agreement, corrected, uncertainty

GOLDENS = Path(__file__).parents[1] / "goldens"


def golden(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDENS / f"pnal_{name}_open.json").read_text())
    return found


def test_uncertainty_is_the_published_one() -> None:
    for row in golden("confidence")["rows"]:
        slots, classes = row["history_length"], row["classes"]
        for votes, wanted in row["uncertainty_by_votes"].items():
            found = uncertainty(torch.tensor([int(votes) / slots], dtype=torch.float64), classes).item()
            assert math.isnan(found) if wanted is None else found == pytest.approx(wanted, abs=1e-7)


def test_agreement_counts_votes_and_takes_the_smaller_of_equals() -> None:
    history = torch.tensor([[0, 0, 0, 0], [3, 0, 3, 0], [0, 1, 2, 3], [-1, -1, 2, -1], [-1, -1, -1, -1], [5, 1, 5, 1]])
    label, share = agreement(history.to(torch.int8), 6)
    assert label.tolist() == [0, 0, 0, 2, 0, 1]
    assert share.tolist() == [1.0, 0.5, 0.25, 0.25, 0.0, 0.5]


def plain(label: Tensor, reliable: Tensor, cluster: Tensor, classes: int, rule: str, losses: Tensor) -> list[int]:
    """The rules without chance, point by point and cluster by cluster."""
    out = [-1] * len(label)
    for i in range(len(label)):
        voters = [j for j in range(len(label)) if cluster[j] == cluster[i] and reliable[j]]
        if rule == "point":
            out[i] = int(label[i]) if reliable[i] else -1
        elif voters and rule == "first":
            out[i] = int(label[min(voters, key=lambda j: (float(losses[j]), j))])
        elif voters:
            votes = [sum(int(label[j]) == k for j in voters) for k in range(classes)]
            out[i] = votes.index(max(votes))
    return out


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(2, 6), st.sampled_from(["majority", "first", "point"]))
def test_rules_equal_a_loop_over_points(seed: int, n: int, classes: int, rule: Rule) -> None:
    g = torch.Generator().manual_seed(seed)
    label, cluster = torch.randint(classes, (n,), generator=g), 7 * torch.randint(6, (n,), generator=g)
    reliable, losses = torch.rand(n, generator=g) < 0.5, torch.randint(4, (n,), generator=g).float()
    found = corrected(label, reliable, cluster, classes, rule, losses=losses)
    assert found.tolist() == plain(label, reliable, cluster, classes, rule, losses)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(RULES))
def test_no_rule_invents_a_class_and_a_cluster_has_one(seed: int, rule: Rule) -> None:
    g = torch.Generator().manual_seed(seed)
    label, cluster = torch.randint(9, (200,), generator=g), torch.randint(12, (200,), generator=g)
    reliable = torch.rand(200, generator=g) < 0.2
    found = corrected(label, reliable, cluster, 9, rule, losses=torch.rand(200, generator=g), generator=g, divisor=1)
    for each in cluster.unique():
        inside = cluster == each
        voted = set(label[inside & reliable].tolist())
        assert set(found[inside].tolist()) <= (voted or {-1}) | ({-1} if rule == "point" else set())
        if rule != "point":
            assert len(found[inside].unique()) == 1


def test_votes_by_lot_can_fall_on_a_class_without_votes_as_published() -> None:
    label, cluster = torch.tensor([2, 2, 0]), torch.zeros(3, dtype=torch.long)
    drawn = {
        corrected(
            label, torch.ones(3, dtype=torch.bool), cluster, 5, "vote", generator=torch.Generator().manual_seed(i)
        ).tolist()[0]
        for i in range(60)
    }
    assert drawn == {0, 1, 2}, "two votes are fewer than the divisor 5, so the threshold is 0, up to the class 2"


def test_what_a_rule_lacks_is_named() -> None:
    one = torch.zeros(1, dtype=torch.long)
    with pytest.raises(ValueError, match="losses: the rule 'first'"):
        corrected(one, one == 0, one, 3, "first")
    with pytest.raises(ValueError, match="generator: the rule 'vote'"):
        corrected(one, one == 0, one, 3, "vote")
    with pytest.raises(ValueError, match="rule: expected one of majority"):
        corrected(one, one == 0, one, 3, "most")
    with pytest.raises(ValueError, match="history: expected -1 to 2, got 0 to 3"):
        agreement(torch.tensor([[0, 3]]), 3)
    with pytest.raises(ValueError, match="slots"):
        agreement(torch.zeros(2, 0, dtype=torch.int8), 3)
    with pytest.raises(ValueError, match="classes: expected 2 or more"):
        uncertainty(torch.ones(1), 1)


def test_no_points_are_no_error() -> None:
    none = torch.zeros(0, dtype=torch.long)
    label, share = agreement(torch.zeros(0, 4, dtype=torch.int8), 5)
    assert len(label) == len(share) == 0
    for rule in RULES:
        found = corrected(none, none == 0, none, 5, rule, losses=torch.zeros(0), generator=torch.Generator())
        assert found.tolist() == []


def test_all_votes_of_a_class_of_many() -> None:
    cluster = torch.tensor([4, 4, 4, 9, 9, -3])
    label = torch.tensor([1, 2, 2, 0, 5, 3])
    reliable = torch.tensor([True, True, True, False, True, False])
    assert corrected(label, reliable, cluster, 6).tolist() == [2, 2, 2, 5, 5, -1]


@pytest.mark.parametrize(("slots", "classes"), [(16, 13), (127, 126), (8, 40), (4, 127)])
def test_many_slots_and_classes_are_counted(slots: int, classes: int) -> None:
    unanimous = torch.full((1, slots), classes - 1, dtype=torch.int8)
    mixed = torch.randint(-1, classes, (300, slots), generator=torch.Generator().manual_seed(0)).to(torch.int8)
    history = torch.cat([unanimous, mixed])
    counts = (history[:, :, None] == torch.arange(classes)).sum(1)
    label, share = agreement(history, classes)
    assert (label[0].item(), share[0].item()) == (classes - 1, 1.0)
    assert torch.equal(share, counts.amax(1) / slots)
    assert torch.equal(label, (counts == counts.amax(1, keepdim=True)).int().argmax(1))
