"""Audits: of shipped and of timm's networks; kept check by check; sober in words; hostile files do nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from tests.hostile import Hostile
from visionlab import cli, weights
from visionlab.experiments import audit
from visionlab.protection.defences import CHECKS, Finding


def folder_of(path: Path, classes: tuple[str, ...] = ("cat", "dog", "eel"), each: int = 10, side: int = 40) -> Path:
    generator = np.random.default_rng(0)
    for name in classes:
        (path / name).mkdir(parents=True)
        for i in range(each):
            pixels = generator.integers(0, 256, (side, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path / name / f"{i}.png")
    return path


def ink() -> Path:
    return weights.folder() / "victim_eurosat_ink.safetensors"


def test_a_stopped_audit_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = audit.network_of("victim_eurosat_ink", ink(), ())
    case = audit.case_for(predictor, "eurosat_mini", "eurosat_mini", "quick")
    assert len(case.images) == 200
    calls: list[str] = []
    genuine = audit.check

    def counted(name: str, case: audit.Case) -> Finding:
        if name == "Grad-CAM" and "stop" not in calls:
            calls.append("stop")
            raise KeyboardInterrupt
        calls.append(name)
        return genuine(name, case)

    monkeypatch.setattr(audit, "check", counted)
    some = {
        name: CHECKS[name] for name in ("spectral signatures", "activation clustering", "Neural Cleanse", "Grad-CAM")
    }
    monkeypatch.setattr(audit, "CHECKS", some)
    with pytest.raises(KeyboardInterrupt):
        audit.examine(case, folder=tmp_path, key="x")
    first = audit.examine(case, folder=tmp_path, key="x", references=[predictor])
    assert calls[:3] == ["spectral signatures", "activation clustering", "stop"]
    assert calls.count("activation clustering") == 2, "once for the network, once for the reference"
    again = audit.examine(case, folder=tmp_path, key="x", references=[predictor])
    assert audit.summary(again) == audit.summary(first)
    assert calls.count("Grad-CAM") == 2
    assert first.skipped == {"Neural Cleanse": "it takes long; level full runs it"}


def test_a_class_that_stands_out_is_named_and_the_words_stay_sober() -> None:
    classes = ["a", "b", "c", "d", "e"]
    quiet = Finding("Neural Cleanse", 0.5, "m", torch.rand(5), {}, torch.tensor([0.1, 0.2, 0.3, 0.2, 0.1]))
    loud = Finding("Neural Cleanse", 9.0, "m", torch.rand(5), {}, torch.tensor([0.1, 0.2, 9.0, 0.2, 0.1]))
    assert audit.standing_out(quiet, classes) == []
    assert [name for name, _ in audit.standing_out(loud, classes)] == ["c"]
    assert audit.standing_out(Finding("STRIP", 9.0, "m", torch.rand(5)), classes) == []
    words = {
        "quiet": audit.summary(audit.Audit({"classes": classes}, {"Neural Cleanse": quiet}))["verdict"],
        "loud": audit.summary(audit.Audit({"classes": classes}, {"Neural Cleanse": loud}, {"Neural Cleanse": [1.0]}))[
            "verdict"
        ],
    }
    assert words["quiet"].startswith("No check found anything that stands out.")
    assert "Class c stands out in Neural Cleanse" in words["loud"]
    assert "Above every clean reference: Neural Cleanse" in words["loud"]
    assert all("No check can prove that a network is clean" in text for text in words.values())


def test_the_command_audits_a_timm_network_and_writes_both_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = folder_of(tmp_path / "data")
    network = timm.create_model("test_resnet.r160_in1k", num_classes=3)
    torch.save(network.state_dict(), tmp_path / "mine.pt")
    out = tmp_path / "report.html"
    cli.main([
        "audit", str(tmp_path / "mine.pt"), "--model", "test_resnet.r160_in1k", "--data", str(data),
        "--train", str(data), "--out", str(out),
    ])  # fmt: skip
    said = capsys.readouterr().out
    assert "No check can prove that a network is clean" in said
    report = json.loads(out.with_suffix(".json").read_text())
    assert set(report["checks"]) | set(report["not run"]) == set(CHECKS)
    assert report["about"]["classes"] == ["cat", "dog", "eel"]
    page = out.read_text()
    assert page.count("<img") == len(report["checks"])
    assert "http" not in page, "the page asks no other host"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"checkpoint": "missing.pt"}, "checkpoint: there is no file"),
        ({"model": "resnet999"}, "resnet999"),
        ({"model": "victim_world_clean"}, "does not fit the network"),
        ({"out": "report.pdf"}, "out: expected a name that ends in .html"),
        ({"data": "few"}, "has 2 classes, the network has 10 outputs"),
    ],
)
def test_what_cannot_be_audited_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, str], words: str
) -> None:
    folder_of(tmp_path / "few", ("a", "b"))
    given = {"checkpoint": str(ink()), "model": "victim_eurosat_ink", "data": "eurosat_mini", "out": "audit.html"}
    given |= {
        name: str(tmp_path / value) if name in ("checkpoint", "data") else value for name, value in change.items()
    }
    with pytest.raises(SystemExit):
        cli.main([
            "audit", given["checkpoint"], "--model", given["model"], "--data", given["data"],
            "--out", str(tmp_path / given["out"]),
        ])  # fmt: skip
    error = capsys.readouterr().err
    assert error.startswith("visionlab: ")
    assert words in error
    assert not list(tmp_path.glob("*.html"))


def test_nothing_in_a_hostile_file_is_run(tmp_path: Path) -> None:
    torch.save({"state_dict": Hostile(tmp_path / "harm")}, tmp_path / "hostile.pt")
    with pytest.raises(ValueError, match="does not fit the network"):
        audit.network_of("victim_eurosat_ink", tmp_path / "hostile.pt", ())
    assert not (tmp_path / "harm").exists()
