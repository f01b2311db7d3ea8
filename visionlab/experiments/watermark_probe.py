"""What the lab and the app on watermarks look at: an answer on its way, stolen answers, mean residuals, evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from visionlab.data.graded import GRADED
from visionlab.data.world.explore import Choice, SceneView, Slider
from visionlab.experiments.experiment import Job
from visionlab.experiments.watermark import THEFT
from visionlab.experiments.watermark_setting import (
    CHANGES,
    MARKS,
    SYMBOLS,
    Mark,
    Pairs,
    evidence,
    pairs_of,
    read,
    shipped,
)
from visionlab.measure.image_quality import psnr
from visionlab.protection.owner import marked_answers
from visionlab.protection.owner_code import Hues
from visionlab.protection.regions import paint
from visionlab.protection.robustness import changed, uncovered
from visionlab.protection.spatial_mark import SpatialMark
from visionlab.protection.tasks import answers
from visionlab.protection.verification import Calibration, Verdict, calibrate, verify
from visionlab.protection.watermark import Reading, StructureMark

__all__ = [
    "AUGMENTED", "DATA", "TILES", "UNCHANGED", "MarkView", "as_bytes", "controls", "drawings", "explore", "follow",
    "grid", "images_of", "limit", "mark_of", "own_answers", "painted", "stolen", "theft", "theft_controls", "verdict",
]  # fmt: skip

UNCHANGED = "as it is"
TILES = "satellite tiles"
DATA = {TILES: "eurosat_mini", "scenes of the world": "world"}
"""Data for which marks and thieves ship."""
SHOWN = 16
"""Answers on show in a grid."""


# --- What ships -------------------------------------------------------------------------------------------------------


@cache
def images_of(data: str = TILES) -> Pairs:
    """Return questions and clean answers of owner, thief, calibration and test, as the networks that ship had them."""
    return pairs_of(Job("", 0, THEFT.preset("long"), DATA[data]))


@cache
def mark_of(kind: str, data: str = TILES) -> Mark:
    """Return the owner's networks of a kind, "structure" or "logo"."""
    return shipped(MARKS[kind], DATA[data])  # type: ignore[return-value]


@cache
def _clean(kind: str, data: str) -> tuple[Reading | Tensor, ...]:
    """What is read from clean answers and those of a clean thief, each under all of `CHANGES`."""
    asked, truth = images_of(data)["calibration"]
    kinds = (truth, answers(shipped("thief_clean_none", DATA[data]), asked))
    return tuple(read(mark_of(kind, data), x, steps) for x in kinds for steps in CHANGES.values())


@cache
def limit(kind: str, data: str = TILES, symbols: tuple[int, ...] = SYMBOLS) -> Calibration:
    """Return the threshold of a mark with any message: clean answers give some messages more easily than others."""
    return calibrate(*(evidence(mark_of(kind, data), each, symbols) for each in _clean(kind, data)))


@cache
def stolen(kind: str, augmentation: str, data: str = TILES) -> Tensor:
    """Return what a thief's network answers to the test's questions (N, 3, H, W).

    Args:
        kind: the mark of the answers that it was trained on, or "clean".
        augmentation: of its pairs, one of `surrogate.AUGMENTATIONS`; of a clean one "none" or "all".
        data: one of `DATA`.
    """
    return answers(shipped(f"thief_{kind}_{augmentation}", DATA[data]), images_of(data)["test"][0])


@cache
def own_answers(kind: str, data: str = TILES) -> Tensor:
    """Return the owner's own answers (N, 3, H, W) to the test's questions, marked."""
    return marked_answers(mark_of(kind, data), images_of(data)["test"][1], torch.tensor(SYMBOLS))


def verdict(kind: str, images: Tensor, n: int | None = None, data: str = TILES, *, seed: int = 0) -> Verdict:
    """Return what an owner may say of n of the images, drawn at random, or of all."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:n]
    mark = mark_of(kind, data)
    return verify(evidence(mark, read(mark, images[order])), limit(kind, data))


@torch.no_grad()
def drawings(kind: str, images: Tensor, data: str = TILES) -> Float[Tensor, "n 3 h w"]:
    """Return what the extractor of a mark draws of images, in [0, 1]."""
    return mark_of(kind, data).extractor(images).clamp(0, 1)


# --- One answer on its way --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MarkView:
    """One answer on its way: all pictures (H, W, 3) in [0, 1].

    Args:
        clean: the network's answer.
        pattern: what is to be hidden: structure in the owner's inks on white, or the logo.
        marked: the answer with the mark.
        residual: what was changed, amplified, grey where nothing was.
        changed: the marked answer after a flip, turn or the like.
        drawing: what the extractor draws of that.
        clean_drawing: what it draws of the clean answer after the same change.
        psnr: of the marked answer, in dB.
        score: how strongly the mark is read from the changed answer: 0 not at all, 1 as it was put.
        clean_score: the same of the clean answer.
        found: whether the changed answer counts as detected; None where there is too little structure.
    """

    clean: np.ndarray
    pattern: np.ndarray
    marked: np.ndarray
    residual: np.ndarray
    changed: np.ndarray
    drawing: np.ndarray
    clean_drawing: np.ndarray
    psnr: float
    score: float
    clean_score: float
    found: bool | None


@torch.no_grad()
def follow(
    mark: Mark,
    image: Float[Tensor, "3 h w"],
    threshold: float,
    *,
    symbols: tuple[int, ...] = SYMBOLS,
    gain: float = 1.0,
    steps: Sequence[tuple[str, float]] = (),
    seed: int = 0,
) -> MarkView:
    """Follow one answer through mark, change and extractor.

    Args:
        mark: the owner's networks.
        image: a clean answer in [0, 1], of any size.
        threshold: of the score of one image.
        symbols: of a structure mark.
        gain: how strongly the mark is put.
        steps: transforms in turn, (name, strength) each.
        seed: of the transforms.
    """
    x = image[None]
    if isinstance(mark, StructureMark):
        inks = mark.code.inks(torch.tensor([symbols]))
        pattern, marked = paint(mark.structure(x), inks), mark.mark(x, torch.tensor(symbols), gain=gain)
    else:
        pattern, marked = mark.drawn(x), mark.mark(x, gain=gain)
    after, plain = (changed(each, steps, seed=seed) for each in (marked, x))
    outside = uncovered(x, steps, seed=seed)
    one, other = (evidence(mark, _read(mark, each, outside), symbols) for each in (after, plain))
    shown = {
        "clean": x, "pattern": pattern, "marked": marked, "residual": 0.5 + 8 * (marked - x), "changed": after,
        "drawing": mark.extractor(after), "clean_drawing": mark.extractor(plain),
    }  # fmt: skip
    pictures = {name: value[0].clamp(0, 1).permute(1, 2, 0).numpy() for name, value in shown.items()}
    return MarkView(
        **pictures, psnr=psnr(x, marked).item(), score=one.scores[0].item(), clean_score=other.scores[0].item(),
        found=bool(one.detected(threshold)[0]) if one.usable[0] else None,
    )  # fmt: skip


def _read(mark: Mark, images: Tensor, outside: Tensor) -> Reading | Tensor:
    return mark.blocks(images) if isinstance(mark, SpatialMark) else mark.decode(images, outside=outside)


def controls(images: Sequence[str]) -> tuple[Slider | Choice, ...]:
    """Return the controls of `explore`."""
    return (
        Choice("image", "answer", tuple(images), images[0]),
        Choice("mark", "mark", tuple(MARKS), "structure"),
        Slider("symbol", "owner's number (structure mark)", 0.0, 7.0, 1.0, float(SYMBOLS[0])),
        Slider("gain", "strength", 0.0, 3.0, 0.25, 1.0),
        Choice("change", "then", (UNCHANGED, *GRADED), UNCHANGED),
        Slider("strength", "how strongly", 0.0, 1.0, 0.05, 0.35),
    )


def explore(images: Mapping[str, Tensor], values: Mapping[str, Any]) -> SceneView:
    """Answer the controls: the marked answer, changed, and beside it all that led there and what is read from it."""
    steps = () if values["change"] == UNCHANGED else ((values["change"], values["strength"]),)
    kind, symbols = values["mark"], (int(values["symbol"]),)
    view = follow(
        mark_of(kind), images[values["image"]], limit(kind, symbols=symbols).threshold, symbols=symbols,
        gain=values["gain"], steps=steps,
    )  # fmt: skip
    found = {True: "the mark is found", False: "no mark is found", None: "too little structure to look at"}[view.found]
    words = f"PSNR {view.psnr:.0f} dB; score {view.score:.2f} with the mark, {view.clean_score:.2f} without"
    titles = {
        "clean": "1 clean answer", "pattern": "2 to be hidden", "marked": "3 marked", "residual": "4 what changed, ×8",
        "changed": "5 after the change", "drawing": "6 read from it", "clean_drawing": "7 read without mark",
    }  # fmt: skip
    panels = tuple((title, as_bytes(getattr(view, name))) for name, title in titles.items())
    return SceneView(image=as_bytes(view.changed), panels=panels, boxes=(), caption=found, readout=words)


# --- The heart: steal it yourself -------------------------------------------------------------------------------------


def theft_controls() -> tuple[Slider | Choice, ...]:
    """Return the controls of `theft`."""
    return (
        Choice("augmentation", "the thief's pairs are", tuple(AUGMENTED), "as they came"),
        Slider("n", "answers that the owner looks at", 4.0, 64.0, 4.0, 32.0),
        Choice("change", "and the thief's answers", (UNCHANGED, *GRADED), UNCHANGED),
        Slider("strength", "how strongly", 0.0, 1.0, 0.05, 0.35),
        Slider("draw", "draw other answers", 0.0, 20.0, 1.0, 0.0),
    )


AUGMENTED = {
    "as they came": "none", "mirrored": "flip", "turned": "rotation", "cropped": "crop", "all three": "all",
}  # fmt: skip
"""What the reader chooses, and the thief's augmentation."""


def theft(values: Mapping[str, Any], data: str = TILES) -> SceneView:
    """Answer the controls: 16 of a thief's answers, what each extractor draws of them, and what the owner may say."""
    name = AUGMENTED[values["augmentation"]]
    steps = () if values["change"] == UNCHANGED else ((values["change"], values["strength"]),)
    order = torch.randperm(
        len(images_of(data)["test"][0]), generator=torch.Generator().manual_seed(int(values["draw"]))
    )
    panels, words = [], []
    for kind in ("logo", "structure"):
        some = stolen(kind, name, data)[order[: int(values["n"])]]
        mark = mark_of(kind, data)
        said = verify(evidence(mark, read(mark, some, steps)), limit(kind, data))
        shown = changed(some[:SHOWN], steps)
        panels += [(f"{kind}: the thief's answers", grid(shown)), (f"{kind}: read", grid(drawings(kind, shown, data)))]
        words.append(
            f"{kind}: found in {said.detected} of {said.images - said.abstained}, p = {said.p_value:.2g}:"
            f" {'STOLEN' if said.holds else 'no claim'}"
        )
    return SceneView(image=panels[-1][1], panels=tuple(panels), boxes=(), caption="; ".join(words), readout="")


def grid(images: Float[Tensor, "n 3 h w"], *, columns: int = 4, gap: int = 2, side: int = 256) -> np.ndarray:
    """Return images in rows and columns as one picture (H, W, 3) of bytes, on white."""
    n, _, height, width = images.shape
    rows = -(-n // columns)
    canvas = torch.ones(3, rows * (height + gap) - gap, columns * (width + gap) - gap)
    for i, image in enumerate(images):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        canvas[:, top : top + height, left : left + width] = image
    return as_bytes(canvas.clamp(0, 1).permute(1, 2, 0).numpy(), side)


def painted(
    image: Float[Tensor, "3 h w"], structure: Callable[[Tensor], Tensor], symbols: tuple[int, ...]
) -> Float[np.ndarray, "h w 3"]:
    """Return the structure of a picture, each class in the ink of its symbol, on white."""
    inks = Hues().inks(torch.tensor([symbols]))
    return paint(structure(image[None]), inks)[0].permute(1, 2, 0).numpy()


def as_bytes(picture: np.ndarray, side: int = 256) -> np.ndarray:
    """A picture as bytes, enlarged in whole steps."""
    times = max(1, side // max(picture.shape[:2]))
    return (picture * 255).round().astype(np.uint8).repeat(times, 0).repeat(times, 1)
