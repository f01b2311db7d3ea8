"""Where image files lie: the layouts of known data sets and of plain folders, read into one form.

Every reader gives the images (a list of files, or one array of uint8), their labels and the names of the classes;
`visionlab.data.images` makes tensors of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torchvision import datasets
from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

from visionlab.data import eurosat_pack

__all__ = ["KNOWN", "Contents", "Known", "read_folder", "read_known"]

Contents = tuple[Sequence[Path] | np.ndarray, Sequence[int], Sequence[str]]  # images, labels, class names


# Folders


def read_folder(folder: Path, split: str) -> Contents:
    """The contents of a folder with one folder of images per class, or with folders train/, val/, test/ that do.

    The classes are those of all splits together, so that a label means the same in each.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It has no such split, no class folders, or a class folder without images.
    """
    if not folder.exists():
        raise FileNotFoundError(f"the folder {folder} does not exist")
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file, expected a folder with one folder of images per class")
    found = _subfolders(folder)
    splits = [name for name in ("train", "val", "test") if name in found]
    # A class may well be called "train": as a split, it holds folders, or nothing lies beside it but other splits.
    if splits and set(found) != set(splits) and not any(_subfolders(folder / name) for name in splits):
        splits = []
    if split not in (splits or ["train"]):
        has = f"has the splits {splits}" if splits else f"has no such folder (found {found}): all of it is 'train'"
        raise ValueError(f"split={split!r}: {folder} {has}")
    classes = sorted({label for name in splits for label in _subfolders(folder / name)}) if splits else found
    return _read_classes(folder / split if splits else folder, classes)


def _read_classes(folder: Path, classes: Sequence[str]) -> Contents:
    present = _subfolders(folder)
    if not present:
        inside = sum(path.suffix.lower() in IMG_EXTENSIONS for path in folder.iterdir())
        raise ValueError(
            f"{folder} has no class folders ({inside} images lie directly in it): expected {folder}/CLASS/IMAGE"
        )
    indices = {label: index for index, label in enumerate(classes)}
    files = make_dataset(str(folder), indices, IMG_EXTENSIONS, allow_empty=True)
    samples = [(Path(path), label) for path, label in files if not _is_hidden(Path(path).relative_to(folder))]
    empty = sorted(set(present) - {classes[label] for _, label in samples})
    if empty:
        raise ValueError(f"{folder} has class folders without images: {empty}; known are {IMG_EXTENSIONS}")
    return [path for path, _ in samples], [label for _, label in samples], classes


def _subfolders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not _is_hidden(Path(path.name)))


def _is_hidden(path: Path) -> bool:
    """Whether programs left this behind (.ipynb_checkpoints, __MACOSX, ._photo.jpg), not a person."""
    return any(part.startswith((".", "__")) for part in path.parts)


# Known data sets


@dataclass(frozen=True)
class Known:
    """A known data set: its splits, what reads it, and what has to lie where.

    Attributes:
        splits: Those that it has, of "train", "val" and "test".
        read: (root, split, download) to contents.
        layout: What has to lie in the root folder; empty where the files come with a package.
        downloadable: Whether anyone may fetch it.
    """

    splits: tuple[str, ...]
    read: Callable[[Path, str, bool], Contents]
    layout: str = ""
    downloadable: bool = True


def read_known(name: str, split: str, root: Path, download: bool) -> Contents:
    """The contents of a data set in `KNOWN`, from below `root`.

    Raises:
        FileNotFoundError: It is missing or damaged; the message says what to put where.
        ValueError: It has no such split.
    """
    known = KNOWN[name]
    if split not in known.splits:
        raise ValueError(f"split={split!r}: {name!r} has {', '.join(map(repr, known.splits))}")
    if not known.layout:
        return known.read(root, split, download)
    try:
        return known.read(root, split, download and known.downloadable)
    except (OSError, RuntimeError, ValueError, AssertionError) as error:  # torchvision raises any of them
        advice = f"Put {known.layout} there, or point root= or VISIONLAB_DATA to the folder that has it"
        if known.downloadable:
            advice += "; the download failed" if download else "; or pass download=True"
        raise FileNotFoundError(f"data set {name!r} is missing or damaged in {root}. {advice}. ({error})") from error


def _cifar(kind: type[Any], root: Path, split: str, download: bool) -> Contents:
    dataset = kind(root, train=split == "train", download=download)
    return dataset.data, dataset.targets, dataset.classes


def _fashion_mnist(root: Path, split: str, download: bool) -> Contents:
    dataset = datasets.FashionMNIST(root, train=split == "train", download=download)
    return dataset.data.numpy(), dataset.targets.tolist(), dataset.classes


def _oxford_pets(root: Path, split: str, download: bool) -> Contents:
    dataset = datasets.OxfordIIITPet(root, "trainval" if split == "train" else "test", download=download)
    return dataset._images, dataset._labels, dataset.classes


def _listed(kind: type[Any], root: Path, split: str, download: bool) -> Contents:
    dataset = kind(root, split, download=download)
    return dataset._image_files, dataset._labels, dataset.classes


def _eurosat(root: Path, split: str, download: bool) -> Contents:
    dataset = datasets.EuroSAT(root, download=download)
    return [Path(path) for path, _ in dataset.samples], dataset.targets, dataset.classes


def _imagenet(root: Path, split: str, download: bool) -> Contents:
    dataset = datasets.ImageNet(root / "imagenet", split)
    classes = [", ".join(synonyms) for synonyms in dataset.classes]
    return [Path(path) for path, _ in dataset.samples], dataset.targets, classes


def _digits(root: Path, split: str, download: bool) -> Contents:
    """1,797 digits of 8 x 8 pixels. The files are in the order of their writers, so the last fifth is other hands."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = (bunch.images * (255 / 16)).round().astype(np.uint8)
    part = slice(None, 1437) if split == "train" else slice(1437, None)
    return images[part], bunch.target[part].tolist(), [str(name) for name in bunch.target_names]


def _eurosat_mini(root: Path, split: str, download: bool) -> Contents:
    tiles, labels, classes = eurosat_pack.read(split)
    return tiles, labels.tolist(), classes


_TWO, _THREE = ("train", "test"), ("train", "val", "test")
KNOWN = {
    "cifar10": Known(_TWO, partial(_cifar, datasets.CIFAR10), "cifar-10-batches-py/"),
    "cifar100": Known(_TWO, partial(_cifar, datasets.CIFAR100), "cifar-100-python/"),
    "fashion_mnist": Known(_TWO, _fashion_mnist, "FashionMNIST/raw/ with its four unpacked *-ubyte files"),
    "oxford_pets": Known(_TWO, _oxford_pets, "oxford-iiit-pet/ with images/ and annotations/"),
    "flowers102": Known(
        _THREE, partial(_listed, datasets.Flowers102), "flowers-102/ with jpg/, imagelabels.mat and setid.mat"
    ),
    "eurosat": Known(("train",), _eurosat, "eurosat/2750/ with its ten class folders"),
    "dtd": Known(_THREE, partial(_listed, datasets.DTD), "dtd/dtd/ with images/ and labels/"),
    "imagenet": Known(
        ("train", "val"),
        _imagenet,
        "imagenet/ with ILSVRC2012_devkit_t12.tar.gz and ILSVRC2012_img_train.tar or ILSVRC2012_img_val.tar "
        "(from image-net.org, which asks you to register)",
        downloadable=False,
    ),
    "digits": Known(_TWO, _digits),
    "eurosat_mini": Known(_TWO, _eurosat_mini),
}
