"""The heart of lab 10 in a real JupyterLab: controls are moved, and the page says what Python computes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import LabPage

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

HEART = """
from visionlab.experiments import watermark_probe as probe
from visionlab.show.widgets.scene import SceneExplorer

heart = SceneExplorer(probe.theft_controls(), probe.theft)
heart
"""
ASK = "print(probe.theft(heart.values).caption)"


@pytest.fixture(scope="module")
def shown(show_cells: Any) -> Iterator[LabPage]:
    with show_cells(HEART, ASK) as lab:
        yield lab


def choose(page: Any, name: str, option: str) -> str:
    """Choose another option of a control, wait for the answer to it, and return what the page says."""
    seen = page.locator(".vl-scene").get_attribute("data-answers")
    page.locator(f"select.vl-scene-{name}").select_option(option)
    page.wait_for_function("seen => document.querySelector('.vl-scene').dataset.answers !== seen", arg=seen)
    return page.locator(".vl-scene-caption").inner_text()


def test_the_page_says_what_python_computes_whatever_is_moved(shown: LabPage) -> None:
    page = shown.page
    assert page.locator(".vl-scene-panel").count() == 4
    for name, option in (("augmentation", "all three"), ("augmentation", "turned"), ("change", "JPEG")):
        assert choose(page, name, option) == shown.run_cell(1)
    for name, key in (("n", "PageUp"), ("draw", "ArrowRight")):
        seen = page.locator(".vl-scene").get_attribute("data-answers")
        page.locator(f"input.vl-scene-{name}").focus()
        page.keyboard.press(key)
        page.wait_for_function("seen => document.querySelector('.vl-scene').dataset.answers !== seen", arg=seen)
        assert shown.run_cell(1) == page.locator(".vl-scene-caption").inner_text()


def test_the_thief_who_turns_his_pairs_loses_the_logo_only(shown: LabPage) -> None:
    choose(shown.page, "change", "as it is")
    for option, logo in (("as they came", "STOLEN"), ("all three", "no claim")):
        first, second = choose(shown.page, "augmentation", option).split("; ")
        assert first.startswith("logo")
        assert first.endswith(logo)
        assert second.endswith("STOLEN")
