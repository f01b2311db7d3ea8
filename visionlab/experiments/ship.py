"""Make the weights that ship: run the experiment of a recipe, write the file and its card."""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from visionlab import weights
from visionlab.experiments.experiment import find
from visionlab.papers import PAPERS
from visionlab.train.loop import Hook
from visionlab.weights import Card

__all__ = ["recipes", "train"]


def recipes() -> dict[str, Card]:
    """Return what can be trained, by name: cards without digest and metrics, from the papers' experiment modules."""
    modules = [importlib.import_module(f"visionlab.experiments.{paper.key}") for paper in PAPERS]
    return {card.name: card for module in modules for card in getattr(module, "WEIGHTS", ())}


def train(
    name: str,
    *,
    device: str = "auto",
    where: Path | None = None,
    runs: Path | None = None,
    hooks: Callable[[str, int], Hook | None] | None = None,
) -> Card:
    """Train weights anew and write them.

    Args:
        name: of the weights.
        device: to train on.
        where: folder to write to; by default the package's own.
        runs: folder in which an interrupted run is resumed.
        hooks: gives the training hook of (variant, seed).

    Raises:
        ValueError: if there is no recipe of that name.
    """
    known = recipes()
    if name not in known:
        raise ValueError(f"weights: no recipe for {name!r}; there are {', '.join(known)}")
    card = known[name]
    experiment = find(card.experiment)
    result = experiment.run(
        card.preset,
        seeds=(card.seed,),
        variants=(card.variant,),
        data=card.data,
        device=device,
        hooks=hooks,
        folder=runs,
        networks=True,
    )
    network = result.networks[card.variant, card.seed]
    metrics = {row.metric: round(row.value, 2) for row in result.rows}
    return weights.write(replace(card, metrics=metrics, commit=_commit()), network, where)


def _commit() -> str:
    run = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return run.stdout.strip() or "unknown"
