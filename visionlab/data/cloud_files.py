"""Files of labelled point clouds: PLY, PCD and npz, each read into plain arrays.

`visionlab.data.clouds` makes clouds of them. A property may be called by any of the names in `LABELS` and `INSTANCES`.
Colours are integers of the type's range, or floats from 0 to 1 or from 0 to 255; without any, all points are grey.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from visionlab.data.open3d_loader import load_open3d
from visionlab.data.ply import read_ply

__all__ = ["CLASS_COMMENT", "SUFFIXES", "Contents", "colours", "read_cloud_file", "read_folder"]

SUFFIXES = (".ply", ".pcd", ".npz")
LABELS = ("label", "labels", "class", "semantic")
INSTANCES = ("instance", "instances", "object", "object_id", "objectid", "instance_id")
CLASS_COMMENT = "class "
TABLE_CLASSES = ("table", "box", "cylinder")  # of the scans of things on tables, which have no names with them
GREY = 0.5
MOST_CLASSES = 1000  # more are ids of something else


class Contents(NamedTuple):
    """One cloud as arrays.

    Attributes:
        name: of the room or scene.
        xyz, rgb: (n, 3) float32, colours in [0, 1].
        labels: (n,) int64.
        instances: (n,) int64, or None where the file has none.
        classes: their names, or None where the file has none.
    """

    name: str
    xyz: np.ndarray
    rgb: np.ndarray
    labels: np.ndarray
    instances: np.ndarray | None
    classes: tuple[str, ...] | None


def read_folder(folder: Path, split: str | None) -> list[Contents]:
    """All clouds below a folder, by name; or those below its folder ``split``.

    Raises:
        ValueError: it has no such split, no clouds, or a file is not readable as one.
    """
    base = folder / split if split else folder
    if not base.is_dir():
        raise ValueError(f"split={split!r}: {folder} has no folder {split}")
    paths = sorted(path for path in base.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise ValueError(f"{base} has no clouds: expected {', '.join(SUFFIXES)} files with labels, or S3DIS or ScanNet")
    named = _named_classes(base) or _named_classes(folder)
    found = [
        each._replace(name=str(path.parent.relative_to(base) / each.name)) for path in paths for each in _read(path)
    ]
    return _with_classes(found, named)


def read_cloud_file(path: Path) -> list[Contents]:
    """The clouds of one file, one but for npz files of many scenes; classes.txt beside it names the classes.

    Raises:
        ValueError: it is of another kind, damaged or empty, or has no labels.
    """
    return _with_classes(_read(path), _named_classes(path.parent))


def _read(path: Path) -> list[Contents]:
    read = {".ply": _ply, ".pcd": _pcd, ".npz": _npz}.get(path.suffix.lower())
    if read is None:
        raise ValueError(f"{path}: expected a file that ends in {', '.join(SUFFIXES)}")
    return read(path)


def _with_classes(clouds: list[Contents], named: tuple[str, ...] | None) -> list[Contents]:
    """The same clouds, classes by the names given, else by those of the file, else all by the same numbers."""
    highest = max((int(each.labels.max()) for each in clouds if each.classes is None), default=0)
    if highest >= MOST_CLASSES and not named:
        raise ValueError(f"labels: found up to {highest}: expected a classes.txt beside the clouds that names so many")
    numbered = tuple(f"class {number}" for number in range(max(highest, 0) + 1))
    return [each._replace(classes=named or each.classes or numbered) for each in clouds]


def _named_classes(folder: Path) -> tuple[str, ...] | None:
    """The lines of a folder's classes.txt, if it has one."""
    path = folder / "classes.txt"
    if not path.is_file():
        return None
    return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())


def _ply(path: Path) -> list[Contents]:
    values, comments = read_ply(path)
    classes = tuple(text.removeprefix(CLASS_COMMENT) for text in comments if text.startswith(CLASS_COMMENT))
    plain = {name.lower().removeprefix("scalar_"): array for name, array in values.items()}
    missing = [name for name in ("x", "y", "z") if name not in plain]
    if missing:
        raise ValueError(f"xyz: {path} has no property {missing[0]}; it has {', '.join(values)}")
    xyz = np.stack([plain[name] for name in ("x", "y", "z")], axis=1)
    names = next((t for t in (("red", "green", "blue"), ("r", "g", "b")) if all(name in plain for name in t)), None)
    rgb = np.stack([plain[name] for name in names], axis=1) if names else None
    return [_contents(path, path.stem, xyz, rgb, plain, classes or None)]


def _pcd(path: Path) -> list[Contents]:
    open3d = load_open3d()
    count = _points_in_pcd(path)
    with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
        point = open3d.t.io.read_point_cloud(str(path)).point
    values = {name: array.numpy() for name, array in point.items()}
    if "positions" not in values or len(values["positions"]) != count:
        raise ValueError(f"{path} is truncated or damaged: its {count} points cannot be read")
    plain = {name.lower(): array[:, 0] for name, array in values.items() if array.shape[1] == 1}
    return [_contents(path, path.stem, values["positions"], values.get("colors"), plain, None)]


def _points_in_pcd(path: Path) -> int:
    """How many points the header promises, after a look whether the file is long enough to hold them."""
    with path.open("rb") as file:
        said: dict[str, list[str]] = {}
        while "DATA" not in said:
            line = file.readline(2**16)
            if not line:
                raise ValueError(f"{path} is no PCD file: it has no line DATA")
            word, *rest = line.decode("latin-1").split() or ["#"]
            said[word] = rest
        content = file.read() if said["DATA"] != ["binary_compressed"] else None
    try:
        count = int(said["POINTS"][0])
        row = sum(int(size) * int(times) for size, times in zip(said["SIZE"], said["COUNT"], strict=True))
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(f"{path}: expected a PCD header with SIZE, COUNT and POINTS ({error!r})") from error
    if content is not None:
        there = len(content.split(b"\n")) if said["DATA"] == ["ascii"] else len(content) // max(row, 1)
        there -= said["DATA"] == ["ascii"] and content.endswith(b"\n")
        if there < count:
            raise ValueError(f"{path} is truncated: it has {there} of {count} points")
    return count


def _npz(path: Path) -> list[Contents]:
    try:
        with zipfile.ZipFile(path):  # np.load takes other files too
            pass
        with np.load(path, allow_pickle=False) as file:
            values = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is not a readable npz file of plain arrays ({error})") from error
    if "xyz_mm" in values:
        return _table_scenes(path, values)
    if "xyz" not in values:
        raise ValueError(f"xyz: {path} has no array xyz; it has {', '.join(values)}")
    name = str(values["name"]) if "name" in values else path.stem
    classes = tuple(map(str, values["classes"])) if "classes" in values else None
    return [_contents(path, name, values["xyz"], values.get("rgb"), values, classes)]


def _table_scenes(path: Path, values: Mapping[str, np.ndarray]) -> list[Contents]:
    """Scans of things on tables, many in one file, in millimetres."""
    missing = [key for key in ("rgb", "semantic", "instance", "names") if key not in values]
    if missing or len({len(array) for array in values.values()}) != 1:
        raise ValueError(f"{path}: expected xyz_mm, rgb, semantic, instance and names of equally many scenes")
    return [
        _contents(
            path,
            str(name),
            values["xyz_mm"][i] / np.float32(1000),
            values["rgb"][i],
            {key: values[key][i] for key in ("semantic", "instance")},
            TABLE_CLASSES,
        )
        for i, name in enumerate(values["names"])
    ]


def _contents(
    path: Path,
    name: str,
    xyz: np.ndarray,
    rgb: np.ndarray | None,
    values: Mapping[str, np.ndarray],
    classes: tuple[str, ...] | None,
) -> Contents:
    if xyz.size == 0:
        raise ValueError(f"{path} has no points")
    labels = next((values[key] for key in LABELS if key in values), None)
    instances = next((values[key] for key in INSTANCES if key in values), None)
    if labels is None:
        has = ", ".join(values) or "none"
        raise ValueError(f"labels: {path} has no property {', '.join(LABELS[:-1])} or {LABELS[-1]}; it has {has}")
    rgb = np.full((len(xyz), 3), GREY, np.float32) if rgb is None else colours(rgb)
    n = len(xyz)
    for key, array, shape in (("xyz", xyz, (n, 3)), ("rgb", rgb, (n, 3)), ("labels", labels, (n,))):
        if array.shape != shape or array.dtype.kind not in "fiub":
            raise ValueError(f"{key}: {path}: expected {shape} numbers; got {array.dtype} of shape {array.shape}")
    objects = None if instances is None else _whole("instances", instances, path)
    return Contents(name, xyz.astype(np.float32), rgb, _whole("labels", labels, path), objects, classes)


def _whole(argument: str, values: np.ndarray, path: Path) -> np.ndarray:
    if not (np.isfinite(values) & (values == np.floor(values))).all():
        raise ValueError(f"{argument}: {path}: expected whole numbers, got others among them")
    return values.astype(np.int64)


def colours(rgb: np.ndarray) -> np.ndarray:
    """Colours as float32 in [0, 1]: of integers by the range of their type, of floats over 1 by 255."""
    if rgb.dtype.kind in "iu":
        highest = 255 if rgb.dtype.itemsize == 1 or rgb.max(initial=0) <= 255 else np.iinfo(rgb.dtype).max
        return rgb.astype(np.float32) / np.float32(highest)
    return (rgb / (255.0 if rgb.max(initial=0) > 1 else 1.0)).astype(np.float32)
