"""The stripes explorer in a browser and through its interface: opens filled, answers, survives any picture."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image

from tests.browser.clients import connect

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def explorer(load_app: Any) -> Any:
    return load_app("stripes_explorer")


@pytest.fixture(scope="module")
def address(explorer: Any, serve_app: Any) -> Iterator[str]:
    with serve_app(explorer) as url:
        yield url


@pytest.fixture(scope="module")
def client(address: str) -> Client:
    return connect(address)


TILES = "satellite tiles"


def words(client: Client, path: Path | str, row: float = 50, column: float = 50, depth: int = 1) -> str:
    return client.predict(handle_file(str(path)), row, column, depth, TILES, api_name="/look")[3]


def test_its_interface_is_named(client: Client) -> None:
    assert set(client.view_api(return_format="dict", print_info=False)["named_endpoints"]) == {
        "/look",
        "/example",
        "/card",
    }


@pytest.mark.parametrize(
    ("size", "mode"), [((640, 480), "RGB"), ((1, 1), "L"), ((5000, 3), "RGBA"), ((3, 900), "1"), ((80, 80), "P")]
)
def test_pictures_of_any_size_and_kind_are_answered(
    client: Client, tmp_path: Path, size: tuple[int, int], mode: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(tmp_path / "picture.png")
    said = words(client, tmp_path / "picture.png")
    assert said.count("\n") == 4
    assert "stage 4" in said


def test_the_field_grows_with_depth(client: Client, explorer: Any, tmp_path: Path) -> None:
    explorer.examples()["a cat"].save(tmp_path / "cat.png")
    one, two = (words(client, tmp_path / "cat.png", depth=depth).splitlines()[-1] for depth in (1, 2))
    assert "stage 1, block 1: 3.0 % of the picture" in one
    assert "stage 2, block 1: 100.0 % of the picture" in two


@pytest.mark.parametrize(
    ("network", "picture", "name"),
    [("scenes of the world", "world: mushroom", "cswin_nano_world"), (TILES, "satellite: River", "cswin_nano_eurosat")],
)
def test_each_network_knows_its_own_pictures_and_shows_its_card(
    client: Client, explorer: Any, tmp_path: Path, network: str, picture: str, name: str
) -> None:
    explorer.examples()[picture].save(tmp_path / "picture.png")
    told = client.predict(handle_file(str(tmp_path / "picture.png")), 50, 50, 1, network, api_name="/look")[4]
    assert told["label"] == picture.split(": ")[1]
    card = client.predict(network, api_name="/card")
    assert f"visionlab weights train {name}" in card
    assert f"{explorer.weights.card(name).metrics['accuracy (%)']:.1f} % right" in card


def test_an_answer_takes_less_than_a_second(explorer: Any) -> None:
    predictor, picture = explorer.weights.load("cswin_nano_eurosat"), explorer.examples()["a cat"]
    took = []
    for row in range(10, 90, 10):
        began = time.perf_counter()
        explorer.look(predictor, picture, row, 70, 8)
        took.append(time.perf_counter() - began)
    assert min(took) < 1, "the others may have waited for other tests"


def test_no_picture_is_said_and_a_broken_file_does_no_harm(client: Client, explorer: Any, tmp_path: Path) -> None:
    with pytest.raises(gr.Error, match="Choose a picture first"):
        explorer.look(explorer.weights.load("cswin_nano_eurosat"), None, 1, 1, 1)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n but not really")
    with pytest.raises(Exception, match=r"(?i)error|identify"):
        words(client, tmp_path / "broken.png")
    explorer.examples()["coffee"].save(tmp_path / "coffee.png")
    assert "stage 4" in words(client, tmp_path / "coffee.png")


def test_it_opens_filled_and_answers_a_click(address: str, app_page: Any, tmp_path: Path) -> None:
    page = app_page(address)
    filled = "() => (document.querySelector('#words textarea') || {value: ''}).value.includes('stage 4')"
    page.wait_for_function(filled, timeout=30_000)
    said = page.locator("#words textarea").input_value()
    before = page.locator("#field img").get_attribute("src")
    picture = page.locator("#view img")
    page.wait_for_function("() => document.querySelector('#view img').naturalHeight > 100")
    box = picture.bounding_box()
    picture.click(position={"x": box["width"] * 0.3, "y": box["height"] * 0.8})
    page.wait_for_function("old => document.querySelector('#words textarea').value !== old", arg=said, timeout=15_000)
    row = float(page.locator("#row input[type=number]").input_value())
    column = float(page.locator("#column input[type=number]").input_value())
    assert 70 < row < 90
    assert 10 < column < 50
    page.wait_for_timeout(1500)
    now = page.locator("#words textarea").input_value()
    assert f"token ({int(row * 56 / 100)}, " in now.splitlines()[0]
    assert page.locator("#field img").get_attribute("src") != before
    page.locator("#depth input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.querySelector('#words textarea').value.includes('stage 2, block 1:')")
    old = {part: page.locator(f"#{part} img").get_attribute("src") for part in ("panels", "field")}
    named = page.locator("#classes").inner_text()
    page.get_by_label(TILES).check()
    page.wait_for_function("old => document.querySelector('#classes').innerText !== old", arg=named, timeout=15_000)
    for part, source in old.items():
        changed = "([part, old]) => document.querySelector(`#${part} img`).src !== old"
        page.wait_for_function(changed, arg=[part, source], timeout=15_000)
    page.screenshot(path=tmp_path / "explorer.png", full_page=True)
