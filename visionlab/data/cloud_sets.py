"""S3DIS and ScanNetV2 as they are published, read into plain arrays.

S3DIS (Stanford3dDataset_v1.2_Aligned_Version) has a text file for each object, Area_1/office_1/Annotations/chair_1.txt,
with lines "x y z r g b". ScanNetV2 has meshes, scans/scene0000_00/scene0000_00_vh_clean_2.ply, beside them one with a
label for each vertex, and two JSON files that say which vertices are one object.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from visionlab.data.cloud_files import Contents, colours
from visionlab.data.ply import read_ply

__all__ = ["S3DIS_CLASSES", "SCANNET_CLASSES", "is_s3dis", "is_scannet", "read_s3dis", "read_scannet"]

S3DIS_CLASSES = (
    "ceiling", "floor", "wall", "beam", "column", "window", "door", "chair", "table", "bookcase", "sofa", "board",
    "clutter",
)  # fmt: skip
S3DIS_TEST = "Area_5"
RARE = 1000  # one line of so many may be unreadable: the published files have a few such

SCANNET_CLASSES = {
    "wall": 1, "floor": 2, "cabinet": 3, "bed": 4, "chair": 5, "sofa": 6, "table": 7, "door": 8, "window": 9,
    "bookshelf": 10, "picture": 11, "counter": 12, "desk": 14, "curtain": 16, "refrigerator": 24, "shower curtain": 28,
    "toilet": 33, "sink": 34, "bathtub": 36, "other furniture": 39,
}  # fmt: skip
"""The classes of the benchmark, and the number of each in the list of NYU40, which the files use."""

SCANNET_LISTS = ("", "Tasks/Benchmark", "splits")  # folders where the lists of scenes may lie


# S3DIS


def is_s3dis(folder: Path) -> bool:
    """Whether a folder is laid out like S3DIS."""
    return any(folder.glob("Area_*/*/Annotations"))


def read_s3dis(folder: Path, split: str | None) -> Iterator[Contents]:
    """The rooms of S3DIS one after the other; "test" is Area 5 and "train" the others.

    Raises:
        ValueError: there is no such split or no rooms in it, or a file cannot be read.
    """
    if split not in (None, "train", "test"):
        raise ValueError(f"split={split!r}: S3DIS has 'train' and 'test' (Area 5)")
    rooms = [path.parent for path in sorted(folder.glob("Area_*/*/Annotations"))]
    wanted = [room for room in rooms if split is None or (room.parent.name == S3DIS_TEST) == (split == "test")]
    if not wanted:
        raise ValueError(f"split={split!r}: {folder} has no rooms of that split ({len(rooms)} of others)")
    for room in wanted:
        yield _s3dis_room(room)


def _s3dis_room(room: Path) -> Contents:
    files = sorted((room / "Annotations").glob("*.txt"))
    if not files:
        raise ValueError(f"{room / 'Annotations'} has no files of objects: expected chair_1.txt and the like")
    tables = [_s3dis_object(path) for path in files]
    counts = [len(table) for table in tables]
    kinds = [path.stem.rsplit("_", 1)[0] for path in files]
    clutter = len(S3DIS_CLASSES) - 1
    labels = [S3DIS_CLASSES.index(kind) if kind in S3DIS_CLASSES else clutter for kind in kinds]
    table = np.concatenate(tables)
    return Contents(
        name=f"{room.parent.name}/{room.name}",
        xyz=table[:, :3],
        rgb=table[:, 3:] / np.float32(255),
        labels=np.repeat(np.array(labels), counts),
        instances=np.repeat(np.arange(len(files)), counts),
        classes=S3DIS_CLASSES,
    )


def _s3dis_object(path: Path) -> np.ndarray:
    """The rows (n, 6) of an object's file; a rare unreadable line is left out with a warning."""
    lines = path.read_text(encoding="latin-1").split("\n")
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise ValueError(f"{path} is empty: expected lines of x y z r g b")
    try:
        table = np.loadtxt(lines, dtype=np.float32, ndmin=2, comments=None)
    except ValueError:
        table = np.empty((0, 0), np.float32)
    if table.shape == (len(lines), 6):
        return table
    rows = [row for line in lines if (row := _six_numbers(line)) is not None]
    bad = len(lines) - len(rows)
    if bad * RARE > len(lines):
        raise ValueError(f"{path}: {bad} of {len(lines)} lines are not the six numbers x y z r g b")
    warnings.warn(f"{path}: left out {bad} of {len(lines)} lines that are not six numbers", stacklevel=2)
    return np.array(rows, np.float32)


def _six_numbers(line: str) -> list[float] | None:
    try:
        row = [float(word) for word in line.split(" ") if word]
    except ValueError:
        return None
    return row if len(row) == 6 else None


# ScanNet


def is_scannet(folder: Path) -> bool:
    """Whether a folder is laid out like ScanNet."""
    return any(folder.glob("scans/scene*_*"))


def read_scannet(folder: Path, split: str | None) -> Iterator[Contents]:
    """The scenes of ScanNetV2 one after the other; the lists scannetv2_train.txt and scannetv2_val.txt are the splits.

    Raises:
        FileNotFoundError: a list of scenes or a scene's mesh is missing.
        ValueError: there is no such split, or files do not fit each other.
    """
    if split not in (None, "train", "val"):
        raise ValueError(
            f"split={split!r}: ScanNet has 'train' and 'val' (labels of its test scenes are not published)"
        )
    scenes = sorted(path for path in (folder / "scans").glob("scene*_*") if path.is_dir())
    if split:
        listed = _scannet_list(folder, split)
        scenes = [scene for scene in scenes if scene.name in listed]
    if not scenes:
        raise ValueError(f"split={split!r}: {folder / 'scans'} has no scenes of that split")
    for scene in scenes:
        yield _scannet_scene(scene)


def _scannet_list(folder: Path, split: str) -> set[str]:
    name = f"scannetv2_{split}.txt"
    for place in SCANNET_LISTS:
        if (folder / place / name).is_file():
            return set((folder / place / name).read_text(encoding="utf-8").split())
    raise FileNotFoundError(f"split={split!r}: put {name}, the list of its scenes, into {folder}")


def _scannet_scene(scene: Path) -> Contents:
    mesh = scene / f"{scene.name}_vh_clean_2.ply"
    labelled = scene / f"{scene.name}_vh_clean_2.labels.ply"
    for path in (mesh, labelled):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: expected the mesh of the scene and the one with its labels")
    values, nyu = read_ply(mesh).values, read_ply(labelled).values.get("label")
    if nyu is None or len(nyu) != len(values["x"]):
        got = "none" if nyu is None else len(nyu)
        raise ValueError(f"labels: {labelled}: expected a label for each of {len(values['x'])} vertices; got {got}")
    table = np.full(2**16, -1)
    table[list(SCANNET_CLASSES.values())] = np.arange(len(SCANNET_CLASSES))
    return Contents(
        name=scene.name,
        xyz=np.stack([values[key] for key in ("x", "y", "z")], axis=1).astype(np.float32),
        rgb=colours(np.stack([values[key] for key in ("red", "green", "blue")], axis=1)),
        labels=table[nyu.astype(np.uint16)],
        instances=_scannet_instances(scene, len(nyu)),
        classes=tuple(SCANNET_CLASSES),
    )


def _scannet_instances(scene: Path, n: int) -> np.ndarray | None:
    """The object of each vertex, those of none being one more; None where the JSON files are missing."""
    parts = scene / f"{scene.name}_vh_clean_2.0.010000.segs.json"
    groups = scene / f"{scene.name}.aggregation.json"
    if not parts.is_file() or not groups.is_file():
        return None
    segment = np.array(_json(parts, "segIndices"))
    if segment.shape != (n,):
        raise ValueError(f"instances: {parts}: expected a segment for each of {n} vertices; got {segment.shape}")
    objects = _json(groups, "segGroups")
    instances = np.full(n, len(objects))
    for number, group in enumerate(objects):
        instances[np.isin(segment, group["segments"])] = number
    return instances


def _json(path: Path, key: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))[key]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected JSON with {key} ({error!r})") from error
