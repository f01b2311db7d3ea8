"""How long a lab waits: ink into 256 images of 32 pixels, a change of them, and five victims that score them.

Run by ``make bench``; a slider that does all of it should answer within a second on two cores. Medians are printed at
the end and kept in ``poison_ink.json``.
"""

from __future__ import annotations

import torch

from visionlab import weights
from visionlab.measure.cost import seconds
from visionlab.protection.robustness import STANDARD, changed
from visionlab.protection.triggers import Ink
from visionlab.protection.victims import predictions

VICTIMS = ("clean", "badnets", "blend", "ink", "ink_plain")


def test_a_slider_answers_within_a_second(took: dict[str, float]) -> None:
    images = torch.rand(256, 3, 32, 32)
    ink = Ink(weights.load("ink_eurosat").model)  # type: ignore[arg-type]
    victims = [weights.load(f"victim_eurosat_{name}") for name in VICTIMS]

    def answer(steps: tuple[tuple[str, float], ...]) -> None:
        shown = changed(ink(images), steps)
        for victim in victims:
            predictions(victim.probabilities, shown)

    took["ink into 256 images"] = seconds(lambda: ink(images))
    for name in ("none", "rotation 15", "blur 0.8", "JPEG 75", "colour 20 %"):
        took[f"ink, {name}, five victims"] = seconds(lambda name=name: answer(STANDARD[name]))
    assert max(took.values()) < 1


def test_poisoning_a_set_of_the_size_of_cifar_takes_seconds(took: dict[str, float]) -> None:
    images = torch.rand(5000, 3, 32, 32)  # a tenth of 50,000
    took["ink into a tenth of 50,000 images"] = seconds(
        lambda: Ink(weights.load("ink_eurosat").model)(images),
        repeats=1,  # type: ignore[arg-type]
    )
    assert took["ink into a tenth of 50,000 images"] < 30
