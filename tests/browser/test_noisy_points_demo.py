"""The demo of wrong labels on points, in a browser and through its interface: opens filled, spoils, trains, cleans."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from tests.browser.clients import connect
from visionlab.data.clouds import load, save
from visionlab.data.world.rooms import ROOM_CLASSES, room

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

RECORDED = "recorded: PNAL, 60 % by object"
WORDS = "([id, words]) => document.querySelector(`#${id} textarea`)?.value.includes(words)"
DRAWN = """([id, scenes]) => {
    const plot = document.querySelector(`#${id} .js-plotly-plot`);
    return (plot?._fullLayout?._subplots?.gl3d ?? []).length === scenes;
}"""
LINKED = "id => document.querySelector(`#${id} .js-plotly-plot`)?.linked"
TURN = """id => Plotly.relayout(
    document.querySelector(`#${id} .js-plotly-plot`), { 'scene.camera': { eye: { x: 2, y: 0, z: 1 } } })"""
TURNED = """id => {
    const layout = document.querySelector(`#${id} .js-plotly-plot`)?._fullLayout;
    const eyes = (layout?._subplots?.gl3d ?? []).map(name => layout[name]._scene?.getCamera().eye.x);
    return eyes.length && eyes.every(x => Math.abs(x - 2) < 0.01);
}"""
CLICK = """point => document.querySelector('#replay_plot .js-plotly-plot')
    .emit('plotly_click', { points: [{ customdata: point }] })"""
CURVES = "count => document.querySelector('#train_plot .js-plotly-plot')?._fullData?.length === count"


@pytest.fixture(scope="module")
def app(load_app: Any) -> Iterator[Any]:
    module = load_app("noisy_points_demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.training, "SIZE", module.training.Size(rooms=8, points=128, epochs=4, warmup=2, tested=2))
        patch.setattr(module.doubts, "PASSES", 8)
        patch.setattr(module.doubts, "FEWEST", 2)
        yield module


@pytest.fixture(scope="module")
def address(app: Any, serve_app: Any) -> Iterator[str]:
    with serve_app(app) as url:
        yield url


@pytest.fixture
def client(address: str) -> Client:
    return connect(address)


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("scan") / "study.ply"
    save(room(0, 3, points=1500), path)
    return str(path)


def scenes(plot: dict) -> list[str]:
    layout = json.loads(plot["plot"])["layout"]
    return [name for name in layout if name.startswith("scene")]


def test_its_interface_is_named(client: Client) -> None:
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(named) == {
        "/spoil", "/replay", "/run", "/train", "/point", "/pick", "/open", "/look", "/group", "/clean",
    }  # fmt: skip


# --- Wrong labels -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["by object", "between look-alikes", "at boundaries"])
def test_a_room_is_shown_with_wrong_labels_beside_the_truth(client: Client, kind: str) -> None:
    plot, words, table = client.predict(2, kind, 40, 0, "class", api_name="/spoil")
    assert len(scenes(plot)) == 2
    assert "Asked for 40 %:" in words
    assert {row[1] for row in table["data"]} <= set(ROOM_CLASSES)
    assert any("wrong" in row[4] for row in table["data"])


def test_no_noise_leaves_all_labels_right_and_a_seed_decides_which_go_wrong(client: Client) -> None:
    for kind in ("by object", "between look-alikes", "at boundaries"):
        _, words, table = client.predict(5, kind, 0, 0, "verdict", api_name="/spoil")
        assert "0 % of 8,000 points have a wrong label" in words
        assert {row[4] for row in table["data"]} == {"right"}
    tables = [client.predict(5, "by object", 50, seed, "rgb", api_name="/spoil")[2]["data"] for seed in (1, 1, 2)]
    assert tables[0] == tables[1] != tables[2]


# --- Train, replay ----------------------------------------------------------------------------------------------------


def test_the_recorded_run_is_replayed_epoch_by_epoch(app: Any, client: Client) -> None:
    run = app.recorded_run().timeline
    asked = [run.name(0), 1, "labels in force", "class", True, RECORDED]
    plot, words = client.predict(*asked, api_name="/replay")
    assert len(scenes(plot)) == 3
    assert words.startswith(f"Epoch 1 of {run.epochs}: warm-up")
    asked[1], asked[2] = run.epochs, "what the network said"
    assert "labels are corrected" in client.predict(*asked, api_name="/replay")[1]
    epoch, _, curves, ended = client.predict(RECORDED, api_name="/run")
    assert epoch["maximum"] == run.epochs
    drawn = {each["name"] for each in json.loads(curves["plot"])["data"]}
    assert drawn == {f"{m}: {c}" for m in ("cross entropy", "PNAL") for c in ("labels right", "new rooms right")}
    assert ended.startswith("cross entropy: ")
    assert "All rooms, " in ended


def test_both_methods_are_trained_live_and_can_be_replayed(client: Client) -> None:
    job = client.submit("both, one after the other", "by object", 60, 1, api_name="/train")
    plot, words, menu = job.result(timeout=60)
    assert len(job.outputs()) == 8
    assert "cross entropy: 4" in words or "cross entropy: 3" in words
    names = [name for name, _ in menu["choices"]]
    assert names == [RECORDED, "cross entropy: 60 % by object, seed 1", "PNAL: 60 % by object, seed 1"]
    assert {each["name"] for each in json.loads(plot["plot"])["data"]} >= {
        "PNAL: labels right",
        "PNAL: new rooms right",
    }
    for name, stage in zip(names[1:], ("warm-up", "labels are corrected"), strict=True):
        assert client.predict(name, api_name="/run")[0]["value"] == 4
        asked = ("room 1", 4, "labels in force", "class", False, name)
        assert stage in client.predict(*asked, api_name="/replay")[1]


def ended(within: float = 20) -> bool:
    """Whether no training runs any more, which may take an epoch."""
    deadline = time.monotonic() + within
    while running := any(thread.name == "training" for thread in threading.enumerate()):
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return not running


def test_a_training_that_nobody_waits_for_ends(app: Any) -> None:
    live = app.training.live(40, methods=["PNAL"], size=app.training.Size(8, 64, 200, 2, 2))
    assert next(live).epoch == 1
    assert not ended(0)
    live.close()
    assert ended()


# --- A point ----------------------------------------------------------------------------------------------------------


def test_a_point_is_picked_by_its_kind_and_explained(app: Any, client: Client) -> None:
    run = app.recorded_run().timeline
    found = client.predict("wrong label, still wrong", 0, run.epochs, run.name(0), RECORDED, api_name="/pick")
    other = client.predict("wrong label, still wrong", found, run.epochs, run.name(0), RECORDED, api_name="/pick")
    assert run.cluster[0, found] != run.cluster[0, other]
    history, words, cluster = client.predict(found, run.epochs, run.name(0), RECORDED, api_name="/point")
    assert words == run.describe(0, run.epochs, found)
    assert len(scenes(cluster)) == 1
    assert scenes(history) == []


# --- One's own --------------------------------------------------------------------------------------------------------


def test_a_scan_is_opened_spoiled_grouped_and_cleaned(client: Client, scan: str, tmp_path: Path) -> None:
    which, words, *_ = client.predict([handle_file(scan)], api_name="/open")
    assert which["value"] == "1. study"
    assert "study: 1,500 points" in words
    plot, words = client.predict("by object", 30, 0, "verdict", "1. study", api_name="/look")
    assert len(scenes(plot)) == 1
    assert "Asked for 30 %:" in words
    for how, size in (("k-means", 16), ("DBSCAN", 18)):
        plot, words = client.predict(how, size, "1. study", api_name="/group")
        assert "Purity by the labels as they came" in words
    words, table, plot, files = client.predict("by object", 30, 0, api_name="/clean")
    assert "objects had been made wrong" in words
    assert len(table["data"][0]) == 7
    assert len(scenes(plot)) == 1
    kept = load(files[0])[0]
    assert len(kept) == 1500
    assert kept.classes == ROOM_CLASSES


def test_many_points_are_thinned_and_pcd_and_npz_are_read(app: Any, client: Client, tmp_path: Path) -> None:
    large = room(0, 4, points=30_000)
    save(large, tmp_path / "large.npz")
    words = client.predict([handle_file(str(tmp_path / "large.npz"))], api_name="/open")[1]
    assert "20,000 points" in words
    plot, _ = client.predict("at boundaries", 50, 0, "rgb", "1. room 0-4", api_name="/look")
    assert len(plot["plot"]) < 4_000_000
    lines = [
        "VERSION .7",
        "FIELDS x y z label",
        "SIZE 4 4 4 4",
        "TYPE F F F U",
        "COUNT 1 1 1 1",
        "WIDTH 40",
        "HEIGHT 1",
    ]
    lines += ["POINTS 40", "DATA ascii", *(f"{i} {i % 7} {i % 3} {i % 2}" for i in range(40))]
    (tmp_path / "small.pcd").write_text("\n".join(lines) + "\n")
    words = client.predict([handle_file(str(tmp_path / "small.pcd"))], api_name="/open")[1]
    assert "no instances, so all points of a class count as one object" in words
    with pytest.raises(AppError, match="kind of noise: small has no instances"):
        client.predict("by object", 30, 0, "class", "1. small", api_name="/look")
    assert "Asked for" in client.predict("at boundaries", 30, 0, "class", "1. small", api_name="/look")[1]


# --- Refusals ---------------------------------------------------------------------------------------------------------


def test_scans_that_teach_nothing_are_refused_in_words(app: Any, client: Client, tmp_path: Path) -> None:
    cloud = room(0, 1, points=200)
    one = replace(cloud, labels=torch.zeros(200, dtype=torch.long))
    few = replace(cloud, **{name: getattr(cloud, name)[:5] for name in ("xyz", "rgb", "labels", "instances")})
    save(one, tmp_path / "one.ply")
    save(few, tmp_path / "few.ply")
    nan = {"xyz": cloud.xyz.numpy().copy(), "labels": cloud.labels.numpy()}
    nan["xyz"][3] = np.nan
    np.savez(tmp_path / "nan.npz", **nan)
    np.savez(tmp_path / "bare.npz", xyz=cloud.xyz.numpy())
    (tmp_path / "broken.ply").write_bytes(b"ply\nformat ascii 1.0\nelement vertex 9\n")
    (tmp_path / "empty.pcd").write_bytes(b"")
    (tmp_path / "text.ply").write_text("Dear all,\nthese are no points.\n")
    np.savez_compressed(tmp_path / "bomb.npz", xyz=np.zeros((20_000_000, 3)))
    refused = {
        "one.ply": "labels of two classes or more", "few.ply": "12 points or more", "nan.npz": "not finite",
        "bare.npz": "labels: bare.npz has no property", "broken.ply": "broken.ply", "empty.pcd": "empty.pcd is no PCD",
        "text.ply": "text.ply is no PLY file",
        "bomb.npz": "unpacks to 480 MB; at most 400",
    }  # fmt: skip
    for name, words in refused.items():
        with pytest.raises(AppError, match=words) as error:
            client.predict([handle_file(str(tmp_path / name))], api_name="/open")
        assert str(tmp_path) not in str(error.value)
    with pytest.raises(gr.Error, match="at most 12 are taken; `visionlab clean-labels FOLDER`"):
        app.open_files([str(tmp_path / "few.ply")] * 13)
    assert "No file yet" in client.predict(None, api_name="/open")[1]


def test_nonsense_is_refused_by_name(app: Any, client: Client) -> None:
    run, folder = app.recorded_run().timeline, TemporaryDirectory()
    with pytest.raises(AppError, match="cellar is not in the list of choices"):
        client.predict("cellar", 1, "labels in force", "class", True, RECORDED, api_name="/replay")
    for call, words in (
        (
            lambda: app.replay(run.name(0), 99, "labels in force", "class", True, RECORDED, {}),
            "epoch: expected a whole",
        ),
        (lambda: app.replay(run.name(0), 1, "labels in force", "class", True, "mine", {}), "training: expected one of"),
        (lambda: app.point(10**6, 1, run.name(0), RECORDED, {}), "point: expected a whole number from 0 to"),
        (lambda: app.spoil(0, "by object", 40, None, "class"), "seed: expected a whole number"),
        (lambda: app.spoil(0, "by moonlight", 40, 0, "class"), "kind of noise: expected one of"),
        (lambda: app.look("by object", 0, 0, "class", "3. none", []), "cloud: expected one of none, open a file first"),
        (lambda: app.replay("cellar", 1, "labels in force", "class", True, RECORDED, {}), "room: expected one of"),
        (lambda: app.clean(folder, "by object", 0, 0, []), "clouds: expected at least one, got none"),
        (lambda: next(app.train("luck", "by object", 40, 0, {})), "train by: expected some of"),
    ):
        with pytest.raises(gr.Error, match=words):
            call()


def test_answers_come_within_a_second(app: Any, client: Client, scan: str, answer_seconds: Any) -> None:
    run = app.recorded_run().timeline
    client.predict([handle_file(scan)], api_name="/open")
    asked = {
        "/spoil": (3, "at boundaries", 40, 0, "class"),
        "/replay": (run.name(0), 3, "labels in force", "class", True, RECORDED),
        "/point": (7, run.epochs, run.name(0), RECORDED),
        "/look": ("by object", 30, 0, "class", "1. study"),
        "/group": ("k-means", 16, "1. study"),
    }
    for name, values in asked.items():
        assert answer_seconds(client, name, values) < 1, name


# --- In a browser -----------------------------------------------------------------------------------------------------


@pytest.fixture
def page(address: str, app_page: Any) -> Any:
    """The app's page, filled."""
    page = app_page(address)
    page.wait_for_function(WORDS, arg=["spoil_words", "Asked for 40 %"])
    page.wait_for_function(DRAWN, arg=["spoil_plot", 2])
    return page


def press(page: Any, slider: str, key: str) -> None:
    page.locator(f"#{slider} input[type=range]").focus()
    page.keyboard.press(key)


def test_a_new_user_spoils_replays_and_cleans(page: Any, scan: str) -> None:
    press(page, "spoil_rate", "ArrowRight")
    page.wait_for_function(WORDS, arg=["spoil_words", "Asked for 45 %"])
    page.get_by_role("tab", name="Train and replay").click()
    page.wait_for_function(DRAWN, arg=["replay_plot", 3])
    press(page, "epoch", "Home")
    page.wait_for_function(WORDS, arg=["replay_words", "warm-up"])
    page.get_by_role("tab", name="A point").click()
    page.wait_for_function(WORDS, arg=["point_words", "Its cluster"])
    page.get_by_role("tab", name="Your own").click()
    page.wait_for_function(WORDS, arg=["clusters_words", "Purity"])
    page.locator("#files input[type=file]").set_input_files(scan)
    page.wait_for_function(WORDS, arg=["opened", "study: 1,500 points"])
    page.locator("#clean").click()
    page.wait_for_function(WORDS, arg=["clean_words", "labels changed"])
    page.wait_for_function(DRAWN, arg=["object_plot", 1])
    cell = page.locator("#doubts").get_by_test_id("cell-3-2")
    cell.click()
    number = cell.inner_text().strip()
    page.locator("#object_plot").get_by_text(f"object {number}: given").wait_for()
    page.locator("#kept").get_by_text("study-1-corrected").first.wait_for()
    page.get_by_role("tab", name="How it works").click()
    page.get_by_text("The paper is arXiv 2107.14230").wait_for()


def test_scenes_turn_together_and_stay_turned(page: Any) -> None:
    page.wait_for_function(LINKED, arg="spoil_plot")
    page.evaluate(TURN, "spoil_plot")
    page.wait_for_function(TURNED, arg="spoil_plot")
    press(page, "spoil_rate", "ArrowRight")
    page.wait_for_function(WORDS, arg=["spoil_words", "Asked for 45 %"])
    page.wait_for_function(TURNED, arg="spoil_plot")


def test_a_click_chooses_a_point_and_a_training_is_watched_and_stopped(
    app: Any, page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.training, "SIZE", app.training.Size(96, 256, 200, 2, 2))
    page.get_by_role("tab", name="Train and replay").click()
    page.wait_for_function(LINKED, arg="replay_plot")
    page.evaluate(CLICK, 7)
    page.locator("#method").get_by_label("PNAL").click()
    page.locator("#train").click()
    page.wait_for_function(CURVES, arg=1)
    page.locator("#stop").click()
    page.wait_for_function(WORDS, arg=["train_words", "Stopped."])
    assert ended()
    page.get_by_role("tab", name="A point").click()
    page.wait_for_function(WORDS, arg=["point_words", "Point 7 of room 1"])
