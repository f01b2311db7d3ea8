"""What every paper of the table keeps to: names resolve, presets run, recorded results are fresh and judged."""

from __future__ import annotations

import dataclasses
import importlib
import math
from pathlib import Path
from typing import Any

import pytest
import timm

from visionlab.experiments.claim import Closed
from visionlab.experiments.experiment import RECORDED_SEEDS, Job, find, names, recorded, recorded_path
from visionlab.papers import PAPERS, table
from visionlab.train.loop import Recipe

ROOT = Path(__file__).parents[2]
RECORDED = [name for name in names() if find(name).seeds]


def test_papers_share_no_name() -> None:
    for named in ("key", "arxiv", "front", "lab"):  # an app may serve two papers
        given = [getattr(paper, named) for paper in PAPERS if getattr(paper, named)]
        assert len(set(given)) == len(given), named
    assert len(set(names())) == len(names())


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.key)
def test_everything_that_a_paper_names_is_there(paper: Any) -> None:
    front = importlib.import_module(paper.front)
    assert paper.arxiv in (front.__doc__ or "")
    assert (ROOT / "labs" / f"{paper.lab}.ipynb").is_file()
    assert not paper.app or (ROOT / "apps" / f"{paper.app}.py").is_file()
    assert all(name.startswith(f"{paper.key}/") for name in paper.experiments)
    assert set(paper.models) <= set(timm.list_models())
    assert importlib.import_module(f"visionlab.exercises.{paper.key}").EXERCISES
    module = importlib.import_module(f"visionlab.experiments.{paper.key}")
    assert tuple(experiment.name for experiment in module.EXPERIMENTS) == paper.experiments


def test_the_readme_shows_the_table_of_the_papers() -> None:
    assert table() in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", names())
def test_definitions_are_whole(name: str) -> None:
    experiment = find(name)
    assert set(experiment.presets) <= {"quick", "long", "gpu", "paper"}
    assert {"quick", "long"} <= set(experiment.presets)
    assert len({claim.name for claim in experiment.claims}) == len(experiment.claims)
    for claim in experiment.claims:
        assert set(claim.variants) <= set(experiment.variants)
        assert (claim.method, claim.metric) != (claim.rival, claim.rival_metric or claim.metric)
        assert claim.margin > 0 or (isinstance(claim, Closed) and 0 < claim.share <= 1)
        assert claim.source
    assert experiment.question.endswith("?")
    assert len(set(experiment.variants)) == len(experiment.variants)
    assert len(set(experiment.seeds)) == len(experiment.seeds)
    assert experiment.seeds or (experiment.folders and not experiment.claims)
    assert len(experiment.seeds) >= 5 or all(claim.exact for claim in experiment.claims)
    for preset in experiment.presets.values():
        assert set(getattr(preset, "variants", ())) <= set(experiment.variants)
        with pytest.raises(dataclasses.FrozenInstanceError):
            preset.variants = ()


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_results_are_fresh_and_were_run_on_the_committed_seeds(name: str) -> None:
    experiment, result = find(name), recorded(name)
    assert result.preset == "long"
    assert tuple(result.seeds) == experiment.seeds
    assert set(result.variants) == set(experiment.variants)
    assert len(result.rows) == len({(row.variant, row.seed, row.metric) for row in result.rows})
    for claim in experiment.claims:
        verdict = claim.judge(result)
        assert verdict.difference.seeds == len(experiment.seeds)
        assert verdict.status in ("shown", "not shown", "contradicted")
        if verdict.status != "shown":
            assert claim.remark, f"{name}, {claim.name}: say why it does not show here, and where it should"


def test_nothing_is_recorded_that_no_experiment_stands_for() -> None:
    files = {path.name for path in recorded_path("x/y").parent.glob("*.json")}
    assert files == {recorded_path(name).name for name in RECORDED}


def test_recipes_are_tuned_on_other_seeds() -> None:
    assert all(seed < 100 for seed in RECORDED_SEEDS)


LARGE = [(name, preset) for name in RECORDED for preset in find(name).presets if preset in ("gpu", "paper")]


def two_steps(settings: Any) -> Any:
    """The same preset, its recipes (fields of type Recipe) cut to two steps of four samples and its test to a few."""
    recipes = {key: value for key, value in vars(settings).items() if isinstance(value, Recipe)}
    short: dict[str, Any] = {
        key: dataclasses.replace(recipe, steps=2, warmup=min(recipe.warmup, 1), batch=4, accumulate=1)
        for key, recipe in recipes.items()
    }
    fewest = {"test": 64, "n": 64, "owner": 64, "calibration": 128, "points": 256, "reverse_steps": 2}
    few = {name: count for name, count in fewest.items() if hasattr(settings, name)}
    return dataclasses.replace(settings, **short, **few)


@pytest.mark.parametrize(("name", "preset"), LARGE)
def test_gpu_and_paper_presets_run(name: str, preset: str) -> None:
    experiment = find(name)
    settings = two_steps(experiment.preset(preset))
    steps = [value.steps for value in vars(settings).values() if isinstance(value, Recipe)]
    trained = 0
    for variant in getattr(settings, "variants", ()) or experiment.variants:
        outcome = experiment.measure(Job(variant, 0, settings, experiment.data[0], device="cpu"))
        # A variant may be to train some times longer than the recipe says.
        assert not outcome.history or outcome.history[-1]["step"] in range(2, 21, 2)
        trained += bool(outcome.history)
        assert outcome.metrics
        assert all(math.isfinite(value) for value in outcome.metrics.values())
    assert bool(trained) == bool(steps)
