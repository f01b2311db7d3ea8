from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.commands import complain, say
from tests.points import toy_points as toy
from visionlab import cli
from visionlab.data.clouds import Cloud, load, save
from visionlab.data.ply import read_ply
from visionlab.points import clean

ROOT = Path(__file__).parents[1]
SHORT = ("--epochs", "3", "--top", "2", "--device", "cpu")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Four rooms of the two kinds of files that can be written, one below, one with the name of another."""
    folder = tmp_path / "scans"
    clouds = toy.rooms(4)
    clouds[1] = replace(clouds[1], labels=torch.where(clouds[1].instances == 0, -1, clouds[1].labels))
    for cloud, name in zip(clouds, ("one.ply", "below/two.ply", "below/deep/three.ply"), strict=False):
        save(cloud, folder / name)
    save(replace(clouds[3], name="one"), folder / "twin.npz")
    return folder


def test_it_writes_clouds_a_list_and_a_page(capsys: pytest.CaptureFixture[str], scans: Path, tmp_path: Path) -> None:
    words = say(capsys, "clean-labels", scans, "--out", "out", *SHORT)
    assert "4 clouds, 480 points, 48 objects, 4 classes: a, b, c, d; 10 points have no label" in words
    assert "Look before you trust." in words
    assert "begin with review.html" in words
    out = tmp_path / "out"
    written = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert written == [
        "below/deep/three.ply", "below/two.ply", "one-2.ply", "one.ply", "review.csv", "review.html", "summary.json",
    ]  # fmt: skip
    given = {cloud.name: cloud for cloud in load(scans)}
    for name in ("below/deep/three", "below/two", "one"):
        (cloud,) = load(out / f"{name}.ply")
        extra = read_ply(out / f"{name}.ply").values
        assert np.array_equal(extra["given"], load(scans / f"{name}.ply")[0].labels)
        assert ((extra["confidence"] > 0) & (extra["confidence"] <= 1)).all()
        assert ((extra["given_probability"] == 0) == (extra["given"] == -1)).all()
        assert cloud.classes == given[name].classes
        assert torch.equal(cloud.xyz, load(scans / f"{name}.ply")[0].xyz)
        assert torch.equal(cloud.instances, load(scans / f"{name}.ply")[0].instances)
    (twin,) = load(out / "one-2.ply")
    torch.testing.assert_close(twin.xyz, load(scans / "twin.npz")[0].xyz)
    rows = list(csv.DictReader((out / "review.csv").open()))
    assert len(rows) == 48
    assert tuple(rows[0]) == (
        "rank", "cloud", "instance", "given", "proposed", "score", "given_probability", "proposed_probability",
        "changed", "points",
    )  # fmt: skip
    assert [int(row["rank"]) for row in rows] == list(range(1, 49))
    assert rows[-1]["given"] == "no label"
    assert rows[-1]["given_probability"] == ""
    page = (out / "review.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    assert "http" not in page
    summary = json.loads((out / "summary.json").read_text())
    changed = sum(
        int(((cloud.labels != read["given"]) & (read["given"] >= 0)).sum())
        for cloud, read in (
            (load(path)[0], {k: torch.from_numpy(v) for k, v in read_ply(path).values.items()})
            for path in out.rglob("*.ply")
        )
    )
    assert summary["labels changed"] == changed
    assert summary["points that got their first label"] <= 10
    assert (summary["clouds"], summary["epochs"], summary["preset"]) == (4, 3, "quick")
    assert "out: expected a new folder" in complain(capsys, "clean-labels", scans, "--out", "out", *SHORT)


def test_what_was_stopped_goes_on(
    capsys: pytest.CaptureFixture[str], scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(capsys, "clean-labels", scans, "--out", "whole", *SHORT)
    kept = list((tmp_path / "cache").rglob("*.pt"))
    assert len(kept) == 1
    kept[0].unlink()
    trained = clean.train_points

    def dies(*args: object, **more: object) -> object:
        def hook(step: int, steps: int, values: dict[str, float]) -> None:
            if step == steps - 1:
                raise KeyboardInterrupt

        return trained(*args, **more | {"hook": hook})  # type: ignore[arg-type]

    monkeypatch.setattr(clean, "train_points", dies)
    with pytest.raises(SystemExit) as stop:
        cli.main(["clean-labels", str(scans), "--out", "out", *SHORT])
    assert stop.value.code == 130
    assert not Path("out").exists()
    half = torch.load(*(tmp_path / "cache").rglob("*.pt"))
    assert 0 < half["step"] < 6
    monkeypatch.setattr(clean, "train_points", trained)
    say(capsys, "clean-labels", scans, "--out", "out", *SHORT)
    for path in Path("whole").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (Path("out") / path.relative_to("whole")).read_bytes()
    say(capsys, "clean-labels", scans, "--out", "again", "--points", "60", *SHORT)
    assert len(list((tmp_path / "cache").rglob("*.pt"))) == 2
    assert all(len(cloud) == 60 for cloud in load("again"))


def test_two_processes_write_once(scans: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "visionlab", "clean-labels", str(scans), "--out", "out", *SHORT],
        check=False, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("written to out") == 1
    assert done.stdout.count("4 clouds") == 1
    assert len(load(tmp_path / "out")) == 4
    assert not list(tmp_path.glob(".*part"))


def test_what_it_cannot_work_on_is_named(
    as_users_run_it: None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    cloud = toy.rooms(1)[0]

    def folder(name: str, *clouds: Cloud) -> Path:
        for i, each in enumerate(clouds):
            save(each, tmp_path / name / f"{i}.ply")
        (tmp_path / name).mkdir(exist_ok=True)
        return tmp_path / name

    bare = folder("bare", cloud) / "0.ply"
    bare.write_bytes(bare.read_bytes().replace(b"property int label", b"property int lapel"))
    holes = folder("holes", cloud)
    written = (holes / "0.ply").read_bytes()
    start = written.index(b"end_header\n") + 11
    (holes / "0.ply").write_bytes(written[:start] + np.float32(np.nan).tobytes() + written[start + 4 :])
    few = Cloud(cloud.xyz[:9], cloud.rgb[:9], cloud.labels[:9], cloud.instances[:9], cloud.classes)
    for path, words in (
        (tmp_path / "none", "none does not exist"),
        (folder("empty"), "has no clouds"),
        (tmp_path / "bare", "0.ply has no property label"),
        (holes, "xyz: 0: 1 of 120 points have numbers that are not finite"),
        (folder("one", replace(cloud, labels=torch.zeros_like(cloud.labels))), "two classes or more, got a"),
        (folder("few", few), "expected 12 points or more in each, 0 has 9"),
        (folder("differ", cloud, replace(cloud, classes=tuple("wxyz"))), "the same classes in all, 0 has a, b, c, d"),
    ):
        assert words in complain(capsys, "clean-labels", path, "--out", "out", *SHORT)
    good = folder("good", cloud)
    assert "top: expected 0 or more" in complain(capsys, "clean-labels", good, "--out", "out", "--top", "-1")
    few = (good, "--out", "out", "--epochs", "1", "--device", "cpu")
    assert "epochs: expected 2 or more" in complain(capsys, "clean-labels", *few)
    assert "split='val'" in complain(capsys, "clean-labels", good, "--out", "out", "--split", "val")
    assert not Path("out").exists()
    with pytest.raises(SystemExit):
        cli.main(["clean-labels", "--help"])
    said = re.sub(r"[\s│|]+", " ", capsys.readouterr().out)
    assert "look before you trust" in said
    assert "review.html" in said
