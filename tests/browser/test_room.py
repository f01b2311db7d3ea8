"""The room of PNAL in a real JupyterLab: it turns, replays, and says of a point what Python computes."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from visionlab.show.timeline import Timeline

if TYPE_CHECKING:
    from conftest import LabPage

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

MADE = Path(__file__).parents[1] / "show" / "made_rooms.py"
SHOW = """
from visionlab.show.pnal import room

widget = room(made_timeline())
widget
"""
ASK = "print(widget.room, widget.epoch, widget.picked, widget.words)"
LOOSE = (
    "from dataclasses import replace\nroom(made_timeline(gamma=0.12), panels=('predicted',), picked=(1, 40), epoch=6)"
)
FACTS = """([points, epochs]) => {
    const root = document.querySelector('.vl-room');
    const [number, slider] = ['.vl-room-point', '.vl-room-epoch'].map(name => root.querySelector(name));
    const said = [];
    for (const epoch of epochs) {
        slider.value = epoch;
        slider.dispatchEvent(new Event('input'));
        for (const point of points) {
            number.value = point;
            number.dispatchEvent(new Event('change'));
            said.push(root.querySelector('.vl-room-said').textContent);
        }
    }
    return said;
}"""
FRAMES = """() => new Promise(resolve => {
    const [root, times] = [document.querySelector('.vl-room'), []];
    const panel = root.querySelector('.vl-room-canvas');
    const step = () => {
        if (times.length === 15) return resolve(times);
        panel.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowLeft' }));
        requestAnimationFrame(() => requestAnimationFrame(() => (times.push(Number(root.dataset.ms)), step())));
    };
    step();
})"""


def made_timeline(**rule: float) -> Timeline:
    spec = importlib.util.spec_from_file_location("made_rooms", MADE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.made_timeline(**rule)


@pytest.fixture(scope="module")
def timeline() -> Timeline:
    return made_timeline()


@pytest.fixture(scope="module")
def shown(show_cells: Any) -> Iterator[LabPage]:
    with show_cells(MADE.read_text(), SHOW, ASK, LOOSE) as lab:
        lab.page.locator(".vl-room").first.scroll_into_view_if_needed()
        yield lab


def pictures(page: Any) -> list[str]:
    """The pixels of the three panels, once they are drawn."""
    return page.evaluate("""() => new Promise(resolve => {
        const found = () => [...document.querySelector('.vl-room').querySelectorAll('.vl-room-canvas')];
        requestAnimationFrame(() => requestAnimationFrame(() => resolve(found().map(c => c.toDataURL()))));
    })""")


def first(page: Any, name: str) -> Any:
    return page.locator(f".vl-room {name}").first


def test_panels_turn_together_by_hand_and_by_keys(shown: LabPage) -> None:
    page, before = shown.page, pictures(shown.page)
    box = page.locator(".vl-room-canvas").nth(1).bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)

    def drag(dx: float, dy: float) -> None:
        page.mouse.move(*middle)
        page.mouse.down()
        page.mouse.move(middle[0] + dx, middle[1] + dy, steps=4)
        page.mouse.up()

    def shift_drag() -> None:
        page.keyboard.down("Shift")
        drag(0, 30)
        page.keyboard.up("Shift")

    acts = {
        "turned": lambda: drag(60, 0),
        "moved": shift_drag,
        "zoomed": lambda: (page.mouse.move(*middle), page.mouse.wheel(0, -200)),
        "turned by a key": lambda: page.keyboard.press("ArrowUp"),
        "zoomed by a key": lambda: page.keyboard.press("+"),
    }
    first(page, ".vl-room-canvas").focus()
    for name, act in acts.items():
        act()
        page.wait_for_timeout(60)
        after = pictures(page)
        assert all(a != b for a, b in zip(after, before, strict=True)), name
        before = after
    assert first(page, "").get_attribute("data-picked") == "", "a drag picks no point"
    page.get_by_role("button", name="reset view").first.click()


def test_the_slider_replays_what_is_in_force(shown: LabPage, timeline: Timeline) -> None:
    page = shown.page
    slider = first(page, ".vl-room-epoch")
    slider.focus()
    page.keyboard.press("Home")
    early = pictures(page)
    assert "epoch 1 of 10, warm-up: it trains on the given labels" in first(page, ".vl-room-now").inner_text()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    late = pictures(page)
    assert [a == b for a, b in zip(early, late, strict=True)] == [True, False, True]
    right, _, none = timeline.score(0, 5)
    panel = page.locator(".vl-room-panel").nth(1)
    expect(panel.locator("small")).to_have_text(f"{right:.0f} % right, {none:.0f} % none yet")
    expect(first(page, ".vl-room-now")).to_contain_text("clusters relabelled just now")
    assert shown.run_cell(2).startswith("0 5 []")


def test_play_goes_on_by_itself_and_can_be_stopped(shown: LabPage) -> None:
    page = shown.page
    play = first(page, ".vl-room-play")
    start = int(first(page, "").get_attribute("data-epoch") or 0)
    play.click()
    page.wait_for_function("e => Number(document.querySelector('.vl-room').dataset.epoch) > e", arg=start)
    play.click()
    expect(play).to_contain_text("play")


def test_a_click_shows_what_decided_the_label(shown: LabPage, timeline: Timeline, tmp_path: Path) -> None:
    page = shown.page
    first(page, ".vl-room-epoch").focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    box = page.locator(".vl-room-canvas").nth(2).bounding_box()
    before = pictures(page)
    page.mouse.click(box["x"] + 0.55 * box["width"], box["y"] + 0.5 * box["height"])
    room, point = map(int, (first(page, "").get_attribute("data-picked") or "").split())
    assert all(a != b for a, b in zip(pictures(page), before, strict=True)), "its cluster stands out in all panels"
    words = timeline.describe(room, 9, point)
    assert first(page, ".vl-room-said").text_content() == words
    assert shown.run_cell(2) == f"{room} 9 [{room}, {point}] {words}"
    history = [timeline.classes[k] for k in timeline.history(room, 9)[point]]
    card = first(page, ".vl-room-card")
    assert card.locator(".vl-room-slot").all_inner_texts() == [
        f"{name}\nepoch {epoch}" for name, epoch in zip(history, range(5, 9), strict=True)
    ]
    votes = timeline.votes(room, 9, point)
    order = sorted((k for k in range(10) if votes[k]), key=lambda k: (-votes[k], k))
    bars = card.locator(".vl-room-votes span").all_inner_texts()
    assert bars == [text for k in order for text in (timeline.classes[k], str(votes[k]))]
    kinds = (timeline.given, timeline.in_force[8], timeline.truth)
    fate = card.locator(".vl-room-fate .vl-room-chip").all_inner_texts()
    assert fate == [timeline.classes[each[room, point]] for each in kinds]
    page.screenshot(path=tmp_path / "room.png")
    first(page, ".vl-room-canvas").press("Escape")
    expect(card).to_contain_text("Click a point")


def test_the_page_counts_as_python_does(shown: LabPage, timeline: Timeline) -> None:
    points, epochs = list(range(0, 512, 23)), [1, 3, 5, 7, 10]
    first(shown.page, ".vl-room-which").select_option("1")
    said = shown.page.evaluate(FACTS, [points, epochs])
    assert said == [timeline.describe(1, epoch, point) for epoch in epochs for point in points]
    assert any("not reliable" in each for each in said)
    assert any("winner: nobody." in each for each in said)
    first(shown.page, ".vl-room-which").select_option("0")
    assert shown.run_cell(2).startswith("0 10 []")


def test_another_rule_and_another_panel_are_counted_too(shown: LabPage) -> None:
    other, loose = shown.page.locator(".vl-room").nth(1), made_timeline(gamma=0.12)
    assert other.locator(".vl-room-said").text_content() == loose.describe(1, 6, 40)
    expect(other.locator(".vl-room-panel b")).to_have_text("last prediction")
    expect(other.locator(".vl-room-card")).to_contain_text("Needed: u ≤ 0.120")


def test_colours_can_be_those_of_verdicts_and_of_the_scan(shown: LabPage) -> None:
    page = shown.page
    seen = [pictures(page)]
    for name in ("verdict", "rgb"):
        first(page, ".vl-room-colour").select_option(name)
        seen.append(pictures(page))
    assert len({each[0] for each in seen}) == 3
    assert seen[2][0] == seen[2][2], "a scan is the same in all panels"
    first(page, ".vl-room-colour").select_option("class")
    first(page, ".vl-room-open").uncheck()
    assert pictures(page) != seen[0]
    first(page, ".vl-room-open").check()
    first(page, ".vl-room-mark").uncheck()
    assert pictures(page)[0] != seen[0][0]
    assert pictures(page)[2] == seen[0][2], "no true label is wrong"


def test_a_frame_is_drawn_at_once_also_on_busy_machines(shown: LabPage) -> None:
    times = sorted(shown.page.evaluate(FRAMES))
    # About 5 ms on two idle cores; tests share theirs.
    assert times[7] < 150, times


def test_panels_shrink_and_then_stand_below_each_other(shown: LabPage) -> None:
    page = shown.page
    for width, rows in ((700, 1), (390, 2)):
        page.locator(".vl-room").first.evaluate("(root, width) => (root.style.width = `${width}px`)", width)
        page.wait_for_timeout(100)
        boxes = [page.locator(".vl-room-canvas").nth(i).bounding_box() for i in range(3)]
        assert len({round(box["y"]) for box in boxes}) == rows
        assert all(box["width"] > 160 for box in boxes)
        inside = page.locator(".vl-room").first.evaluate("root => root.scrollWidth <= root.clientWidth + 1")
        assert inside, f"nothing sticks out at {width} pixels"
    page.locator(".vl-room").first.evaluate("root => (root.style.width = '')")


def test_it_is_readable_on_a_dark_page(lab_page: LabPage, tmp_path: Path) -> None:
    lab_page.set_theme("JupyterLab Dark")
    book = tmp_path / "dark.ipynb"
    cells = [nbformat.v4.new_code_cell(source) for source in (MADE.read_text(), SHOW)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), book)
    lab_page.open_notebook(book)
    lab_page.run_all()
    page = lab_page.page
    pixel = """() => new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(() => resolve([
        ...document.querySelector('.vl-room-canvas').getContext('2d').getImageData(2, 2, 1, 1).data]))))"""
    first(page, ".vl-room-canvas").wait_for()
    assert max(page.evaluate(pixel)[:3]) < 60
    smallest = page.locator(".vl-room").evaluate("""root => Math.min(...[...root.querySelectorAll('*')]
        .filter(e => e.offsetParent && e.textContent.trim()).map(e => parseFloat(getComputedStyle(e).fontSize)))""")
    assert smallest >= 12
    page.locator(".vl-room").screenshot(path=tmp_path / "dark.png")
