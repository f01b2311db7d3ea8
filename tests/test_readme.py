"""The README: its code runs as it stands, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from PIL import Image

import visionlab

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)


def small_pictures(folder: Path) -> None:
    """Write ten pictures of each of two kinds, dark and bright."""
    for kind, shade in (("cat", 60), ("dog", 190)):
        (folder / kind).mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (40 + i, 50), (shade, shade + i, shade)).save(folder / kind / f"{i}.png")


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[-1][:30])
def test_its_code_runs(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VISIONLAB_CACHE", str(tmp_path))
    if "checkpoint_path" in block:
        torch.save({"state_dict_ema": visionlab.backbones.cswin.cswin_tiny_224().state_dict()}, "cswin_tiny_224.pth")
    if 'data="pictures"' in block:
        small_pictures(tmp_path / "pictures")
    exec(block, {})
    said = capsys.readouterr().out
    assert bool(said) == ("print(" in block)
    assert ("softmax" in said) == ("watch(" in block)
    assert ("large red" in said) == ("describe(" in block)


def test_its_links_and_pictures_are_there() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(targets) > 8
    for target in targets:
        assert target.startswith("https://arxiv.org/") or (ROOT / target).exists(), target
