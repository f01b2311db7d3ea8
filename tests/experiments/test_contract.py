"""What every paper of the table keeps to: names resolve, presets run, recorded results are fresh and judged."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import Any

import pytest

from visionlab.experiments.experiment import RECORDED_SEEDS, Experiment, Job, find, names, recorded, recorded_path
from visionlab.papers import PAPERS, table

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.key)
def test_everything_that_a_paper_names_is_there(paper: Any) -> None:
    front = importlib.import_module(paper.front)
    assert paper.arxiv in (front.__doc__ or "")
    assert (ROOT / "labs" / f"{paper.lab}.ipynb").is_file()
    assert (ROOT / "apps" / f"{paper.app}.py").is_file()
    assert all(name.startswith(f"{paper.key}/") for name in paper.experiments)
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
        assert {claim.method, claim.rival} <= set(experiment.variants)
    assert len(experiment.seeds) >= 5 or all(claim.exact for claim in experiment.claims)


@pytest.mark.parametrize("name", names())
def test_recorded_results_are_fresh_and_were_run_on_the_committed_seeds(name: str) -> None:
    experiment, result = find(name), recorded(name)
    assert result.preset == "long"
    assert tuple(result.seeds) == experiment.seeds
    assert set(result.variants) == set(experiment.variants)
    for claim in experiment.claims:
        verdict = claim.judge(result)
        assert verdict.status in ("shown", "not shown", "contradicted")
        if verdict.status != "shown":
            assert claim.remark, f"{name}, {claim.name}: say why it does not show here, and where it should"


def test_nothing_is_recorded_that_no_experiment_stands_for() -> None:
    files = {path.name for path in recorded_path("x/y").parent.glob("*.json")}
    assert files == {recorded_path(name).name for name in names()}


def test_recipes_are_tuned_on_other_seeds() -> None:
    assert all(seed < 100 for seed in RECORDED_SEEDS)


def large_presets() -> list[tuple[str, str]]:
    return [(name, preset) for name in names() for preset in find(name).presets if preset in ("gpu", "paper")]


def two_steps(experiment: Experiment, preset: str) -> Any:
    """The same preset, but for two steps of four samples."""
    settings = experiment.preset(preset)
    recipe = dataclasses.replace(settings.recipe, steps=2, warmup=1, batch=4, accumulate=1)
    small = {"test": 16} if hasattr(settings, "test") else {}
    return dataclasses.replace(settings, recipe=recipe, **small)


@pytest.mark.parametrize(("name", "preset"), large_presets())
def test_gpu_and_paper_presets_run(name: str, preset: str) -> None:
    experiment = find(name)
    job = Job(experiment.variants[0], 0, two_steps(experiment, preset), experiment.data[0], device="cpu")
    outcome = experiment.measure(job)
    assert len(outcome.history) == 2
    assert all(isinstance(value, float) for value in outcome.metrics.values())
