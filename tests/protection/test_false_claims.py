"""No claim against the innocent: a thousand folders of pictures that never saw the mark, for each message."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from visionlab import weights
from visionlab.data.images import load, photographs
from visionlab.data.world import render, scenes
from visionlab.protection.any_size import joined, mark_any, read_any
from visionlab.protection.owner_calibration import against, answer_readings, crops, stranger_readings
from visionlab.protection.verification import Calibration, calibrate, structure_evidence, verify
from visionlab.protection.watermark import Reading, StructureMark

FOLDERS, PICTURES = 1000, 16
NAME = "mark_eurosat"
pytestmark = pytest.mark.skipif(NAME not in weights.names(), reason=f"{NAME} does not ship yet")


@pytest.fixture(scope="module")
def mark() -> StructureMark:
    found = weights.load(NAME).model
    assert isinstance(found, StructureMark)
    return found.eval()


@pytest.fixture(scope="module")
def clean(mark: StructureMark) -> dict[str, Reading]:
    tiles = load("eurosat_mini", "test", size=32).tensors()[0]
    return answer_readings(mark, {"clean answers": tiles[::2]}) | stranger_readings(mark, 32)


@pytest.fixture(scope="module")
def unrelated(mark: StructureMark) -> dict[str, Reading]:
    """By source, what is read from a few thousand pictures that are no crops of the calibration."""
    draw = torch.Generator().manual_seed(99)
    found = {
        name: joined([mark.decode(crops(whole, side, n, draw)) for side, n in ((32, 100), (48, 80), (100, 30))])
        for name, whole in photographs().items()
    }
    for style in ("clean", "textured", "toon", "night", "paper"):
        found[style] = mark.decode(render(scenes(98, range(200)), 48, style=style).image)
    return found


def calibrated(mark: StructureMark, clean: dict[str, Reading], symbols: tuple[int, ...]) -> Calibration:
    kinds = [each for each in against(mark, clean, symbols).values() if each.usable.sum() >= 39]
    return calibrate(*kinds, least=0.4)


def some(reading: Reading, chosen: Tensor) -> Reading:
    return Reading(reading.colours[chosen], reading.area[chosen], reading.symbols[chosen])


def test_no_claim_in_a_thousand_folders_of_unrelated_pictures(
    mark: StructureMark, clean: dict[str, Reading], unrelated: dict[str, Reading]
) -> None:
    draw = torch.Generator().manual_seed(7)
    # Half of the folders come from one photograph, or one style, each; the others from all together.
    sources = [*unrelated.values(), *[joined(list(unrelated.values()))] * len(unrelated)]
    wrong = {}
    for symbol in range(mark.code.size):
        symbols = (symbol,) * mark.classes
        calibration = calibrated(mark, clean, symbols)
        claims = 0
        for i in range(FOLDERS):
            source = sources[i % len(sources)]
            chosen = torch.randperm(len(source.area), generator=draw)[:PICTURES]
            claims += verify(structure_evidence(mark, some(source, chosen), symbols), calibration).holds
        wrong[symbol] = claims
    assert sum(wrong.values()) == 0, wrong


def test_a_mark_is_found_and_another_is_not(mark: StructureMark, clean: dict[str, Reading]) -> None:
    tiles = load("eurosat_mini", "test", size=32).tensors()[0][1::20]
    # This mark knows satellite tiles alone: of the other inks strangers show so much that it takes more to accuse.
    for own, other in ((3, 5), (5, 3)):
        symbols = (own,) * mark.classes
        reading = joined([read_any(mark, mark_any(mark, tile, symbols)) for tile in tiles])
        assert verify(structure_evidence(mark, reading, symbols), calibrated(mark, clean, symbols)).holds
        wrong = (other,) * mark.classes
        assert not verify(structure_evidence(mark, reading, wrong), calibrated(mark, clean, wrong)).holds
