"""The house: doors that open one way, tools that pass, files that stay readable."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
FILES = sorted((ROOT / "visionlab").rglob("*.py")) + sorted((ROOT / "apps").glob("*.py"))


def run(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(BIN / command[0]), *command[1:]], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "--no-cache", "."),
        ("ruff", "format", "--no-cache", "--check", "visionlab", "apps", "tests", "benchmarks"),
        ("mypy", "--no-incremental"),
        ("lint-imports", "--no-cache"),
    ],
    ids=lambda command: command[0] + "-" + command[1].strip("-"),
)
def test_tools_pass(command: tuple[str, ...]) -> None:
    done = run(*command)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]


def test_a_door_that_opens_the_wrong_way_is_noticed(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "visionlab", tmp_path / "visionlab", ignore=shutil.ignore_patterns("packs", "*.safetensors"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "visionlab" / "backbones" / "cswin_attention.py").open("a") as file:
        file.write("\nfrom visionlab.train.loop import fit\n")
    done = run("lint-imports", "--no-cache", cwd=tmp_path)
    assert done.returncode == 1
    assert "visionlab.backbones.cswin_attention -> visionlab.train.loop" in done.stdout


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_readable(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert source.count("\n") <= (400 if path.parent.name in ("backbones", "heads") else 350)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or node.lineno) - node.lineno
            assert lines <= 75, f"{node.name}: {lines} lines"


def test_scripts_of_widgets_stay_small_and_ask_no_other_host() -> None:
    for path in (ROOT / "visionlab" / "show" / "widgets").glob("*.js"):
        source = path.read_text(encoding="utf-8")
        assert len(source) < 20_000
        assert "http://" not in source.replace("http://www.w3.org", "")
        assert "https://" not in source
