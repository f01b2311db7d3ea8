"""Pictures in a folder, each at its own size: read with what belongs to it, and written again.

`visionlab.data.images` reads pictures to learn from them, all of one form. Here a picture is somebody's own: its
transparency and its colour profile are kept, and a folder of them is written whole or not at all.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS

from visionlab.data.images import ImageSet, as_rgb

__all__ = [
    "FORMS",
    "LARGEST",
    "LARGEST_SENT",
    "Form",
    "Picture",
    "files",
    "middle_square",
    "new_folder",
    "read",
    "squares",
    "write",
]

LARGEST = 100_000_000
"""Pixels of a picture at most: more are refused before they are unpacked."""
LARGEST_SENT = 40_000_000
"""Pixels at most of a picture that is sent to an app."""
Form = Literal["png", "jpeg", "webp"]
FORMS: dict[str, str] = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
QUALITY = 95
"""Of JPEG and WebP."""


@dataclass(frozen=True)
class Picture:
    """A picture with what is kept of its file.

    Args:
        image: RGB in [0, 1], upright, 8 bits a channel.
        alpha: its opacity in [0, 1], or None where it has none.
        grey: whether the file has one channel.
        profile: of its colours (ICC), empty where there is none.
    """

    image: Float[Tensor, "3 h w"]
    alpha: Float[Tensor, "1 h w"] | None = None
    grey: bool = False
    profile: bytes = b""


def files(folder: Path) -> list[Path]:
    """The files of pictures in a folder and the folders in it, sorted, by their endings; hidden ones are left out.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no picture.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"folder: there is no folder {folder}")
    found = sorted(
        path for path in folder.rglob("*")
        if path.suffix.lower() in IMG_EXTENSIONS and not any(
            part.startswith((".", "__")) for part in path.relative_to(folder).parts
        ) and path.is_file()
    )  # fmt: skip
    if not found:
        raise ValueError(f"folder: expected pictures ({', '.join(IMG_EXTENSIONS)}), {folder} holds none")
    return found


def read(path: Path) -> Picture:
    """Read a picture.

    Raises:
        ValueError: it cannot be read, or has more than `LARGEST` pixels; the message names the file.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # a limit of our own comes next
            with Image.open(path) as opened:
                if opened.width * opened.height > LARGEST:
                    raise ValueError(
                        f"{opened.width} x {opened.height} pixels, expected {LARGEST // 10**6} million at most"
                    )
                return _unpacked(opened)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is not a readable picture: {error}") from error


def write(picture: Picture, path: Path, form: Form = "png") -> None:
    """Write a picture; JPEG keeps colour at full resolution, and WebP and JPEG have quality 95.

    Raises:
        ValueError: it is transparent, and JPEG is not.
    """
    if form == "jpeg" and picture.alpha is not None:
        raise ValueError(f"{path} would lose its transparency, which JPEG cannot hold: choose png or webp")
    layers = [picture.image] if picture.alpha is None else [picture.image, picture.alpha]
    pixels = (torch.cat(layers).clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    options = {"icc_profile": picture.profile} if picture.profile else {}
    lossy = {} if form == "png" else {"quality": QUALITY} | ({"subsampling": 0} if form == "jpeg" else {"exact": True})
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, format=form, **options, **lossy)


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give a folder to fill, which becomes ``folder`` at the end, or vanishes if that is not reached.

    Raises:
        ValueError: there is one already.
        OSError: it cannot be made.
    """
    if folder.exists():
        raise ValueError(f"out: expected a new folder, {folder} is there already")
    part = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}.part")
    part.mkdir(parents=True)
    try:
        yield part
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def middle_square(picture: Image.Image) -> Image.Image:
    """Return the middle of a picture as a square, upright, with three channels of 8 bits.

    Raises:
        ValueError: it has more than `LARGEST_SENT` pixels, or they are floating-point numbers.
    """
    if picture.width * picture.height > LARGEST_SENT:
        raise ValueError(f"This picture has {picture.width} x {picture.height} pixels; at most 40 million are taken.")
    upright = as_rgb(picture)
    side = min(upright.size)
    left, top = (upright.width - side) // 2, (upright.height - side) // 2
    return upright.crop((left, top, left + side, top + side))


def squares(
    outputs: Path, inputs: Path | None, size: int
) -> tuple[Float[Tensor, "n 3 size size"] | None, Float[Tensor, "n 3 size size"]]:
    """Questions and answers of a network, cut alike to squares in the middle, each scaled by its shorter side.

    Args:
        outputs: a folder of answers.
        inputs: a folder of questions with the names of their answers, whatever the ending; or None.
        size: pixels of a side.

    Raises:
        FileNotFoundError: a folder is missing.
        ValueError: a picture cannot be read, an answer has no question, or the two differ in size.
    """
    answers = files(outputs)
    if inputs is None:
        return None, _set(answers, size).tensors()[0]
    asked = {path.relative_to(inputs).with_suffix(""): path for path in files(inputs)}
    paired = []
    for answer in answers:
        name = answer.relative_to(outputs)
        if name.with_suffix("") not in asked:
            raise ValueError(f"inputs: expected a picture for each of outputs, there is none for {name}")
        paired.append(asked[name.with_suffix("")])
    questions, clean = _set(paired, None), _set(answers, None)
    for i, name in enumerate(answers):
        sizes = [f"{x.shape[2]} x {x.shape[1]}" for x in (questions[i][0], clean[i][0])]
        if sizes[0] != sizes[1]:
            raise ValueError(f"inputs: expected {sizes[1]} pixels, as the answer {name.name}, got {sizes[0]}")
    return _set(paired, size).tensors()[0], _set(answers, size).tensors()[0]


def _set(paths: list[Path], size: int | None) -> ImageSet:
    return ImageSet(paths, [0] * len(paths), ("picture",), name="pictures", size=size)


def _unpacked(opened: Image.Image) -> Picture:
    clear = opened.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in opened.info
    grey = opened.mode in ("1", "L", "LA", "La") or opened.mode.startswith("I")
    # A profile describes the channels of the file: of three others it would be wrong.
    profile = opened.info.get("icc_profile") or b"" if opened.mode in ("RGB", "RGBA", "P") else b""
    alpha = None
    if clear:
        alpha = _tensor(ImageOps.exif_transpose(opened).convert("RGBA").getchannel("A"))
    return Picture(_tensor(as_rgb(opened)), alpha, grey, profile)


def _tensor(picture: Image.Image) -> Tensor:
    pixels = torch.from_numpy(np.array(picture))
    return pixels.reshape(*pixels.shape[:2], -1).permute(2, 0, 1).float() / 255
