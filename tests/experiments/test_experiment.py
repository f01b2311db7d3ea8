"""Experiments, results and claims, on a toy whose numbers are known."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visionlab.experiments import experiment as module
from visionlab.experiments.claim import Claim
from visionlab.experiments.experiment import Experiment, Job, Outcome, StaleResultError, find, recorded
from visionlab.experiments.result import Result, Row

CALLS: list[tuple[str, int]] = []
FAIL_AT: list[tuple[str, int]] = []


@dataclasses.dataclass(frozen=True)
class Toy:
    gain: float = 5.0
    variants: tuple[str, ...] = ("new", "old")


def measure(job: Job) -> Outcome:
    """Score 50, plus the gain for the new variant, plus noise of the seed."""
    CALLS.append((job.variant, job.seed))
    if (job.variant, job.seed) in FAIL_AT:
        raise KeyboardInterrupt
    score = 50 + job.preset.gain * (job.variant == "new") + job.seed + 0.1 * (job.variant == "new") * job.seed
    history = [{"step": 1.0, "loss": 2.0}, {"step": 2.0, "loss": 1.0}]
    return Outcome({"score": score, "error": 100 - score}, history, {"map": np.arange(3.0)})


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
    FAIL_AT.clear()


def test_a_run_measures_each_variant_with_each_seed() -> None:
    result = toy().run("quick", seeds=(3, 4))
    assert CALLS == [("new", 3), ("old", 3), ("new", 4), ("old", 4)]
    assert result.values("new", "score") == {3: 58.3, 4: 59.4}
    assert result.variants == ["new", "old"]
    assert result.seeds == [3, 4]
    assert result.curves["new/3"] == {"loss": [(1.0, 2.0), (2.0, 1.0)]}
    assert toy().run("quick", variants=["other"]).variants == ["other"]
    assert set(result.table().columns) == {"variant", "seed", "metric", "value"}


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


def test_a_part_that_was_cut_is_named(tmp_path: Path) -> None:
    toy().run("quick", folder=tmp_path)
    part = next(tmp_path.glob("*new*.json"))
    part.write_text(part.read_text()[:50])
    with pytest.raises(ValueError, match=r"new-0\.json is not a whole result file"):
        toy().run("quick", folder=tmp_path)


def test_results_survive_their_file(tmp_path: Path) -> None:
    result = toy().run("quick", seeds=(0, 1))
    back = Result.load(result.save(tmp_path / "deep" / "r.json"))
    assert back == dataclasses.replace(result, arrays=back.arrays, seconds=back.seconds)
    assert np.array_equal(back.arrays["old/1/map"], np.arange(3.0))
    assert "torch" in back.environment


def test_files_that_are_no_results_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="path: no result at"):
        Result.load(tmp_path / "none.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match=r"other\.json is not a whole result file: KeyError"):
        Result.load(tmp_path / "other.json")
    path = toy().run("quick").save(tmp_path / "r.json")
    path.with_suffix(".safetensors").unlink()
    with pytest.raises(ValueError, match="not a whole result file"):
        Result.load(path)


def test_what_was_not_measured_is_said() -> None:
    with pytest.raises(KeyError, match=r"no 'speed' of 'new'; measured: \['error', 'score'\]"):
        toy().run("quick").values("new", "speed")


def verdict(new: list[float], old: list[float], **changes: Any) -> Any:
    rows = [Row("new", seed, "score", float(value)) for seed, value in enumerate(new)]
    rows += [Row("old", seed, "score", float(value)) for seed, value in enumerate(old)]
    return claim(**changes).judge(Result("toy/gain", "quick", "none", "", rows))


def test_a_claim_is_shown_when_the_margin_is_reached_and_the_interval_is_above_zero() -> None:
    found = verdict([60, 61, 62, 63, 64], [50, 51.5, 52, 53.5, 54])
    assert found.status == "shown"
    assert found.difference.mean == pytest.approx(9.8)
    assert 9.4 < found.difference.low < 9.8 < found.difference.high < 10.2
    assert str(found).endswith(f"shown ({found.difference})")


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
    assert verdict([50, 51, 52, 53, 54], [60, 61.5, 62, 63, 64], higher_is_better=False).status == "shown"


def test_an_exact_claim_needs_one_run() -> None:
    assert verdict([60], [50], exact=True).status == "shown"
    assert verdict([51], [50], exact=True).status == "not shown"
    assert verdict([49], [50], exact=True).status == "contradicted"
    assert str(verdict([60], [50], exact=True).difference) == "10.0"


def other_measure(job: Job) -> Outcome:
    return Outcome({"score": 1.0})


def reworded_measure(job: Job) -> Outcome:
    """Another docstring altogether."""
    # and a comment
    CALLS.append((job.variant, job.seed))
    if (job.variant, job.seed) in FAIL_AT:
        raise KeyboardInterrupt
    score = 50 + job.preset.gain * (job.variant == "new") + job.seed + 0.1 * (job.variant == "new") * job.seed
    history = [{"step": 1.0, "loss": 2.0}, {"step": 2.0, "loss": 1.0}]
    return Outcome({"score": score, "error": 100 - score}, history, {"map": np.arange(3.0)})


reworded_measure.__name__ = "measure"


def test_the_hash_follows_what_decides_the_numbers() -> None:
    base = toy().hash("quick")
    assert base == toy().hash("quick")
    changed = [
        toy().hash("long"),
        toy(claims=(claim(margin=3.0),)).hash("quick"),
        toy(claims=(claim(metric="error"),)).hash("quick"),
        toy(measure=other_measure).hash("quick"),
        toy(versions={"puzzles": 2}).hash("quick"),
        toy(variants=("new", "old")).hash("quick"),
        toy(defined_by=(other_measure,)).hash("quick"),
    ]
    assert len({base, *changed}) == 1 + len(changed)
    assert toy(claims=(claim(statement="put otherwise", remark="and more", source="table 2"),)).hash("quick") == base


def test_comments_docstrings_and_quotes_do_not_count() -> None:
    ours = module._code(reworded_measure).replace("reworded_measure", "measure")
    assert ours == module._code(measure)


def test_a_stale_recorded_result_is_refused_with_the_command_that_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = json.loads(module.recorded_path("cswin/reach").read_text())
    content["hash"] = "0123"
    (tmp_path / "cswin_reach.json").write_text(json.dumps(content))
    monkeypatch.setattr(module, "recorded_path", lambda name: tmp_path / "cswin_reach.json")
    with pytest.raises(StaleResultError, match="visionlab run cswin/reach --record"):
        recorded("cswin/reach")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: find("cswin/same-color"), "did you mean 'cswin/same-colour'"),
        (lambda: find("zzz"), "there are cswin/reach"),
        (lambda: toy().run("huge"), "preset: toy/gain has quick, long, got 'huge'"),
        (lambda: toy().run(variants=["new", "swin"]), "variants: toy/gain has new, old, other, got swin"),
        (lambda: toy().run(data="mars"), "data: toy/gain runs on none, got 'mars'"),
        (lambda: toy().run(seeds=()), "seeds: expected at least one"),
        (lambda: toy().claim("loss"), "claim: toy/gain has gain, got 'loss'"),
    ],
)
def test_unknown_names_are_answered_with_those_there_are(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
