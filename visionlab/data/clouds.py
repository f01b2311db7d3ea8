"""Labelled point clouds: rooms and scenes, one `Cloud` each.

`load("s3dis", "test")`, `load("scannet", "val")` or `load("my/scans")` read them, `save` writes them with what was
found out about their points; rooms that need no download are in `visionlab.data.world.rooms`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from visionlab.data.cloud_files import CLASS_COMMENT, Contents, read_cloud_file, read_folder
from visionlab.data.cloud_sets import is_s3dis, is_scannet, read_s3dis, read_scannet
from visionlab.data.ply import write_ply

__all__ = ["KNOWN", "UNLABELLED", "Cloud", "class_name", "load", "save"]

UNLABELLED = -1
"""Class of points that nobody has labelled."""

KNOWN = {
    "s3dis": (
        "Stanford3dDataset_v1.2_Aligned_Version",
        "the folders Area_1 to Area_6 (Area_1/office_1/Annotations/chair_1.txt ...) of S3DIS",
    ),
    "scannet": (
        "scannet",
        "the folder scans (scans/scene0000_00/scene0000_00_vh_clean_2.ply and .labels.ply ...) of ScanNetV2",
    ),
    "mosd": (
        "mosd",
        "folders train and test of labelled .npz or .ply files, scans of things on a table: the modified Object"
        " Segmentation Database,",
    ),
}
"""The data sets that `load` knows by name: their folder in the data root, and what lies in it."""

TAKEN = (
    "x",
    "y",
    "z",
    "red",
    "green",
    "blue",
    "label",
    "instance",
    "xyz",
    "rgb",
    "labels",
    "instances",
    "classes",
    "name",
)


@dataclass(frozen=True, eq=False)
class Cloud:
    """The points of one room or scene.

    Args:
        xyz: (N, 3) in metres, z up.
        rgb: (N, 3) in [0, 1].
        labels: (N,) classes, `UNLABELLED` where there is none.
        instances: (N,) objects, numbered from 0; points of one object have one number.
        classes: their names.
        name: of the room.

    Raises:
        ValueError: if there are no points, a number is not finite, colours or labels are out of range, or shapes do not
            fit each other; the message names what.
    """

    xyz: Float[Tensor, "n 3"]
    rgb: Float[Tensor, "n 3"]
    labels: Int[Tensor, " n"]
    instances: Int[Tensor, " n"]
    classes: tuple[str, ...]
    name: str = "cloud"

    def __post_init__(self) -> None:
        n = len(self.xyz)
        if n == 0:
            raise ValueError(f"xyz: {self.name} has no points")
        for key, shape in {"xyz": (n, 3), "rgb": (n, 3), "labels": (n,), "instances": (n,)}.items():
            values: Tensor = getattr(self, key)
            if tuple(values.shape) != shape:
                raise ValueError(f"{key}: {self.name}: expected shape {shape}, got {tuple(values.shape)}")
            if values.is_floating_point() and not torch.isfinite(values).all():
                bad = int((~torch.isfinite(values)).any(1).sum())
                raise ValueError(f"{key}: {self.name}: {bad} of {n} points have numbers that are not finite")
        if self.rgb.min() < 0 or self.rgb.max() > 1:
            raise ValueError(f"rgb: {self.name}: expected 0 to 1, got {self.rgb.min():.3g} to {self.rgb.max():.3g}")
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < UNLABELLED or high >= len(self.classes):
            least, most = UNLABELLED, len(self.classes) - 1
            raise ValueError(f"labels: {self.name}: expected {least} to {most}, got {low} to {high}")

    def __len__(self) -> int:
        return len(self.xyz)


def class_name(classes: Sequence[str], label: int) -> str:
    """The name of a class, or words for `UNLABELLED`."""
    return classes[label] if label >= 0 else "no label"


def load(
    source: str | Path, split: str | None = None, *, points: int | None = None, root: str | Path | None = None
) -> list[Cloud]:
    """The clouds of a known data set, a folder or a file.

    A folder is laid out like S3DIS or ScanNetV2, or holds .ply, .pcd or .npz files with labels, in folders train/,
    val/ and test/ if it has splits. Without instances in a file, the points of one class are one instance. A file
    classes.txt beside the clouds, one name a line, names the classes.

    Args:
        source: "s3dis", "scannet", "mosd", or a path.
        split: "train", "val" or "test", where there is such; None for all.
        points: keep at most so many of each cloud, drawn evenly, always the same ones; None for all. All of S3DIS needs
            about 11 GB.
        root: folder of known data sets; the environment variable VISIONLAB_DATA or the user's cache if not given.

    Raises:
        FileNotFoundError: there is no such folder or file; for a known set, says what to put where.
        ValueError: there is no such split, there are no clouds, or a file is damaged, empty, or without labels; it is
            named.
    """
    if points is not None and points < 1:
        raise ValueError(f"points={points}: expected a positive number, or None")
    path = _path(source, root)
    return [_thinned(_cloud(contents), points) for contents in _contents(path, split)]


def _path(source: str | Path, root: str | Path | None) -> Path:
    if source not in KNOWN:
        path = Path(source).expanduser()
        if not path.exists():
            known = ", ".join(map(repr, KNOWN))
            raise FileNotFoundError(f"{path} does not exist: expected {known}, or a folder or file of labelled clouds")
        return path
    from visionlab.data.images import data_root  # which brings torchvision with it

    folder, layout = KNOWN[str(source)]
    path = Path(root or data_root()).expanduser() / folder
    if not (is_s3dis(path) or is_scannet(path) or (path / "train").is_dir()):
        raise FileNotFoundError(
            f"data set {source!r} is missing in {path}. Put {layout} there, "
            "or point root= or VISIONLAB_DATA to the folder that has it; its licence has to be agreed to, so nothing "
            "downloads it"
        )
    return path


def _contents(path: Path, split: str | None) -> Iterable[Contents]:
    if path.is_file():
        if split is not None:
            raise ValueError(f"split={split!r}: {path} is one file, which has no splits")
        return read_cloud_file(path)
    if is_s3dis(path):
        return read_s3dis(path, split)
    return read_scannet(path, split) if is_scannet(path) else read_folder(path, split)


def _cloud(contents: Contents) -> Cloud:
    labels, instances = contents.labels, contents.instances
    if instances is None:
        instances = np.unique(labels, return_inverse=True)[1]
    elif instances.min() < 0:
        instances = np.unique(instances, return_inverse=True)[1]
    return Cloud(
        xyz=torch.from_numpy(contents.xyz),
        rgb=torch.from_numpy(contents.rgb),
        labels=torch.from_numpy(labels),
        instances=torch.from_numpy(instances),
        classes=contents.classes or (),
        name=contents.name,
    )


def _thinned(cloud: Cloud, points: int | None) -> Cloud:
    if points is None or points >= len(cloud):
        return cloud
    kept = torch.randperm(len(cloud), generator=torch.Generator().manual_seed(0))[:points]
    xyz, rgb, labels, instances = (each[kept] for each in (cloud.xyz, cloud.rgb, cloud.labels, cloud.instances))
    return Cloud(xyz, rgb, labels, instances, cloud.classes, cloud.name)


def save(cloud: Cloud, path: str | Path, **extra: Tensor | np.ndarray) -> None:
    """Write a cloud as binary .ply, colours in 8 bits, or as .npz, exactly; whole or not at all. `load` reads it.

    Args:
        cloud: what to write.
        path: ends in .ply or .npz.
        extra: more numbers for each point, (N,), by name: confidence, corrected labels ... kept as float32, int32, or
            uint8 for truth values and bytes.

    Raises:
        ValueError: the path ends otherwise, or extra numbers are too few, too many, too large, or called like those of
            the cloud.
        OSError: the file cannot be written.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() not in (".ply", ".npz"):
        raise ValueError(f"path: expected a name that ends in .ply or .npz; got {path}")
    added = {name: _column(name, values, len(cloud)) for name, values in extra.items()}
    xyz, labels, instances = cloud.xyz.cpu().numpy(), cloud.labels.cpu().numpy(), cloud.instances.cpu().numpy()
    rgb = cloud.rgb.cpu().numpy()
    if path.suffix.lower() == ".npz":
        arrays = {"xyz": xyz, "rgb": rgb, "labels": labels, "instances": instances, "name": np.array(cloud.name)}
        _write_whole(path, lambda file: np.savez(file, **arrays, classes=np.array(cloud.classes), **added))  # type: ignore[arg-type]
        return
    columns = dict(zip("xyz", xyz.astype(np.float32).T, strict=True))
    columns |= dict(zip(("red", "green", "blue"), (rgb * 255).round().astype(np.uint8).T, strict=True))
    columns |= {"label": labels.astype(np.int32), "instance": instances.astype(np.int32)} | added
    _write_whole(path, lambda file: write_ply(file, columns, [f"{CLASS_COMMENT}{name}" for name in cloud.classes]))


def _column(name: str, values: Tensor | np.ndarray, n: int) -> np.ndarray:
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if name in TAKEN:
        raise ValueError(f"{name}: the cloud has its own; choose another name")
    if array.shape != (n,) or array.dtype.kind not in "fiub":
        raise ValueError(f"{name}: expected {n} numbers, one for each point; got {array.dtype} of shape {array.shape}")
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    if array.dtype in (np.bool_, np.uint8):
        return array.astype(np.uint8)
    if n and not -(2**31) <= int(array.min()) <= int(array.max()) < 2**31:
        raise ValueError(f"{name}: expected numbers of 32 bits; got {array.min()} to {array.max()}")
    return array.astype(np.int32)


def _write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write beside the path and rename, so that what bears its name is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as file:
            write(file)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
