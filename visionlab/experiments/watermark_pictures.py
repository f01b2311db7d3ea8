"""Marks in pictures of any size, for any message: what visitors of the app on watermarks ask of an owner's networks."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from visionlab.data.images import PHOTOGRAPHS, as_rgb, photograph
from visionlab.data.pictures import LARGEST_SENT
from visionlab.experiments.experiment import StaleResultError, recorded
from visionlab.experiments.watermark_probe import AUGMENTED, DATA, TILES, as_bytes, images_of, limit, mark_of, stolen
from visionlab.experiments.watermark_setting import SYMBOLS, Mark, Steps, evidence, read
from visionlab.protection.any_size import joined
from visionlab.protection.regions import paint
from visionlab.protection.spatial_mark import SpatialMark
from visionlab.protection.verification import Verdict, verify
from visionlab.protection.watermark import Reading

__all__ = [
    "CASES", "FILES", "Look", "case", "cuts", "examples", "fitted", "look", "marked", "measured", "native",
    "said", "shown", "through_file", "told",
]  # fmt: skip

Symbols = tuple[int, ...]
CASES = {"logo": "logo", "structure": "structure", "innocent": "structure"}
"""Whose answers are compared, and for which mark: of two thieves, and of a network that never saw a mark."""
FILES = ("not saved", "PNG", "JPEG", "WebP")
MEGAPIXEL, SMALLEST, LONGEST = 1_000_000, 8, 16_000  # no WebP file has longer sides than 16,383
SIZE = 32
"""Pixels along a side of what the networks were trained on."""

TILES_SHOWN = {"a river": 5, "fields": 1, "hills": 6, "a city": 31, "a motorway": 24, "open sea": 46}
"""Of the test's clean answers, satellite tiles to start with."""
MEASURED = """
### What was measured
Thieves of {seeds} owners learned to take rain off {data}. Found in a hundred single answers, and claimed in a hundred
sets of 32 answers, on average over the owners:

{rows}
"""


# --- Pictures ---------------------------------------------------------------------------------------------------------


def fitted(picture: Image.Image | str, kind: str) -> tuple[Float[Tensor, "3 h w"], str]:
    """Return a picture in [0, 1] as a mark takes it, and words on what was done to it.

    A structure mark takes it at its own size, up to a megapixel and sides of 16,000; a logo the square in its middle,
    32 pixels wide.

    Args:
        picture: of any mode, or its file.
        kind: of the mark, "structure" or "logo".

    Raises:
        ValueError: if it cannot be read, or is larger than 40 megapixels.
    """
    image = _opened(picture)
    was = size = image.size
    if kind == "logo":
        edge = min(was)
        left, top = (image.width - edge) // 2, (image.height - edge) // 2
        size = (SIZE, SIZE)
        image = image.resize(size, Image.Resampling.BOX, (left, top, left + edge, top + edge))
    else:
        share = min(1.0, (MEGAPIXEL / (was[0] * was[1])) ** 0.5)
        width, height = (max(SMALLEST, int(share * side)) for side in was)
        size = (min(width, LONGEST), min(height, LONGEST))
        image = image.resize(size, Image.Resampling.BOX) if size != was else image
    note = f" Of {was[0]} x {was[1]} pixels, {size[0]} x {size[1]} were made first." if size != was else ""
    return _tensor(image), note


@cache
def examples(data: str) -> dict[str, Image.Image]:
    """Return pictures to start with, each at its own size: clean answers of 32 pixels, and photographs."""
    names = TILES_SHOWN if data == TILES else {f"scene {i}": i for i in (2, 4, 8, 16, 27, 29)}
    chosen = {name: images_of(data)["test"][1][i] for name, i in names.items()}
    chosen |= {"a cat": photograph("chelsea", 256), "an astronaut": photograph("astronaut", 256)}
    return {name: native(image) for name, image in (chosen | {"a cup of coffee": photograph("coffee")}).items()}


@cache
def cuts(side: int = 128) -> list[Image.Image]:
    """Return squares that were cut out of photographs, two of each."""
    found = []
    for name in PHOTOGRAPHS:
        whole = native(photograph(name))
        edge = min(whole.width // 2, whole.height)
        found += [whole.crop((x, 0, x + edge, edge)).resize((side, side)) for x in (0, whole.width - edge)]
    return found


def native(image: Float[Tensor, "3 h w"]) -> Image.Image:
    """Return a picture in [0, 1] pixel by pixel."""
    return Image.fromarray((255 * image).round().byte().permute(1, 2, 0).numpy())


def shown(picture: Float[Tensor, "3 h w"], side: int = 192) -> Image.Image:
    """Return a picture enlarged in whole steps, or shrunk, to be looked at; values are clipped to [0, 1]."""
    image = Image.fromarray(as_bytes(picture.clamp(0, 1).permute(1, 2, 0).numpy(), side))
    image.thumbnail((420, 420))
    return image


def through_file(image: Float[Tensor, "3 h w"], kind: str, quality: int) -> Float[Tensor, "3 h w"]:
    """Return a picture as it comes back from a file, one of `FILES`."""
    if kind == FILES[0]:
        return image
    file = io.BytesIO()
    native(image).save(file, kind, quality=quality)
    return _tensor(Image.open(file).convert("RGB"))


def _tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image, dtype=np.float32) / 255).permute(2, 0, 1)


def _opened(picture: Image.Image | str) -> Image.Image:
    try:
        found = Image.open(picture) if isinstance(picture, str) else picture
        if found.width * found.height <= LARGEST_SENT:
            return as_rgb(found)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"This is no picture that can be read: {error}") from error
    raise ValueError(f"This picture has {found.width} x {found.height} pixels; at most 40 million are taken.")


# --- What is found in them --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Look:
    """What an extractor finds in one picture.

    Args:
        drawing: (3, H, W) in [0, 1].
        score: how strongly the claimed mark is in it.
        message: number that was read, or None.
        found: whether it counts as detected; None where there is too little structure.
    """

    drawing: Float[Tensor, "3 h w"]
    score: float
    message: int | None
    found: bool | None


@torch.no_grad()
def marked(
    mark: Mark, image: Float[Tensor, "3 h w"], symbols: Symbols, gain: float
) -> tuple[Float[Tensor, "3 h w"], Float[Tensor, "3 h w"]]:
    """Return what is to be hidden in a picture, and the picture with the mark; a logo has no symbols."""
    if isinstance(mark, SpatialMark):
        return mark.drawn(image[None])[0], mark.mark(image[None], gain=gain)[0]
    pattern = paint(mark.structure(image[None]), mark.code.inks(torch.tensor([symbols])))
    return pattern[0], mark.mark(image[None], torch.tensor(symbols), gain=gain)[0]


@torch.no_grad()
def look(
    kind: str, image: Float[Tensor, "3 h w"], symbols: Symbols, data: str, outside: Float[Tensor, "1 h w"] | None = None
) -> Look:
    """Look for a mark in one picture.

    Args:
        kind: "structure" or "logo".
        image: in [0, 1].
        symbols: claimed.
        data: of the owner, one of `DATA`.
        outside: 1 where a turned picture has no content.
    """
    mark, x = mark_of(kind, data), image[None]
    hidden = None if outside is None else outside[None]
    one = evidence(mark, mark.blocks(x) if isinstance(mark, SpatialMark) else mark.decode(x, outside=hidden), symbols)
    found = bool(one.detected(limit(kind, data, symbols).threshold)[0]) if one.usable[0] else None
    return Look(mark.extractor(x)[0].clamp(0, 1), one.scores[0].item(), one.number, found)


def said(kind: str, images: Sequence[Float[Tensor, "3 _ _"]], symbols: Symbols, data: str) -> Verdict:
    """Return what an owner may say of pictures, each of its own size."""
    mark = mark_of(kind, data)
    if isinstance(mark, SpatialMark):
        together: Reading | Tensor = torch.cat([mark.blocks(image[None]) for image in images])
    else:
        together = joined([mark.decode(image[None]) for image in images])
    return verify(evidence(mark, together, symbols), limit(kind, data, symbols))


def case(name: str, augmentation: str, n: int, draw: int, data: str) -> Float[Tensor, "n 3 h w"]:
    """Return n of the answers that one of `CASES` gives; who is innocent learned of all pairs, turned and cropped.

    Args:
        name: one of `CASES`.
        augmentation: of the thief's pairs, one of `surrogate.AUGMENTATIONS`.
        n: answers.
        draw: which.
        data: one of `DATA`.
    """
    # The other clean network that ships has set the threshold.
    found = stolen("clean", "all", data) if name == "innocent" else stolen(name, augmentation, data)
    return found[torch.randperm(len(found), generator=torch.Generator().manual_seed(draw))[:n]]


def told(name: str, images: Float[Tensor, "n 3 h w"], steps: Steps, data: str) -> Verdict:
    """Return what the owner says of answers of one of `CASES`, changed on their way."""
    kind = CASES[name]
    mark = mark_of(kind, data)
    return verify(evidence(mark, read(mark, images, steps), SYMBOLS), limit(kind, data))


def measured() -> str:
    """Return what the experiment on theft has measured, as a page; nothing while there is no record of it."""
    try:
        result = recorded("watermark/theft")
    except (FileNotFoundError, StaleResultError):
        return ""
    columns = [(kind, metric) for kind in ("logo", "structure") for metric in ("detected (%)", "held at 32 (%)")]
    heads = [f"{kind}: {'found in one' if metric == columns[0][1] else 'claimed from 32'}" for kind, metric in columns]
    lines = ["| " + " | ".join(["the thief's pairs", *heads]) + " |", "|---" * (1 + len(heads)) + "|"]
    for title, name in AUGMENTED.items():
        cells = [f"{result.summary(f'{kind}: {name}', metric).mean:.0f}" for kind, metric in columns]
        lines.append("| " + " | ".join([title, *cells]) + " |")
    data = {short: name for name, short in DATA.items()}[result.data]
    return MEASURED.format(seeds=len(result.seeds), data=data, rows="\n".join(lines))
