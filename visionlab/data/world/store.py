"""Sets on disk: made once, mapped into memory, and resumed after a kill.

A set is a folder of .npy files beside ``set.json``, which says what they are and how many entries are done. While it
is made, its name ends in ``.part`` and entries are added in chunks, each safe on the disk before it is counted; the
last step renames the folder, so that a set that bears its own name is whole. A lock makes the second of two processes
wait for the first instead of making the same set.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from filelock import FileLock

__all__ = ["Column", "StoreError", "cache_root", "load", "make"]

Fill = Callable[[range], Mapping[str, np.ndarray]]
Hook = Callable[[int, int], None]


class StoreError(RuntimeError):
    """A folder that should hold a set, and does not."""


@dataclass(frozen=True)
class Column:
    """One file of a set: the shape of an entry, and numpy's name of its type."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        """Of one entry."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def head(self, n: int) -> bytes:
        """The first bytes of the file of n entries."""
        file = io.BytesIO()
        kind = np.lib.format.dtype_to_descr(np.dtype(self.dtype))
        described = {"descr": kind, "fortran_order": False, "shape": (n, *self.shape)}
        np.lib.format.write_array_header_1_0(file, described)
        return file.getvalue()


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
    hook: Hook | None = None,
) -> dict[str, np.ndarray]:
    """Return the set with these parameters, mapped read-only; make it first if it is not there.

    Args:
        parameters: everything that the content follows from; its hash names the folder.
        columns: the files.
        n: entries.
        fill: gives the entries of a range, for each column; what it raises at once leaves nothing on the disk.
        root: of the folder; `cache_root` by default.
        chunk: entries made between two saves; no more are in memory at once.
        hook: called as ``hook(done, n)`` at the start and after each chunk.

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
    try:
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{folder}.lock"):
                if not folder.exists():
                    _write(folder, described, columns, n, fill, chunk, hook)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise OSError(
            error.errno, f"cannot keep the set in {folder}: {error.strerror or error}{where}; make room, or choose a "
            "folder that can be written with VISIONLAB_CACHE"
        ) from error  # fmt: skip
    return load(folder, described)


def load(folder: Path, described: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Map a set's files into memory, read-only.

    Raises:
        StoreError: a file is missing, damaged, or of another set.
    """
    n, columns = described["n"], described["columns"]
    try:
        there = json.loads((folder / "set.json").read_text())
        arrays: dict[str, np.ndarray] = {
            name: np.lib.format.open_memmap(folder / f"{name}.npy", mode="r") for name in columns
        }
    except (OSError, ValueError) as error:
        raise StoreError(f"{folder} cannot be read ({error}); delete it, and it will be made anew") from error
    wanted = {name: ((n, *shape), np.dtype(dtype)) for name, (shape, dtype) in columns.items()}
    found = {name: (array.shape, array.dtype) for name, array in arrays.items()}
    if there != {"done": n, "set": described} or found != wanted:
        raise StoreError(f"{folder} holds another set than its name says; delete it, and it will be made anew")
    return arrays


def _write(
    folder: Path,
    described: dict[str, Any],
    columns: Mapping[str, Column],
    n: int,
    fill: Fill,
    chunk: int,
    hook: Hook | None,
) -> None:
    part = folder.with_name(folder.name + ".part")
    done = _done(part, described, columns, n)
    needed, free = (n - done) * sum(column.nbytes for column in columns.values()), shutil.disk_usage(folder.parent).free
    if needed > free:
        raise OSError(errno.ENOSPC, f"it needs {needed / 1e6:.1f} MB, and the disk has {free / 1e6:.1f}")
    if hook is not None:
        hook(done, n)
    for start in range(done, n, chunk):
        stop = min(start + chunk, n)
        values = fill(range(start, stop))
        part.mkdir(exist_ok=True)
        for name, column in columns.items():
            _add(part / f"{name}.npy", column, n, range(start, stop), values[name])
        _note(part, {"done": stop, "set": described})
        if hook is not None:
            hook(stop, n)
    part.rename(folder)


def _done(part: Path, described: dict[str, Any], columns: Mapping[str, Column], n: int) -> int:
    """How many entries a killed run has finished; what is not known to be whole is made again."""
    try:
        found = json.loads((part / "set.json").read_text())
        done = int(found["done"])
        for name, column in columns.items():
            path, head = part / f"{name}.npy", column.head(n)
            with path.open("rb") as file:
                if file.read(len(head)) != head or path.stat().st_size < len(head) + done * column.nbytes:
                    return 0
        return done if found["set"] == described and 0 <= done <= n else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _add(path: Path, column: Column, n: int, which: range, values: np.ndarray) -> None:
    """Put entries behind the first ones. Written, not mapped: a full disk is then an error, and not a crash."""
    if values.shape != (len(which), *column.shape):
        raise ValueError(f"{path.stem}: expected an array of {(len(which), *column.shape)}; got {values.shape}")
    block, head = values.astype(column.dtype, casting="same_kind", copy=False), column.head(n)
    with path.open("r+b" if which.start else "wb") as file:
        if not which.start:
            file.write(head)
        file.seek(len(head) + which.start * column.nbytes)
        file.write(block.tobytes())
        file.flush()
        os.fsync(file.fileno())


def _note(part: Path, content: dict[str, Any]) -> None:
    temporary = part / "set.tmp"
    temporary.write_text(json.dumps(content))
    temporary.replace(part / "set.json")
