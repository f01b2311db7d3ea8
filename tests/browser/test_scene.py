"""The scene explorer in a real JupyterLab: sliders move the picture, and the page says what Python says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import LabPage

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

EXPLORER = """
from visionlab.data.world.explore import CONTROLS, view_of
from visionlab.show.widgets.scene import SceneExplorer

explorer = SceneExplorer(CONTROLS, view_of)
explorer
"""
ASK = "said = view_of(explorer.values)\nprint(said.caption, '|', said.readout, '|', len(said.boxes))"


@pytest.fixture(scope="module")
def shown(show_cells: Any) -> Iterator[LabPage]:
    with show_cells(EXPLORER, ASK) as lab:
        yield lab


def answer_to(page: Any, act: Callable[[], None]) -> None:
    """Act, and wait until the page has shown one more answer of the kernel."""
    seen = page.locator(".vl-scene").get_attribute("data-answers")
    act()
    page.wait_for_function("seen => document.querySelector('.vl-scene').dataset.answers !== seen", arg=seen)


def picture(page: Any) -> str:
    """The pixels on show, as the page has them."""
    return page.locator(".vl-scene-image img").evaluate("""async image => {
        await image.decode();
        const canvas = document.createElement('canvas');
        [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
        canvas.getContext('2d').drawImage(image, 0, 0);
        return canvas.toDataURL();
    }""")


def words(page: Any) -> tuple[str, str]:
    return page.locator(".vl-scene-caption").inner_text(), page.locator(".vl-scene-readout").inner_text()


def test_each_control_changes_the_picture_and_the_page_says_what_python_says(shown: LabPage, tmp_path: Path) -> None:
    page = shown.page
    page.locator(".vl-scene-toggle").check()
    before = picture(page)
    for name, key in (("azimuth", "ArrowRight"), ("light_elevation", "PageUp"), ("objects", "ArrowLeft")):
        page.locator(f"input.vl-scene-{name}").focus()
        answer_to(page, lambda key=key: page.keyboard.press(key))
        assert picture(page) != before, name
        before = picture(page)
    answer_to(page, lambda: page.locator("select.vl-scene-style").select_option("toon"))
    assert picture(page) != before
    caption, readout = words(page)
    boxes = page.locator(".vl-scene-box").count()
    assert shown.run_cell(1) == f"{caption} | {readout} | {boxes}"
    assert boxes > 0
    page.screenshot(path=tmp_path / "page.png")


def test_reset_brings_the_first_scene_back(shown: LabPage) -> None:
    page = shown.page
    answer_to(page, lambda: page.locator("select.vl-scene-style").select_option("night"))
    answer_to(page, lambda: page.get_by_role("button", name="reset").click())
    assert page.locator("select.vl-scene-style").input_value() == "clean"
    assert shown.run_cell(1) == "{} | {} | {}".format(*words(page), page.locator(".vl-scene-box").count())


def test_an_answer_comes_while_the_hand_is_still_moving(shown: LabPage, time_one_step: Any) -> None:
    times = sorted(time_one_step(shown.page, "azimuth", 2) for _ in range(9))
    # A picture takes about 40 ms on two idle cores; tests share theirs.
    assert times[4] < 600, times
