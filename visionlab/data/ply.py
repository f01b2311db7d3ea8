"""PLY files: the vertices with all their properties, in text or binary, read and written by numpy.

open3d is not used here because it leaves out properties of two bytes (ScanNet's labels are such) and fills what a
truncated file lacks with whatever lies in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

__all__ = ["Vertices", "read_ply", "write_ply"]

TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float32": "f4", "float64": "f8",
}  # fmt: skip
NAMES = {"f4": "float", "f8": "double", "i4": "int", "u1": "uchar"}
ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
LONGEST_HEADER = 2**16


class Vertices(NamedTuple):
    """The vertices of a file: each property's values (n,) in the file's type, and the comments of the header."""

    values: dict[str, np.ndarray]
    comments: list[str]


def read_ply(path: Path) -> Vertices:
    """Read the vertices of a PLY file; faces and other elements after them are left alone.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no PLY file, is truncated, or its vertices are lists or not the first element.
    """
    with path.open("rb") as file:
        order, count, columns, comments = _header(file, path)
        if not order:
            return Vertices(_text(file, path, count, columns), comments)
        kind = np.dtype([(name, order + code) for name, code in columns])
        content = file.read(count * kind.itemsize)
    if len(content) < count * kind.itemsize:
        raise ValueError(f"{path} is truncated: it has {len(content) // kind.itemsize} of {count} vertices")
    table = np.frombuffer(content, kind)
    return Vertices({name: table[name].astype(code) for name, code in columns}, comments)


def _header(file: IO[bytes], path: Path) -> tuple[str, int, list[tuple[str, str]], list[str]]:
    """The byte order ("" for text), how many vertices there are, their properties, and the comments."""
    if file.readline(16).strip() != b"ply":
        raise ValueError(f"{path} is no PLY file: its first line is not 'ply'")
    order, count, columns, comments, element = "?", -1, [], [], ""
    while (line := file.readline(LONGEST_HEADER)).strip() != b"end_header":
        words = line.decode("latin-1").split()
        match words:
            case ["format", form, *_] if form in ORDERS:
                order = ORDERS[form]
            case ["comment", *rest]:
                comments.append(" ".join(rest))
            case ["element", "vertex", number] if number.isdigit() and not element:
                element, count = "vertex", int(number)
            case ["element", name, _] if count >= 0:
                element = name
            case ["property", kind, name] if kind in TYPES and element == "vertex":
                columns.append((name, TYPES[kind]))
            case ["property", *_] if element and element != "vertex":
                pass
            case ["obj_info", *_]:
                pass
            case _:
                said = line.decode("latin-1").strip()[:60] or "nothing, it ends"
                raise ValueError(f"{path}: expected a PLY header whose first element is vertex; line: {said}")
    if order == "?" or count < 0 or len({name for name, _ in columns}) != len(columns):
        raise ValueError(f"{path}: its header has no format, no vertices, or a property twice")
    return order, count, columns, comments


def _text(file: IO[bytes], path: Path, count: int, columns: list[tuple[str, str]]) -> dict[str, np.ndarray]:
    lines = [line for _, line in zip(range(count), file, strict=False)]
    if len(lines) < count:
        raise ValueError(f"{path} is truncated: it has {len(lines)} of {count} vertices")
    try:
        table = np.loadtxt(lines, dtype=np.float64, ndmin=2) if count else np.zeros((0, len(columns)))
    except ValueError as error:
        raise ValueError(f"{path}: a vertex is not a row of numbers ({error})") from error
    if table.shape != (count, len(columns)):
        raise ValueError(f"{path}: expected {count} vertices of {len(columns)} numbers; got {table.shape}")
    return {name: _as_type(table[:, i], code, name, path) for i, (name, code) in enumerate(columns)}


def _as_type(values: np.ndarray, code: str, name: str, path: Path) -> np.ndarray:
    if np.dtype(code).kind in "iu":
        limits = np.iinfo(code)
        good = (values == np.round(values)) & (values >= limits.min) & (values <= limits.max)
        if not good.all():
            raise ValueError(f"{path}: property {name}: {values[~good][0]} is not of its type, {limits.dtype}")
    return values.astype(code)


def write_ply(file: IO[bytes], values: Mapping[str, np.ndarray], comments: list[str]) -> None:
    """Write vertices as binary PLY; values are (n,) of float32, float64, int32 or uint8."""
    kind = np.dtype([(name, "<" + np.dtype(array.dtype).str[1:]) for name, array in values.items()])
    table = np.empty(len(next(iter(values.values()))), kind)
    for name, array in values.items():
        table[name] = array
    lines = ["ply", "format binary_little_endian 1.0", *(f"comment {text}" for text in comments)]
    lines.append(f"element vertex {len(table)}")
    lines += [f"property {NAMES[np.dtype(array.dtype).str[1:]]} {name}" for name, array in values.items()]
    file.write(("\n".join([*lines, "end_header"]) + "\n").encode("utf-8"))
    file.write(table.tobytes())
