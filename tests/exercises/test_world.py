"""What lab 00 reveals after a guess is what was recorded."""

from __future__ import annotations

import pytest

from visionlab.exercises.world import REVEALED
from visionlab.experiments.experiment import recorded


def test_the_share_that_pixels_tell_is_the_recorded_one() -> None:
    answer, _ = REVEALED["pixels"]
    assert answer == pytest.approx(recorded("world/shapes").summary("nearest neighbour", "accuracy (%)").mean, abs=1.5)


def test_the_worst_style_is_the_recorded_one() -> None:
    record = recorded("world/shapes")
    styles = ("toon", "infrared", "night", "sketch")  # those that the lab offers
    mean = {style: record.summary("convnet", f"accuracy in style {style} (%)").mean for style in styles}
    answer, _ = REVEALED["style"]
    assert answer == min(mean, key=mean.__getitem__)
