"""What benches share: calls that take turns; figures by name, printed and kept beside the file that measured them."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def in_turn() -> Callable[[Mapping[str, Callable[[], object]], int], dict[str, float]]:
    """Median seconds of each call, over rounds in which each is called once, so that a busy moment meets all."""

    def measure(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for i in range(rounds + 1):
            for name, call in calls.items():
                began = time.perf_counter()
                call()
                if i:
                    seconds[name].append(time.perf_counter() - began)
        return {name: statistics.median(each) for name, each in seconds.items()}

    return measure


def keep(request: pytest.FixtureRequest, kind: str, figures: Mapping[str, float]) -> None:
    """Print figures by name; ``bench_x.py`` has them in ``x.json``."""
    print("\n" + "\n".join(f"  {value:8.3f}  {name}" for name, value in figures.items()))
    kept = {"threads": torch.get_num_threads(), "torch": torch.__version__, kind: dict(figures)}
    name = Path(str(request.node.path)).stem.removeprefix("bench_")
    Path(__file__).with_name(f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def took(request: pytest.FixtureRequest) -> Iterator[dict[str, float]]:
    """Seconds by name, of two threads; empty at first, kept at the end."""
    torch.set_num_threads(2)
    found: dict[str, float] = {}
    yield found
    keep(request, "seconds", {name: float(f"{value:.3g}") for name, value in found.items()})


@pytest.fixture(scope="module")
def ratios(request: pytest.FixtureRequest) -> Iterator[dict[str, float]]:
    """Ratios by name, empty at first, kept at the end."""
    found: dict[str, float] = {}
    yield found
    keep(request, "ratios", {name: round(value, 2) for name, value in found.items()})


@pytest.fixture(scope="module")
def rates(request: pytest.FixtureRequest) -> Iterator[dict[str, float]]:
    """Rates by name, empty at first, kept at the end."""
    found: dict[str, float] = {}
    yield found
    keep(request, "rates", {name: round(value, 1) for name, value in found.items()})
