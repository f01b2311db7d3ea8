"""Experiments, results and claims, on a toy whose numbers are known."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from visionlab.experiments import experiment as module
from visionlab.experiments.claim import Claim
from visionlab.experiments.experiment import Experiment, Job, Outcome, StaleResultError, find, recorded
from visionlab.experiments.result import Result, Row

CALLS: list[tuple[str, int]] = []
JOBS: list[Job] = []
FAIL_AT: list[tuple[str, int]] = []


@dataclasses.dataclass(frozen=True)
class Toy:
    gain: float = 5.0
    variants: tuple[str, ...] = ("new", "old")


def measure(job: Job) -> Outcome:
    """Score 50, plus the gain for the new variant, plus noise of the seed."""
    CALLS.append((job.variant, job.seed))
    JOBS.append(job)
    if (job.variant, job.seed) in FAIL_AT:
        raise KeyboardInterrupt
    score = 50 + job.preset.gain * (job.variant == "new") + job.seed + 0.1 * (job.variant == "new") * job.seed
    history = [{"step": 1.0, "loss": 2.0}, {"step": 2.0, "loss": 1.0}]
    network = nn.Linear(1, job.seed + 1)
    return Outcome({"score": score, "error": 100 - score}, history, {"map": np.arange(3.0)}, network)


def claim(**changes: Any) -> Claim:
    terms = {"name": "gain", "statement": "new beats old", "source": "table 1", "metric": "score", "margin": 2.0}
    return Claim(**(terms | {"method": "new", "rival": "old"} | changes))


def toy(**changes: Any) -> Experiment:
    fields = {
        "name": "toy/gain",
        "question": "?",
        "variants": ("new", "old", "other"),
        "measure": measure,
        "presets": {"quick": Toy(), "long": Toy(gain=7.0)},
        "claims": (claim(),),
    }
    return Experiment(**(fields | changes))


@pytest.fixture(autouse=True)
def fresh() -> None:
    CALLS.clear()
    JOBS.clear()
    FAIL_AT.clear()


def test_a_run_measures_each_variant_with_each_seed() -> None:
    result = toy().run("quick", seeds=(3, 4))
    assert CALLS == [("new", 3), ("old", 3), ("new", 4), ("old", 4)]
    assert result.values("new", "score") == {3: 58.3, 4: 59.4}
    assert result.variants == ["new", "old"]
    assert result.seeds == [3, 4]
    assert result.curves["new/3"] == {"loss": [(1.0, 2.0), (2.0, 1.0)]}
    assert {row.metric for row in result.rows} == {"score", "error"}
    assert result.seconds.keys() == result.curves.keys() == {"new/3", "old/3", "new/4", "old/4"}
    assert result.networks["old", 4].out_features == 5
    assert result.summary("new", "score").mean == pytest.approx(58.85)
    assert (result.experiment, result.preset, result.data) == ("toy/gain", "quick", "none")
    assert result.hash == toy().hash("quick")
    assert toy().run("quick", variants=["other"]).variants == ["other"]
    bare = {"quick": dataclasses.make_dataclass("Bare", [("gain", float, 1.0)])()}
    assert toy(presets=bare).run("quick").variants == ["new", "old", "other"]
    assert set(result.table().columns) == {"variant", "seed", "metric", "value"}


def test_each_job_is_told_all_it_needs(tmp_path: Path) -> None:
    heard: list[tuple[str, int]] = []

    def hooks(variant: str, seed: int) -> Any:
        heard.append((variant, seed))
        return print

    toy(data=("none", "moon")).run("long", variants=["old"], data="moon", device="cpu", hooks=hooks, folder=tmp_path)
    (job,) = JOBS
    assert (job.variant, job.seed, job.preset.gain, job.data, job.device) == ("old", 0, 7.0, "moon", "cpu")
    assert job.hook is print
    assert heard == [("old", 0)]
    assert job.checkpoint.parent == tmp_path
    assert job.checkpoint.suffix == ".pt"
    toy().run("quick", variants=["old"])
    assert (JOBS[-1].checkpoint, JOBS[-1].hook) == (None, None)


def test_a_run_that_was_stopped_measures_only_what_is_missing(tmp_path: Path) -> None:
    whole = toy().run("quick", seeds=(0, 1))
    CALLS.clear()
    FAIL_AT.append(("new", 1))
    with pytest.raises(KeyboardInterrupt):
        toy().run("quick", seeds=(0, 1), folder=tmp_path)
    FAIL_AT.clear()
    CALLS.clear()
    resumed = toy().run("quick", seeds=(0, 1), folder=tmp_path)
    assert CALLS == [("new", 1), ("old", 1)]
    assert resumed.rows == whole.rows
    assert resumed.curves == whole.curves
    CALLS.clear()
    toy().run("long", seeds=(0,), folder=tmp_path)
    assert len(CALLS) == 2, "another preset has parts of its own"
    toy(versions={"puzzles": 2}).run("quick", seeds=(0,), folder=tmp_path)
    assert len(CALLS) == 4, "and so has another version of the data"
    toy(data=("none", "moon")).run("quick", seeds=(0,), data="moon", folder=tmp_path)
    assert len(CALLS) == 6, "and other data"


def test_networks_of_finished_parts_are_made_again_and_numbers_are_not(tmp_path: Path) -> None:
    first = toy().run("quick", folder=tmp_path)
    assert not toy().run("quick", folder=tmp_path).networks
    part = next(tmp_path.glob("*new*.json"))
    part.write_text(part.read_text().replace("55.0", "55.5"))
    again = toy().run("quick", folder=tmp_path, networks=True)
    assert again.networks.keys() == first.networks.keys() == {("new", 0), ("old", 0)}
    assert again.values("new", "score") == {0: 55.5}
    assert len(again.rows) == len(first.rows)


def test_variants_of_like_names_share_no_file(tmp_path: Path) -> None:
    names = ("new", "New", "NEW", "PNAL", "CE", "a b", "a-b", "a/b", "a=1", "a 1", "§", "τ")
    experiment = toy(variants=names, presets={"quick": Toy(variants=names)}, claims=())
    first = experiment.run("quick", folder=tmp_path)
    assert len(CALLS) == len(names)
    assert len(list(tmp_path.rglob("*.json"))) == len(names)
    assert experiment.run("quick", folder=tmp_path).rows == first.rows


def test_a_part_that_was_cut_is_named(tmp_path: Path) -> None:
    toy().run("quick", folder=tmp_path)
    part = next(tmp_path.glob("*new*.json"))
    part.write_text(part.read_text()[:50])
    with pytest.raises(ValueError, match=r"new-0\.json is not a whole result file"):
        toy().run("quick", folder=tmp_path)


def test_parts_are_refused_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="choose a folder that can be written"):
        toy().run("quick", folder=tmp_path / "file")


def test_results_survive_their_file(tmp_path: Path) -> None:
    result = toy().run("quick", seeds=(0, 1))
    back = Result.load(result.save(tmp_path / "deep" / "r.json"))
    assert back == dataclasses.replace(result, arrays=back.arrays, seconds=back.seconds, networks={})
    assert back.arrays.keys() == {"new/0/map", "old/0/map", "new/1/map", "old/1/map"}
    assert back.arrays["old/1/map"].dtype == np.float64
    assert np.array_equal(back.arrays["old/1/map"], np.arange(3.0))
    assert back.environment["device"].startswith(("cpu (", "cuda (", "mps ("))
    assert {p.name for p in (tmp_path / "deep").iterdir()} == {"r.json", "r.safetensors"}


def test_a_strided_array_survives_as_well(tmp_path: Path) -> None:
    array = np.arange(12, dtype=np.int64).reshape(3, 4).T[::2]
    path = Result("toy/gain", "quick", "none", "", arrays={"x": array}).save(tmp_path / "r.json")
    assert np.array_equal(Result.load(path).arrays["x"], array)
    plain = Result("toy/gain", "quick", "none", "").save(tmp_path / "plain.json")
    assert Result.load(plain).arrays == {}
    assert not plain.with_suffix(".safetensors").exists()


def test_a_result_is_refused_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write .*file/r\."):
        toy().run("quick").save(tmp_path / "file" / "r.json")


def test_files_that_are_no_results_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="path: no result at"):
        Result.load(tmp_path / "none.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match=r"other\.json is not a whole result file: KeyError"):
        Result.load(tmp_path / "other.json")
    path = toy().run("quick").save(tmp_path / "r.json")
    whole, arrays = path.read_bytes(), path.with_suffix(".safetensors")
    for size in (0, 1, 100, len(whole) - 3):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"r\.json is not a whole result file"):
            Result.load(path)
    path.write_bytes(whole)
    Result.load(path)
    arrays.write_bytes(arrays.read_bytes()[:-4])
    with pytest.raises(ValueError, match=r"r\.json is not a whole result file"):
        Result.load(path)
    arrays.unlink()
    with pytest.raises(ValueError, match=r"r\.json is not a whole result file"):
        Result.load(path)


def test_what_was_not_measured_is_said() -> None:
    result = toy().run("quick")
    with pytest.raises(KeyError, match=r"no 'speed' of 'new'; measured: \['error', 'score'\]"):
        result.values("new", "speed")
    with pytest.raises(KeyError, match=r"no 'score' of 'swin'; measured: .* of \['new', 'old'\]"):
        result.summary("swin", "score")
    for changes in ({"rival": "other"}, {"method": "other"}, {"metric": "speed"}):
        with pytest.raises(KeyError, match="measured"):
            claim(**changes).judge(result)


def verdict(new: list[float], old: list[float], **changes: Any) -> Any:
    rows = [Row("new", seed, "score", float(value)) for seed, value in enumerate(new)]
    rows += [Row("old", seed, "score", float(value)) for seed, value in enumerate(old)]
    return claim(**changes).judge(Result("toy/gain", "quick", "none", "", rows))


def test_a_claim_is_shown_when_the_margin_is_reached_and_the_interval_is_above_zero() -> None:
    found = verdict([60, 61, 62, 63, 64], [50, 51.5, 52, 53.5, 54])
    assert found.status == "shown"
    assert found.difference.mean == pytest.approx(9.8)
    assert 9.4 < found.difference.low < 9.8 < found.difference.high < 10.2
    assert (found.method.mean, found.rival.mean) == pytest.approx((62, 52.2))
    assert str(found) == f"new beats old: shown ({found.difference})"
    assert verdict([60, 61, 62, 63, 64], [50, 51.5, 52, 53.5, 54], margin=9.7).status == "shown"
    assert verdict([60, 61, 62, 63, 64], [50, 51.5, 52, 53.5, 54], margin=9.9).status == "not shown"


@pytest.mark.parametrize(
    ("new", "old", "why"),
    [
        ([100.0] * 5, [100.0] * 5, "a tie at the ceiling"),
        ([99.0], [50.0], "a single seed"),
        ([51, 52, 53, 54, 55], [50, 51, 52, 53, 54.5], "a difference below the margin"),
        ([90, 40, 95, 42, 60], [50, 50, 50, 50, 50], "an interval across zero"),
    ],
)
def test_otherwise_it_is_not_shown(new: list[float], old: list[float], why: str) -> None:
    assert verdict(new, old).status == "not shown", why


def test_it_is_contradicted_when_the_interval_is_below_zero() -> None:
    assert verdict([50, 51, 52, 53, 54], [60, 61.5, 62, 63, 64]).status == "contradicted"
    lower = verdict([50, 51, 52, 53, 54], [60, 61.5, 62, 63, 64], higher_is_better=False)
    assert lower.status == "shown"
    assert lower.difference.mean == pytest.approx(10.1), "in the claimed direction"
    assert (lower.method.mean, lower.rival.mean) == pytest.approx((52, 62.1)), "as measured"
    higher = verdict([60, 61.5, 62, 63, 64], [50, 51, 52, 53, 54], higher_is_better=False)
    assert higher.status == "contradicted"
    assert verdict([49.0] * 5, [50.0] * 5, margin=0.0).status == "contradicted"


def test_an_exact_claim_needs_one_run() -> None:
    assert verdict([60], [50], exact=True).status == "shown"
    assert verdict([51], [50], exact=True).status == "not shown"
    assert verdict([49], [50], exact=True).status == "contradicted"
    assert str(verdict([60], [50], exact=True).difference) == "10.0"


def other_measure(job: Job) -> Outcome:
    return Outcome({"score": 1.0})


# fmt: off
def reworded_measure(job: Job) -> Outcome:
    """Another docstring altogether."""
    # and a comment
    CALLS.append((job.variant, job.seed))
    JOBS.append(job)
    if (job.variant, job.seed) in FAIL_AT:  # another comment
        raise KeyboardInterrupt
    score = (
        50
        + job.preset.gain * (job.variant == 'new')
        + job.seed + 0.1 * (job.variant == 'new') * job.seed
    )
    history = [{"step": 1.0, "loss": 2.0}, {"step": 2.0, "loss": 1.0}]
    network = nn.Linear(1, job.seed + 1)
    return Outcome({"score": score, "error": 100 - score}, history, {"map": np.arange(3.0)}, network)
# fmt: on


class Scale:
    """A class that decides numbers."""

    factor = 2.0

    def apply(self, x: float) -> float:
        """Scale."""
        return self.factor * x


class Rescale:
    # The same class under another name, with other words.
    factor = 2.0

    def apply(self, x: float) -> float:
        return self.factor * x


class OtherScale:
    factor = 3.0

    def apply(self, x: float) -> float:
        return self.factor * x


def test_the_hash_follows_what_decides_the_numbers() -> None:
    base = toy().hash("quick")
    assert base == toy().hash("quick")
    changed = [
        toy().hash("long"),
        toy(claims=(claim(margin=3.0),)).hash("quick"),
        toy(claims=(claim(metric="error"),)).hash("quick"),
        toy(claims=(claim(higher_is_better=False),)).hash("quick"),
        toy(claims=(claim(exact=True),)).hash("quick"),
        toy(claims=()).hash("quick"),
        toy(presets={"quick": Toy(gain=5.1)}).hash("quick"),
        toy(defined_by=(Scale,)).hash("quick"),
        toy(defined_by=(OtherScale,)).hash("quick"),
        toy(name="toy/other").hash("quick"),
        toy(measure=other_measure).hash("quick"),
        toy(versions={"puzzles": 2}).hash("quick"),
        toy(variants=("new", "old")).hash("quick"),
        toy(defined_by=(other_measure,)).hash("quick"),
    ]
    assert len({base, *changed}) == 1 + len(changed)
    assert toy(claims=(claim(statement="put otherwise", remark="and more", source="table 2"),)).hash("quick") == base
    assert toy(question="Otherwise?", seeds=(7,)).hash("quick") == base


def test_comments_docstrings_and_quotes_do_not_count() -> None:
    assert module._code(reworded_measure).replace("reworded_measure", "measure") == module._code(measure)
    assert module._code(Rescale).replace("Rescale", "Scale") == module._code(Scale)
    assert "factor=2.0" in module._code(Scale)


def test_a_stale_recorded_result_is_refused_with_the_command_that_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = json.loads(module.recorded_path("cswin/reach").read_text())
    content["hash"] = "0123"
    (tmp_path / "cswin_reach.json").write_text(json.dumps(content))
    monkeypatch.setattr(module, "recorded_path", lambda name: tmp_path / "cswin_reach.json")
    with pytest.raises(
        StaleResultError, match=r"recorded 0123, now [0-9a-f]{16}.*`visionlab run cswin/reach --record`"
    ):
        recorded("cswin/reach")
    (tmp_path / "cswin_reach.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no result at .*cswin_reach\.json"):
        recorded("cswin/reach")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: find("cswin/same-color"), "did you mean 'cswin/same-colour'"),
        (lambda: find("zzz"), "there are world/shapes, world/tasks, micronet/wiring"),
        (lambda: toy().run("huge"), "preset: toy/gain has quick, long, got 'huge'"),
        (lambda: toy().run(variants=["new", "swin"]), "variants: toy/gain has new, old, other, got swin"),
        (lambda: toy().run(data="mars"), "data: toy/gain runs on none, got 'mars'"),
        (lambda: toy().hash("huge"), "preset: toy/gain has quick, long, got 'huge'"),
        (lambda: recorded("cswin/reaches"), "did you mean 'cswin/reach'"),
        (lambda: toy().run(seeds=()), "seeds: expected at least one"),
        (lambda: toy().claim("loss"), "claim: toy/gain has gain, got 'loss'"),
    ],
)
def test_unknown_names_are_answered_with_those_there_are(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
