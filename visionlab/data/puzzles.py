"""Puzzles: tasks made from noise and coloured cells, each of which isolates one idea.

A puzzle image is a grid of square cells. It is *normalised* network input: noise of mean zero, not colours in
[0, 1], so it goes into a network as it is; `picture` makes something to look at. Every puzzle is a function of a
number of images and a generator, runs on the generator's device, and returns a frozen dataclass whose first field is
the images. The distance between two cells is Chebyshev's: the larger of their row and column offsets.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import repeat
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["VERSION", "SameColour", "picture", "same_colour"]

VERSION = 1  # raise it when the same seed gives other images: it goes into cache keys and recorded results

COLOURS = ((1.5, -1.5, -1.5), (-1.5, 1.5, -1.5))  # red, green: what a coloured cell adds to the noise


@dataclass(frozen=True)
class SameColour:
    """Images of two coloured cells, and whether their colours agree.

    Attributes:
        images: (n, 3, H, W) float32, normalised.
        cells: (n, 2, 2), row and column of either cell.
        same: (n,), 1 where both cells have one colour, else 0.
        distance: (n,), from cell to cell, at least 1.
    """

    images: Float[Tensor, "n 3 h w"]
    cells: Int[Tensor, "n 2 2"]
    same: Int[Tensor, " n"]
    distance: Int[Tensor, " n"]


def same_colour(
    n: int,
    *,
    cells: int = 8,
    cell: int = 4,
    noise: float = 0.3,
    distance: tuple[int, int] | None = None,
    generator: torch.Generator,
) -> SameColour:
    """Two distinct cells of a noisy image, each red or green: do they have the same colour?

    The two cells are drawn uniformly from all ordered pairs; half of the images have equal colours, in expectation.
    Each cell alone is red or green evenly, so that no single cell tells the answer: only comparing them does.

    Args:
        n: Number of images.
        cells: Cells along each side of the image.
        cell: Pixels along each side of a cell.
        noise: Standard deviation of the Gaussian noise; a coloured cell adds 1.5 to its own channel and takes 1.5
            from the other two.
        distance: Lowest and highest distance of the two cells, both included; all distances if not given.
        generator: Source of randomness; the result lies on its device.

    Raises:
        ValueError: An argument is out of its range.
    """
    _check_grid(n, cells, cell, noise)
    lowest, highest = (1, cells - 1) if distance is None else distance
    if not 1 <= lowest <= highest <= cells - 1:
        raise ValueError(f"distance={distance}: expected 1 <= lowest <= highest <= {cells - 1} for cells={cells}")
    device = generator.device
    places = _draw_pairs(n, cells, lowest, highest, generator)
    same = torch.randint(2, (n,), generator=generator, device=device)
    first = torch.randint(2, (n,), generator=generator, device=device)
    colours = torch.stack([first, torch.where(same == 1, first, 1 - first)], dim=1)
    images = noise * torch.randn(n, 3, cells * cell, cells * cell, generator=generator, device=device)
    images += _paint(places, colours, cells, cell)
    return SameColour(images, places, same, (places[:, 0] - places[:, 1]).abs().amax(dim=1))


def picture(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """Puzzle images as colours in [0, 1]: zero becomes mid-grey, and 2.5 or more, either way, full contrast."""
    return (0.5 + 0.2 * images).clamp(0, 1)


def _check_grid(n: int, cells: int, cell: int, noise: float) -> None:
    for name, value, least in (("n", n, 1), ("cells", cells, 2), ("cell", cell, 1), ("noise", noise, 0)):
        if not value >= least:
            raise ValueError(f"{name}={value}: expected at least {least}")


def _draw_pairs(n: int, cells: int, lowest: int, highest: int, generator: torch.Generator) -> Int[Tensor, "n 2 2"]:
    """Ordered pairs of cells, uniform over all pairs whose distance lies in the range.

    An offset (rows, columns) fits into the grid in (cells - |rows|) * (cells - |columns|) places. So the offset is
    drawn with these weights, and then one of its places.
    """
    device = generator.device
    steps = torch.arange(1 - cells, cells, device=device)
    offsets = torch.cartesian_prod(steps, steps)
    length = offsets.abs().amax(dim=1)
    room = cells - offsets.abs()
    weights = room.prod(dim=1) * ((length >= lowest) & (length <= highest))
    drawn = torch.multinomial(weights.float(), n, replacement=True, generator=generator)
    offset, room = offsets[drawn], room[drawn]
    start = (torch.rand(n, 2, generator=generator, device=device) * room).long() - offset.clamp(max=0)
    return torch.stack([start, start + offset], dim=1)


def _paint(
    places: Int[Tensor, "n k 2"], colours: Int[Tensor, "n k"], cells: int, cell: int
) -> Float[Tensor, "n 3 h w"]:
    """Images that are zero but for the cells at `places`, which have `colours` (indices into COLOURS)."""
    grid = torch.zeros(len(places), cells, cells, 3, device=places.device)
    image = torch.arange(len(places), device=places.device)[:, None]
    grid[image, places[..., 0], places[..., 1]] = torch.tensor(COLOURS, device=places.device)[colours]
    return repeat(grid, "n row column rgb -> n rgb (row y) (column x)", y=cell, x=cell)
