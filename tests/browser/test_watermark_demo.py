"""The watermark demo in a browser and through its interface: opens filled, answers, survives any picture, claims."""

from __future__ import annotations

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

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

SCENES = "scenes of the world"
CALM = (False, "as it is", 0, "as it is", 0, "not saved", 90)
VALUE = "([id, words]) => document.querySelector(`#${id} textarea`)?.value.includes(words)"


@pytest.fixture(scope="module")
def app(load_app: Any) -> Any:
    return load_app("watermark_demo")


@pytest.fixture(scope="module")
def address(app: Any, serve_app: Any) -> Iterator[str]:
    with serve_app(app) as url:
        yield url


@pytest.fixture(scope="module")
def client(address: str) -> Client:
    return connect(address)


@pytest.fixture
def river(app: Any, tmp_path: Path) -> Any:
    app.desk.examples(app.TILES)["a river"].save(tmp_path / "river.png")
    return handle_file(str(tmp_path / "river.png"))


def as_files(gallery: list[dict]) -> list[dict]:
    return [{"image": handle_file(each["image"]), "caption": None} for each in gallery]


def claims(table: dict) -> list[str]:
    return [row[-1] for row in table["data"]]


def test_its_interface_is_named(client: Client) -> None:
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(named) == {
        "/mark", "/shake", "/steal", "/verify", "/stolen", "/innocent", "/unrelated", "/data", "/example",
    }  # fmt: skip


# --- Mark, shake ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["structure", "logo"])
@pytest.mark.parametrize(
    ("size", "mode"),
    [((640, 480), "RGB"), ((1, 1), "L"), ((5000, 3), "RGBA"), ((3, 900), "1"), ((80, 80), "P"), ((40, 50), "CMYK")],
)
def test_pictures_of_any_size_and_kind_are_answered(
    client: Client, tmp_path: Path, size: tuple[int, int], mode: str, kind: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    name = "picture.tif" if mode == "CMYK" else "picture.png"
    Image.fromarray(noise).convert(mode).save(tmp_path / name)
    picture = handle_file(str(tmp_path / name))
    assert "PSNR" in client.predict(picture, kind, "011", 1, api_name="/mark")[3]
    asked = (picture, kind, "011", 1, False, "blur", 0.5, "crop and resize", 1, "WebP", 50)
    assert len(client.predict(*asked, api_name="/shake")[1]["data"]) == 2
    table, words = client.predict(as_files([{"image": str(tmp_path / name)}]), kind, "011", api_name="/verify")
    assert claims(table) == ["no claim"]
    assert "a claim needs 8" in words


def test_a_picture_is_marked_at_its_own_size_up_to_a_megapixel(client: Client, tmp_path: Path) -> None:
    for size, made, told in (
        ((123, 77), (123, 77), None),
        ((2000, 1000), (1414, 707), "Of 2000 x 1000 pixels, 1414 x 707 were made first"),
        ((130_000, 1), (16_000, 8), "Of 130000 x 1 pixels, 16000 x 8 were made first"),
    ):
        Image.effect_noise(size, 50).convert("RGB").save(tmp_path / "picture.png")
        found = client.predict(handle_file(str(tmp_path / "picture.png")), "structure", "011", 1, api_name="/mark")
        kept = Image.open(found[2])
        assert kept.size == made
        assert (told or "PSNR") in found[3]
    asked = (handle_file(str(tmp_path / "picture.png")), "structure", "011", 1, *CALM[:5], "WebP", 90)
    assert len(client.predict(*asked, api_name="/shake")[1]["data"]) == 2


def test_sixteen_bits_are_scaled_and_a_flat_picture_is_said_to_have_no_edge(client: Client, tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.new("RGB", (50, 50), (90, 120, 40)).save(tmp_path / "flat.png")
    found = client.predict(handle_file(str(tmp_path / "deep.png")), "structure", "011", 0, api_name="/mark")
    kept = np.asarray(Image.open(found[2])).astype(int)
    assert kept.min() == 0
    assert kept.max() == 255
    assert abs(kept.mean() - 127) < 2
    flat = handle_file(str(tmp_path / "flat.png"))
    assert "Hardly an edge to write on" in client.predict(flat, "structure", "011", 1, api_name="/mark")[3]
    table = client.predict(flat, "structure", "011", 1, *CALM, api_name="/shake")[1]["data"]
    assert [row[-1] for row in table] == ["too little structure"] * 2


@pytest.mark.parametrize("bits", ["000", "011", "101"])
def test_a_message_is_written_and_read(client: Client, river: Any, bits: str) -> None:
    words = client.predict(river, "structure", bits, 1, api_name="/mark")[3]
    assert f"Message read: {bits}" in words
    assert "The mark is found" in words
    table = client.predict(river, "structure", bits, 1, *CALM, api_name="/shake")[1]["data"]
    assert table[0][3].startswith(bits)
    assert [row[-1] for row in table] == ["found", "not found"]


def test_the_kept_picture_carries_the_mark_and_a_file_may_wash_it_out(client: Client, river: Any) -> None:
    kept = handle_file(client.predict(river, "structure", "011", 1, api_name="/mark")[2])
    rows = {}
    for file, quality in (("PNG", 5), ("JPEG", 95), ("JPEG", 5)):
        asked = (kept, "structure", "011", 1, True, "flip", 1, "as it is", 0, file, quality)
        table = client.predict(*asked, api_name="/shake")[1]["data"]
        assert [row[0] for row in table] == ["as it came"]
        rows[file, quality] = float(table[0][1])
    assert rows["PNG", 5] > 0.5
    assert rows["PNG", 5] >= rows["JPEG", 95] - 0.1
    assert rows["JPEG", 5] < rows["PNG", 5] / 2


def test_strength_0_marks_nothing(client: Client, river: Any) -> None:
    for kind in ("structure", "logo"):
        assert "PSNR 100.0 dB" in client.predict(river, kind, "011", 0, api_name="/mark")[3]


def test_answers_come_within_a_second(client: Client, river: Any, answer_seconds: Any) -> None:
    stolen = as_files(client.predict("structure", api_name="/stolen"))
    asked = {
        "/mark": (river, "structure", "011", 1),
        "/shake": (river, "structure", "011", 1, False, "rotation", 0.5, "noise", 0.1, "JPEG", 90),
        "/steal": ("all three", 32, "blur", 0.5, 0),
        "/verify": (stolen, "structure", "011"),
    }
    for name, values in asked.items():
        assert answer_seconds(client, name, values) < 1, name


# --- Steal, verify ----------------------------------------------------------------------------------------------------


def test_augmentation_rids_a_thief_of_the_logo_but_not_of_the_structure(client: Client) -> None:
    told = {
        pairs: client.predict(pairs, 32, "as it is", 0, 0, api_name="/steal") for pairs in ("as they came", "all three")
    }
    assert claims(told["as they came"][1]) == ["claim", "claim", "no claim"]
    assert claims(told["all three"][1]) == ["no claim", "claim", "no claim"]
    pictures, table, words = told["all three"]
    assert len(pictures) == 6
    assert table["data"][1][5].startswith("011")
    assert "Structure: The mark is there" in words
    assert "Innocent: No claim" in words


def test_few_answers_are_no_ground_for_a_claim(client: Client) -> None:
    words = client.predict("as they came", 4, "as it is", 0, 0, api_name="/steal")[2]
    assert words.count("a claim needs 8") == 3


@pytest.mark.parametrize(
    ("which", "kind", "claim"),
    [
        ("/stolen", "structure", "claim"),
        ("/stolen", "logo", "no claim"),
        ("/innocent", "structure", "no claim"),
        ("/unrelated", "structure", "no claim"),
        ("/unrelated", "logo", "no claim"),
    ],
)
def test_what_is_filled_in_is_judged(client: Client, which: str, kind: str, claim: str) -> None:
    pictures = client.predict(kind, api_name=which)
    assert len(pictures) == 16
    table, words = client.predict(as_files(pictures), kind, "011", api_name="/verify")
    assert claims(table) == [claim]
    assert table["data"][0][0] == "16"
    assert words.startswith("The mark is there" if claim == "claim" else "No claim")


def test_who_claims_another_message_gets_nothing(client: Client) -> None:
    stolen = as_files(client.predict("structure", api_name="/stolen"))
    for bits in ("000", "110"):
        table, words = client.predict(stolen, "structure", bits, api_name="/verify")
        assert claims(table) == ["no claim"]
        assert "another code was read" in words


def test_scenes_have_their_own_owner(app: Any, address: str) -> None:
    client = connect(address)
    client.predict(SCENES, api_name="/data")
    found = client.predict("scene 4", SCENES, api_name="/example")
    assert np.array_equal(np.asarray(Image.open(found)), np.asarray(app.desk.examples(SCENES)["scene 4"]))
    assert (
        "Message read: 011" in client.predict(handle_file(found), "structure", "011", 1.5, SCENES, api_name="/mark")[3]
    )
    assert claims(client.predict("all three", 32, "as it is", 0, 0, SCENES, api_name="/steal")[1])[1:] == [
        "claim",
        "no claim",
    ]


# --- Refusals ---------------------------------------------------------------------------------------------------------


def test_nonsense_is_refused_in_words(app: Any, tmp_path: Path) -> None:
    small = Image.new("RGB", (40, 40))
    with pytest.raises(gr.Error, match="Choose a picture first"):
        app.mark(None, "structure", "011", 1.0, app.TILES)
    with pytest.raises(gr.Error, match="8000 x 6000 pixels; at most 40 million"):
        app.mark(Image.new("1", (8000, 6000)), "structure", "011", 1.0, app.TILES)
    with pytest.raises(gr.Error, match="This is no picture that can be read: floating-point"):
        app.mark(Image.new("F", (40, 40)), "structure", "011", 1.0, app.TILES)
    with pytest.raises(gr.Error, match="The message is 3 bits, 000 to 111"):
        app.mark(small, "structure", "0110", 1.0, app.TILES)
    with pytest.raises(gr.Error, match="Choose pictures first"):
        app.verify([], "structure", "011", app.TILES)
    with pytest.raises(gr.Error, match="These are 65 pictures; at most 64"):
        app.verify([small] * 65, "structure", "011", app.TILES)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    with pytest.raises(gr.Error, match="This is no picture that can be read"):
        app.verify([(str(tmp_path / "broken.png"), None)], "structure", "011", app.TILES)


def test_a_broken_file_and_a_wrong_choice_leave_the_app_alive(client: Client, tmp_path: Path, river: Any) -> None:
    (tmp_path / "broken.png").write_bytes(b"nothing of the kind")
    broken = str(tmp_path / "broken.png")
    with pytest.raises(AppError):
        client.predict(handle_file(broken), "structure", "011", 1, api_name="/mark")
    with pytest.raises(AppError, match="This is no picture that can be read"):
        client.predict(as_files([{"image": broken}]), "structure", "011", api_name="/verify")
    with pytest.raises(AppError):
        client.predict(river, "engraving", "011", 1, api_name="/mark")
    assert "PSNR" in client.predict(river, "structure", "011", 1, api_name="/mark")[3]


# --- In a browser -----------------------------------------------------------------------------------------------------


def test_a_new_user_marks_steals_and_verifies(address: str, app_page: Any) -> None:
    page = app_page(address)
    page.wait_for_function(VALUE, arg=["mark_words", "PSNR"], timeout=30_000)
    before = page.locator("#mark_words textarea").input_value()
    slider = page.locator("#gain input[type=range]")
    slider.focus()
    for _ in range(4):
        slider.press("ArrowRight")
    page.wait_for_function(
        "before => document.querySelector('#mark_words textarea').value !== before", arg=before, timeout=10_000
    )
    page.get_by_role("tab", name="Shake it").click()
    page.wait_for_function("() => document.querySelector('#shake_table')?.innerText.includes('011')", timeout=10_000)
    page.get_by_role("tab", name="Steal it").click()
    page.wait_for_function(VALUE, arg=["steal_words", "Innocent: No claim"], timeout=30_000)
    page.get_by_role("tab", name="Verify").click()
    assert "this extractor is public" in page.inner_text("body")
    page.wait_for_function(VALUE, arg=["verify_words", "of 16 answers carry the mark"], timeout=30_000)
    stolen = page.locator("#verify_words textarea").input_value()
    page.locator("#innocent").click()
    page.wait_for_function(
        "old => document.querySelector('#verify_words textarea').value !== old", arg=stolen, timeout=20_000
    )
    assert page.locator("#verify_words textarea").input_value().startswith("No claim")
    page.get_by_role("tab", name="How it works").click()
    page.get_by_text("the paper is arXiv 2108.02360").wait_for()
