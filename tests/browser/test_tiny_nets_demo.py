"""The demo of tiny networks, in a browser and through its interface: races, answers, tokens; survives any picture."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from tests.browser.clients import connect
from visionlab import weights
from visionlab.experiments import tiny_nets_pictures as pictures
from visionlab.experiments.mobile_former_probe import Cuts, answer, look
from visionlab.experiments.tiny_nets import NETWORKS

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

TILES, FORMER = next(iter(pictures.KINDS)), next(iter(pictures.token_networks()))
WORDS = "([id, words]) => document.querySelector(`#${id} textarea`)?.value.includes(words)"
DRAWN = "id => document.querySelector(`#${id} .js-plotly-plot`)?._fullData?.length > 0"
BARS = """([id, trace]) => [...document.querySelector(`#${id} .js-plotly-plot`).data[trace].x]"""
TITLES = """() => [...document.querySelectorAll('#race_table [data-testid^="cell-"][data-testid$="-0"]')]
    .map(cell => cell.innerText.trim())"""
AS_WRITTEN, PUBLISHED = ["as written"], "as published"


@pytest.fixture(scope="module")
def app(load_app: Any) -> Any:
    return load_app("tiny_nets_demo")


@pytest.fixture(scope="module")
def address(app: Any, serve_app: Any) -> Iterator[str]:
    with serve_app(app) as url:
        yield url


@pytest.fixture
def client(address: str) -> Client:
    return connect(address)


@pytest.fixture(scope="module")
def river(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tile") / "river.png"
    image = (pictures.examples()["satellite: River"].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    Image.fromarray(image).save(path)
    return path


def opened(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) / 255


def bars(plot: dict) -> dict[str, list[float]]:
    return {trace["name"]: trace["x"] for trace in json.loads(plot["plot"])["data"] if trace.get("name")}


def test_its_interface_is_named(client: Client) -> None:
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(named) == {
        "/race", "/chart", "/classify", "/classify_example", "/tokens", "/tokens_example", "/budget", "/dial",
    }  # fmt: skip


def test_without_the_package_it_says_how_to_install_it(load_app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "visionlab.show", None)
    with pytest.raises(SystemExit, match="run `make app` in the repository"):
        load_app("tiny_nets_demo")


# --- Race -------------------------------------------------------------------------------------------------------------


def test_chosen_networks_are_raced_and_stay_on_show(client: Client) -> None:
    chosen = ["TinyNet-E", "MicroNet-M0", "MobileNetV3-S ×0.5"]
    asked = (chosen, [*AS_WRITTEN, "fast form"], 1, 1, 2, PUBLISHED, 55)
    by_cost, by_time, words, table = client.predict(*asked, api_name="/race")
    rows = table["data"]
    assert [row[:2] for row in rows] == [
        [name, form]
        for name in ("MicroNet-M0", "MobileNetV3-S ×0.5", "TinyNet-E")
        for form in ("as written", "fast form")
    ]  # fmt: skip
    for row in rows:
        network = next(n for n in NETWORKS.values() if n.title == row[0])
        assert row[2] == f"{network.parameters / 1e6:.2f}"
        assert float(row[6].split(" ± ")[0]) > 0
    assert "Of 2 networks with 55 % or more, MobileNetV3-S ×0.5 wins on" in words
    assert bars(by_cost)["MicroNet"] == [4]
    assert len(bars(by_time)["MicroNet, as written"]) == 1
    _, _, words, again = client.predict("counted", 40, api_name="/chart")
    assert again["data"] == rows, "only shown in another way"
    assert words.startswith("Of 3 networks with 40 % or more, MicroNet-M0 wins on")
    assert "of the 3 that were raced" in client.predict(PUBLISHED, 25, 100, api_name="/budget")[2]


def test_a_new_reader_finds_a_race(app: Any, client: Client) -> None:
    *_, words, table = client.predict(PUBLISHED, 60, api_name="/chart")
    assert [row[0] for row in table["data"]] == [
        network.title for name, network in NETWORKS.items() if name in app.desk.OPENING
    ]
    assert "wins on" in words


# --- Classify ---------------------------------------------------------------------------------------------------------


def test_networks_say_what_they_say_in_python(client: Client, river: Path) -> None:
    *charts, table = client.predict(handle_file(str(river)), api_name="/classify")
    for kind, chart in zip(pictures.KINDS, charts, strict=True):
        said = bars(chart)
        assert list(said) == list(pictures.shipped(kind))
        for title, name in pictures.shipped(kind).items():
            expected = 100 * weights.load(name).probabilities(opened(river))[0]
            np.testing.assert_allclose(said[title], expected, atol=1e-3)
    assert len(table["data"]) == sum(len(pictures.shipped(kind)) for kind in pictures.KINDS)
    assert all(float(row[4]) > 0 for row in table["data"])


@pytest.mark.parametrize(
    ("size", "mode"),
    [((640, 480), "RGB"), ((1, 1), "L"), ((5000, 3), "RGBA"), ((3, 900), "1"), ((80, 80), "P"), ((90, 70), "CMYK")],
)
def test_pictures_of_any_size_and_kind_are_answered(
    client: Client, tmp_path: Path, size: tuple[int, int], mode: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    path = tmp_path / ("picture.jpg" if mode == "CMYK" else "picture.png")
    Image.fromarray(noise).convert(mode).save(path)
    table = client.predict(handle_file(str(path)), api_name="/classify")[-1]
    assert all("%" in row[2] for row in table["data"])


def test_deep_and_animated_pictures_are_answered(client: Client, tmp_path: Path) -> None:
    Image.fromarray(np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)).save(tmp_path / "deep.png")
    frames = [Image.new("RGB", (50, 40), (shade, 90, 40)) for shade in (10, 200)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    for name in ("deep.png", "moving.gif"):
        assert client.predict(handle_file(str(tmp_path / name)), api_name="/classify")[-1]["data"]


def test_hostile_files_do_no_harm(app: Any, client: Client, tmp_path: Path, river: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n but not really")
    (tmp_path / "cut.png").write_bytes(river.read_bytes()[:300])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "letter.png").write_text("Dear all,\nthis is no picture.\n")
    Image.new("1", (8000, 6000)).save(tmp_path / "large.png")
    for name in ("broken.png", "cut.png", "empty.jpg", "letter.png", "large.png"):
        for api, more in (("/classify", ()), ("/tokens", (FORMER, 1, "1", [], []))):
            with pytest.raises(AppError) as error:
                client.predict(handle_file(str(tmp_path / name)), *more, api_name=api)
            assert str(tmp_path) not in str(error.value)
    with pytest.raises(gr.Error, match="8000 x 6000 pixels; at most 40 million"):
        app.classify(Image.new("1", (8000, 6000)))
    with pytest.raises(gr.Error, match="Choose a picture first"):
        app.classify(None)
    assert client.predict(handle_file(str(river)), api_name="/classify")[-1]["data"]


# --- Tokens -----------------------------------------------------------------------------------------------------------


def test_cuts_change_the_answer_as_in_python(client: Client, river: Path) -> None:
    wires = ["writing (Former→Mobile)", "the Former"]
    asked = (handle_file(str(river)), FORMER, 2, "2", wires, ["1"])
    picture, chart, words = client.predict(*asked, api_name="/tokens")
    own = weights.load(pictures.token_networks()[FORMER])
    x = own.prepare(opened(river))
    said = bars(chart)
    np.testing.assert_allclose(said["nothing cut"], 100 * answer(own.model, x)[0], atol=1e-3)
    expected = 100 * answer(own.model, x, Cuts(writing=True, former=True, silent=(0,)))[0]
    np.testing.assert_allclose(said["with the cuts"], expected, atol=1e-3)
    assert "token 2" in words
    assert "Cut: writing (Former→Mobile), the Former, the voice of token 1." in words
    assert Image.open(picture).width > 800


def test_every_block_and_token_is_shown(app: Any, client: Client, river: Path) -> None:
    blocks, tokens = pictures.blocks_and_tokens(FORMER)
    seen = set()
    for block in range(1, blocks + 1):
        asked = (handle_file(str(river)), FORMER, block, str(1 + block % tokens), [], [])
        seen.add(client.predict(*asked, api_name="/tokens")[2].splitlines()[0])
    assert len(seen) == blocks
    with pytest.raises(AppError, match="has to be heard"):
        everyone = [str(token + 1) for token in range(tokens)]
        client.predict(handle_file(str(river)), FORMER, 1, "1", [], everyone, api_name="/tokens")


# --- Budget -----------------------------------------------------------------------------------------------------------


def test_budgets_and_dials_are_answered(app: Any, client: Client) -> None:
    by_cost, by_time, words = client.predict(PUBLISHED, 13, 100, api_name="/budget")
    assert "Within 13 M MAdds, of all 30 networks of the table: MicroNet-M2, 59.4 %" in words
    assert bars(by_cost)["the winner"] == [12]
    assert ("the winner" in bars(by_time)) == ("none of the 8 that were raced" not in words)
    assert "none of the" in client.predict(PUBLISHED, 3, 0.5, api_name="/budget")[2]
    chart, words = client.predict("294m", 1, 192, api_name="/dial")
    assert "with 1 token of width 192: 265,680,896 MAdds" in words
    assert sum(each[0] for each in bars(chart).values()) == pytest.approx(292.489856)
    assert sum(each[1] for each in bars(chart).values()) == pytest.approx(265.680896)


def test_nonsense_is_refused_by_name(app: Any, river: Path) -> None:
    picture = Image.open(river)
    for call, words in (
        (lambda: app.race([], AS_WRITTEN, 1, 1, 1, PUBLISHED, 60), "networks: expected some of"),
        (lambda: app.race(["ResNet"], AS_WRITTEN, 1, 1, 1, PUBLISHED, 60), "got ResNet"),
        (lambda: app.race(["TinyNet-E"], [], 1, 1, 1, PUBLISHED, 60), "forms: expected some of"),
        (lambda: app.race(["TinyNet-E"], AS_WRITTEN, 0, 1, 1, PUBLISHED, 60), "batches: expected whole numbers"),
        (lambda: app.chart("guessed", 60, None), "MAdds: expected one of"),
        (lambda: app.budget("guessed", 20, 5, None), "MAdds: expected one of"),
        (lambda: app.dial("300m", 6, 192), "variant: expected one of"),
        (lambda: app.dial("294m", 6, 30), "tokens: 4 heads do not split 30 channels"),
        (lambda: app.tokens(picture, "cats", 1, "1", [], []), "network: expected one of"),
        (lambda: app.tokens(picture, FORMER, 1, "9", [], []), "token: expected 0 to"),
    ):
        with pytest.raises(gr.Error, match=words):
            call()


def test_answers_come_within_a_second(client: Client, river: Path, answer_seconds: Any) -> None:
    tile = handle_file(str(river))
    for name, values in {
        "/chart": ("counted", 50), "/classify": (tile,), "/tokens": (tile, FORMER, 3, "1", [], ["2"]),
        "/budget": ("counted", 40, 9),
    }.items():  # fmt: skip
        assert answer_seconds(client, name, values) < 1, name
    # Answers of the dial are kept: what counts are those that it has not given.
    client.predict("508m", 6, 192, api_name="/dial")
    took = []
    for tokens in (7, 8, 9):
        began = time.process_time()
        client.predict("508m", tokens, 224, api_name="/dial")
        took.append(time.process_time() - began)
    assert min(took) < 1


# --- In a browser -----------------------------------------------------------------------------------------------------


@pytest.fixture
def page(address: str, app_page: Any) -> Any:
    """The app's page, filled."""
    page = app_page(address)
    page.wait_for_function(WORDS, arg=["race_words", "wins on"])
    page.wait_for_function(DRAWN, arg="by_time")
    return page


def test_a_reader_picks_networks_and_measures(page: Any) -> None:
    names = page.locator("#networks")
    for title in ("Mobile-Former-26M", "Mobile-Former-52M", "MicroNet-M3", "MobileNetV3-S ×0.75"):
        names.locator(".token", has_text=title).locator(".token-remove").click()
    names.locator("input").fill("TinyNet-D")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    page.locator("#limit input[type=number]").fill("2")
    page.locator("#race").click()
    page.wait_for_function("() => document.querySelector('#race_table')?.innerText.includes('TinyNet-D')")
    assert page.evaluate(TITLES) == [
        "MicroNet-M0",
        "MobileNetV3-S ×0.5",
        "MobileNetV3-S ×1.0",
        "TinyNet-E",
        "TinyNet-D",
    ]
    page.locator("#convention").get_by_label("counted", exact=True).check()
    page.wait_for_function(WORDS, arg=["race_words", "Of 2 networks with 60 % or more"])


def test_a_reader_uploads_moves_a_block_and_cuts(page: Any, river: Path, tmp_path: Path) -> None:
    Image.open(river).rotate(90).save(tmp_path / "mine.png")
    mine = opened(tmp_path / "mine.png")
    page.get_by_role("tab", name="Classify").click()
    page.wait_for_function(DRAWN, arg="said_world")
    name = next(iter(pictures.shipped(TILES).values()))
    expected = (100 * weights.load(name).probabilities(mine)[0]).tolist()
    page.locator("#classify_upload").get_by_role("button", name=re.compile("clear|remove", re.IGNORECASE)).click()
    page.locator("#classify_upload input[type=file]").set_input_files(str(tmp_path / "mine.png"))
    shows = f"([id, trace, first]) => Math.abs(({BARS})([id, trace])[0] - first) < 0.01"
    page.wait_for_function(shows, arg=["said_eurosat_mini", 0, expected[0]])
    np.testing.assert_allclose(page.evaluate(BARS, ["said_eurosat_mini", 0]), expected, atol=1e-2)

    page.get_by_role("tab", name="Tokens").click()
    page.wait_for_function(WORDS, arg=["tokens_words", "Nothing is cut"])
    own = weights.load(pictures.token_networks()[FORMER])
    x = own.prepare(opened(river))
    page.locator("#block input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    view = look(own.model, x)[1]  # of a network of its own: the page is using the other
    page.wait_for_function(WORDS, arg=["tokens_words", f"{view.title}: token 1"])
    page.locator("#token").get_by_label("2").check()
    page.wait_for_function(WORDS, arg=["tokens_words", f"{view.title}: token 2"])
    page.locator("#cut").get_by_label("reading (Mobile→Former)").check()
    page.wait_for_function(WORDS, arg=["tokens_words", "Cut: reading"])
    cut = (100 * answer(own.model, x, Cuts(reading=True))[0]).tolist()
    page.wait_for_function(shows, arg=["cut_chart", 1, cut[0]])
    np.testing.assert_allclose(page.evaluate(BARS, ["cut_chart", 1]), cut, atol=1e-2)

    page.get_by_role("tab", name="Budget").click()
    page.wait_for_function(WORDS, arg=["dial_words", "These are the published tokens"])
    page.locator("#dials_tokens input[type=range]").focus()
    page.keyboard.press("Home")
    page.wait_for_function(WORDS, arg=["dial_words", "265,680,896 MAdds"])
