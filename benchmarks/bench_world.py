"""How fast the world is drawn: for training sets, for pictures to look at, for a slider, and onto the disk.

Run by ``make bench``: medians of one run, printed at the end and kept in ``world.json``. These are rates of one
machine, not ratios: what they are held against is the time that a reader waits.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

import pytest

from visionlab.data import world

Measure = Callable[[str, int, Callable[[], object], int], None]


@pytest.fixture
def measure(benchmark: Callable[..., object], rates: dict[str, float]) -> Measure:
    """Images a second, the median over rounds."""

    def call_it(name: str, images: int, call: Callable[[], object], rounds: int) -> None:
        benchmark.pedantic(call, rounds=rounds, warmup_rounds=1)
        rates[name] = images / statistics.median(benchmark.stats.stats.data)

    return call_it


@pytest.mark.parametrize("quality", ["fast", "full"])
def test_many_small_images(measure: Measure, quality: str) -> None:
    found = world.scenes(0, 256, objects=3)
    measure(f"{quality}, 64 px, images/s", 256, lambda: world.render(found, 64, quality=quality), 5)


def test_one_image_for_a_slider(measure: Measure) -> None:
    found = world.scenes(0, 1, objects=3)
    measure("full, 128 px, one at a time, images/s", 1, lambda: world.render(found, 128, quality="full"), 31)


def test_a_set_on_the_disk(measure: Measure, tmp_path: Path) -> None:
    seeds = iter(range(100))

    def make() -> None:
        world.dataset("shapes", n=1000, seed=next(seeds), root=tmp_path)

    measure("a set of the task shapes, 64 px, images/s", 1000, make, 3)
