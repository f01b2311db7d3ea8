"""The built wheel, installed outside the repository, finds all that ships with it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import pathlib, timm, visionlab
assert pathlib.Path(visionlab.__file__).is_relative_to(sys.argv[1]), visionlab.__file__
from visionlab import cli, weights
from visionlab.data.images import load
from visionlab.experiments.experiment import find, names, recorded
from visionlab.show.widgets.stripes import StripesInspector
assert "export" in str(StripesInspector._esm) or pathlib.Path(StripesInspector._esm).exists()
assert len(load("eurosat_mini", "test")) == 600
print(weights.load("cswin_nano_eurosat")(load("eurosat_mini", "test")[0][0], top=1))
print([recorded(name).experiment for name in names() if find(name).seeds])
print(timm.is_model("cswin_tiny_224"))
try:
    cli.main(["lab"])
except SystemExit as stop:
    assert stop.code == 2
"""


@pytest.mark.package
def test_the_wheel_works_outside_the_repository(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < 30e6
    with zipfile.ZipFile(wheel) as archive:
        inside = archive.namelist()
        archive.extractall(tmp_path / "site")
    for needed in (
        "stripes.js",
        "scene.js",
        "curves.js",
        "cswin_nano_eurosat.safetensors",
        "cswin_reach.json",
        "eurosat_mini.zip",
    ):
        assert any(name.endswith(needed) for name in inside), needed
    assert not any(name.startswith(("tests", "labs", "apps")) for name in inside)
    used = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "site")],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert used.returncode == 0, used.stderr[-2000:]
    assert "cswin/same-colour" in used.stdout
    assert "clone the repository" in used.stderr
