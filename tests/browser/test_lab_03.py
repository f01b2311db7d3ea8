"""Lab 03 as a new user meets it: opened, run, its picture moved; what the page says is what Python says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from visionlab import weights
from visionlab.data.images import photograph
from visionlab.experiments.cswin_probe import StripeProbe

ROOT = Path(__file__).parents[2]
LAB = ROOT / "labs" / "03_cswin.ipynb"
SIZE = 224


@pytest.fixture(scope="module")
def probe() -> StripeProbe:
    predictor = weights.load("cswin_nano_eurosat")
    return StripeProbe(predictor.model, predictor.normalise(photograph("chelsea", size=SIZE)[None]))


def inspector(page: Any) -> Any:
    return page.locator(".vl-stripes").first


def answered(page: Any) -> int:
    return int(inspector(page).get_attribute("data-answers"))


def after(page: Any, act: Any) -> str:
    """Act on the inspector, wait for its answer, and return the line that it shows."""
    before = answered(page)
    act()
    page.wait_for_function(
        "n => Number(document.querySelector('.vl-stripes').dataset.answers) > n", arg=before, timeout=10_000
    )
    page.wait_for_timeout(200)
    return inspector(page).locator(".vl-stripes-readout").inner_text()


def test_the_whole_lab_runs_and_its_picture_follows_the_reader(
    lab_page: Any, probe: StripeProbe, tmp_path: Path
) -> None:
    page = lab_page.page
    lab_page.open_notebook(LAB)
    assert page.locator("dialog.jp-Dialog").count() == 0
    lab_page.run_all(timeout=400)
    assert "end of lab 03" in " ".join(lab_page.outputs())
    widget = inspector(page)
    widget.scroll_into_view_if_needed()
    assert widget.locator(".vl-stripes-readout").inner_text() == probe.at(92, 100)[1].text

    overlay = widget.locator(".vl-stripes-overlay")
    before = overlay.evaluate("canvas => canvas.toDataURL()")
    slider = widget.locator("input[type=range]").first
    said = after(page, lambda: (slider.focus(), page.keyboard.press("PageUp")))
    assert overlay.evaluate("canvas => canvas.toDataURL()") != before
    token = int(slider.input_value())
    assert said == probe.at(8 * token + 4, 100)[1].text

    box = overlay.bounding_box()
    spot = {"x": box["width"] * 0.25, "y": box["height"] * 0.75}
    said = after(page, lambda: widget.locator(".vl-stripes-image").click(position=spot))
    y, x = int(0.75 * SIZE), int(0.25 * SIZE)
    assert said in {probe.at(y + i, x + j)[1].text for i in (-1, 0, 1) for j in (-1, 0, 1)}
    widget.screenshot(path=tmp_path / "inspector.png")
    page.screenshot(path=tmp_path / "lab.png", full_page=True)


def test_a_right_answer_in_the_gap_is_accepted(lab_page: Any, tmp_path: Path) -> None:
    from visionlab.exercises.cswin import SOLUTION

    notebook = nbformat.read(LAB, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    gap = next(cell for cell in code if "lab.check(" in cell.source)
    gap.source = SOLUTION + re.search(r"\nanswer = .*", gap.source, re.S)[0]
    notebook.cells = [code[0], gap]
    nbformat.write(notebook, tmp_path / "answered.ipynb")
    lab_page.open_notebook(tmp_path / "answered.ipynb")
    lab_page.run_all()
    assert "right: 5 properties hold" in " ".join(lab_page.outputs())


def test_a_guess_is_judged_when_it_is_committed(lab_page: Any, tmp_path: Path) -> None:
    notebook = nbformat.read(LAB, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    notebook.cells = [code[0], next(cell for cell in code if "lab.predict(" in cell.source)]
    nbformat.write(notebook, tmp_path / "guess.ipynb")
    lab_page.open_notebook(tmp_path / "guess.ipynb")
    lab_page.run_all()
    page = lab_page.page
    page.locator("input[type=radio]").nth(1).click()
    page.locator(".vl-predict-commit").click()
    verdict = page.locator(".vl-predict-verdict")
    page.wait_for_function("() => document.querySelector('.vl-predict-verdict').innerText.length > 10")
    assert "two steps, on a map of any size" in verdict.inner_text()
