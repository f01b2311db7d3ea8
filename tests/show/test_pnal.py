"""Pictures of lab 08: what they say, and that they count as PNAL does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from visionlab.measure.points import selected
from visionlab.points.pnal import Cleaning, LabelMemory
from visionlab.points.voting import uncertainty
from visionlab.show import pnal as draw
from visionlab.show.timeline import Timeline, fixed

EPOCHS = range(1, 11)


def remembered(timeline: Timeline, cleaning: Cleaning) -> np.ndarray:
    """Labels in force of all epochs, as the training loop gets them: correct the whole room, then record."""
    memories = [
        LabelMemory(torch.from_numpy(cluster).long(), len(timeline.classes), slots=cleaning.slots)
        for cluster in timeline.cluster
    ]
    ids = torch.arange(timeline.points)
    labels = []
    for epoch, predicted in enumerate(torch.from_numpy(timeline.predicted)):
        for memory, row in zip(memories, predicted, strict=True):
            if epoch >= cleaning.warmup:
                memory.correct(ids, cleaning)
            memory.record(ids, row)
        labels.append(torch.stack([memory.corrected for memory in memories]).numpy().copy())
    return np.stack(labels)


# --- The timeline -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule", [{}, {"share": 0.75}, {"gamma": 0.1}, {"slots": 3, "share": 0.6}, {"slots": 8, "gamma": 0.001}]
)
def test_a_replay_gives_the_labels_that_training_would_have_had(timeline: Timeline, rule: dict[str, Any]) -> None:
    replayed = timeline.replayed(**rule)
    cleaning = Cleaning(**({"warmup": 4} | rule))
    assert (replayed.in_force == remembered(timeline, cleaning)).all()
    assert replayed.cleaning == cleaning
    assert (timeline.replayed().in_force == timeline.in_force).all()


def test_an_epoch_votes_by_the_predictions_before_it(timeline: Timeline) -> None:
    assert (timeline.history(1, 1) == -1).all()
    assert (timeline.history(1, 3)[:, :2] == -1).all()
    assert (timeline.history(1, 3)[:, 2:] == timeline.predicted[:2, 1].T).all()
    assert (timeline.history(1, 10) == timeline.predicted[5:9, 1].T).all()


@pytest.mark.parametrize("epoch", [1, 2, 5, 10])
def test_votes_are_those_of_a_slow_count(timeline: Timeline, epoch: int) -> None:
    history, cluster = timeline.history(0, epoch), timeline.cluster[0]
    (label, share), reliable = timeline.agreement(0, epoch), timeline.reliable(0, epoch)
    for point in range(0, timeline.points, 37):
        counts = [int((history[point] == k).sum()) for k in range(10)]
        assert label[point] == counts.index(max(counts))
        assert share[point] == max(counts) / 4
        assert reliable[point] == (max(counts) == 4)
        votes = [0] * 10
        for other in np.flatnonzero(cluster == cluster[point]):
            if len(set(history[other].tolist())) == 1 and history[other, 0] >= 0:
                votes[history[other, 0]] += 1
        assert timeline.votes(0, epoch, point).tolist() == votes
        assert timeline.winners(0, epoch)[point] == (votes.index(max(votes)) if any(votes) else -1)


def test_the_warm_up_trains_on_the_given_labels_and_then_they_get_better(timeline: Timeline) -> None:
    scores = [timeline.score(0, epoch) for epoch in EPOCHS]
    assert (timeline.labels(0, 4) == timeline.given[0]).all()
    assert scores[0] == scores[3]
    assert 40 < scores[3][0] < 65
    assert scores[4][2] > 0, "some clusters have no reliable point at first"
    assert scores[9][0] > 80
    assert all(sum(score) == pytest.approx(100) for score in scores)
    measured = selected(
        *(torch.from_numpy(each) for each in (timeline.labels(0, 9), timeline.given[0], timeline.truth[0]))
    )
    assert measured.recall == pytest.approx(scores[8][0])


def test_a_point_is_described_in_words(timeline: Timeline) -> None:
    small = Timeline(
        xyz=np.zeros((1, 3, 3)), rgb=np.zeros((1, 3, 3)), given=np.array([[1, 1, -1]]), truth=np.array([[0, 0, -1]]),
        cluster=np.array([[7, 7, 9]]), predicted=np.array([[[0, 0, 1]], [[0, 1, -1]], [[0, 0, 0]]]),
        in_force=np.array([[[-1] * 3], [[-1] * 3], [[0, 0, -1]]]), classes=("bed", "lamp"), warmup=2, slots=2,
    )  # fmt: skip
    assert small.describe(0, 3, 1) == (
        "Point 1 of room 1, epoch 3. Its last 2 predictions: bed, lamp; most frequent bed, p = 0.500, u = 0.500, not"
        " reliable. Its cluster: 2 points, 1 reliable; votes: bed 1; winner: bed. Given lamp, in force bed, true bed."
    )
    assert small.describe(0, 1, 2) == (
        "Point 2 of room 1, epoch 1. Its last 2 predictions: empty, empty; p = 0.000, not reliable. Its cluster: 1"
        " points, 0 reliable; votes: none; winner: nobody (warm-up: not applied). Given none, in force none, true none."
    )
    assert [fixed(value) for value in (1.0, 0.125, 1 / 16, 2 / 3)] == ["1.000", "0.125", "0.063", "0.667"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"given": np.zeros(4, int)}, r"given: expected \(rooms, points\)"),
        ({"xyz": np.zeros((2, 512))}, r"xyz: expected \(2, 512, 3\); got \(2, 512\)"),
        ({"in_force": np.zeros((3, 2, 512), int)}, r"in_force: expected \(10, 2, 512\)"),
        ({"predicted": np.zeros((0, 2, 512), int)}, r"predicted: expected \(1, 2, 512\)"),
        ({"truth": np.full((2, 512), 10)}, "truth: expected -1 to 9; got 10 to 10"),
        ({"truth": np.zeros((2, 512))}, "truth: expected whole numbers; got float64"),
        ({"rgb": np.full((2, 512, 3), 1.5)}, "rgb: expected 0 to 1"),
        ({"xyz": np.full((2, 512, 3), np.nan)}, "xyz: expected finite numbers"),
        ({"classes": ("a", "a")}, "classes: expected 2 to 127 different names"),
        ({"names": ("kitchen",)}, "names: expected 2, one a room; got 1"),
        ({"share": 0.0}, "share: expected more than 0"),
        ({"slots": 0}, "warmup, slots"),
    ],
)
def test_what_does_not_fit_is_named(timeline: Timeline, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(timeline, **changes)


def test_only_what_is_there_can_be_asked_for(timeline: Timeline) -> None:
    for ask, words in (
        (lambda: timeline.labels(2, 1), "room: expected 0 to 1; got 2"),
        (lambda: timeline.history(0, 0), "epoch: expected 1 to 10; got 0"),
        (lambda: timeline.votes(0, 1, 512), "point: expected 0 to 511; got 512"),
    ):
        with pytest.raises(ValueError, match=words):
            ask()


# --- Figures ----------------------------------------------------------------------------------------------------------


def test_a_room_without_the_widget_says_how_many_labels_are_right(timeline: Timeline) -> None:
    shown = draw.room_figure(timeline, 1, [5, 10])
    right, _, none = timeline.score(1, 5)
    assert f"in force, epoch 5: {right:.0f} % right, {none:.0f} % none yet" in shown.alt
    assert shown.alt.startswith("The points of room 2. given labels: ")
    titles = [axis.get_title(loc="center") for axis in shown.fig.axes]
    assert titles == ["given labels", "in force, epoch 5", "in force, epoch 10", "truth"]
    drawn = [len(axis.collections[0].get_offsets()) for axis in shown.fig.axes]
    assert drawn[0] > drawn[2] > drawn[3], "wrong labels have a core"
    assert 0.3 * timeline.points < drawn[3] < timeline.points, "without ceiling and near walls"
    assert len(draw.room_figure(timeline).fig.axes) == 5
    with pytest.raises(ValueError, match="epoch"):
        draw.room_figure(timeline, 0, [11])


def test_memorisation_is_told_by_its_peak_and_its_end() -> None:
    ce = {"given": [30, 40, 60], "truth": [40, 50, 45], "test": [40, 52, 41]}
    shown = draw.memorisation_figure({"CE": ce, "PNAL": ce | {"test": [40, 60, 70]}}, warmup=1, clean=40)
    assert "where 40 % of the given labels are right. CE: new rooms 52 at best, in epoch 2, 41 at last;" in shown.alt
    assert "training rooms at last 60 by given labels, 45 by true ones. PNAL: new rooms 70 at best" in shown.alt
    assert [line.get_ydata().tolist() for line in shown.fig.axes[0].lines[1:]] == list(ce.values())
    with pytest.raises(ValueError, match="curves: expected given, truth and test of 'CE'"):
        draw.memorisation_figure({"CE": {"given": [1.0]}}, warmup=1, clean=40)
    with pytest.raises(ValueError, match="or more, got none"):
        draw.memorisation_figure({}, warmup=1, clean=40)


def test_selection_tells_when_most_points_have_a_label() -> None:
    nan = float("nan")
    shown = draw.selection_figure([0, 85, 95], [nan, 70, 80], [0, 60, 76], warmup=1)
    assert shown.alt == (
        "Points with a corrected label, after a warm-up of 1 epochs. At the end: selected, of all 95 %, right, of the"
        " selected 80 %, selected and right, of all 76 %; 90 % are selected from epoch 3 on."
    )
    assert "never selected" in draw.selection_figure([0, 50], [nan, 70], [0, 40], warmup=1).alt
    with pytest.raises(ValueError, match="expected one length; got 1, 2, 1"):
        draw.selection_figure([0], [1, 2], [1], warmup=0)


def test_few_votes_can_seem_surer_than_half_of_them() -> None:
    shown = draw.uncertainty_figure(8, 4, 0.2)
    assert "1 of 8: 0.188" in shown.alt
    assert "4 of 8: 0.250" in shown.alt
    assert shown.alt.endswith("At most γ = 0.2, reliable: 1, 6, 7, 8 of 8.")
    assert draw.uncertainty_figure(4, 13, 0.001).alt.endswith("reliable: 4 of 4.")
    curve = shown.fig.axes[0].lines[0]
    assert curve.get_ydata().max() == pytest.approx(float(uncertainty(torch.tensor([1 / np.e]), 4)), abs=1e-5)
    with pytest.raises(ValueError, match="q, gamma"):
        draw.uncertainty_figure(0, 4, 0.1)


def test_noise_of_rooms_is_drawn_in_order() -> None:
    shown = draw.noise_strip_figure([60, 40, 50], wanted=60)
    assert shown.alt == "Wrong labels of 3 rooms in percent: 40 to 60, in the mean 50; 60 were asked for."
    assert [bar.get_height() for bar in shown.fig.axes[0].patches[:3]] == [40, 50, 60]
    with pytest.raises(ValueError, match="rates"):
        draw.noise_strip_figure([])


def test_what_became_of_each_class_is_told(timeline: Timeline) -> None:
    truth, given, after = np.array([0, 0, 0, 1, -1]), np.array([0, 1, 1, 1, 0]), np.array([0, 0, -1, 1, 1])
    shown = draw.confusion_figure(given, after, truth, ("bed", "lamp", "door"))
    assert shown.alt.endswith("given and corrected: bed 33 to 67, lamp 100 to 100.")
    assert np.round(shown.fig.axes[1].images[0].get_array()[0]).tolist() == [67, 0, 0, 33]
    assert "wall" in draw.confusion_figure(timeline.given, timeline.in_force[-1], timeline.truth, timeline.classes).alt
    with pytest.raises(ValueError, match="one shape"):
        draw.confusion_figure(given[1:], after, truth, ("bed", "lamp"))
