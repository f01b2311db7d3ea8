"""The owner's commands: train, embed, wrap, verify."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.commands import complain, say
from visionlab.data.images import load
from visionlab.protection import owner_calibration, owner_key_training
from visionlab.protection.owner import Recipes
from visionlab.protection.owner_key import OwnerKey, small_mark
from visionlab.protection.regions import paint
from visionlab.protection.verification import Evidence
from visionlab.train.loop import Recipe
from visionlab.train.randomness import seeded

SHORT = Recipe(steps=2, batch=8, learning_rate=1e-3, weight_decay=0.0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Twenty satellite tiles as files, a text that is none, and odd ones: grey, transparent, tiny, flat, wide."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    tiles = (255 * load("eurosat_mini", "test").tensors()[0][::30]).byte().permute(0, 2, 3, 1).numpy()
    for i, tile in enumerate(tiles):
        Image.fromarray(tile).save(folder / f"{i:02d}.png")
    Image.fromarray(tiles[0]).save(folder / "00.jpg")
    Image.fromarray(tiles[0][..., 0]).save(folder / "grey.png")
    Image.fromarray(np.concatenate([tiles[1], tiles[2][..., :1]], 2)).save(folder / "clear.png")
    Image.fromarray(tiles[3][:1, :1]).save(folder / "tiny.png")
    Image.new("RGB", (33, 47), (90, 120, 60)).save(folder / "flat.png")
    Image.fromarray(np.concatenate([tiles[4], tiles[5]], 1)[:37]).save(folder / "wide.webp", lossless=True)
    (folder / "text.png").write_text("no picture")
    return folder


@pytest.fixture(params=["edges", "regions"])
def key(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    with seeded(0):
        mark = small_mark(request.param)
    scores = torch.rand(200, generator=torch.Generator().manual_seed(0)) * 0.3
    clean = {"clean answers": Evidence(scores, scores > 0.25, scores >= 0, 0.1)}
    return OwnerKey(mark, "011" * mark.classes, clean, least=0.3).save(tmp_path / "owner.key")


class Ideal(nn.Module):
    """Draws the mark as it should be, in given symbols, on every image."""

    def __init__(self, owner: OwnerKey, symbols: tuple[int, ...]) -> None:
        super().__init__()
        self.structure, self.inks = owner.mark.structure, owner.mark.code.inks(torch.tensor(symbols))

    def forward(self, images: Tensor) -> Tensor:
        return paint(self.structure(images), self.inks.expand(len(images), -1, -1))


# --- train ------------------------------------------------------------------------------------------------------------


def test_train_writes_a_key_and_says_that_it_is_private(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        owner_key_training.RECIPES, "quick", Recipes(clean=SHORT, initial=SHORT, marked=SHORT, adversarial=SHORT)
    )
    monkeypatch.setattr(owner_calibration, "CROPS", {1: 60})
    monkeypatch.setattr(owner_calibration, "RENDERS", 60)
    (tmp_path / "clean").mkdir()
    tiles = (255 * load("eurosat_mini", "test").tensors()[0]).byte().permute(0, 2, 3, 1).numpy()
    for i, tile in enumerate(tiles[::3]):
        Image.fromarray(tile).save(tmp_path / "clean" / f"{i}.png")
    command = ("train", "owner.key", "--outputs", "clean", "--message", "011", "--preset", "quick", "--device", "cpu")
    words = say(capsys, "watermark", *command, "--task", "haze", "--structure", "edges")
    owner = OwnerKey.load("owner.key")
    assert f"fingerprint {owner.fingerprint}" in words
    assert "Keep the key to yourself, the extractor in it above all" in words
    assert "2405.09863" in words
    assert owner.about | {"pictures": 200, "task": "haze", "size": 32, "preset": "quick", "seed": 0} == owner.about
    assert "photograph: coffee" in owner.clean
    assert "key: expected a new file" in complain(capsys, "watermark", *command, "--task", "haze")


def test_train_refuses_what_cannot_work_before_it_trains(capsys: pytest.CaptureFixture[str], pictures: Path) -> None:
    (pictures / "text.png").unlink()
    (pictures.parent / "empty").mkdir()
    for options, words in (
        (("--message", "0110", "--task", "rain"), "message: 4 bits, but 1 x 8 symbols carry 3.00 bits"),
        (("--message", "0" * 7, "--task", "rain", "--structure", "regions"), "message: 7 bits, but 2 x 8 symbols"),
        (("--message", "01x", "--task", "rain"), "message: expected a string of 0 and 1"),
        (("--message", "011"), "inputs: expected a folder, or --task"),
        (("--message", "011", "--task", "rain", "--inputs", "a"), "not both"),
        (("--message", "011", "--task", "rain"), "outputs: expected 200 pictures or more"),
        (("--message", "011", "--task", "rain", "--size", "8"), "size: expected 16 to 256 pixels, got 8"),
        (("--message", "011", "--inputs", pictures.parent / "empty"), "empty holds none"),
    ):
        assert words in complain(capsys, "watermark", "train", "new.key", "--outputs", pictures, *options)
    assert not Path("new.key").exists()


# --- embed ------------------------------------------------------------------------------------------------------------


def test_embed_marks_every_picture_at_its_own_size(
    capsys: pytest.CaptureFixture[str], key: Path, pictures: Path
) -> None:
    words = say(capsys, "watermark", "embed", key, pictures, "--out", "marked")
    assert "text.png is not a readable picture" in words
    assert "1 pictures were skipped" in words
    assert "26 pictures marked, " in words
    assert "dB (PSNR) on average, written to marked" in words
    assert "1 had one channel, and now have three" in words
    assert "have hardly any structure" in words
    changed = 0
    for path in sorted(pictures.iterdir()):
        if path.name == "text.png":
            continue
        name = {"00.png": "00.png.png", "00.jpg": "00.png"}.get(path.name, f"{path.stem}.png")
        with Image.open(path) as before, Image.open(Path("marked") / name) as after:
            assert before.size == after.size
            assert after.mode == ("RGBA" if path.name == "clear.png" else "RGB")
            if path.name == "clear.png":
                assert np.array_equal(np.asarray(before)[..., 3], np.asarray(after)[..., 3])
            changed += not np.array_equal(np.asarray(before.convert("RGB")), np.asarray(after.convert("RGB")))
    assert changed >= 24
    assert "out: expected a new folder" in complain(capsys, "watermark", "embed", key, pictures, "--out", "marked")
    say(capsys, "watermark", "embed", key, pictures, "--out", "same", "--gain", "0")
    with Image.open(pictures / "05.png") as before, Image.open(Path("same") / "05.png") as after:
        assert np.array_equal(np.asarray(before), np.asarray(after))
    words = say(capsys, "watermark", "embed", key, pictures, "--out", "lossy", "--form", "jpeg")
    assert "clear.jpg would lose its transparency" in words
    assert "2 pictures were skipped" in words


def test_embed_says_what_it_cannot_do(
    capsys: pytest.CaptureFixture[str], key: Path, pictures: Path, tmp_path: Path
) -> None:
    assert "key: there is no file" in complain(capsys, "watermark", "embed", "none.key", pictures, "--out", "m")
    assert "is no owner's key" in complain(capsys, "watermark", "embed", pictures / "00.png", pictures, "--out", "m")
    gain = ("--gain", "-1")
    assert "gain: expected 0 or more" in complain(capsys, "watermark", "embed", key, pictures, "--out", "m", *gain)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_text("no picture")
    assert "holds none" in complain(capsys, "watermark", "embed", key, "bad", "--out", "m")
    assert not Path("m").exists()
    assert not list(tmp_path.glob(".*part"))
    key.chmod(0o644)
    assert "chmod 600" in say(capsys, "watermark", "embed", key, pictures, "--out", "m")


# --- verify -----------------------------------------------------------------------------------------------------------


def test_verify_reads_every_picture_and_claims_nothing_without_a_mark(
    capsys: pytest.CaptureFixture[str], key: Path, pictures: Path
) -> None:
    Image.open(pictures / "03.png").save(pictures / "copy.png")
    words = say(capsys, "watermark", "verify", key, pictures, "--out", "r.html")
    assert words.endswith("no claim\n")
    found = json.loads(Path("r.json").read_text())
    assert not found["claim"]
    assert (found["copies left out"], found["pictures that cannot be read"], found["pictures"]) == (2, 1, 25)
    assert found["abstained"] >= 1
    usable = {row["file"]: row["usable"] for row in found["answers"]}
    assert not usable["tiny.png"]
    assert usable["flat.png"] == (OwnerKey.load(key).mark.classes == 2), "a flat picture is one region, and no edge"
    page = Path("r.html").read_text()
    assert "prefers-color-scheme: dark" in page
    assert page.count("data:image/png;base64,") == 1 + 2 * 12
    assert "http" not in page
    assert "of clean answers" in page


def test_verify_claims_a_mark_that_is_there_and_not_another_owners(
    capsys: pytest.CaptureFixture[str], key: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = OwnerKey.load(key)
    monkeypatch.setattr(OwnerKey, "load", lambda path: owner)
    monkeypatch.setattr(OwnerKey, "fingerprint", "none")
    owner.mark.extractor = Ideal(owner, owner.symbols)
    words = say(capsys, "watermark", "verify", key, pictures)
    assert words.endswith("\nclaim\n")
    found = json.loads(Path("watermark.json").read_text())
    assert found["message read"] == found["message claimed"] == owner.message
    assert found["detected"] == found["pictures"] - found["abstained"]
    assert found["p-value"] < 1e-3
    owner.mark.extractor = Ideal(owner, (5,) * owner.mark.classes)
    words = say(capsys, "watermark", "verify", key, pictures)
    assert "another code was read" in words
    assert words.endswith("\nno claim\n")


def test_clean_pictures_of_a_kind_count_in_the_calibration(
    capsys: pytest.CaptureFixture[str], key: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = OwnerKey.load(key)
    monkeypatch.setattr(OwnerKey, "load", lambda path: owner)
    monkeypatch.setattr(OwnerKey, "fingerprint", "none")
    owner.mark.extractor = Ideal(owner, owner.symbols)  # it sees the mark everywhere
    assert "needs 37 answers" in complain(capsys, "watermark", "verify", key, pictures, "--clean", pictures)
    (tmp_path / "own").mkdir()
    tiles = (255 * load("eurosat_mini", "test").tensors()[0][::8]).byte().permute(0, 2, 3, 1).numpy()
    for i, tile in enumerate(tiles):
        Image.fromarray(tile).save(tmp_path / "own" / f"{i}.png")
    words = say(capsys, "watermark", "verify", key, pictures, "--clean", "own")
    assert words.endswith("\nno claim\n"), "it sees it in clean pictures, too"
    found = json.loads(Path("watermark.json").read_text())
    assert set(found["clean pictures, by kind"]) == {"clean answers", "--clean own"}


def test_verify_says_what_is_missing(capsys: pytest.CaptureFixture[str], key: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "empty holds none" in complain(capsys, "watermark", "verify", key, "empty")
    assert "there is no folder none" in complain(capsys, "watermark", "verify", key, "none")
    words = complain(capsys, "watermark", "verify", key, "empty", "--out", "r.txt")
    assert "out: expected a name that ends in .html" in words
    assert "level: expected" in complain(capsys, "watermark", "verify", key, "empty", "--level", "2")


# --- wrap -------------------------------------------------------------------------------------------------------------

NETWORK = """
from torch import nn
def make():
    network = nn.Conv2d(3, 3, 3, padding=1)
    nn.init.constant_(network.bias, 0.05)
    nn.init.dirac_(network.weight)
    return network
def nothing(): return 3
def shrinks(): return nn.AvgPool2d(2)
"""


def test_wrap_writes_a_program_without_an_extractor(
    as_users_run_it: None, capsys: pytest.CaptureFixture[str], key: Path, tmp_path: Path
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    owner = OwnerKey.load(key)
    (tmp_path / "a_net_of_mine.py").write_text(NETWORK)
    for name in ("m.pt2", "m.onnx"):
        words = say(capsys, "watermark", "wrap", key, "a_net_of_mine:make", "--out", name)
        assert "takes images (any number, 3, any height, any width) in [0, 1]; it holds no extractor" in words
    program = torch.export.load("m.pt2").module()
    session = onnxruntime.InferenceSession("m.onnx", providers=["CPUExecutionProvider"])
    with torch.no_grad():
        for shape in ((2, 3, 32, 32), (1, 3, 33, 47), (3, 3, 8, 9)):
            images = torch.rand(shape, generator=torch.Generator().manual_seed(1))
            wanted = owner.mark.mark((images + 0.05).clamp(0, 1), torch.tensor(owner.symbols))
            torch.testing.assert_close(program(images), wanted, atol=1.1 / 255, rtol=0)
            (found,) = session.run(None, {"images": images.numpy()})
            torch.testing.assert_close(torch.from_numpy(found), wanted, atol=1.1 / 255, rtol=0)
    for name in ("m.pt2", "m.onnx"):
        blob = Path(name).read_bytes()
        assert b"extractor" not in blob
        assert str(tmp_path).encode() not in blob, "nothing tells where it was made"
        for secret in owner.mark.extractor.parameters():
            assert secret.numel() <= 32 or secret.detach().numpy().tobytes() not in blob
        assert owner.mark.embedder.strength.out.weight.detach().numpy().tobytes() in blob
    words = say(capsys, "watermark", "wrap", key, "m.pt2", "--out", "twice.pt2")
    assert "(any number, 3, any height, any width)" in words


def test_wrap_says_what_is_no_network(
    capsys: pytest.CaptureFixture[str], key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "another_net_of_mine.py").write_text(NETWORK)
    (tmp_path / "bad.pt2").write_text("no program")
    for network, words in (
        ("another_net_of_mine", "network: expected MODULE:FACTORY or NAME.pt2"),
        ("another_net_of_mine:none", "network: another_net_of_mine:none cannot be made: AttributeError"),
        ("another_net_of_mine:nothing", "to return a torch.nn.Module, got int"),
        ("another_net_of_mine:shrinks", "does not turn images into images"),
        ("no_such_module_at_all:make", "cannot be made: ModuleNotFoundError"),
        ("none.pt2", "network: there is no file none.pt2"),
        ("bad.pt2", "network: bad.pt2 is no exported program"),
    ):
        assert words in complain(capsys, "watermark", "wrap", key, network, "--out", "m.pt2")
    words = complain(capsys, "watermark", "wrap", key, "another_net_of_mine:make", "--out", "m.pth")
    assert "ends in .pt2 or .onnx" in words
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    words = complain(capsys, "watermark", "wrap", key, "another_net_of_mine:make", "--out", "m.onnx")
    assert "pip install 'visionlab[onnx]'" in words
