"""How fast the world is drawn: for training sets, for pictures to look at, for a slider, and onto the disk.

Run by ``make bench``: medians of one run, printed at the end and kept in ``world.json``. These are rates of one
machine, not ratios: what they are held against is the time that a reader waits.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from visionlab.data import world

RATES: dict[str, float] = {}


def measure(benchmark: Callable[..., object], name: str, images: int, call: Callable[[], object], rounds: int) -> None:
    benchmark.pedantic(call, rounds=rounds, warmup_rounds=1)
    RATES[name] = images / statistics.median(benchmark.stats.stats.data)


@pytest.mark.parametrize("quality", ["fast", "full"])
def test_many_small_images(benchmark: Callable[..., object], quality: str) -> None:
    found = world.scenes(0, 256, objects=3)
    measure(benchmark, f"{quality}, 64 px, images/s", 256, lambda: world.render(found, 64, quality=quality), rounds=5)


def test_one_image_for_a_slider(benchmark: Callable[..., object]) -> None:
    found = world.scenes(0, 1, objects=3)
    measure(benchmark, "full, 128 px, one at a time, images/s", 1, lambda: world.render(found, 128, quality="full"), 31)


def test_a_set_on_the_disk(benchmark: Callable[..., object], tmp_path: Path) -> None:
    seeds = iter(range(100))

    def make() -> None:
        world.dataset("shapes", n=1000, seed=next(seeds), root=tmp_path)

    measure(benchmark, "a set of the task shapes, 64 px, images/s", 1000, make, rounds=3)


@pytest.fixture(scope="module", autouse=True)
def report() -> Iterator[None]:
    yield
    rates = {name: round(rate, 1) for name, rate in RATES.items()}
    print("\n" + "\n".join(f"{rate:8.1f}  {name}" for name, rate in rates.items()))
    content = {"threads": torch.get_num_threads(), "torch": torch.__version__, "rates": rates}
    (Path(__file__).parent / "world.json").write_text(json.dumps(content, indent=1) + "\n")
