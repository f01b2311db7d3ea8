"""What an owner shows the extractor of a mark before it may accuse anybody: clean answers of many kinds, and strangers.

Answers of the owner's network, and of a surrogate that never saw the mark, are read as they are, and as JPEG, noisy,
blurred and cropped, as nobody knows what a suspect's have been through.

Strangers have nothing to do with the owner: photographs, and renders of the world. An edge between an amber cat and its
dark ground is amber, and an extractor that has seen none but the owner's pictures reads amber ink there: one that knew
satellite tiles alone from 89 % of a cat's crops. So it is taught some (`strangers`, in any hue, as further pairs whose
answer is the question; 3 % of the cat's crops are left), and calibrated on all (`stranger_readings`).

The p-value takes pictures as independent, and crops of one photograph are not: sixteen crops of one amber photograph
would be sixteen witnesses. So each photograph is a kind by itself, the threshold is that of the worst one, and so is
the false-positive rate; in a pool of all of them one strange photograph would hide. With that, for each of eight inks
and three marks, none of 1,000 folders of 16 unrelated pictures led to a claim, half of the folders from one photograph
or one style each. It is no proof for photographs that are like none of the dozen: left out of the calibration, some
still gave claims for their own hue, a rocket in an amber sky most of all. The report says so, and ``--clean`` adds
pictures of any kind.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from kornia.enhance import adjust_hue
from torch import Tensor

from visionlab.data.graded import strength_of, to_8_bits
from visionlab.data.images import PHOTOGRAPHS, photograph
from visionlab.data.world import render, scenes
from visionlab.protection.robustness import changed, uncovered
from visionlab.protection.verification import Evidence, structure_evidence
from visionlab.protection.watermark import Reading, StructureMark

__all__ = ["CHANGES", "TAUGHT", "against", "answer_readings", "crops", "stranger_readings", "strangers"]

TAUGHT = tuple(PHOTOGRAPHS)[::2]
"""Photographs that the extractor is taught; to the others it is a stranger as well."""

CHANGES: dict[str, tuple[tuple[str, float], ...]] = {
    "": (),
    "JPEG 75": (("JPEG", strength_of("JPEG", 75)),),
    "noise 5/255": (("noise", strength_of("noise", 5 / 255)),),
    "blur 0.8": (("blur", strength_of("blur", 0.8)),),
    "crop 7/8": (("crop and resize", strength_of("crop and resize", 7 / 8)),),
}
"""What may have happened to answers, by name."""
CROPS = {1: 200, 2: 100, 4: 25}
"""How many crops of a photograph, by how many times the side that the mark was trained on."""
STYLES, RENDERS = ("clean", "toon"), 300
"""Renders of the world, in all colours: photographs show few."""


def answer_readings(
    mark: StructureMark, answers: Mapping[str, Float[Tensor, "n 3 h w"]], *, seed: int = 0
) -> dict[str, Reading]:
    """Read clean answers of several kinds, each as it is and after each of `CHANGES`.

    Args:
        mark: the owner's networks.
        answers: by kind, held out: images that no stage of the training has seen.
        seed: of noise and crops.
    """
    return {
        f"{kind}, {name}" if name else kind: mark.decode(
            changed(images, steps, seed=seed), outside=uncovered(images, steps, seed=seed) if steps else None
        )
        for kind, images in answers.items()
        for name, steps in CHANGES.items()
    }


def strangers(size: int, n: int, generator: torch.Generator) -> Float[Tensor, "n 3 size size"]:
    """Return crops (N, 3, size, size) of `TAUGHT` photographs at full, half and a quarter of their size, hue at random.

    Args:
        size: pixels of a side, at most 300.
        n: how many, 1 or more.
        generator: of places and hues.
    """
    wholes = [
        F.interpolate(photograph(name)[None], scale_factor=1 / smaller, mode="area")[0]
        for name in TAUGHT
        for smaller in (1, 2, 4)
    ]
    wholes = [whole for whole in wholes if min(whole.shape[-2:]) >= size]
    cut = torch.cat([crops(whole, size, -(-n // len(wholes)), generator) for whole in wholes])
    cut = cut[torch.randperm(len(cut), generator=generator)[:n]]
    turn = 2 * math.pi * torch.rand(n, generator=generator) - math.pi
    return to_8_bits(adjust_hue(cut, turn).clamp(0, 1))


def stranger_readings(
    mark: StructureMark, size: int, *, names: Sequence[str] = tuple(PHOTOGRAPHS), seed: int = 0
) -> dict[str, Reading]:
    """Read what has nothing to do with the owner: crops of photographs, one, two and four times as large, and renders.

    Args:
        mark: the owner's networks.
        size: pixels of the smallest crops' side.
        names: of `visionlab.data.images.PHOTOGRAPHS`.
        seed: of the places.
    """
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name in names:
        whole = photograph(name)
        sides = {times * size: n for times, n in CROPS.items() if times * size <= min(whole.shape[-2:])}
        parts = [mark.decode(crops(whole, side, n, generator)) for side, n in sides.items()]
        if parts:
            found[f"photograph: {name}"] = Reading(
                *(torch.cat([getattr(part, each) for part in parts]) for each in ("colours", "area", "symbols"))
            )
    for style in STYLES:
        found[f"world: {style}"] = mark.decode(render(scenes(seed, range(RENDERS)), 2 * size, style=style).image)
    return found


def crops(
    image: Float[Tensor, "3 h w"], side: int, n: int, generator: torch.Generator
) -> Float[Tensor, "n 3 side side"]:
    """Square pieces (N, 3, side, side) of an image at random places."""
    height, width = image.shape[-2:]
    rows = torch.randint(height - side + 1, (n,), generator=generator).tolist()
    columns = torch.randint(width - side + 1, (n,), generator=generator).tolist()
    return torch.stack([image[:, y : y + side, x : x + side] for y, x in zip(rows, columns, strict=True)])


def against(mark: StructureMark, readings: Mapping[str, Reading], symbols: tuple[int, ...]) -> dict[str, Evidence]:
    """What readings of several kinds say for one claim."""
    return {kind: structure_evidence(mark, reading, symbols) for kind, reading in readings.items()}
