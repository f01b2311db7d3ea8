"""Notebooks as files: run them top to bottom, and keep them clean, so that stored outputs can be held to account."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from visionlab.train.checkpoint import write_whole

__all__ = ["clean", "execute", "main"]


def execute(path: Path, timeout: int = 600) -> Any:
    """Run a notebook in its folder, in a kernel of this Python, and return it with its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: if a cell raises.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=timeout, kernel_name="python3", resources={"metadata": {"path": path.parent}}
    ).execute()
    return notebook


def clean(notebook: Any) -> Any:
    """Drop what differs from run to run and no reader needs; execution counts and outputs stay.

    The state of widgets is dropped as well: it may hold megabytes of scripts, and a page without a kernel shows the
    static picture above each widget.
    """
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = {"tags": tags} if tags else {}
        for output in cell.get("outputs", ()):
            if output.get("output_type") == "stream" and output.get("name") == "stderr":
                raise ValueError(f"a cell writes to stderr: {''.join(output['text'])[:200]!r}")
    return notebook


def main(paths: list[str]) -> None:
    """Execute and clean the notebooks in place."""
    import nbformat

    for name in paths:
        path = Path(name)
        text = nbformat.writes(clean(execute(path))) + "\n"
        write_whole(path, lambda file, text=text: file.write(text.encode()))  # type: ignore[misc]
        print(f"{path}: {len(text) / 1e6:.2f} MB")


if __name__ == "__main__":
    main(sys.argv[1:])
