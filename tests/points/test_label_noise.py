"""Wrong labels of rooms: how many, of whole objects, to which classes; odd rooms."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, ttest_rel
from torch import Tensor

from visionlab.points.label_noise import (
    CALIBRATION,
    S3DIS_PARTNERS,
    Noise,
    asymmetric,
    boundary,
    common_asymmetric,
    published_symmetric,
    symmetric,
)

CLASSES = 13
Make = Callable[[Tensor, Tensor, int, float, torch.Generator], Noise]
OURS: dict[str, Make] = {
    "symmetric": symmetric,
    "asymmetric": partial(asymmetric, partners=S3DIS_PARTNERS),
    "common asymmetric": partial(common_asymmetric, partners=S3DIS_PARTNERS),
}
ALL: dict[str, Make] = {**OURS, "published": published_symmetric}


def room(objects: int = 40, seed: int = 0, unlabelled: int = 20) -> tuple[Tensor, Tensor]:
    """Objects of 5 to 60 points with ids that have gaps, in random order of points, and unlabelled points."""
    rng = torch.Generator().manual_seed(seed)
    sizes = torch.randint(5, 60, (objects,), generator=rng)
    kinds = torch.randint(CLASSES, (objects,), generator=rng)
    ids = torch.randperm(3 * objects, generator=rng)[:objects]
    labels = torch.cat([kinds.repeat_interleave(sizes), torch.full((unlabelled,), -1)])
    instances = torch.cat([ids.repeat_interleave(sizes), ids[torch.randint(objects, (unlabelled,), generator=rng)]])
    order = torch.randperm(len(labels), generator=rng)
    return labels[order], instances[order]


def countable(name: str, labels: Tensor) -> Tensor:
    return torch.isin(labels, torch.tensor(list(S3DIS_PARTNERS))) if name == "common asymmetric" else labels >= 0


@pytest.mark.parametrize("name", OURS)
@given(objects=st.integers(1, 30), seed=st.integers(0, 2**31), rate=st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_whole_objects_turn_into_other_classes_and_not_too_many(
    name: str, objects: int, seed: int, rate: float
) -> None:
    labels, instances = room(objects, seed)
    noise = OURS[name](labels, instances, CLASSES, rate, torch.Generator().manual_seed(seed))
    counted = countable(name, labels)
    assert torch.equal(noise.flipped, noise.labels != labels)
    assert not noise.flipped[~counted].any()
    assert noise.labels[labels >= 0].min() >= 0
    assert noise.labels.max() < CLASSES
    share = noise.flipped.sum().item() / max(1, counted.sum().item())
    assert noise.rate == pytest.approx(share)
    assert noise.rate <= 1.02 * rate + 1e-9
    for one in instances.unique():
        points = (instances == one) & (labels >= 0)
        if points.any():
            assert len(noise.labels[points].unique()) == 1


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("rate", [0.2, 0.4, 0.6, 0.8, 1.0])
def test_rooms_of_many_objects_reach_the_rate(name: str, rate: float, rng: torch.Generator) -> None:
    for seed in range(5):
        labels, instances = room(80, seed)
        got = OURS[name](labels, instances, CLASSES, rate, rng).rate
        assert rate - 0.05 <= got <= 1.02 * rate


def by_hand(labels: Tensor, instances: Tensor, rate: float, rng: np.random.RandomState) -> float:
    """The published generator on points, as the card of the method tells it; returns the share of wrong points."""
    now = np.stack([labels.numpy(), instances.numpy()], 1)[labels.numpy() >= 0]
    true, drawn = now[:, 0].copy(), 0.0
    while drawn < CALIBRATION[rate] * rate:
        wanted = rng.randint(CLASSES), rng.randint(instances.max() + 1)
        chosen = (now == wanted).all(1)
        if chosen.any():
            now[chosen] = rng.choice([c for c in range(CLASSES) if c != wanted[0]]), 0
            drawn += chosen.mean()
    return (now[:, 0] != true).mean()


@pytest.mark.parametrize("rate", CALIBRATION)
def test_published_generator_gives_the_rates_of_a_loop_over_draws(rate: float, rng: torch.Generator) -> None:
    ours, loops, draws = [], [], np.random.RandomState(0)
    for seed in range(60):
        labels, instances = room(15, seed)
        noise = published_symmetric(labels, instances, CLASSES, rate, rng)
        assert torch.equal(noise.flipped, noise.labels != labels)
        assert not noise.flipped[labels < 0].any()
        ours.append(noise.rate)
        loops.append(by_hand(labels, instances, rate, draws))
    assert ttest_rel(ours, loops).pvalue > 1e-3
    assert np.std(ours) == pytest.approx(np.std(loops), rel=0.5)
    assert np.mean(ours) < rate - 0.05  # here, where no object fills a tenth of the room


def test_targets_of_symmetric_noise_are_uniform_over_the_other_classes(rng: torch.Generator) -> None:
    objects = 6000
    labels, instances = torch.full((objects,), 4), torch.arange(objects)
    counts = torch.bincount(symmetric(labels, instances, CLASSES, 1.0, rng).labels, minlength=CLASSES)
    assert counts[4] == 0
    assert chisquare(counts[torch.arange(CLASSES) != 4].numpy()).pvalue > 1e-3


def test_objects_are_flipped_equally_often_whatever_their_place(rng: torch.Generator) -> None:
    labels, instances = torch.zeros(10, dtype=torch.long), torch.arange(10)
    counts = sum(symmetric(labels, instances, 3, 0.3, rng).flipped.long() for _ in range(500))
    assert counts.sum() == 1500
    assert chisquare(counts.numpy()).pvalue > 1e-3


def test_asymmetric_noise_takes_the_partner_in_a_third_of_the_cases_and_else_any_class(rng: torch.Generator) -> None:
    objects = 6000
    for true, partner in ((5, 2), (3, None)):
        labels, instances = torch.full((objects,), true), torch.arange(objects)
        noise = asymmetric(labels, instances, CLASSES, 1.0, rng, partners=S3DIS_PARTNERS)
        counts = torch.bincount(noise.labels, minlength=CLASSES).double()
        expected = torch.full((CLASSES,), objects / 12).double()
        if partner is not None:
            expected *= 2 / 3
            expected[partner] += objects / 3
        others = torch.arange(CLASSES) != true
        assert counts[true] == 0
        assert chisquare(counts[others].numpy(), expected[others].numpy()).pvalue > 1e-3


def test_common_asymmetric_noise_takes_the_partner_always(rng: torch.Generator) -> None:
    labels, instances = room(80)
    noise = common_asymmetric(labels, instances, CLASSES, 1.0, rng, partners=S3DIS_PARTNERS)
    assert noise.rate == 1
    for true, partner in S3DIS_PARTNERS.items():
        assert (noise.labels[labels == true] == partner).all()


@pytest.mark.parametrize("name", ALL)
def test_same_generator_same_noise_and_inputs_stay_as_they_were(name: str) -> None:
    labels, instances = room()
    before = labels.clone()
    first, second, other = (
        ALL[name](labels, instances, CLASSES, 0.4, torch.Generator().manual_seed(seed)).labels for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(labels, before)
    small = ALL[name](labels.to(torch.int8), instances.int(), CLASSES, 0.4, torch.Generator().manual_seed(1))
    assert small.labels.dtype == torch.int8
    assert torch.equal(small.labels.long(), first)


@pytest.mark.parametrize("name", ALL)
def test_rooms_of_one_class_one_object_or_no_labels_are_taken(name: str, rng: torch.Generator) -> None:
    one_class, instances = torch.full((60,), 7), torch.arange(60) // 5
    assert ALL[name](one_class, instances, CLASSES, 0.4, rng).flipped.any()
    none = ALL[name](torch.full((9,), -1), torch.arange(9), CLASSES, 0.8, rng)
    assert none.rate == 0
    assert (none.labels == -1).all()
    if name != "published":
        assert OURS[name](one_class, instances, CLASSES, 0, rng).rate == 0
        assert OURS[name](one_class, instances, CLASSES, 1, rng).rate == 1
        assert OURS[name](one_class, torch.zeros(60, dtype=torch.long), CLASSES, 0.9, rng).rate == 0


def test_room_without_classes_that_have_partners_stays_clean(rng: torch.Generator) -> None:
    noise = common_asymmetric(torch.arange(2), torch.arange(2), CLASSES, 1.0, rng, partners=S3DIS_PARTNERS)
    assert noise.rate == 0
    assert not noise.flipped.any()


def test_an_id_that_two_classes_share_is_two_objects(rng: torch.Generator) -> None:
    labels, instances = torch.tensor([0] * 50 + [1] * 50), torch.zeros(100, dtype=torch.long)
    noise = symmetric(labels, instances, 5, 0.5, rng)
    assert noise.rate == 0.5
    assert len(noise.flipped.view(2, 50).all(1).unique()) == 2


def line(labels: list[int]) -> tuple[Tensor, Tensor]:
    """Points 10 cm apart on a line."""
    xyz = torch.zeros(len(labels), 3)
    xyz[:, 0] = 0.1 * torch.arange(len(labels))
    return xyz, torch.tensor(labels)


def test_points_at_a_boundary_take_the_class_beyond_it(rng: torch.Generator) -> None:
    xyz, labels = line([0, 0, 0, 0, 1, 1, 1, -1, 2, 2])
    noise = boundary(xyz, labels, 0.15, 1.0, rng)
    assert noise.labels.tolist() == [0, 0, 0, 1, 0, 1, 1, -1, 2, 2]
    assert noise.rate == 1
    wide = boundary(xyz, labels, 0.25, 1.0, rng)
    assert wide.labels.tolist() == [0, 0, 1, 1, 0, 0, 2, -1, 1, 2]
    half = boundary(xyz, labels, 0.25, 0.5, rng)
    assert half.flipped.sum() == 3
    assert half.rate == 0.5
    assert torch.equal(half.labels[half.flipped], wide.labels[half.flipped])


def test_boundary_noise_of_rooms_without_boundaries_is_none(rng: torch.Generator) -> None:
    for labels, radius, rate in (([3, 3, 3], 1.0, 1.0), ([-1, -1], 1.0, 1.0), ([0, 1, 0], 0.05, 1.0), ([0, 1], 1, 0)):
        noise = boundary(*line(labels), radius, rate, rng)
        assert noise.rate == 0
        assert noise.labels.tolist() == labels


@pytest.mark.usefixtures("as_users_run_it")
def test_bad_input_is_refused(rng: torch.Generator) -> None:
    labels, instances = torch.arange(4), torch.arange(4)
    for make in ALL.values():
        for words, given_labels, given_instances, rate in (
            ("rate: expected 0 to 1, got 1.1", labels, instances, 1.1),
            ("rate: expected 0 to 1, got nan", labels, instances, float("nan")),
            ("labels: expected -1 or more, got none", labels[:0], instances[:0], 0.4),
            ("labels: expected -1 or more, got -2", labels - 2, instances, 0.4),
            ("labels: expected up to 12, got 13", labels + 10, instances, 0.4),
            (r"labels: expected \(N,\) whole numbers, got \(4,\) of torch.float32", labels.float(), instances, 0.4),
            (r"instances: expected \(4,\) whole numbers, got \(3,\)", labels, instances[:3], 0.4),
        ):
            with pytest.raises(ValueError, match=words):
                make(given_labels, given_instances, CLASSES, rate, rng)
    with pytest.raises(ValueError, match="classes: expected 2 or more, got 1"):
        symmetric(labels * 0, instances, 1, 0.5, rng)
    with pytest.raises(ValueError, match=r"rate: published for 0.4, 0.6, 0.8, got 0.5"):
        published_symmetric(labels, instances, 13, 0.5, rng)
    for partners in ({1: 1}, {1: 13}, {-1: 2}):
        with pytest.raises(ValueError, match="partners: expected two different classes from 0 to 12"):
            asymmetric(labels, instances, 13, 0.5, rng, partners=partners)
    with pytest.raises(ValueError, match=r"xyz: expected \(4, 3\), got \(4, 2\)"):
        boundary(torch.zeros(4, 2), labels, 0.1, 0.5, rng)
    with pytest.raises(ValueError, match="radius: expected 0 or more, got -1"):
        boundary(torch.zeros(4, 3), labels, -1, 0.5, rng)
