"""How long an owner waits: marking and reading 256 images of 32 pixels, and one picture of a million.

Run by ``make bench``; thousands of answers should take seconds on two cores. Medians are printed at the end and kept in
``watermark.json``.
"""

from __future__ import annotations

import pytest
import torch

from visionlab.measure.cost import seconds
from visionlab.protection.any_size import mark_any, read_any
from visionlab.protection.owner_key import small_mark


@pytest.mark.parametrize("structure", ["edges", "regions"])
@torch.no_grad()
def test_answers_are_marked_and_read_within_a_second(took: dict[str, float], structure: str) -> None:
    mark, images = small_mark(structure).eval(), torch.rand(256, 3, 32, 32)
    symbols = torch.tensor([3] * mark.classes)
    for name, call in (("marking", lambda: mark.mark(images, symbols)), ("reading", lambda: mark.decode(images))):
        took[f"{name} 256 images, {structure}"] = seconds(call)
        assert took[f"{name} 256 images, {structure}"] < 1


@pytest.mark.parametrize("structure", ["edges", "regions"])
def test_a_megapixel_is_marked_and_read_within_two_seconds(took: dict[str, float], structure: str) -> None:
    mark, image = small_mark(structure).eval(), torch.rand(3, 1000, 1000)
    symbols = (3,) * mark.classes
    for name, call in (("marking", lambda: mark_any(mark, image, symbols)), ("reading", lambda: read_any(mark, image))):
        took[f"{name} a megapixel, {structure}"] = seconds(call, repeats=3)
        assert took[f"{name} a megapixel, {structure}"] < 2
