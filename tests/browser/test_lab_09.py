"""The heart of lab 09 in a real JupyterLab: a random image, a control moved, and the page says what Python computes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import LabPage

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

HEART = """
import torch
from visionlab import weights
from visionlab.experiments import poison_ink_probe as probe
from visionlab.show.widgets.scene import SceneExplorer

ends = {"with interference": "", "without": "_plain", "for eight inks": "_hues"}
hiding = {name: weights.load(f"ink_eurosat{end}").model for name, end in ends.items()}
images = {"random": torch.rand(3, 32, 32), "other": torch.rand(3, 32, 32)}
victim = weights.load("victim_eurosat_ink")
heart = SceneExplorer(probe.controls(list(images)), lambda values: probe.explore(hiding, images, values, victim))
heart
"""
ASK = "said = probe.explore(hiding, images, heart.values, victim)\nprint(said.caption, '|', said.readout)"


@pytest.fixture(scope="module")
def shown(show_cells: Any) -> Iterator[LabPage]:
    with show_cells(HEART, ASK) as lab:
        yield lab


def said(page: Any) -> str:
    return page.locator(".vl-scene-caption").inner_text() + " | " + page.locator(".vl-scene-readout").inner_text()


def test_the_page_says_what_python_computes_whatever_is_moved(shown: LabPage) -> None:
    page = shown.page
    assert page.locator(".vl-scene-panel").count() == 8
    for name, key in (("gain", "ArrowRight"), ("threshold", "PageUp"), ("strength", "ArrowRight")):
        seen = page.locator(".vl-scene").get_attribute("data-answers")
        page.locator(f"input.vl-scene-{name}").focus()
        page.keyboard.press(key)
        page.wait_for_function("seen => document.querySelector('.vl-scene').dataset.answers !== seen", arg=seen)
        assert shown.run_cell(1) == said(page)
    for name, option in (("change", "flip"), ("reader", "without"), ("reader", "for eight inks"), ("image", "other")):
        seen = page.locator(".vl-scene").get_attribute("data-answers")
        page.locator(f"select.vl-scene-{name}").select_option(option)
        page.wait_for_function("seen => document.querySelector('.vl-scene').dataset.answers !== seen", arg=seen)
        assert shown.run_cell(1) == said(page)
    assert "written in hue 135°, read as" in said(page) or "no ink found" in said(page)


def test_an_answer_comes_while_one_drags(shown: LabPage, time_one_step: Any) -> None:
    times = sorted(time_one_step(shown.page, "gain", 0.25) for _ in range(5))
    assert times[2] < 400, "milliseconds; a tenth of a second on a quiet machine"
