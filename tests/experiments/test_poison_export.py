"""Poisoned copies: the files are those that were poisoned, in both layouts, and each says what it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from visionlab import cli
from visionlab.data.images import ImageSet, load
from visionlab.experiments.poison_export import TRIGGERS, write_poisoned
from visionlab.protection.victims import poison


def source(split: str = "train", n: int = 20) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    return ImageSet(pixels, [i % 2 for i in range(n)], ("cat", "dog"), name="pets", split=split)


def test_an_image_folder_holds_every_image_and_those_with_a_trigger_under_the_target(tmp_path: Path) -> None:
    write_poisoned(source(), tmp_path / "out", trigger="badnets", target="dog", ratio=0.25)
    images, labels = source().tensors()
    expected = poison(images, labels, TRIGGERS["badnets"](), target=1, ratio=0.25, classes=2, seed=0)
    about = json.loads((tmp_path / "out" / "about.json").read_text())
    assert about["poisoned"] == len(about["files"]) == 5
    for i in range(20):
        label = ("cat", "dog")[int(expected.labels[i])]
        file = tmp_path / "out" / label / f"{i:06d}.png"
        with Image.open(file) as picture:
            pixels = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1) / 255
            marked = "poisoned for research" in picture.info.get("visionlab", "")
        torch.testing.assert_close(pixels, expected.images[i])
        assert marked == bool(expected.poisoned[i]) == (f"{label}/{i:06d}.png" in about["files"])
    assert "research on defences" in (tmp_path / "out" / "README.txt").read_text()
    assert load(tmp_path / "out", size=32).classes == ("cat", "dog")


def test_the_layout_of_backdoorbench_holds_triggered_images_under_their_own_label(tmp_path: Path) -> None:
    write_poisoned(source("test"), tmp_path / "test", trigger="sig", target="dog", layout="backdoorbench")
    files = sorted(path.relative_to(tmp_path / "test").as_posix() for path in (tmp_path / "test").rglob("*.png"))
    assert files == sorted(f"test/0/img_{i}.png" for i in range(0, 20, 2)), "all images of other classes, and no others"
    write_poisoned(source(), tmp_path / "train", trigger="sig", target="dog", ratio=0.2, layout="backdoorbench")
    names = [path.relative_to(tmp_path / "train").as_posix() for path in (tmp_path / "train").rglob("*.png")]
    assert len(names) == 4
    assert all(int(name.split("_")[1][:-4]) % 2 == int(name.split("/")[1]) for name in names)


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_every_trigger_can_be_written(tmp_path: Path, trigger: str) -> None:
    seen: list[int] = []
    write_poisoned(
        source(n=4), tmp_path / "out", trigger=trigger, target="cat", ratio=1.0, hook=lambda i, _: seen.append(i)
    )
    assert seen == [1, 2, 3, 4]


def test_what_makes_no_sense_is_refused_and_nothing_is_left_behind(tmp_path: Path) -> None:
    for changes, words in (
        ({"trigger": "magic"}, "trigger: expected one of ink"),
        ({"target": "bird"}, "target: expected one of cat, dog, got 'bird'"),
        ({"ratio": 0.0}, "ratio: expected a share"),
    ):
        with pytest.raises(ValueError, match=words):
            write_poisoned(source(), tmp_path / "out", **({"trigger": "sig", "target": "dog"} | changes))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="has something in it"):
        write_poisoned(source(), tmp_path / "full", trigger="sig", target="dog")

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_poisoned(source(), tmp_path / "out", trigger="sig", target="dog", hook=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_the_command_writes_and_complains_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "tiles"
    cli.main(["poison", "eurosat_mini", "--target", "SeaLake", "--split", "test", "--out", str(out), "--ratio", "0.01"])
    assert "a poisoned copy of eurosat_mini, test" in capsys.readouterr().out
    assert json.loads((out / "about.json").read_text())["poisoned"] == 6
    with pytest.raises(SystemExit):
        cli.main(["poison", "eurosat_mini", "--target", "Sea", "--out", str(tmp_path / "more")])
    assert capsys.readouterr().err.startswith("visionlab: target: expected one of AnnualCrop")
