"""The Poison Ink demo in a browser and through its interface: opens filled, answers, survives any picture."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from tests.browser.clients import connect

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

ROOT = Path(__file__).parents[2]
WORLD = "shapes of the world"
DATA = ("satellite tiles", WORLD)


@pytest.fixture(scope="module")
def app(load_app: Any) -> Any:
    return load_app("poison_ink_demo")


@pytest.fixture(scope="module")
def address(app: Any, serve_app: Any) -> Iterator[str]:
    with serve_app(app) as url:
        yield url


@pytest.fixture(scope="module")
def client(address: str) -> Client:
    return connect(address)


def river(app: Any, tmp_path: Path) -> Path:
    app.examples(app.TILES)["River"].save(tmp_path / "river.png")
    return tmp_path / "river.png"


def test_its_interface_is_named(client: Client) -> None:
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(named) == {
        "/hide", "/trigger", "/spectra", "/examine", "/data", "/example", "/mystery", "/reveal",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("size", "mode"), [((640, 480), "RGB"), ((1, 1), "L"), ((5000, 3), "RGBA"), ((3, 900), "1"), ((80, 80), "P")]
)
def test_pictures_of_any_size_and_kind_are_answered(
    client: Client, tmp_path: Path, size: tuple[int, int], mode: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(tmp_path / "picture.png")
    picture = handle_file(str(tmp_path / "picture.png"))
    assert "PSNR" in client.predict(picture, 64, "with interference", 1.25, 0, api_name="/hide")[2]
    assert len(client.predict(picture, "blur", 0.5, api_name="/trigger")[1]["data"]) == 4


def test_sixteen_bits_are_scaled_and_a_flat_picture_is_said_to_have_no_edge(client: Client, tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.new("RGB", (50, 50), (90, 120, 40)).save(tmp_path / "flat.png")
    for name, words in (("deep", "PSNR"), ("flat", "Hardly an edge to write on")):
        picture = handle_file(str(tmp_path / f"{name}.png"))
        assert words in client.predict(picture, 32, "with interference", 1.25, 0, api_name="/hide")[2]


@pytest.mark.parametrize("hue", [0, 225])
def test_networks_for_eight_inks_write_and_read_the_hue(app: Any, client: Client, tmp_path: Path, hue: int) -> None:
    picture = handle_file(str(river(app, tmp_path)))
    words = client.predict(picture, 32, app.MANY, 1.5, 0, hue, api_name="/hide")[2]
    written, read = (float(part.split("°")[0]) for part in words.partition("in hue ")[2].split("read as "))
    assert written == hue
    assert min(abs(read - hue), 360 - abs(read - hue)) < 30


def test_strength_0_hides_nothing_and_ink_survives_a_flip(app: Any, client: Client, tmp_path: Path) -> None:
    picture = handle_file(str(river(app, tmp_path)))
    assert "PSNR 100.0 dB" in client.predict(picture, 32, "with interference", 0, 0, api_name="/hide")[2]
    table = client.predict(picture, "flip", 1.0, api_name="/trigger")[1]["data"]
    opened = {row[0]: row[3] for row in table}
    assert opened["Poison Ink"] == "opens"
    assert opened["BadNets"] == opened["clean"] == ""


def test_lpips_is_told_where_it_is_at_hand(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = (app.examples(app.TILES)["River"], 32, "with interference", 1.25, 0, 135, app.TILES)
    monkeypatch.setattr(app, "lpips_at_hand", lambda: False)
    assert "LPIPS" not in app.hide(*asked)[2]
    monkeypatch.setattr(app, "lpips_at_hand", lambda: True)
    monkeypatch.setattr(app, "lpips", lambda images, others: (images - others).abs().mean((1, 2, 3)) * 0 + 0.125)
    assert ", LPIPS 0.125, largest difference" in app.hide(*asked)[2]


@pytest.mark.parametrize("what", ["activation clustering", "pre-processing", "fine-pruning"])
def test_checks_answer_in_time_and_in_words(client: Client, what: str) -> None:
    client.predict("Poison Ink", what, api_name="/examine")
    began = time.monotonic()
    words = client.predict("Poison Ink", what, api_name="/examine")[1]
    assert time.monotonic() - began < 10
    assert "the clean network has" in words
    assert "It cannot see" in words


def test_nonsense_is_refused_in_words(app: Any) -> None:
    with pytest.raises(gr.Error, match="Choose a picture first"):
        app.hide(None, 32, "with interference", 1.0, 0, 135, app.TILES)
    with pytest.raises(gr.Error, match="8000 x 6000 pixels; at most 40 million"):
        app.hide(Image.new("1", (8000, 6000)), 32, "with interference", 1.0, 0, 135, app.TILES)
    with pytest.raises(gr.Error, match="For shapes of the world there are networks trained with interference"):
        app.hide(Image.new("RGB", (40, 40)), 32, "without", 1.0, 0, 135, WORLD)
    with pytest.raises(gr.Error, match="Choose one of clean"):
        app.examine("clean", "magic", app.TILES)


def test_a_new_user_moves_the_strength_and_sees_the_words_change(address: str, app_page: Any) -> None:
    page = app_page(address)
    words = page.locator("#hidden textarea")
    page.wait_for_function("() => document.querySelector('#hidden textarea')?.value.includes('PSNR')", timeout=20_000)
    before = words.input_value()
    slider = page.locator("#gain input[type=range]")
    slider.focus()
    for _ in range(4):
        slider.press("ArrowRight")
    page.wait_for_function(
        "before => document.querySelector('#hidden textarea').value !== before", arg=before, timeout=10_000
    )
    assert words.input_value() != before
    page.get_by_role("tab", name="Trigger").click()
    page.wait_for_function("() => document.querySelector('#table')?.innerText.includes('opens')", timeout=10_000)


def test_a_number_hides_a_network_until_one_commits(app: Any, client: Client) -> None:
    truth = {number: app.hidden(number, list(app.NETWORKS)) for number in range(30)}
    assert set(truth.values()) == set(app.NETWORKS), "every network is behind some number"
    words = client.predict(7, "pre-processing", api_name="/mystery")[1]
    assert not any(name in words for name in ("BadNets", "Blend", "Poison Ink"))
    with pytest.raises(AppError, match="Choose an answer first"):
        client.predict(7, None, api_name="/reveal")
    assert client.predict(7, truth[7], api_name="/reveal") == f"Right: number 7 is {truth[7]}."
    for asked, endpoint in ((truth[7], "/reveal"), ("pre-processing", "/mystery")):
        with pytest.raises(AppError, match="You have committed to an answer on number 7"):
            client.predict(7, asked, api_name=endpoint)


def test_three_checks_a_number_and_session_are_all(address: str) -> None:
    client = connect(address)
    for data in ("satellite tiles", WORLD, WORLD):
        client.predict(3, "pre-processing", data, api_name="/mystery")
    with pytest.raises(AppError, match="All 3 checks on number 3 are spent: commit, or choose another number"):
        client.predict(3, "fine-pruning", api_name="/mystery")
    client.predict(4, "pre-processing", api_name="/mystery")
    with pytest.raises(AppError, match="number 3 are spent"):
        client.predict(3, "pre-processing", api_name="/mystery")
    other = connect(address)
    assert "the clean network has" in other.predict(3, "pre-processing", api_name="/mystery")[1]


def test_the_world_has_its_own_pictures_networks_and_target(app: Any, address: str) -> None:
    client = connect(address)
    client.predict(WORLD, api_name="/data")
    found = client.predict("cube", WORLD, api_name="/example")
    assert np.array_equal(np.asarray(Image.open(found)), np.asarray(app.examples(WORLD)["cube"])), "nothing is lost"
    cube = handle_file(found)
    assert "PSNR" in client.predict(cube, 32, "with interference", 1.25, 0, 135, WORLD, api_name="/hide")[2]
    table = client.predict(cube, "as it is", 1.0, WORLD, api_name="/trigger")[1]["data"]
    assert [row[1].split()[0] for row in table] == ["cube"] * 4
    assert {row[0]: row[2].split()[0] for row in table}["Poison Ink"] == "sphere"
    tiles, shapes = (client.predict("BadNets", "pre-processing", data, api_name="/examine")[1] for data in DATA)
    assert tiles != shapes
    for data in DATA:
        assert Image.open(client.predict(data, api_name="/spectra")).width > 600


def test_a_reader_switches_the_data_and_spends_the_checks(address: str, app_page: Any) -> None:
    page = app_page(address)
    page.get_by_role("tab", name="Trigger").click()
    wait = "words => document.querySelector('#table')?.innerText.includes(words)"
    page.wait_for_function(wait, arg="SeaLake", timeout=20_000)
    page.get_by_label(WORLD).check()
    page.wait_for_function(wait, arg="sphere", timeout=20_000)
    assert page.locator("#name input").input_value() == "cube"
    page.get_by_role("tab", name="Hide").click()
    assert page.locator("#reader label").all_inner_texts() == ["with interference"]

    page.get_by_role("tab", name="Mystery").click()
    page.locator("#mystery_check input").fill("pre-processing")
    page.keyboard.press("Enter")
    left = "words => document.querySelector('#left textarea, #left input').value === words"
    for words in ("2 of 3", "1 of 3", "none: commit, or choose another number"):
        page.locator("#mystery_examine").click()
        page.wait_for_function(left, arg=words, timeout=30_000)
    assert "clean answers" in page.locator("#mystery_said textarea").input_value()
    expect(page.locator("#mystery_examine")).to_be_disabled()
    page.locator("#number input").fill("2")
    page.keyboard.press("Tab")
    page.wait_for_function(left, arg="3 of 3", timeout=10_000)
    expect(page.locator("#mystery_examine")).to_be_enabled()
    assert page.locator("#mystery_said textarea").input_value() == ""
    page.locator("#guess").get_by_label("Blend").check()
    page.locator("#commit").click()
    page.wait_for_function(left, arg="committed: choose another number", timeout=10_000)
    expect(page.locator("#mystery_examine")).to_be_disabled()
    expect(page.locator("#commit")).to_be_disabled()
    assert "number 2 is" in page.locator("#answer textarea").input_value()
