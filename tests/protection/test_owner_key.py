from __future__ import annotations

import hashlib
import json
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save_file
from torch import Tensor

from visionlab.protection.hiding import ColourHider
from visionlab.protection.owner import Recipes
from visionlab.protection.owner_calibration import CHANGES, TAUGHT, answer_readings, crops, stranger_readings, strangers
from visionlab.protection.owner_key import OwnerKey, small_mark
from visionlab.protection.owner_key_training import RECIPES, _digest, better_messages, train_key
from visionlab.protection.tasks import pairs
from visionlab.protection.verification import Evidence, calibrate, structure_evidence
from visionlab.protection.watermark import StructureMark
from visionlab.train.checkpoint import CheckpointError
from visionlab.train.loop import Recipe
from visionlab.train.randomness import seeded

SHORT = Recipe(steps=2, batch=8, learning_rate=1e-3, weight_decay=0.0)
SHORTEST = Recipes(clean=SHORT, initial=SHORT, marked=SHORT, adversarial=SHORT)


def chance(n: int, seed: int) -> Evidence:
    draw = torch.Generator().manual_seed(seed)
    scores, agrees, usable = (torch.rand(n, generator=draw) for _ in range(3))
    return Evidence(scores, agrees < 0.3, usable < 0.9, 0.5)


@pytest.fixture(params=["edges", "regions"])
def key(request: pytest.FixtureRequest) -> OwnerKey:
    with seeded(0):
        mark = small_mark(request.param, amplitude=0.11)
    clean = {"answers": chance(80, 0), "photograph: cat": chance(120, 1)}
    return OwnerKey(mark, "011" * mark.classes, clean, least=0.2, about={"seed": 7, "of": "tiles"})


def test_a_key_comes_back_whole(key: OwnerKey, tiles: Tensor, tmp_path: Path) -> None:
    path = key.save(tmp_path / "owner.key")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key.fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    found = OwnerKey.load(path)
    assert found.fingerprint == key.fingerprint
    assert (found.symbols, found.message, found.about) == (key.symbols, key.message, key.about)
    assert found.calibration == key.calibration == calibrate(*key.clean.values(), least=0.2)
    assert not found.mark.training
    symbols = torch.tensor(key.symbols)
    assert torch.equal(found.mark.mark(tiles[:4], symbols), key.mark.mark(tiles[:4], symbols))
    assert torch.equal(found.mark.decode(tiles[:4]).colours, key.mark.decode(tiles[:4]).colours)
    assert found.spoken(key.symbols) == key.message
    assert found.spoken((-1,) * key.mark.classes) == "none"
    assert list(tmp_path.iterdir()) == [path], "nothing is left beside it"


def test_files_that_are_no_key_are_refused_in_words(key: OwnerKey, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="key: there is no file"):
        OwnerKey.load(tmp_path / "none")
    path = key.save(tmp_path / "key")
    whole = path.read_bytes()
    tensors = load(whole)
    head = json.loads(json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])["__metadata__"]["key"])

    def refused(words: str) -> None:
        with pytest.raises(CheckpointError, match=words):
            OwnerKey.load(path)

    for some in (whole[: len(whole) // 2], whole[:5], b"", b"not a key at all, but long enough to be one"):
        path.write_bytes(some)
        refused("is no owner's key, or not all of one")
    save_file(tensors, path)
    refused("is no owner's key: expected a file that `visionlab watermark train` wrote")
    for change, words in (
        ({"version": 2}, "expected a key of version 1, got 2"),
        ({"structure": "os.system"}, "structure: expected one of edges, regions"),
        ({"code": "words"}, "code: expected one of hues, levels"),
        ({"message": "0" * 40}, "message: 40 bits"),
        ({"message": None}, "parts do not fit"),
        ({"clean": ["a", "b", "c"]}, "clean.2"),
    ):
        save_file(tensors, path, {"key": json.dumps(head | change)})
        refused(words)
    save_file({name: each for name, each in tensors.items() if "stem" not in name}, path, {"key": json.dumps(head)})
    refused("parts do not fit each other: RuntimeError: .*stem")


def test_only_known_kinds_become_keys(key: OwnerKey) -> None:
    for mark in (
        StructureMark(structure=lambda images, outside=None: images[:, :1].long()),
        StructureMark(ColourHider(widths=(16, 32))),
        StructureMark(classes=2),
    ):
        with pytest.raises(ValueError, match="mark: expected networks, structure and code as small_mark builds them"):
            OwnerKey(mark, "01", key.clean)
    with pytest.raises(ValueError, match="message: 7 bits"):
        replace(key, message="0" * 7)
    with pytest.raises(ValueError, match=r"clean: a rate of 0\.05 needs 37 answers"):
        replace(key, clean={"few": chance(20, 0)})


def test_strangers_are_crops_of_other_photographs_in_any_hue(rng: torch.Generator) -> None:
    found = strangers(32, 50, rng)
    assert found.shape == (50, 3, 32, 32)
    assert 0 <= found.min() < found.max() <= 1
    torch.testing.assert_close(255 * found, (255 * found).round(), atol=1e-3, rtol=0)
    assert len(TAUGHT) == 6
    assert crops(torch.rand(3, 9, 12), 9, 5, rng).shape == (5, 3, 9, 9)


def test_kinds_of_clean_pictures_are_read_one_by_one(tiles: Tensor) -> None:
    with seeded(0):
        mark = small_mark().eval()
    readings = answer_readings(mark, {"answers": tiles[:8]})
    assert list(readings) == ["answers", *(f"answers, {name}" for name in CHANGES if name)]
    assert all(len(each.area) == 8 for each in readings.values())
    strange = stranger_readings(mark, 32, names=["moon", "coffee"])
    assert list(strange) == ["photograph: moon", "photograph: coffee", "world: clean", "world: toon"]


def test_a_training_ends_in_a_key_and_goes_on(tiles: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visionlab.protection.owner_calibration.CROPS", {1: 60})
    monkeypatch.setattr("visionlab.protection.owner_calibration.RENDERS", 60)
    outputs = torch.cat([tiles.roll(i, -1) for i in range(4)])[:200]
    inputs, outputs = pairs(outputs, "noise", generator=torch.Generator().manual_seed(0))
    steps: list[int] = []

    def made(message: str = "011") -> OwnerKey:
        with seeded(0):
            mark = small_mark()
        found, readings = train_key(
            mark, inputs, outputs, message, SHORTEST, about={"of": "tiles"}, device="cpu", folder=tmp_path / "stages",
            hook=lambda done, total, values: steps.append(done),
        )  # fmt: skip
        best = better_messages(found, readings)
        assert len(set(best)) == 4
        assert all(len(each) == len(message) for each in best)
        return found

    first = made()
    assert steps == list(range(1, 9))
    assert len(list((tmp_path / "stages").iterdir())) == 4
    assert first.about["held out"] == 60
    assert first.about["of"] == "tiles"
    assert "clean surrogate, JPEG 75" in first.clean
    assert 0 <= first.least <= 0.5
    steps.clear()
    second = made("100")
    assert steps == [], "another message needs no new training"
    assert all(torch.equal(a, b) for a, b in zip(first.mark.parameters(), second.mark.parameters(), strict=True))


def test_too_little_to_train_on_is_said_before_any_training(as_users_run_it: None, tiles: Tensor) -> None:
    def train(outputs: Tensor, message: str = "011") -> None:
        train_key(small_mark(), outputs, outputs, message, SHORTEST, hook=lambda *_: pytest.fail("it was trained"))

    many = tiles.repeat(4, 1, 1, 1)
    with pytest.raises(ValueError, match="message: 4 bits, but 1 x 8 symbols carry"):
        train(many, "0110")
    with pytest.raises(ValueError, match="outputs: expected 200 images or more, got 60"):
        train(tiles)
    with pytest.raises(ValueError, match="of 60 held-out images 0 have structure enough"):
        train(torch.full_like(many, 0.4))


def test_presets_are_the_study_and_a_taste_of_it() -> None:
    assert RECIPES["full"] == Recipes()
    assert RECIPES["quick"].steps < 0.2 * RECIPES["full"].steps


def test_another_owners_message_is_no_claim(tiles: Tensor) -> None:
    with seeded(0):
        mark = small_mark().eval()
    reading = mark.decode(tiles)
    evidence = structure_evidence(mark, reading, (3,))
    assert not evidence.detected(0.0)[reading.symbols[:, 0] != 3].any()


def test_a_training_is_known_again_by_another_process() -> None:
    asks = """
import torch
from visionlab.protection.owner import Recipes
from visionlab.protection.owner_key import small_mark
from visionlab.protection.owner_key_training import _digest
from visionlab.train.randomness import seeded
with seeded(0):
    print(_digest(torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8), small_mark("regions"), Recipes(), 0))
"""
    found = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True).stdout.strip()
    pair = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    marks = []
    for amplitude in (None, 0.1):
        with seeded(0):
            marks.append(small_mark("regions", amplitude=amplitude))
    assert _digest(*pair, marks[0], Recipes(), 0) == found
    assert _digest(*pair, marks[1], Recipes(), 0) != found
