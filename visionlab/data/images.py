"""Real images: well-known data sets, your own folders, and a dozen photographs, all in one form.

`load("cifar10")`, `load("eurosat_mini", "test")` or `load(Path("my/photos"), size=64)` give an `ImageSet`: a
map-style data set of images in [0, 1] with three channels. Files are read by torchvision, scikit-learn and Pillow;
three sources need no download: "digits" (scikit-learn's), "eurosat_mini" (the pack of `visionlab.data.eurosat_pack`)
and the photographs inside the scikit-image package.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import platformdirs
import torch
from jaxtyping import Float, Int
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from visionlab.data.sources import KNOWN, read_folder, read_known

__all__ = ["NAMES", "PHOTOGRAPHS", "ImageSet", "as_rgb", "data_root", "load", "photograph", "photographs"]

NAMES = tuple(KNOWN)
PHOTOGRAPHS = {
    "astronaut": "astronaut.png",
    "brick": "brick.png",
    "camera": "camera.png",
    "chelsea": "chelsea.png",
    "coffee": "coffee.png",
    "coins": "coins.png",
    "grass": "grass.png",
    "gravel": "gravel.png",
    "hubble_deep_field": "hubble_deep_field.jpg",
    "moon": "moon.png",
    "motorcycle": "motorcycle_left.png",
    "rocket": "rocket.jpg",
}


class ImageSet(Dataset[tuple[Tensor, int]]):
    """Labelled images: `dataset[i]` is an image (3, H, W) float32 in [0, 1] and its label.

    Attributes:
        name: The data set or folder that the images come from.
        split: "train", "val" or "test".
        classes: The name of each class; a label is an index into it.
        labels: (N,) int64.
        size: Height and width of every image, or None where images keep their own.
    """

    def __init__(
        self,
        images: Sequence[Path] | np.ndarray,
        labels: Sequence[int] | Tensor,
        classes: Sequence[str],
        *,
        name: str,
        split: str = "train",
        size: int | None = None,
    ) -> None:
        """Wrap image files, or an array (N, H, W) or (N, H, W, 3) of uint8, with their labels.

        Raises:
            ValueError: An array is not uint8, there are no images or not as many labels, or `size` is not positive.
        """
        if isinstance(images, np.ndarray) and images.dtype != np.uint8:
            raise ValueError(f"images: an array of {images.dtype}, expected uint8")
        if not 0 < len(images) == len(labels):
            raise ValueError(f"{len(images)} images come with {len(labels)} labels, expected as many, and some")
        self.images = images
        self.labels: Int[Tensor, " n"] = torch.as_tensor(labels, dtype=torch.int64)
        self.classes = tuple(classes)
        self.name = name
        self.split = split
        self.size = _checked_size(size)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Float[Tensor, "3 h w"], int]:
        image = self.images[index]
        picture = _open(image) if isinstance(image, Path) else Image.fromarray(image).convert("RGB")
        return _to_tensor(picture, self.size), int(self.labels[index])

    def __repr__(self) -> str:
        size = "" if self.size is None else f", size={self.size}"
        return f"ImageSet({self.name!r}, {self.split!r}, {len(self)} images, {len(self.classes)} classes{size})"

    def tensors(self) -> tuple[Float[Tensor, "n 3 h w"], Int[Tensor, " n"]]:
        """All images (N, 3, H, W) float32 in [0, 1], and all labels (N,), for a set that fits in memory.

        Raises:
            ValueError: The images differ in size; `load(..., size=...)` makes them equal.
        """
        if isinstance(self.images, np.ndarray) and self.size is None:
            pixels = torch.from_numpy(self.images)
            pixels = pixels.permute(0, 3, 1, 2) if pixels.ndim == 4 else pixels[:, None].expand(-1, 3, -1, -1)
            return pixels.contiguous().float().div_(255), self.labels
        images = [self[0][0]]
        for index in range(1, len(self)):
            images.append(self[index][0])
            if images[index].shape != images[0].shape:
                first, other = tuple(images[0].shape), tuple(images[index].shape)
                raise ValueError(
                    f"images of {self.name!r} differ in size: image 0 is {first}, image {index} is {other}; "
                    "load them with size= to make them equal"
                )
        return torch.stack(images), self.labels


def load(
    name_or_folder: str | Path,
    split: str = "train",
    *,
    size: int | None = None,
    root: str | Path | None = None,
    download: bool = False,
) -> ImageSet:
    """The images of a known data set (see `NAMES`) or of a folder.

    A folder holds one folder of images per class, or folders train/, val/, test/ that do; without those, all its
    images are "train". A `Path` always means a folder.

    Args:
        name_or_folder: "cifar10", "cifar100", "fashion_mnist", "oxford_pets", "flowers102", "eurosat", "dtd",
            "imagenet", "digits", "eurosat_mini", or a path.
        split: "train", "val" or "test", where the set has it. EuroSAT has no official split: all is "train".
        size: Scale the shorter side to so many pixels (bicubic, antialiased) and cut out the centre square.
        root: Folder of known data sets; the environment variable VISIONLAB_DATA or the user's cache if not given.
        download: Fetch a known data set that is not there yet.

    Raises:
        FileNotFoundError: The folder does not exist; the data set is missing or damaged (says what to put where).
        ValueError: The name or the split is unknown, `size` is not positive, or a folder holds no images as above.
    """
    _checked_size(size)
    if name_or_folder in KNOWN:
        name = str(name_or_folder)
        contents = read_known(name, split, Path(root or data_root()).expanduser(), download)
    else:
        folder = Path(name_or_folder).expanduser()
        if isinstance(name_or_folder, str) and len(folder.parts) <= 1 and not folder.exists():
            raise ValueError(f"unknown data set {_suggest(name_or_folder, NAMES)}; or a path to a folder")
        name = folder.resolve().name
        contents = read_folder(folder, split)
    images, labels, classes = contents
    return ImageSet(images, labels, classes, name=name, split=split, size=size)


def data_root() -> Path:
    """The folder of downloaded data sets: the environment variable VISIONLAB_DATA, else the user's cache."""
    chosen = os.environ.get("VISIONLAB_DATA")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("visionlab") / "data"


def photographs() -> dict[str, Float[Tensor, "3 h w"]]:
    """The photographs inside the scikit-image package, each (3, H, W) float32 in [0, 1] at its own size."""
    return {name: photograph(name) for name in PHOTOGRAPHS}


def photograph(name: str, size: int | None = None) -> Float[Tensor, "3 h w"]:
    """One photograph (3, H, W) float32 in [0, 1], by its name in `PHOTOGRAPHS`.

    Args:
        name: "astronaut", "chelsea" (a cat), "coffee", "rocket", ...
        size: As in `load`: scale the shorter side and cut out the centre square; None keeps the photograph whole.

    Raises:
        ValueError: The name is unknown, or `size` is not positive.
    """
    if name not in PHOTOGRAPHS:
        raise ValueError(f"unknown photograph {_suggest(name, tuple(PHOTOGRAPHS))}")
    # The files are opened where they lie: skimage.data would download those that it does not find.
    package = importlib.util.find_spec("skimage")
    assert package is not None and package.origin is not None
    return _to_tensor(_open(Path(package.origin).parent / "data" / PHOTOGRAPHS[name]), _checked_size(size))


def as_rgb(picture: Image.Image) -> Image.Image:
    """A picture upright as its EXIF data say, with three channels of 8 bits; the first of an animation's.

    Raises:
        ValueError: Its pixels are floating-point numbers.
    """
    upright = ImageOps.exif_transpose(picture)
    if upright.mode == "F":
        raise ValueError("floating-point pixels have no agreed range")
    if upright.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip, not scale
        upright = Image.fromarray((np.asarray(upright) / 257).round().astype(np.uint8))
    if "transparency" in upright.info:  # else Pillow warns
        upright = upright.convert("RGBA")
    return upright.convert("RGB")


def _open(path: Path) -> Image.Image:
    """The picture in a file, upright as its EXIF data say, with three channels of 8 bits."""
    try:
        with Image.open(path) as picture:
            return as_rgb(picture)
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is not a readable image: {error}") from error


def _to_tensor(picture: Image.Image, size: int | None) -> Float[Tensor, "3 h w"]:
    if size is not None:
        picture = F.center_crop(F.resize(picture, size, InterpolationMode.BICUBIC), size)
    return F.to_tensor(picture)


def _checked_size(size: int | None) -> int | None:
    if size is not None and size < 1:
        raise ValueError(f"size={size}: expected a positive number of pixels, or None")
    return size


def _suggest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name.lower(), known, n=1)
    meant = f" (did you mean {close[0]!r}?)" if close else ""
    return f"{name!r}{meant}: expected one of {', '.join(known)}"
