"""Experiments on noisy labels: what a job measures, and that a replay is the run it replays."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from visionlab.data import clouds as files
from visionlab.data.world.rooms import ROOM_CLASSES, rooms
from visionlab.experiments import pnal_probe, pnal_setting
from visionlab.experiments.claim import Closed
from visionlab.experiments.experiment import Experiment, Job, find
from visionlab.experiments.pnal import BOUND, NOISE, PNAL, USUAL
from visionlab.experiments.pnal_setting import LEARNT, Case, Setting, clusters_of, measure_case, noisy
from visionlab.experiments.result import Result, Row
from visionlab.points.training import recipe
from visionlab.show.timeline import Timeline

TINY = Setting(recipe=recipe(8, 7), warmup=3, n=8, test=3, points=96, k=6, clusters=12)


@pytest.fixture(scope="module")
def tiny() -> Experiment:
    """The experiment on noise, small enough for a test; its replay looks its preset up by name."""
    return dataclasses.replace(find("pnal/noise"), presets={"quick": TINY})


@pytest.fixture(scope="module")
def run(tiny: Experiment) -> Result:
    return tiny.run("quick", seeds=(0,), variants=(USUAL, PNAL, BOUND), device="cpu")


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch, tiny: Experiment, run: Result) -> Timeline:
    monkeypatch.setattr(pnal_probe, "find", lambda _: tiny)
    return Timeline(**pnal_probe.replay(run))


def test_all_percentages_are_such_and_agree_with_each_other(run: Result) -> None:
    for row in run.rows:
        assert 0 <= row.value <= 100, row
    measured = {v: {row.metric: row.value for row in run.rows if row.variant == v} for v in run.variants}
    assert measured[USUAL]["selected (%)"] == measured[BOUND]["selected (%)"] == 0
    assert measured[USUAL]["labels right (%)"] == pytest.approx(100 - measured[USUAL]["noise (%)"])
    assert measured[BOUND]["labels right (%)"] == 100
    assert measured[BOUND]["noise (%)"] == measured[BOUND][LEARNT] == 0
    assert measured[USUAL]["noise (%)"] == measured[PNAL]["noise (%)"]  # the same wrong labels for all methods
    shares = [measured[PNAL][f"selected{word} (%)"] / 100 for word in ("", " right")]
    mended, broken = (measured[PNAL][f"{word} (%)"] / 100 for word in ("wrong labels mended", "right labels broken"))
    rate = measured[PNAL]["noise (%)"] / 100
    assert shares[0] * shares[1] >= rate * mended - 1e-6
    assert broken <= shares[0] * (1 - shares[1]) / (1 - rate) + 1e-6


def test_a_job_measures_the_same_again(tiny: Experiment, run: Result) -> None:
    again = measure_case(Job(PNAL, 0, TINY, "rooms", device="cpu"), NOISE[PNAL])
    for metric, value in again.metrics.items():
        assert run.values(PNAL, metric)[0] == pytest.approx(value), metric


def test_the_first_rooms_are_those_of_the_run(replayed: Timeline) -> None:
    given, true, _, _ = pnal_setting.blocks_of(Job(PNAL, 0, TINY, "rooms"), NOISE[PNAL])
    assert np.array_equal(replayed.given, given.labels[:4].numpy())
    assert np.array_equal(replayed.truth, true.labels[:4].numpy())
    assert np.array_equal(replayed.cluster, given.cluster[:4].numpy())
    assert replayed.epochs == 7


def test_labels_in_force_are_what_the_recorded_predictions_vote_for(replayed: Timeline) -> None:
    for epoch in range(1, TINY.warmup + 1):
        assert (replayed.in_force[epoch - 1] == -1).all()
    changed = 0
    for epoch in range(TINY.warmup + 1, replayed.epochs + 1):
        for room in range(4):
            found = replayed.winners(room, epoch)
            expected = np.where(found >= 0, found, replayed.in_force[epoch - 2, room])
            assert np.array_equal(replayed.in_force[epoch - 1, room], expected)
            changed += int((expected >= 0).sum())
    assert changed


def test_only_two_trainings_can_be_replayed(run: Result) -> None:
    with pytest.raises(ValueError, match="variant: expected one of cross entropy, 60 %, PNAL, 60 %"):
        pnal_probe.replay(run, BOUND)


def test_curves_have_one_number_an_epoch(run: Result) -> None:
    curves = pnal_probe.memorisation(run, {"PNAL": PNAL})["PNAL"]
    assert {part: len(curve) for part, curve in curves.items()} == {"given": 7, "truth": 7, "test": 7}
    assert curves["given"][-1] == pytest.approx(run.values(PNAL, "fit to given labels (%)")[0], abs=0.01)
    with pytest.raises(KeyError, match="variant: pnal/noise has"):
        pnal_probe.by_epoch(run, "SELFIE", LEARNT)


def test_rates_differ_by_room_where_they_shall() -> None:
    some = rooms(12, points=128, seed=100)
    rates = np.array(noisy(some, Case(rate=None), 100)[1])
    assert rates.std() > 0.1
    assert rates.min() >= 0.1
    even = np.array(noisy(some, Case(rate=0.6), 100)[1])
    assert abs(even.mean() - 0.6) < 0.03


def test_look_alikes_are_taken_for_each_other() -> None:
    some = rooms(40, points=128, seed=100)
    labels, _ = noisy(some, Case(rate=0.4, noise="asymmetric"), 100)
    given, truth = torch.cat(labels), torch.cat([cloud.labels for cloud in some])
    wall, door = ROOM_CLASSES.index("wall"), ROOM_CLASSES.index("door")
    into = torch.bincount(given[(truth == wall) & (given != truth)], minlength=len(ROOM_CLASSES))
    assert into.argmax() == door


def test_coarse_clusters_are_fewer_and_objects_pure() -> None:
    some = rooms(2, points=256, seed=100)
    counts = {how: [len(c.unique()) for c in clusters_of(some, 40, how)] for how in ("fine", "coarse", "objects")}
    assert counts["fine"] == [40, 40]
    assert counts["coarse"] == [10, 10]
    assert counts["objects"] == [len(cloud.instances.unique()) for cloud in some]


@pytest.mark.parametrize(
    ("accuracy", "status"), [([50, 51, 52, 53, 54], "not shown"), ([75, 76, 74, 75, 77], "shown"),
                             ([41, 42, 40, 41, 42], "contradicted")]
)  # fmt: skip
def test_half_of_the_way_is_half_of_the_way(accuracy: list[int], status: str) -> None:
    rows = [Row("method", seed, "m", float(value)) for seed, value in enumerate(accuracy)]
    rows += [Row(name, seed, "m", value) for name, value in (("rival", 40.0), ("bound", 64.0)) for seed in range(5)]
    claim = Closed(
        name="c", statement="s", source="p", metric="m", method="method", rival="rival", bound="bound", share=0.5
    )
    verdict = claim.judge(Result("x/y", "long", "none", "0", rows=rows))
    assert verdict.status == status
    assert verdict.rival.mean == 52
    assert claim.variants == ("method", "rival", "bound")
    assert claim.rule == "method - 50 % of the way from rival to bound >= 0"


def test_scans_on_disk_are_found_by_name(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISIONLAB_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="mosd"):
        files.load("mosd", "train")
    for split, first in (("train", 0), ("test", 4)):
        for cloud in rooms(4, points=96, seed=100, first=first):
            files.save(cloud, tmp_path / "mosd" / split / f"{cloud.name}.npz")
    job = Job("PNAL", 0, dataclasses.replace(TINY, recipe=recipe(4, 5)), "mosd", device="cpu")
    measured = measure_case(job, Case(rate=0.25, cleaning=()))
    assert measured.metrics["noise (%)"] > 5
    assert len(measured.history) == 5
