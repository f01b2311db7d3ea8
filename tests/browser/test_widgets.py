"""The widgets in a real JupyterLab: what the page shows is what Python says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

if TYPE_CHECKING:
    from conftest import LabPage

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

INSPECTOR = """
import numpy as np
from visionlab.show.widgets.stripes import HeadGroup, Stage, StageView, StripesInspector

STRIPE = (1, 2, 7, None)
stages = [Stage(f"stage {i + 1}", side, side) for i, side in enumerate((56, 28, 14, 7))]
y, x = np.mgrid[0:224, 0:224]
image = np.stack([120 + 80 * np.sin(x / 17), 90 + y / 2, 255 * ((x // 28 + y // 28) % 2)], -1).astype(np.uint8)


def group(name, mask, token):
    rows, columns = np.indices(mask.shape)
    weights = mask * np.exp(-((rows - token[0]) ** 2 + (columns - token[1]) ** 2) / (2 * len(mask)))
    return HeadGroup(name, weights / weights.sum(), mask)


def look(stage, width, y, x):
    token = (y * stage.height // 224, x * stage.width // 224)
    rows, columns = np.indices((stage.height, stage.width))
    if width is None:
        groups = [group("whole map", np.ones_like(rows, dtype=bool), token)]
    else:
        vertical = columns // width == token[1] // width
        horizontal = rows // width == token[0] // width
        groups = [group("vertical stripe", vertical, token), group("horizontal stripe", horizontal, token)]
    seen = np.logical_or.reduce([g.mask for g in groups]).sum()
    return StageView(token, groups, f"{stage.title}: token {token} attends to {seen} of {rows.size} tokens.")


def respond(y, x):
    if y < 8 and x < 8:
        raise ValueError("nobody looks at the corner")
    return [look(stage, width, y, x) for stage, width in zip(stages, STRIPE)]


inspector = StripesInspector(image, stages, respond, query=(100, 60), stage=1)
inspector
"""
ASK = "print(tuple(inspector.query), inspector.stage, respond(*inspector.query)[inspector.stage].text)"
LIVE = """
import math
from IPython.display import display
from visionlab.show.live import LiveCurves

live = LiveCurves("Accuracy while it learns", ("CSWin", "shifted windows"), "accuracy", y_range=(0, 1))
display(live)
for name, rate in (("CSWin", 0.06), ("shifted windows", 0.02)):
    hook = live.callback(name)
    for step in range(1, 81):
        hook(step, 80, {"loss": 1.0, "accuracy": 0.95 - 0.85 * math.exp(-rate * step) + 0.02 * math.sin(step)})
"""
PREDICT = """
from visionlab.show.predict import Prediction

guess = Prediction(
    "How many blocks does a token need until it has heard from every other token?",
    ["one", "two", "as many as the map is wide"],
    "two",
    "The first block brings the row to the column, the second brings the column to the map.",
)
guess
"""
HELD = "print(guess)"


START = "stage 2: token (12, 7) attends to 108 of 784 tokens."
TIME_ONE_STEP = """step => new Promise((resolve, reject) => {
    const root = document.querySelector('.vl-stripes');
    const slider = document.querySelector('.vl-stripes-slide-column');
    const seen = new MutationObserver(() => (seen.disconnect(), resolve(performance.now() - start)));
    seen.observe(root, { attributes: true, attributeFilter: ['data-answers'] });
    const start = performance.now();
    slider.value = Number(slider.value) + step;
    slider.dispatchEvent(new Event('input'));
    setTimeout(() => reject(new Error('no answer to ' + slider.value)), 10000);
})"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    book = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source.strip()) for source in (INSPECTOR, ASK, LIVE, PREDICT, HELD)],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    path = tmp_path_factory.mktemp("made") / "widgets.ipynb"
    nbformat.write(book, path)
    return path


@pytest.fixture(scope="module", params=["Light", "Dark"])
def shown(new_lab_page: Any, notebook: Path, request: pytest.FixtureRequest) -> Iterator[LabPage]:
    """The notebook, run, on a page that the tests share: a fresh one costs ten seconds."""
    with new_lab_page() as lab:
        lab.set_theme(f"JupyterLab {request.param}")
        lab.open_notebook(notebook)
        lab.run_all()
        yield lab


def answer_to(page: Any, act: Callable[[], None]) -> None:
    """Act, and wait until the page has shown one more answer of the kernel."""
    seen = page.locator(".vl-stripes").get_attribute("data-answers")
    act()
    page.wait_for_function("seen => document.querySelector('.vl-stripes').dataset.answers !== seen", arg=seen)


def reset(lab: LabPage) -> None:
    lab.page.get_by_role("button", name="reset").click()
    expect(lab.page.locator(".vl-stripes-readout")).to_have_text(START)


def overlay_pixels(page: Any) -> str:
    return page.locator(".vl-stripes-overlay").evaluate("canvas => canvas.toDataURL()")


def test_the_inspector_shows_what_python_answers(shown: LabPage, tmp_path: Path) -> None:
    reset(shown)
    page = shown.page
    readout = page.locator(".vl-stripes-readout")
    first = overlay_pixels(page)

    page.locator(".vl-stripes-slide-row").focus()
    answer_to(page, lambda: page.keyboard.press("ArrowRight"))
    assert "token (13, 7)" in readout.inner_text()
    assert shown.run_cell(1) == f"(108, 60) 1 {readout.inner_text()}"
    second = overlay_pixels(page)
    assert second != first

    image = page.locator(".vl-stripes-image")
    box = image.bounding_box()
    place = {"x": box["width"] * 200.5 / 224, "y": box["height"] * 20.5 / 224}
    answer_to(page, lambda: image.click(position=place))
    assert "token (2, 25)" in readout.inner_text()
    assert shown.run_cell(1) == f"(20, 200) 1 {readout.inner_text()}"
    assert overlay_pixels(page) not in (first, second)
    page.screenshot(path=tmp_path / "page.png")


def test_text_stands_out_from_its_ground_in_both_themes(shown: LabPage) -> None:
    ground = brightness(shown.page.locator(".jp-Notebook"), "backgroundColor")
    for name in (".vl-stripes-head b", ".vl-stripes-foot", ".vl-curves-title", ".vl-curves-status"):
        ink = brightness(shown.page.locator(name).first, "color")
        assert abs(ink - ground) > 100, f"{name}: {ink} on {ground}"


def brightness(element: Any, which: str) -> float:
    color = element.evaluate(f"e => getComputedStyle(e).{which}")
    return sum(float(number) for number in re.findall(r"[\d.]+", color)[:3]) / 3


def test_the_inspector_needs_no_mouse(shown: LabPage) -> None:
    reset(shown)
    page = shown.page
    readout = page.locator(".vl-stripes-readout")
    whole_map = page.get_by_role("button", name="stage 4, whole map")
    whole_map.focus()
    page.keyboard.press("Enter")
    expect(readout).to_have_text("stage 4: token (3, 1) attends to 49 of 49 tokens.")
    expect(whole_map).to_have_attribute("aria-pressed", "true")
    assert shown.run_cell(1) == f"(100, 60) 3 {readout.inner_text()}"

    page.locator(".vl-stripes-image").focus()
    answer_to(page, lambda: page.keyboard.press("ArrowLeft"))
    answer_to(page, lambda: page.keyboard.press("ArrowUp"))
    expect(readout).to_have_text("stage 4: token (2, 0) attends to 49 of 49 tokens.")
    assert page.evaluate("document.activeElement.className") == "vl-stripes-image", "JupyterLab took the arrow key"


def test_a_drag_ends_where_it_ends_and_asks_only_as_fast_as_it_is_answered(shown: LabPage) -> None:
    reset(shown)
    page = shown.page
    box = page.locator(".vl-stripes-image").bounding_box()

    def go(y: int, x: int, steps: int = 1) -> None:
        place = box["x"] + box["width"] * (x + 0.5) / 224, box["y"] + box["height"] * (y + 0.5) / 224
        page.mouse.move(*place, steps=steps)

    before = int(page.locator(".vl-stripes").get_attribute("data-answers"))
    go(10, 10)
    page.mouse.down()
    go(215, 120, steps=150)
    page.mouse.up()
    expect(page.locator(".vl-stripes-readout")).to_contain_text("token (26, 15)")
    answers = int(page.locator(".vl-stripes").get_attribute("data-answers")) - before
    assert 2 <= answers < 150
    assert shown.run_cell(1).startswith("(215, 120) 1 ")


def test_an_answer_comes_within_a_tenth_of_a_second(shown: LabPage) -> None:
    reset(shown)
    times = sorted(shown.page.evaluate(TIME_ONE_STEP, step) for step in (1, -1) * 16)
    # The third fastest: the others may have waited for whatever else this machine does, other tests among it.
    assert times[2] < 100, f"milliseconds: {[round(time) for time in times]}"


def test_a_question_that_fails_is_answered_with_the_reason(shown: LabPage) -> None:
    reset(shown)
    page = shown.page
    answer_to(page, lambda: page.locator(".vl-stripes-image").click(position={"x": 6, "y": 6}))
    said = r"No answer for row \d, column \d: nobody looks at the corner"
    expect(page.locator(".vl-stripes-readout")).to_have_text(re.compile(said))


def test_the_curves_say_in_words_what_they_draw(shown: LabPage) -> None:
    page = shown.page
    expect(page.locator(".vl-curves-status")).to_contain_text("done in")
    expect(page.get_by_role("progressbar", name="progress")).to_have_attribute("aria-valuenow", "100")
    chart = page.locator(".vl-curves-chart")
    said = "line chart: Accuracy while it learns; CSWin 0.923, shifted windows 0.759"
    expect(chart).to_have_attribute("aria-label", said)
    dashes = chart.locator("path[stroke]").evaluate_all("paths => paths.map(p => p.getAttribute('stroke-dasharray'))")
    assert len(set(dashes)) == len(dashes) == 2, "lines differ by colour alone"
    chart.focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".vl-curves-readout")).to_have_text("step 80: CSWin 0.923, shifted windows 0.759")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".vl-curves-readout")).to_contain_text("step 79: ")


def test_a_committed_prediction_shows_its_explanation(shown: LabPage) -> None:
    page = shown.page
    commit = page.get_by_role("button", name="commit")
    expect(commit).to_be_disabled()
    assert "The first block brings" not in page.locator(".vl-predict").inner_text()
    page.get_by_role("radio", name="one", exact=True).focus()
    page.keyboard.press("Space")
    expect(commit).to_be_enabled()
    commit.focus()
    page.keyboard.press("Enter")
    verdict = page.locator(".vl-predict-verdict")
    expect(verdict).to_contain_text("Not quite. The answer: two. The first block brings the row to the column")
    expect(commit).to_be_disabled()
    assert shown.run_cell(4).startswith("Prediction(guessed 'one':")
