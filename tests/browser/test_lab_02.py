"""The heart of lab 02 in a real JupyterLab: squares flipped, wires cut; the page says what Python's own pass says."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import numpy as np
import pytest
from PIL import Image

from visionlab import weights
from visionlab.experiments import mobile_former_live as live
from visionlab.show.bridge_words import answer_words, block_words, no_cuts
from visionlab.show.widgets.majority import COLOURS, MajorityBoard

if TYPE_CHECKING:
    from conftest import LabPage

LAB = Path(__file__).parents[2] / "labs" / "02_mobile_former.ipynb"
NEEDED = ("lab.setup", "import weights", "boards = ", "solver = ", "MajorityBoard(", "predictor = ", "inspector = ")


@pytest.fixture(scope="module")
def shown(new_lab_page: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabPage]:
    """The lab's own cells up to its heart, run."""
    notebook = nbformat.read(LAB, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    notebook.cells = [next(cell for cell in code if needed in cell.source) for needed in NEEDED]
    path = tmp_path_factory.mktemp("heart") / "heart.ipynb"
    nbformat.write(notebook, path)
    with new_lab_page() as lab:
        lab.open_notebook(path)
        lab.run_all()
        yield lab


def after(page: Any, widget: str, act: Callable[[], None]) -> str:
    """Act, wait until the widget shows one more answer of the kernel, and return its line."""
    seen = page.locator(widget).get_attribute("data-answers")
    act()
    page.wait_for_function("([w, n]) => document.querySelector(w).dataset.answers !== n", arg=[widget, seen])
    return page.locator(f"{widget}-readout").inner_text()


def settled(page: Any, widget: str) -> str:
    """Wait until the kernel has nothing more to answer, and return the widget's line."""
    seen = page.locator(widget).get_attribute("data-answers")
    while (now := after_a_while(page, widget)) != seen:
        seen = now
    return page.locator(f"{widget}-readout").inner_text()


def after_a_while(page: Any, widget: str) -> str:
    page.wait_for_timeout(700)
    return page.locator(widget).get_attribute("data-answers")


def labels(page: Any) -> list[str]:
    return page.locator(".vl-majority-answer span").all_inner_texts()


def test_flipped_squares_turn_all_labels_until_a_wire_is_cut(shown: LabPage, tmp_path: Path) -> None:
    page, solver = shown.page, weights.load("mobile_former_majority").model
    boards = live.boards(6)
    expected = MajorityBoard(boards, live.says_majority(solver), wires=("reading", "writing", "former"))
    readout = page.locator(".vl-majority-readout")
    assert readout.inner_text() == expected.readout
    squares = page.locator(".vl-majority-puzzle button:visible")
    majority, first = expected.majority, labels(page)
    kept = [k for k, cell in enumerate(boards[0].ravel()) if cell]
    mine = [i for i, k in enumerate(kept) if expected.board[k] == majority]
    clicked = sorted(mine, key=lambda i: -(kept[i] % 8))[: len(mine) - 6]  # six are left, of thirteen
    for i in clicked:
        board = list(expected.board)
        board[kept[i]] = 3 - majority
        expected.board = board
        assert after(page, ".vl-majority", lambda i=i: squares.nth(i).click()) == expected.readout
    assert expected.majority == 3 - majority
    far = [n for n, k in enumerate(kept) if all(abs(k // 8 - kept[i] // 8) > 3 or abs(k % 8 - kept[i] % 8) > 3
           for i in clicked)]  # fmt: skip
    turned = labels(page)
    assert len(far) > 1
    assert all(turned[n] != first[n] for n in far), "labels far from every click have changed as well"
    expected.cuts = {"writing": True}
    assert after(page, ".vl-majority", lambda: page.locator(".vl-majority-writing").check()) == expected.readout
    says = ["most" if expected.sure[k] > 0.5 else "few" for k in kept]
    assert labels(page) == says
    cells = [expected.board[k] for k in kept]
    for where in ("puzzle button:visible", "answer span"):
        letters = page.locator(f".vl-majority-{where}").evaluate_all("nodes => nodes.map(node => node.dataset.letter)")
        assert letters == ["RG"[cell - 1] for cell in cells]
    most = [cell for cell, said in zip(cells, says, strict=True) if said == "most"]
    red, green = ((f"{cells.count(c)} {name}", f'"most" said of {most.count(c)}') for c, name in enumerate(COLOURS, 1))
    about = [page.locator(f".vl-majority-{name}").get_attribute("aria-label") for name in ("puzzle", "answer")]
    assert about == [
        f"squares: {red[0]}, {green[0]}",
        f"the network's answer: {', '.join(red)}; {', '.join(green)}",
    ]
    page.locator(".vl-majority").screenshot(path=tmp_path / "board.png")


def test_the_next_puzzle_wins_over_clicks_that_wait(shown: LabPage) -> None:
    page, boards = shown.page, live.boards(6)
    root = page.locator(".vl-majority")
    expected = MajorityBoard(boards[1:2], live.says_majority(weights.load("mobile_former_majority").model))
    expected.cuts = {"writing": True}  # as the test above left it
    before = int(root.get_attribute("data-answers"))
    root.evaluate("""root => {
        const squares = [...root.querySelectorAll('.vl-majority-puzzle button')].filter(e => e.style.display === '');
        const next = root.querySelector('.vl-majority-next');
        for (const node of [squares[0], squares[1], next, squares[2]]) node.click();
    }""")
    assert settled(page, ".vl-majority") == expected.readout
    assert int(root.get_attribute("data-answers")) >= before + 2
    assert len(labels(page)) == len([cell for cell in expected.board if cell])


def test_a_random_picture_of_ones_own_is_told_as_python_tells_it(shown: LabPage, tmp_path: Path) -> None:
    page, respond = shown.page, live.bridge(weights.load("mobile_former_nano_eurosat"))
    image = np.random.default_rng(2).integers(0, 256, (96, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    uncut = respond(image, no_cuts())[1]

    def line(block: int, token: int, cuts: dict[str, Any]) -> str:
        views, scores = respond(image, cuts)
        view = views[block]
        heard = None if view.hears is None else view.heard
        words = block_words(view.title, None if view.reads is None else view.read, heard, token, cuts)
        return f"{words} {answer_words(uncut, scores, cuts)}"

    widget = page.locator(".vl-bridge")
    file = {"name": "own.png", "mimeType": "image/png", "buffer": buffer.getvalue()}
    said = after(page, ".vl-bridge", lambda: page.locator(".vl-bridge-own").set_input_files(file))
    assert said == line(0, 0, no_cuts())

    readout, canvas = page.locator(".vl-bridge-readout"), page.locator(".vl-bridge-reads")
    before = canvas.evaluate("canvas => canvas.toDataURL()")
    page.locator(".vl-bridge-block").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="token 3").click()
    assert readout.inner_text() == line(1, 2, no_cuts())
    assert canvas.evaluate("canvas => canvas.toDataURL()") != before

    cuts = no_cuts() | {"slopes": True}
    assert after(page, ".vl-bridge", lambda: page.locator(".vl-bridge-slopes").check()) == line(1, 2, cuts)
    cuts |= {"reading": True}
    assert after(page, ".vl-bridge", lambda: page.locator(".vl-bridge-reading").check()) == line(1, 2, cuts)
    assert widget.locator(".vl-bridge-frame b").first.inner_text() == "cut"
    cuts |= {"silent": (1,), "reading": False}
    after(page, ".vl-bridge", lambda: page.locator(".vl-bridge-reading").uncheck())
    said = after(page, ".vl-bridge", lambda: page.locator(".vl-bridge-silent").select_option("1"))
    assert said == line(1, 2, cuts)
    best = max(respond(image, cuts)[1].items(), key=lambda pair: pair[1])[0]
    assert widget.locator("span[data-best=true]").inner_text() == best
    widget.screenshot(path=tmp_path / "bridge.png")

    # A picture of one's own wins over a click that waits, and the same file can be sent again.
    page.evaluate("""async () => {
        const canvas = Object.assign(document.createElement('canvas'), { width: 32, height: 32 });
        canvas.getContext('2d').fillRect(0, 0, 20, 9);
        const blob = await new Promise(resolve => canvas.toBlob(resolve));
        window.own = new File([blob], 'own.png', { type: 'image/png' });
    }""")
    for _ in range(2):
        widget.evaluate("""root => {
            const [input, chosen] = [root.querySelector('.vl-bridge-own'), new DataTransfer()];
            for (const node of [...root.querySelectorAll('.vl-bridge-strip button')].slice(0, 2)) node.click();
            chosen.items.add(window.own);
            input.files = chosen.files;
            input.dispatchEvent(new Event('change'));
        }""")
        settled(page, ".vl-bridge")
        assert widget.locator(".vl-bridge-strip [aria-pressed=true]").inner_text() == "yours"


def test_a_narrow_page_keeps_everything_in_sight(shown: LabPage, tmp_path: Path) -> None:
    page = shown.page
    page.set_viewport_size({"width": 760, "height": 2400})
    for name in (".vl-majority", ".vl-bridge"):
        widget = page.locator(name)
        widget.scroll_into_view_if_needed()
        assert widget.evaluate("e => e.scrollWidth <= e.clientWidth"), name
        widget.screenshot(path=tmp_path / f"narrow{name}.png")
    page.set_viewport_size({"width": 1280, "height": 2400})
