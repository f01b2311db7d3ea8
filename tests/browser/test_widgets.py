"""The widgets in a real JupyterLab: what the page shows is what Python says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

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


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    cells = [nbformat.v4.new_code_cell(code.strip()) for code in (INSPECTOR, ASK, LIVE, PREDICT, HELD)]
    path = tmp_path / "widgets.ipynb"
    book = nbformat.v4.new_notebook(cells=cells)
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, path)
    return path


def overlay_pixels(page: Any) -> str:
    return page.locator(".vl-stripes-overlay").evaluate("canvas => canvas.toDataURL()")


def answers(page: Any) -> int:
    return int(page.locator(".vl-stripes").get_attribute("data-answers"))


def wait_for_answer(page: Any, more_than: int) -> None:
    page.wait_for_function(
        "count => Number(document.querySelector('.vl-stripes').dataset.answers) > count", arg=more_than
    )


def agrees_with_python(lab: Any) -> tuple[str, str]:
    """What the page's readout says and what Python's own answer to the widget's query says."""
    said = lab.page.locator(".vl-stripes-readout").inner_text()
    return said, lab.run_cell(1)


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_the_page_shows_what_python_answers(lab_page: Any, notebook: Path, tmp_path: Path, theme: str) -> None:
    page = lab_page.page
    lab_page.set_theme(theme)
    lab_page.open_notebook(notebook)
    lab_page.run_all()
    page.locator(".vl-stripes").wait_for()
    page.wait_for_timeout(500)
    page.screenshot(path=tmp_path / "page.png")
    page.locator(".vl-stripes").screenshot(path=tmp_path / "stripes.png")
    page.locator(".vl-curves").screenshot(path=tmp_path / "curves.png")
