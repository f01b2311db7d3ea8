"""The notebooks as files: run in order, clean, small, with words for every picture; and strict enough to fail."""

from __future__ import annotations

import copy
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from visionlab.notebooks import clean, execute
from visionlab.papers import PAPERS

ROOT = Path(__file__).parents[1]
LABS = sorted((ROOT / "labs").glob("*.ipynb"))
SECTIONS = (
    "The question",
    "Predict first",
    "The mechanism",
    "Build it",
    "Train it",
    "Probe it",
    "Judge it",
    "Break it",
)


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def tags(cell: Any) -> set[str]:
    return set(cell.metadata.get("tags", []))


def text(cell: Any) -> str:
    """What nbval compares of a cell, but for plotly's figures."""
    parts = [o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in cell.outputs]
    return "\n".join(part for part in parts if not re.match(r"<(Figure|PIL|IPython)", part)).strip()


@pytest.fixture(params=LABS, ids=lambda path: path.stem)
def lab(request: pytest.FixtureRequest) -> Any:
    return nbformat.read(request.param, as_version=4)


def test_every_paper_has_its_lab_and_every_lab_its_paper() -> None:
    assert {path.stem for path in LABS} == {paper.lab for paper in PAPERS}


def test_cells_were_run_once_from_top_to_bottom(lab: Any) -> None:
    assert [cell.execution_count for cell in code(lab)] == list(range(1, len(code(lab)) + 1))


def test_nothing_was_left_that_differs_from_run_to_run(lab: Any) -> None:
    assert "widgets" not in lab.metadata
    assert lab.metadata.kernelspec.name == "python3"
    assert set(lab.metadata.language_info) == {"name"}
    assert all(set(cell.metadata) <= {"tags"} for cell in lab.cells)
    ids = [cell.id for cell in lab.cells]
    assert len(set(ids)) == len(ids)


def test_no_cell_failed_or_warned(lab: Any) -> None:
    for cell in code(lab):
        for output in cell.outputs:
            assert output.output_type != "error", cell.source
            assert output.get("name") != "stderr", output.get("text")


def test_it_keeps_to_the_budget_of_a_lab(lab: Any) -> None:
    assert len(nbformat.writes(lab)) <= 2_000_000
    assert len(code(lab)) <= 40
    assert max(cell.source.count("\n") + 1 for cell in code(lab)) <= 15


def test_enough_is_compared(lab: Any) -> None:
    ignored = [cell for cell in code(lab) if tags(cell) & {"nbval-ignore-output", "nbval-skip"}]
    compared = [cell for cell in code(lab) if text(cell) and cell not in ignored]
    assert len(ignored) <= 4
    assert len(compared) >= 10
    for cell in ignored:
        following = code(lab)[code(lab).index(cell) + 1]
        assert following in compared, f"an ignored cell must be followed by a compared one: {cell.source}"


def test_every_picture_has_words(lab: Any) -> None:
    for cell in code(lab):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                assert len(output.data["text/plain"]) > 30
                assert output.metadata["image/png"]["alt"] == output.data["text/plain"]


def test_it_follows_the_nine_sections(lab: Any) -> None:
    headings = re.findall(
        r"^## (\d) · (.+)$", "\n".join(c.source for c in lab.cells if c.cell_type == "markdown"), re.M
    )
    assert [int(number) for number, _ in headings] == list(range(1, 10))
    assert all(wanted in title for (_, title), wanted in zip(headings, SECTIONS, strict=False))


def test_its_head_states_what_a_teacher_needs(lab: Any) -> None:
    head = lab.cells[0].source
    for word in ("You will be able to", "You should know", "Time"):
        assert word in head


def test_a_lab_says_how_to_install_where_the_package_is_missing(lab: Any) -> None:
    source = "import sys; sys.modules['visionlab'] = None\n" + code(lab)[0].source
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    assert "make lab" in done.stderr


def run_nbval(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:dash", "-p", "no:cacheprovider", "--nbval", str(path), "-q"]
    command += [f"--rootdir={path.parent}", "-c", str(ROOT / "pyproject.toml")]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )


def without_training(notebook: Any) -> Any:
    """The part of a lab before its training, which is enough to try the check and takes seconds."""
    short = copy.deepcopy(notebook)
    start = next(i for i, cell in enumerate(short.cells) if "## 5 ·" in cell.source)
    short.cells = [cell for cell in short.cells[:start] if "network_costs()" not in cell.source]
    return short


def test_the_check_passes_as_stored_and_catches_a_changed_number(tmp_path: Path) -> None:
    notebook = without_training(nbformat.read(ROOT / "labs" / "03_cswin.ipynb", as_version=4))
    nbformat.write(notebook, tmp_path / "as_stored.ipynb")
    done = run_nbval(tmp_path / "as_stored.ipynb")
    assert done.returncode == 0, done.stdout[-3000:]
    changed = 0
    for cell in code(notebook):
        for output in cell.outputs:
            words = output.get("data", {}).get("text/plain", "")
            if "100.0" in words:
                output.data["text/plain"] = words.replace("100.0", "99.0", 1)
                changed += 1
                break
        if changed:
            break
    assert changed == 1
    nbformat.write(notebook, tmp_path / "changed.ipynb")
    done = run_nbval(tmp_path / "changed.ipynb")
    assert done.returncode == 1
    assert "1 failed" in done.stdout


def test_cleaning_drops_state_and_refuses_warnings(tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell("print(1 + 1)", metadata={"tags": ["keep"], "collapsed": True})]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"widgets": {"state": "x" * 100}})
    nbformat.write(notebook, tmp_path / "n.ipynb")
    done = clean(execute(tmp_path / "n.ipynb"))
    assert "widgets" not in done.metadata
    assert done.cells[0].metadata == {"tags": ["keep"]}
    assert done.cells[0].outputs[0].text == "2\n"
    noisy = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import warnings; warnings.warn('mind')")])
    nbformat.write(noisy, tmp_path / "w.ipynb")
    with pytest.raises(ValueError, match="a cell writes to stderr"):
        clean(execute(tmp_path / "w.ipynb"))
