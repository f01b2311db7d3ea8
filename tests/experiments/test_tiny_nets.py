"""The table of tiny networks: what is counted is counted anew, what papers print follows, and winners win."""

from __future__ import annotations

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from visionlab.backbones.mobile_former import CONFIGURATIONS
from visionlab.experiments.tiny_nets import (
    CONVENTIONS,
    FAMILIES,
    NETWORKS,
    best_within,
    cost,
    dialled,
    disagreements,
    frontier,
)


def meta(name: str, **options: object) -> nn.Module:
    with torch.device("meta"):
        return timm.create_model(name, **options).eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_table_says_what_is_counted(name: str) -> None:
    network, row = meta(name), NETWORKS[name]
    found = cost(network, network.pretrained_cfg["input_size"][-1])
    assert (found.size, found.parameters, found.counted, found.dynamic) == (
        row.size, row.parameters, row.counted, row.dynamic,
    )  # fmt: skip
    assert row.family in FAMILIES
    assert 40 < row.top1 < 80


@pytest.mark.parametrize("name", [name for name, row in NETWORKS.items() if row.published and row.dynamic])
def test_published_counts_contain_the_dynamic_activations(name: str) -> None:
    """To the million, with MicroNet; with Mobile-Former sums and norms are in it, too, up to 3 %."""
    row = NETWORKS[name]
    if row.family == "MicroNet":
        assert round(row.millions(CONVENTIONS[2])) in (row.published, row.published + 1)  # M2: 12.74, printed 12
        assert row.millions(CONVENTIONS[1]) < row.published
    else:
        assert 0.965 < row.millions(CONVENTIONS[2]) / row.published < 1


def test_conventions_are_named_and_a_missing_figure_is_counted() -> None:
    row = NETWORKS["tinynet_c"]
    assert row.published is None
    assert row.millions() == row.millions("counted") == row.counted / 1e6
    with pytest.raises(ValueError, match=r"MAdds: expected one of as published, counted, .*; got 'guessed'"):
        row.millions("guessed")


def test_counting_leaves_no_hook() -> None:
    network = meta("mobile_former_26m")
    before = cost(network, 64)
    assert cost(network, 64) == before
    assert not any(module._forward_hooks for module in network.modules())
    assert before.dynamic < NETWORKS["mobile_former_26m"].dynamic / 8, "a smaller image costs less"


# --- Dials ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["26m", "294m"])
def test_the_published_dials_give_the_published_network(size: str) -> None:
    (own, parts), row = dialled(size, *CONFIGURATIONS[size]["tokens"]), NETWORKS[f"mobile_former_{size}"]
    assert (own, sum(parts.values())) == (row.parameters, row.counted + row.dynamic)


def test_parts_grow_as_the_paper_says() -> None:
    """Bridges are linear in M, the Former is M d^2 and a little M^2 d; the convolutions do not know of the tokens."""
    one, two, four = (dialled("52m", tokens, 128)[1] for tokens in (1, 2, 4))
    assert four["bridges"] - two["bridges"] == 2 * (two["bridges"] - one["bridges"])
    assert four["Former"] > 4 * one["Former"]
    assert one["Mobile"] == four["Mobile"]
    assert dialled("52m", 4, 128, side=64)[1]["bridges"] < four["bridges"]


@pytest.mark.parametrize(
    ("dials", "words"),
    [
        (("300m", 6, 192), "variant: expected one of 52m, .*; got '300m'"),
        (("52m", 0, 128), "tokens: expected one or more, got 0"),
        (("52m", 3, 30), "tokens: 4 heads do not split 30 channels"),
    ],
)
def test_dials_that_build_nothing_are_refused(dials: tuple, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        dialled(*dials)


# --- Winners ----------------------------------------------------------------------------------------------------------

POINTS = st.dictionaries(
    st.sampled_from("abcdefgh"), st.tuples(st.floats(0.1, 100.0), st.sampled_from([50.0, 60.0, 70.0]))
)


@given(POINTS, st.floats(0.0, 120.0))
def test_nothing_within_the_budget_is_better_than_the_winner(points: dict, budget: float) -> None:
    best = best_within(points, budget)
    within = [name for name, (spent, _) in points.items() if spent <= budget]
    assert (best is None) == (not within)
    if best is not None:
        assert points[best][0] <= budget
        assert all((points[name][1], -points[name][0]) <= (points[best][1], -points[best][0]) for name in within)


@given(POINTS)
def test_the_frontier_is_what_wins_under_some_budget(points: dict) -> None:
    found = frontier(points)
    winners = {best_within(points, spent) for spent, _ in points.values()}
    assert {points[name] for name in winners if name} == {points[name] for name in found}
    assert found == sorted(found, key=lambda name: points[name])


def test_published_winners() -> None:
    points = {name: (row.millions(), row.top1) for name, row in NETWORKS.items()}
    assert best_within(points, 3.0) is None
    for budget, winner in (
        (4.0, "micronet_m0"),
        (13.0, "micronet_m2"),
        (25.0, "micronet_m3"),
        (60.0, "mobile_former_52m"),
    ):
        assert best_within(points, budget) == winner
    assert best_within(points, 300.0) == "mobile_former_294m"


def test_pairs_in_disagreement() -> None:
    assert disagreements({"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 1.0, "b": 2.0, "c": 3.0}) == (0, 3)
    assert disagreements({"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 3.0, "b": 2.0, "c": 1.0}) == (3, 3)
    assert disagreements({"a": 1.0, "b": 1.0}, {"a": 3.0, "b": 2.0}) == (0, 0), "a tie has no order"
    with pytest.raises(ValueError, match="the same networks twice"):
        disagreements({"a": 1.0}, {"b": 1.0})
