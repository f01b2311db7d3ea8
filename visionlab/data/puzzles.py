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

__all__ = [
    "COLOURS",
    "DIRECTIONS",
    "IGNORED",
    "VERSION",
    "Broadcast",
    "Domino",
    "MajorityColour",
    "SameColour",
    "broadcast",
    "domino",
    "from_picture",
    "majority_colour",
    "picture",
    "same_colour",
]

VERSION = 1  # raise it when the same seed gives other images: it goes into cache keys and recorded results

COLOURS = ((1.5, -1.5, -1.5), (-1.5, 1.5, -1.5), (-1.5, -1.5, 1.5), (1.5, 1.5, -1.5))  # red, green, blue, yellow
DIRECTIONS = ((-1, 0), (0, 1), (1, 0), (0, -1))  # rows and columns of one step up, right, down, left
IGNORED = -100  # the label of a place that is not asked: cross-entropy leaves it out by default


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
    images = _draw_images(places, colours, cells, cell, noise, generator)
    return SameColour(images, places, same, (places[:, 0] - places[:, 1]).abs().amax(dim=1))


@dataclass(frozen=True)
class Domino:
    """Images of a red and a green cell in one row or column, and the direction from red to green.

    Attributes:
        images: (n, 3, H, W) float32, normalised.
        cells: (n, 2, 2), row and column of either cell; the first one is red or green, evenly.
        direction: (n,), from the red to the green cell, an index into DIRECTIONS.
        distance: (n,), from cell to cell, at least 1.
    """

    images: Float[Tensor, "n 3 h w"]
    cells: Int[Tensor, "n 2 2"]
    direction: Int[Tensor, " n"]
    distance: Int[Tensor, " n"]


def domino(
    n: int,
    *,
    cells: int = 8,
    cell: int = 4,
    noise: float = 0.3,
    distance: tuple[int, int] = (1, 1),
    generator: torch.Generator,
) -> Domino:
    """A red and a green cell side by side in a noisy image: in which direction does green lie from red?

    The pair is drawn uniformly from all pairs in one row or column at an allowed distance; the four directions are
    equally likely. Neither the colours nor the pixel mean tell anything, and both places leave two directions open.
    A cell at the border has fewer neighbours, so that one place alone does tell a little, as in any finite grid: who
    knows the red one can be right for cells / (4 (cells - 1)) of all neighbours, 2/7 for 8 cells, instead of 1/4.

    Args:
        n: Number of images.
        cells: Cells along each side of the image.
        cell: Pixels along each side of a cell.
        noise: Standard deviation of the Gaussian noise.
        distance: Lowest and highest distance of the two cells, both included; neighbours if not given.
        generator: Source of randomness; the result lies on its device.

    Raises:
        ValueError: An argument is out of its range.
    """
    _check_grid(n, cells, cell, noise)
    _check_range("distance", distance, 1, cells - 1, f"cells={cells}")
    places = _draw_pairs(n, cells, *distance, generator, aligned=True)
    first = torch.randint(2, (n,), generator=generator, device=generator.device)
    images = _draw_images(places, torch.stack([first, 1 - first], dim=1), cells, cell, noise, generator)
    offset = places[:, 1] - places[:, 0]
    step = torch.where(first[:, None] == 0, offset, -offset).sign()
    direction = (step[:, None] == torch.tensor(DIRECTIONS, device=step.device)).all(dim=-1).int().argmax(dim=-1)
    return Domino(images, places, direction, offset.abs().amax(dim=1))


@dataclass(frozen=True)
class Broadcast:
    """Images of one coloured cell, whose colour the other cells have to name.

    Attributes:
        images: (n, 3, H, W) float32, normalised.
        cell: (n, 2), row and column of the coloured cell.
        colour: (n,), its colour, an index into COLOURS.
        labels: (n, cells, cells), this colour at all cells that are asked, IGNORED at the others.
        distance: (n, cells, cells), from each cell to the coloured one, 0 there.
    """

    images: Float[Tensor, "n 3 h w"]
    cell: Int[Tensor, "n 2"]
    colour: Int[Tensor, " n"]
    labels: Int[Tensor, "n rows columns"]
    distance: Int[Tensor, "n rows columns"]


def broadcast(
    n: int,
    *,
    cells: int = 12,
    cell: int = 4,
    noise: float = 0.3,
    colours: int = 4,
    distance: tuple[int, int] | None = None,
    generator: torch.Generator,
) -> Broadcast:
    """One coloured cell somewhere in a noisy image: every cell has to name its colour.

    Colours are equally likely, and so are all places from which some cell can be asked: without `distance`, all. What
    a cell does not see it can only guess, right once in `colours` times: accuracy by offset draws a network's field.

    Args:
        n: Number of images.
        cells: Cells along each side of the image.
        cell: Pixels along each side of a cell.
        noise: Standard deviation of the Gaussian noise.
        colours: Number of colours, the first ones of COLOURS.
        distance: Lowest and highest distance to the coloured cell, both included, of the cells that are asked; all
            cells, the coloured one too, if not given.
        generator: Source of randomness; the result lies on its device.

    Raises:
        ValueError: An argument is out of its range.
    """
    _check_grid(n, cells, cell, noise)
    if not 2 <= colours <= len(COLOURS):
        raise ValueError(f"colours={colours}: expected 2 to {len(COLOURS)}")
    lowest, highest = (0, cells - 1) if distance is None else distance
    _check_range("distance", (lowest, highest), 0, cells - 1, f"cells={cells}")
    device = generator.device
    steps = torch.arange(cells, device=device)
    grid = torch.cartesian_prod(steps, steps)
    grid = grid[torch.maximum(grid, cells - 1 - grid).amax(dim=1) >= lowest]  # from where some cell can be asked
    place = grid[torch.randint(len(grid), (n,), generator=generator, device=device)]
    colour = torch.randint(colours, (n,), generator=generator, device=device)
    images = _draw_images(place[:, None], colour[:, None], cells, cell, noise, generator)
    rows, columns = (steps - place[..., None]).abs().unbind(dim=1)
    length = torch.maximum(rows[:, :, None], columns[:, None, :])
    labels = torch.where((length >= lowest) & (length <= highest), colour[:, None, None], IGNORED)
    return Broadcast(images, place, colour, labels, length)


@dataclass(frozen=True)
class MajorityColour:
    """Images of many red and green squares, and a map that says which squares have the more frequent colour.

    Attributes:
        images: (n, 3, H, W) float32, normalised.
        cells: (n, squares, 2), row and column of each square in the whole image, the majority's squares first.
        labels: (n, H / stride, W / stride), 1 on squares of the majority's colour, 0 on the others, IGNORED on the
            background.
        colour: (n,), the majority's colour, an index into COLOURS.
        count: (n,), number of squares that have it.
    """

    images: Float[Tensor, "n 3 h w"]
    cells: Int[Tensor, "n squares 2"]
    labels: Int[Tensor, "n rows columns"]
    colour: Int[Tensor, " n"]
    count: Int[Tensor, " n"]


def majority_colour(
    n: int,
    *,
    cells: int = 8,
    cell: int = 4,
    noise: float = 0.3,
    border: int = 1,
    squares: int = 13,
    majority: tuple[int, int] = (7, 9),
    stride: int = 2,
    generator: torch.Generator,
) -> MajorityColour:
    """Red and green squares in a noisy image: is this square of the colour that most squares have?

    All sets of distinct cells are equally likely, the majority is red or green evenly, and its number of squares is
    uniform in the range. A square's own colour and place tell nothing: always saying "majority" is right for 8 of 13
    squares on average, 61.5 %, and who does better has looked at other squares.

    Args:
        n: Number of images.
        cells: Cells along each side of the image.
        cell: Pixels along each side of a cell, that is, of a square.
        noise: Standard deviation of the Gaussian noise.
        border: Cells along each side of the image that hold no square; the inner ones, 6x6 if not given, are the grid.
        squares: Number of squares.
        majority: Lowest and highest number of squares of the majority's colour, both included.
        stride: Pixels along each side of a label; it divides `cell`, so that a label never straddles two cells.
        generator: Source of randomness; the result lies on its device.

    Raises:
        ValueError: An argument is out of its range.
    """
    _check_grid(n, cells, cell, noise)
    if not 0 <= border <= (cells - 1) // 2:
        raise ValueError(f"border={border}: expected 0 to {(cells - 1) // 2} for cells={cells}")
    inner = cells - 2 * border
    if not 1 <= squares <= inner**2:
        raise ValueError(f"squares={squares}: expected 1 to {inner**2} for cells={cells}, border={border}")
    if stride < 1 or cell % stride:
        raise ValueError(f"stride={stride}: expected a divisor of cell={cell}")
    _check_range("majority", majority, squares // 2 + 1, squares, f"squares={squares}")
    device = generator.device
    even = torch.ones(n, inner**2, device=device)
    drawn = torch.multinomial(even, squares, generator=generator)  # distinct, in random order
    places = border + torch.stack([drawn // inner, drawn % inner], dim=-1)
    colour = torch.randint(2, (n,), generator=generator, device=device)
    count = torch.randint(majority[0], majority[1] + 1, (n,), generator=generator, device=device)
    agrees = torch.arange(squares, device=device) < count[:, None]
    colours = torch.where(agrees, colour[:, None], 1 - colour[:, None])
    images = _draw_images(places, colours, cells, cell, noise, generator)
    grid = torch.full((n, cells, cells), IGNORED, device=device)
    grid[torch.arange(n, device=device)[:, None], places[..., 0], places[..., 1]] = agrees.long()
    times = cell // stride
    labels = repeat(grid, "n row column -> n (row y) (column x)", y=times, x=times)
    return MajorityColour(images, places, labels, colour, count)


def picture(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """Puzzle images as colours in [0, 1]: zero becomes mid-grey, and 2.5 or more, either way, full contrast."""
    return (0.5 + 0.2 * images).clamp(0, 1)


def from_picture(pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """Return puzzle images from what `picture` made of them, up to what it clamped."""
    return (pictures - 0.5) / 0.2


def _check_grid(n: int, cells: int, cell: int, noise: float) -> None:
    for name, value, least in (("n", n, 1), ("cells", cells, 2), ("cell", cell, 1), ("noise", noise, 0)):
        if not value >= least:
            raise ValueError(f"{name}={value}: expected at least {least}")


def _check_range(name: str, value: tuple[int, int], least: int, most: int, given: str) -> None:
    lowest, highest = value
    if not least <= lowest <= highest <= most:
        raise ValueError(f"{name}={value}: expected {least} <= lowest <= highest <= {most} for {given}")


def _draw_pairs(
    n: int, cells: int, lowest: int, highest: int, generator: torch.Generator, *, aligned: bool = False
) -> Int[Tensor, "n 2 2"]:
    """Ordered pairs of cells, uniform over all pairs whose distance lies in the range, if `aligned` in one line.

    An offset (rows, columns) fits into the grid in (cells - |rows|) * (cells - |columns|) places. So the offset is
    drawn with these weights, and then one of its places.
    """
    device = generator.device
    steps = torch.arange(1 - cells, cells, device=device)
    offsets = torch.cartesian_prod(steps, steps)
    length = offsets.abs().amax(dim=1)
    room = cells - offsets.abs()
    weights = room.prod(dim=1) * ((length >= lowest) & (length <= highest))
    if aligned:
        weights = weights * (offsets == 0).any(dim=1)
    drawn = torch.multinomial(weights.float(), n, replacement=True, generator=generator)
    offset, room = offsets[drawn], room[drawn]
    start = (torch.rand(n, 2, generator=generator, device=device) * room).long() - offset.clamp(max=0)
    return torch.stack([start, start + offset], dim=1)


def _draw_images(
    places: Int[Tensor, "n k 2"], colours: Int[Tensor, "n k"], cells: int, cell: int, noise: float,
    generator: torch.Generator,
) -> Float[Tensor, "n 3 h w"]:  # fmt: skip
    """Noise with cells at `places` that have `colours` (indices into COLOURS)."""
    grid = torch.zeros(len(places), cells, cells, 3, device=places.device)
    image = torch.arange(len(places), device=places.device)[:, None]
    grid[image, places[..., 0], places[..., 1]] = torch.tensor(COLOURS, device=places.device)[colours]
    images = repeat(grid, "n row column rgb -> n rgb (row y) (column x)", y=cell, x=cell)
    return images + noise * torch.randn(images.shape, generator=generator, device=generator.device)
