"""Experiments: named, seeded comparisons that can be stopped and resumed; recorded ones cannot go stale unseen."""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from torch import nn

from visionlab.experiments.claim import Claim
from visionlab.experiments.result import Result, Row, environment
from visionlab.papers import PAPERS
from visionlab.train.loop import Hook

__all__ = ["RECORDED_SEEDS", "Experiment", "Job", "Outcome", "StaleResultError", "find", "names", "recorded"]

RECORDED_SEEDS = (0, 1, 2, 3, 4)
"""Recipes are tuned on seeds from 100 on, so that these stay unseen."""


class StaleResultError(RuntimeError):
    """A recorded result whose experiment has changed since."""


@dataclass(frozen=True)
class Job:
    """One variant with one seed: what an experiment's ``measure`` is given."""

    variant: str
    seed: int
    preset: Any
    data: str
    device: str = "auto"
    hook: Hook | None = None
    checkpoint: Path | None = None


@dataclass
class Outcome:
    """What one job measured; ``history`` is that of `visionlab.train.loop.Fit`."""

    metrics: Mapping[str, float]
    history: Sequence[Mapping[str, float]] = ()
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    network: nn.Module | None = None


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A named comparison of variants.

    Args:
        name: "paper/what", for instance "cswin/same-colour".
        question: what it asks, in one sentence.
        variants: what is compared.
        measure: runs one `Job`.
        presets: by name ("quick", "long", "gpu", "paper"), each a frozen dataclass that ``measure`` knows; its field
            ``variants`` (optional) narrows what runs by default.
        claims: what it can decide.
        defined_by: functions and classes whose code decides the numbers, beside ``measure``.
        data: data it can run on, the default first.
        folders: whether it can run on a folder of pictures as well.
        versions: of the data, by name.
        seeds: of the recorded run; none if there is nothing to record, since everybody runs it on data of their own.
    """

    name: str
    question: str
    variants: tuple[str, ...]
    measure: Callable[[Job], Outcome]
    presets: Mapping[str, Any]
    claims: tuple[Claim, ...] = ()
    defined_by: tuple[Any, ...] = ()
    data: tuple[str, ...] = ("none",)
    folders: bool = False
    versions: Mapping[str, int] = field(default_factory=dict)
    seeds: tuple[int, ...] = RECORDED_SEEDS

    def preset(self, name: str) -> Any:
        """Return a preset by name.

        Raises:
            ValueError: if there is none; the message lists those there are.
        """
        if name not in self.presets:
            raise ValueError(f"preset: {self.name} has {', '.join(self.presets)}, got {name!r}")
        return self.presets[name]

    def claim(self, name: str) -> Claim:
        """Return a claim by name."""
        by_name = {claim.name: claim for claim in self.claims}
        if name not in by_name:
            raise ValueError(f"claim: {self.name} has {', '.join(by_name)}, got {name!r}")
        return by_name[name]

    def hash(self, preset: str) -> str:
        """Return a digest of all that decides the numbers: code without comments, the preset, claims, data versions."""
        parts = {
            "name": self.name,
            "variants": self.variants,
            "preset": asdict(self.preset(preset)),
            "claims": [claim.terms() for claim in self.claims],
            "code": [_code(part) for part in (self.measure, *self.defined_by)],
            "versions": dict(self.versions),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def run(
        self,
        preset: str = "quick",
        *,
        seeds: Sequence[int] = (0,),
        variants: Sequence[str] | None = None,
        data: str | None = None,
        device: str = "auto",
        hooks: Callable[[str, int], Hook | None] | None = None,
        folder: Path | None = None,
        networks: bool = False,
    ) -> Result:
        """Run variants and seeds in turn.

        Args:
            preset: name of the preset.
            seeds: each variant runs once a seed.
            variants: which; by default those of the preset, else all.
            data: name of the data; by default the first.
            device: "auto", "cpu", "cuda" or "mps".
            hooks: gives the training hook of (variant, seed), for a bar or a live curve.
            folder: where finished parts and checkpoints are kept, so that a run that was killed goes on where it was.
            networks: give the trained networks of finished parts as well, from their checkpoints.

        Raises:
            ValueError: if a name is unknown or there is no seed.
        """
        settings = self.preset(preset)
        chosen = tuple(variants or getattr(settings, "variants", None) or self.variants)
        data = data or self.data[0]
        if unknown := [v for v in chosen if v not in self.variants]:
            raise ValueError(f"variants: {self.name} has {', '.join(self.variants)}, got {', '.join(unknown)}")
        if data not in self.data and not (self.folders and Path(data).is_dir()):
            known = ", ".join(self.data) + (", or a folder" if self.folders else "")
            raise ValueError(f"data: {self.name} runs on {known}, got {data!r}")
        if not seeds:
            why = "" if self.seeds else f"; {self.name} has none to record, it runs on data of your own"
            raise ValueError(f"seeds: expected at least one{why}")
        result = Result(self.name, preset, data, self.hash(preset), environment=environment(device))
        for seed in seeds:
            for variant in chosen:
                self._run_one(result, Job(variant, seed, settings, data, device), hooks, folder, networks)
        return result

    def _run_one(
        self,
        result: Result,
        job: Job,
        hooks: Callable[[str, int], Hook | None] | None,
        folder: Path | None,
        networks: bool,
    ) -> None:
        part = Result(self.name, result.preset, job.data, result.hash, environment=result.environment)
        key = f"{job.variant}/{job.seed}"
        # Quoted and not simplified: two variants must never share a file.
        data = job.data if job.data in self.data else _key_of(Path(job.data))
        name = f"{result.hash}-{data}-{quote(job.variant, safe='')}-{job.seed}.json"
        file = folder / name if folder else None
        done = file is not None and file.exists()
        if not done or networks:
            hook = hooks(job.variant, job.seed) if hooks else None
            job = Job(**(vars(job) | {"hook": hook, "checkpoint": file.with_suffix(".pt") if file else None}))
            part.seconds[key], outcome = _timed(partial(self.measure, job))
            part.rows = [Row(job.variant, job.seed, name, float(value)) for name, value in outcome.metrics.items()]
            part.curves[key] = _curves(outcome.history)
            part.arrays = {f"{key}/{name}": array for name, array in outcome.arrays.items()}
            if outcome.network is not None:
                result.networks[job.variant, job.seed] = outcome.network
        if file is not None and done:
            part = Result.load(file)
        elif file is not None:
            part.save(file)
        result.rows += part.rows
        for ours, theirs in (
            (result.curves, part.curves),
            (result.arrays, part.arrays),
            (result.seconds, part.seconds),
        ):
            ours.update(theirs)  # type: ignore[arg-type]


def names() -> list[str]:
    """Return the names of all experiments, by paper."""
    return [name for paper in PAPERS for name in paper.experiments]


def find(name: str) -> Experiment:
    """Return an experiment by name.

    Raises:
        ValueError: if there is none; the message suggests the nearest.
    """
    if name not in names():
        near = get_close_matches(name, names(), n=1)
        raise ValueError(
            f"experiment: no {name!r}"
            + (f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(names())}")
        )
    module = importlib.import_module(f"visionlab.experiments.{name.partition('/')[0]}")
    return next(e for e in module.EXPERIMENTS if e.name == name)


def _key_of(folder: Path) -> str:
    """Return a short name of a folder of pictures that is another one when its files are."""
    about = [(str(file.relative_to(folder)), file.stat()) for file in sorted(folder.rglob("*")) if file.is_file()]
    content = [str(folder.resolve()), *((name, stat.st_size, stat.st_mtime_ns) for name, stat in about)]
    digest = hashlib.sha256(repr(content).encode()).hexdigest()[:16]
    return f"{quote(folder.resolve().name, safe='')[:40]}-{digest}"


def recorded_path(name: str) -> Path:
    """Return where the recorded result of an experiment lies in the package."""
    return Path(str(resources.files("visionlab") / "recorded" / f"{name.replace('/', '_')}.json"))


def recorded(name: str) -> Result:
    """Return the recorded result of an experiment.

    Raises:
        StaleResultError: if the experiment has changed since it was recorded.
        FileNotFoundError: if none was recorded.
    """
    experiment = find(name)
    result = Result.load(recorded_path(name))
    if result.hash != experiment.hash(result.preset):
        raise StaleResultError(
            f"the recorded result of {name} is of another definition (recorded {result.hash}, "
            f"now {experiment.hash(result.preset)}): record it anew with `visionlab run {name} --record`"
        )
    return result


def _timed(call: Callable[[], Outcome]) -> tuple[float, Outcome]:
    import time

    began = time.perf_counter()
    outcome = call()
    return time.perf_counter() - began, outcome


def _curves(history: Sequence[Mapping[str, float]]) -> dict[str, list[tuple[float, float]]]:
    metrics = dict.fromkeys(name for row in history for name in row if name != "step")
    return {m: [(row["step"], float(f"{row[m]:.5g}")) for row in history if m in row] for m in metrics}


def _code(part: Any) -> str:
    """Return source without comments, docstrings, layout and quotes, so that only a change of meaning counts."""
    if not (inspect.isfunction(part) or inspect.isclass(part)):
        return json.dumps(part, default=str)
    tree = ast.parse(textwrap.dedent(inspect.getsource(part)))
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return re.sub(r"[\s'\"]+", "", ast.unparse(tree))
