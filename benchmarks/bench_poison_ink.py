"""How long a lab waits: ink into 256 images of 32 pixels, a change of them, and five victims that score them.

Run by ``make bench``; a slider that does all of it should answer within a second on two cores. Medians are printed at
the end and kept in ``poison_ink.json``.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from visionlab import weights
from visionlab.protection.robustness import STANDARD, changed
from visionlab.protection.triggers import Ink
from visionlab.protection.victims import predictions

SECONDS: dict[str, float] = {}
VICTIMS = ("clean", "badnets", "blend", "ink", "ink_plain")


def median(call: Callable[[], object], rounds: int = 7) -> float:
    """Median seconds of a call, after one that does not count."""
    call()
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def test_a_slider_answers_within_a_second() -> None:
    images = torch.rand(256, 3, 32, 32)
    ink = Ink(weights.load("ink_eurosat").model)  # type: ignore[arg-type]
    victims = [weights.load(f"victim_eurosat_{name}") for name in VICTIMS]

    def answer(steps: tuple[tuple[str, float], ...]) -> None:
        shown = changed(ink(images), steps)
        for victim in victims:
            predictions(victim.probabilities, shown)

    SECONDS["ink into 256 images"] = median(lambda: ink(images))
    for name in ("none", "rotation 15", "blur 0.8", "JPEG 75", "colour 20 %"):
        SECONDS[f"ink, {name}, five victims"] = median(lambda name=name: answer(STANDARD[name]))
    assert max(SECONDS.values()) < 1


def test_poisoning_a_set_of_the_size_of_cifar_takes_seconds() -> None:
    images = torch.rand(5000, 3, 32, 32)  # a tenth of 50,000
    SECONDS["ink into a tenth of 50,000 images"] = median(
        lambda: Ink(weights.load("ink_eurosat").model)(images),
        rounds=1,  # type: ignore[arg-type]
    )
    assert SECONDS["ink into a tenth of 50,000 images"] < 30


@pytest.fixture(scope="module", autouse=True)
def report() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    print()
    for name, value in SECONDS.items():
        print(f"  {value:6.3f}  {name}, s")
    kept = {"threads": torch.get_num_threads(), "torch": torch.__version__}
    kept |= {"seconds": {name: float(f"{value:.3g}") for name, value in SECONDS.items()}}  # type: ignore[dict-item]
    Path(__file__).with_name("poison_ink.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
