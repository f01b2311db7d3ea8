"""Set-up: one list of pins for pip, conda and make, and words where something is missing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIRECT = [Requirement(line) for line in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]]
PINS = {
    canonicalize_name(name): Version(version)
    for name, version in re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M)
}


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda requirement: requirement.name)
def test_every_direct_dependency_is_pinned_inside_its_range(requirement: Requirement) -> None:
    pin = PINS[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pin)
    assert Version(metadata.version(requirement.name)).release == pin.release, "the environment is not the pinned one"


def test_every_import_of_the_package_is_a_direct_dependency() -> None:
    modules: dict[str, set[str]] = {}
    for name, owners in metadata.packages_distributions().items():
        modules[name] = {canonicalize_name(owner) for owner in owners}
    direct = {canonicalize_name(requirement.name) for requirement in DIRECT}
    for path in [*(ROOT / "visionlab").rglob("*.py"), *(ROOT / "apps").glob("*.py")]:
        found = re.findall(r"^\s*(?:from|import) (\w+)", path.read_text(), re.M)
        for name in set(found) - set(sys.stdlib_module_names) - {"visionlab", "a", "the"}:
            if name in modules:
                assert modules[name] & direct, f"{path.name} imports {name}"


def test_conda_installs_the_same_from_the_same_pins() -> None:
    lines = [line.strip("- \n") for line in (ROOT / "environment.yml").read_text().splitlines()]
    assert "constraint constraints.txt" in lines
    assert "editable .[dev]" in lines
    python = next(line for line in lines if line.startswith("python="))
    assert Version(python.partition("=")[2]) in Requirement(f"python{PROJECT['requires-python']}").specifier
    assert not [line for line in lines if "==" in line], "pins stand in constraints.txt only"


def make(tmp_path: Path, python: str, *, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = ["make", "-f", str(ROOT / "Makefile"), "setup", f"VENV={tmp_path / 'venv'}", f"PYTHON={python}"]
    environment = {**os.environ, "PATH": f"{path}:/usr/bin:/bin"} if path else dict(os.environ)
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)


def stand_in(tmp_path: Path, body: str) -> str:
    """A program that answers as some Python would."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_a_machine_without_python_is_told_what_to_install(tmp_path: Path) -> None:
    done = make(tmp_path, "")
    assert done.returncode != 0
    assert "visionlab needs Python 3.11 or newer" in done.stdout
    assert "apt install python3.11" in done.stdout


def test_an_old_python_is_told_so(tmp_path: Path) -> None:
    old = stand_in(tmp_path, 'case "$1" in --version) echo "Python 3.9.2";; *) exit 1;; esac')
    done = make(tmp_path, old)
    assert done.returncode != 0
    assert "is Python 3.9.2" in done.stdout
    assert "make setup PYTHON=" in done.stdout


def test_a_machine_without_venv_is_told_what_to_install(tmp_path: Path) -> None:
    bare = stand_in(tmp_path, 'case "$*" in *venv*) exit 1;; *) exit 0;; esac')
    done = make(tmp_path, bare)
    assert done.returncode != 0
    assert "venv module is missing" in done.stdout
    assert "apt install python3-venv" in done.stdout


def test_ci_calls_make_test() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert script.rstrip().endswith("make test")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_apps_say_how_to_install_where_the_package_is_missing() -> None:
    for app in (ROOT / "apps").glob("*.py"):
        source = f"import sys, runpy; sys.modules['visionlab'] = None; runpy.run_path({str(app)!r})"
        done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "make app" in done.stderr
        assert "Traceback" not in done.stderr
