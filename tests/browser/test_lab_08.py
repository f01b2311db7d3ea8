"""The heart of lab 08 in a real JupyterLab: the recorded run says of any point what Python computes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from visionlab.data.world.rooms import rooms
from visionlab.experiments import pnal_probe
from visionlab.show import pnal_scene
from visionlab.show.timeline import Timeline

if TYPE_CHECKING:
    from conftest import LabPage

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

HEART = """
from visionlab.experiments import pnal_probe as probe
from visionlab.show import pnal as draw
from visionlab.show.timeline import Timeline

heart = draw.room(Timeline(**probe.replay()), epoch=24)
heart
"""
NOISE = """
from visionlab.data.world.rooms import rooms
from visionlab.show import pnal_scene as scene
from visionlab.show.widgets.scene import SceneExplorer

some = rooms(2, points=800, seed=0)
explorer = SceneExplorer(scene.controls(some), lambda values: scene.view(some, values))
explorer
"""
WORDS = "print(heart.words)"
TELL = """([epoch, point]) => {
    const root = document.querySelector('.vl-room');
    const [number, slider] = ['.vl-room-point', '.vl-room-epoch'].map(name => root.querySelector(name));
    slider.value = epoch;
    slider.dispatchEvent(new Event('input'));
    number.value = point;
    number.dispatchEvent(new Event('change'));
    return root.querySelector('.vl-room-said').textContent;
}"""


@pytest.fixture(scope="module")
def shown(show_cells: Any) -> Iterator[LabPage]:
    with show_cells(HEART, NOISE, WORDS) as lab:
        yield lab


def test_points_of_the_recorded_run_are_told_as_python_tells_them(shown: LabPage) -> None:
    timeline = Timeline(**pnal_probe.replay())
    draw = np.random.default_rng(8)
    for _ in range(12):
        epoch, point = int(draw.integers(1, timeline.epochs + 1)), int(draw.integers(timeline.points))
        assert shown.page.evaluate(TELL, [epoch, point]) == timeline.describe(0, epoch, point)
    assert shown.run_cell(2) == timeline.describe(0, epoch, point)


def test_more_wrong_labels_are_asked_for_and_drawn(shown: LabPage) -> None:
    page, some = shown.page, rooms(2, points=800, seed=0)
    values = {control.name: control.start for control in pnal_scene.controls(some)}
    caption = page.locator(".vl-scene-caption")
    assert caption.inner_text() == pnal_scene.view(some, values).caption
    for name, key, change in (("rate", "Home", 0.0), ("rate", "End", 90.0), ("room", "End", 2.0)):
        seen = page.locator(".vl-scene").get_attribute("data-answers")
        page.locator(f"input.vl-scene-{name}").focus()
        page.keyboard.press(key)
        page.wait_for_function("seen => document.querySelector('.vl-scene').dataset.answers !== seen", arg=seen)
        values |= {name: change}
        assert caption.inner_text() == pnal_scene.view(some, values).caption
