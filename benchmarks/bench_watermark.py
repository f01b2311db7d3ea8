"""How long an owner waits: marking and reading 256 images of 32 pixels, and one picture of a million.

Run by ``make bench``; thousands of answers should take seconds on two cores. Medians are printed at the end and kept in
``watermark.json``.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from visionlab.protection.any_size import mark_any, read_any
from visionlab.protection.owner_key import small_mark

SECONDS: dict[str, float] = {}


def median(call: Callable[[], object], rounds: int = 7) -> float:
    """Median seconds of a call, after one that does not count."""
    call()
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


@pytest.mark.parametrize("structure", ["edges", "regions"])
@torch.no_grad()
def test_answers_are_marked_and_read_within_a_second(structure: str) -> None:
    mark, images = small_mark(structure).eval(), torch.rand(256, 3, 32, 32)
    symbols = torch.tensor([3] * mark.classes)
    for name, call in (("marking", lambda: mark.mark(images, symbols)), ("reading", lambda: mark.decode(images))):
        SECONDS[f"{name} 256 images, {structure}"] = median(call)
        assert SECONDS[f"{name} 256 images, {structure}"] < 1


@pytest.mark.parametrize("structure", ["edges", "regions"])
def test_a_megapixel_is_marked_and_read_within_two_seconds(structure: str) -> None:
    mark, image = small_mark(structure).eval(), torch.rand(3, 1000, 1000)
    symbols = (3,) * mark.classes
    for name, call in (("marking", lambda: mark_any(mark, image, symbols)), ("reading", lambda: read_any(mark, image))):
        SECONDS[f"{name} a megapixel, {structure}"] = median(call, rounds=3)
        assert SECONDS[f"{name} a megapixel, {structure}"] < 2


@pytest.fixture(scope="module", autouse=True)
def report() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    print()
    for name, value in SECONDS.items():
        print(f"  {value:6.3f}  {name}, s")
    kept = {"threads": torch.get_num_threads(), "torch": torch.__version__}
    kept |= {"seconds": {name: float(f"{value:.3g}") for name, value in SECONDS.items()}}  # type: ignore[dict-item]
    Path(__file__).with_name("watermark.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
