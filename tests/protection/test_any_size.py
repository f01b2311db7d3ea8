from __future__ import annotations

import pytest
import torch
from torch import Tensor

from visionlab.protection import any_size, regions
from visionlab.protection.any_size import joined, mark_any, read_any
from visionlab.protection.owner_key import small_mark
from visionlab.protection.regions import edge_map
from visionlab.protection.structure import adaptive_threshold, edges, sobel_magnitude
from visionlab.protection.watermark import StructureMark
from visionlab.train.randomness import seeded


@pytest.fixture(params=["edges", "regions"])
def mark(request: pytest.FixtureRequest) -> StructureMark:
    with seeded(0):
        return small_mark(request.param).eval()


@pytest.mark.parametrize("size", [(1, 1), (7, 40), (8, 8), (9, 13), (33, 47), (64, 50)])
def test_any_picture_is_marked_and_read(mark: StructureMark, size: tuple[int, int], rng: torch.Generator) -> None:
    image = torch.rand(3, *size, generator=rng)
    image = (image * 255).round() / 255
    marked, reading = mark_any(mark, image, (3,) * mark.classes), read_any(mark, image)
    assert marked.shape == image.shape
    assert reading.colours.shape == (1, mark.classes, 3)
    if min(size) < 8:
        assert torch.equal(marked, image)
        assert not reading.usable.any()
        assert (reading.symbols == -1).all()
    else:
        assert not torch.equal(marked, image)
        torch.testing.assert_close(marked[None], mark.mark(image[None], torch.tensor((3,) * mark.classes)))


def test_large_pictures_are_worked_on_in_tiles(
    mark: StructureMark, tiles: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = torch.cat([torch.cat(list(tiles[i : i + 3]), 2) for i in (0, 3)], 1)[:, :60, :90]
    symbols = (3,) * mark.classes
    monkeypatch.setattr(any_size, "TILE", 32)
    marked = mark_any(mark, image, symbols)
    cuts = [(y, x) for y in (0, 30) for x in (0, 30, 60)]
    pieces = torch.stack([image[:, y : y + 30, x : x + 30] for y, x in cuts])
    expected = mark.mark(pieces, torch.tensor(symbols))
    for (y, x), piece in zip(cuts, expected, strict=True):
        torch.testing.assert_close(marked[:, y : y + 30, x : x + 30], piece, atol=1.1 / 255, rtol=0)
    reading, parts = read_any(mark, image), mark.decode(pieces)
    counted = parts.area * parts.usable
    assert torch.equal(reading.area[0], counted.sum(0))
    mean = (parts.colours * counted[..., None]).sum(0) / counted.sum(0)[:, None]
    torch.testing.assert_close(reading.colours[0], mean, atol=1e-4, rtol=0)


def test_readings_are_joined_in_order(mark: StructureMark, tiles: Tensor) -> None:
    whole = mark.decode(tiles[:6])
    parts = joined([mark.decode(tiles[:2]), mark.decode(tiles[2:6])])
    assert torch.equal(parts.area, whole.area)
    assert torch.equal(parts.symbols, whole.symbols)
    with pytest.raises(ValueError, match="readings: expected one or more, got none"):
        joined([])


def test_edges_of_very_many_pixels_are_the_same(tiles: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch.equal(edge_map(tiles), edges(tiles).long())
    monkeypatch.setattr(regions, "MANY", 0)
    magnitude = sobel_magnitude(tiles)
    torch.testing.assert_close(regions._least_edge(magnitude), adaptive_threshold(magnitude), atol=1e-7, rtol=0)
    assert (edge_map(tiles) == edges(tiles)).float().mean() > 0.999
