"""Sets on disk: made once, in the background if need be, mapped into memory, and resumed after a kill.

A set is a folder of .npy files beside ``set.json``, which says what they are. While it is made it bears the suffix
``.part``, and ``progress.json`` in it says how far it is; the last step renames it, so that a set that bears its own
name is whole. A lock makes the second of two processes wait for the first instead of making the same set.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from filelock import FileLock

__all__ = ["Column", "StoreError", "cache_root", "load", "make"]

Fill = Callable[[range], Mapping[str, np.ndarray]]


class StoreError(RuntimeError):
    """A folder that should hold a set, and does not."""


@dataclass(frozen=True)
class Column:
    """One file of a set: the shape of an entry, and numpy's name of its type."""

    shape: tuple[int, ...]
    dtype: str


def cache_root() -> Path:
    """Where sets are kept: ``VISIONLAB_CACHE``, or the user's cache folder."""
    return Path(os.environ.get("VISIONLAB_CACHE") or platformdirs.user_cache_path("visionlab")) / "world"


def make(
    parameters: Mapping[str, Any],
    columns: Mapping[str, Column],
    n: int,
    fill: Fill,
    *,
    root: Path | None = None,
    chunk: int = 256,
    hook: Callable[[int, int], None] | None = None,
) -> dict[str, np.ndarray]:
    """Return the set with these parameters, mapped read-only; make it first if it is not there.

    Args:
        parameters: everything that the content follows from; its hash names the folder.
        columns: the files.
        n: entries.
        fill: gives the entries of a range, for each column.
        root: of the folder; `cache_root` by default.
        chunk: entries made between two saves of the progress.
        hook: called as ``hook(done, n)`` after each chunk.

    Raises:
        StoreError: the folder holds something else.
        OSError: it cannot be written, or the disk is full; what was made stays, and is used by the next try.
    """
    described = {
        "parameters": json.loads(json.dumps(parameters)),
        "n": n,
        "columns": {name: [list(column.shape), column.dtype] for name, column in columns.items()},
    }
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
    folder = (root or cache_root()) / f"{parameters.get('task', 'set')}-{digest}"
    if not folder.exists():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.with_suffix(".lock")):
                if not folder.exists():
                    _write(folder, described, columns, n, fill, chunk, hook)
        except OSError as error:
            raise OSError(
                error.errno, f"cannot keep the set in {folder}: {error.strerror or error}; make room, or choose a "
                "folder that can be written with VISIONLAB_CACHE"
            ) from error  # fmt: skip
    return load(folder, described)


def load(folder: Path, described: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Map a set's files into memory, read-only.

    Raises:
        StoreError: a file is missing, damaged, or of another set.
    """
    try:
        there = json.loads((folder / "set.json").read_text())
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in described["columns"]}
    except (OSError, ValueError) as error:
        raise StoreError(f"{folder} is damaged ({error}); delete it, and it will be made anew") from error
    shapes = {name: [list(array.shape[1:]), _type_name(array.dtype)] for name, array in arrays.items()}
    lengths = {len(array) for array in arrays.values()}
    if there != dict(described) or shapes != described["columns"] or lengths != {described["n"]}:
        raise StoreError(f"{folder} holds another set than its name says; delete it, and it will be made anew")
    return arrays


def _write(
    folder: Path,
    described: dict[str, Any],
    columns: Mapping[str, Column],
    n: int,
    fill: Fill,
    chunk: int,
    hook: Callable[[int, int], None] | None,
) -> None:
    part = folder.with_name(folder.name + ".part")
    part.mkdir(exist_ok=True)
    done = _progress(part, described)
    arrays = {
        name: np.lib.format.open_memmap(
            part / f"{name}.npy", "r+" if done else "w+", np.dtype(column.dtype), (n, *column.shape)
        )
        for name, column in columns.items()
    }
    if hook is not None:
        hook(done, n)
    for start in range(done, n, chunk):
        stop = min(start + chunk, n)
        for name, values in fill(range(start, stop)).items():
            arrays[name][start:stop] = values
        for array in arrays.values():
            array.flush()
        _write_text(part / "progress.json", json.dumps({"done": stop, "set": described}))
        if hook is not None:
            hook(stop, n)
    _write_text(part / "set.json", json.dumps(described))
    (part / "progress.json").unlink()
    part.rename(folder)


def _progress(part: Path, described: dict[str, Any]) -> int:
    """How many entries a killed run has finished; what is not known to be whole is made again."""
    try:
        found = json.loads((part / "progress.json").read_text())
        whole = all((part / f"{name}.npy").exists() for name in described["columns"])
        return int(found["done"]) if whole and found["set"] == described else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _write_text(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.replace(path)


def _type_name(dtype: np.dtype[Any]) -> str:
    return dtype.str.lstrip("<|=") if dtype.kind == "S" else str(dtype)
