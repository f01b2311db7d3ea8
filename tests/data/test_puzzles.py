from __future__ import annotations

import dataclasses
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable

import pytest
import torch
from torch import Tensor

from visionlab.data import puzzles


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


ALL = (puzzles.same_colour, puzzles.domino, puzzles.broadcast, puzzles.majority_colour)
NEW = ALL[1:]


def names(functions: Iterable[Callable]) -> list[str]:
    return [function.__name__ for function in functions]


def near(share: float, expected: float, n: int) -> bool:
    """Within four standard errors of a share among n."""
    return abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / n)


def held_out_accuracy(feature: Tensor, label: Tensor) -> tuple[float, int]:
    """How often the label most frequent for a feature in one half is right in the other half, and that half's size."""
    half = len(label) // 2
    table = torch.zeros(int(feature.max()) + 1, int(label.max()) + 1)
    table.index_put_((feature[:half], label[:half]), torch.ones(half), accumulate=True)
    return (table.argmax(dim=1)[feature[half:]] == label[half:]).double().mean().item(), len(label) - half


def test_shapes_types_and_ranges_are_as_documented():
    puzzle = puzzles.same_colour(7, cells=6, cell=3, generator=generator())
    assert puzzle.images.shape == (7, 3, 18, 18)
    assert puzzle.images.dtype == torch.float32
    assert puzzle.cells.shape == (7, 2, 2)
    assert puzzle.same.shape == puzzle.distance.shape == (7,)
    assert puzzle.cells.dtype == puzzle.same.dtype == puzzle.distance.dtype == torch.int64
    assert 0 <= puzzle.cells.min() <= puzzle.cells.max() < 6


def test_without_noise_an_image_is_two_pure_cells_and_nothing_else():
    puzzle = puzzles.same_colour(50, cells=5, cell=4, noise=0.0, generator=generator())
    red, green = (torch.tensor(colour) for colour in puzzles.COLOURS[:2])
    for image, cells, same in zip(puzzle.images, puzzle.cells, puzzle.same, strict=True):
        rest, seen = image.clone(), []
        for row, column in cells.tolist():
            patch = image[:, row * 4 : row * 4 + 4, column * 4 : column * 4 + 4]
            colour = patch[:, 0, 0]
            assert torch.equal(patch, colour[:, None, None].expand(3, 4, 4))
            assert torch.equal(colour, red) or torch.equal(colour, green)
            seen.append(colour)
            rest[:, row * 4 : row * 4 + 4, column * 4 : column * 4 + 4] = 0
        assert not rest.any()
        assert torch.equal(*seen) == bool(same)


def test_noise_has_the_stated_deviation_and_mean_zero():
    puzzle = puzzles.same_colour(400, noise=0.3, generator=generator())
    clean = puzzles.picture(puzzle.images) * 0
    for index, (first, second) in enumerate(puzzle.cells.tolist()):
        for row, column in (first, second):
            clean[index, :, row * 4 : row * 4 + 4, column * 4 : column * 4 + 4] = 1
    background = puzzle.images[clean == 0]
    assert background.mean().abs() < 0.002  # six standard errors of 1.2 million values
    assert (background.std() - 0.3).abs() < 0.002


def test_distance_is_chebyshev_between_two_distinct_cells():
    puzzle = puzzles.same_colour(500, generator=generator())
    for (first, second), distance in zip(puzzle.cells.tolist(), puzzle.distance.tolist(), strict=True):
        assert distance == max(abs(first[0] - second[0]), abs(first[1] - second[1])) >= 1


def test_every_ordered_pair_of_cells_is_equally_likely():
    n, cells = 36_000, 3
    puzzle = puzzles.same_colour(n, cells=cells, cell=1, generator=generator())
    counts = Counter(map(str, puzzle.cells.tolist()))
    pairs = cells**2 * (cells**2 - 1)
    assert len(counts) == pairs
    expected = n / pairs
    chi_squared = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi_squared < 130  # 71 degrees of freedom: mean 71, deviation 12


def test_distances_follow_the_number_of_pairs_at_each_distance():
    n, cells = 20_000, 8
    drawn = puzzles.same_colour(n, cells=cells, cell=1, generator=generator()).distance.bincount()
    places = list(itertools.product(range(cells), repeat=2))
    exact = Counter(max(abs(a - c), abs(b - d)) for a, b in places for c, d in places)
    share = torch.tensor([exact[distance] for distance in range(1, cells)]) / (64 * 63)
    assert drawn[0] == 0
    assert torch.allclose(drawn[1:] / n, share, atol=0.015)  # four standard errors


@pytest.mark.parametrize("distance", [(1, 1), (2, 3), (7, 7), (1, 7)])
def test_a_range_of_distances_restricts_the_pairs_and_fills_the_range(distance):
    puzzle = puzzles.same_colour(600, distance=distance, generator=generator())
    assert set(puzzle.distance.tolist()) == set(range(distance[0], distance[1] + 1))
    assert 0 <= puzzle.cells.min() <= puzzle.cells.max() < 8


def test_labels_are_balanced_and_independent_of_either_colour_and_of_distance():
    puzzle = puzzles.same_colour(20_000, cell=1, noise=0.0, generator=generator())
    images = torch.arange(20_000)
    is_red = [puzzle.images[images, 0, *puzzle.cells[:, k].T] > 0 for k in (0, 1)]
    same = puzzle.same.float()
    assert abs(same.mean() - 0.5) < 0.015
    for cell in is_red:
        assert abs(cell.float().mean() - 0.5) < 0.015
        assert abs(same[cell].mean() - same[~cell].mean()) < 0.03
    assert abs(same[puzzle.distance < 3].mean() - same[puzzle.distance >= 3].mean()) < 0.03


@pytest.mark.parametrize("draw", ALL, ids=names(ALL))
def test_a_seed_gives_the_same_puzzles_and_another_seed_others(draw):
    first, again, other = (draw(5, generator=generator(seed)) for seed in (3, 3, 4))
    for field in dataclasses.fields(first):
        assert torch.equal(getattr(first, field.name), getattr(again, field.name))
    assert not torch.equal(first.images, other.images)


def test_version_one_of_the_puzzle_has_not_moved():
    assert puzzles.VERSION == 1
    puzzle = puzzles.same_colour(4, generator=generator())
    assert puzzle.cells.tolist() == [[[0, 5], [6, 5]], [[2, 3], [4, 2]], [[0, 4], [0, 0]], [[0, 4], [5, 3]]]
    assert puzzle.same.tolist() == [0, 0, 0, 1]
    domino = puzzles.domino(6, generator=generator(1))
    assert domino.cells[:3].tolist() == [[[5, 2], [4, 2]], [[4, 3], [3, 3]], [[5, 3], [4, 3]]]
    assert domino.direction.tolist() == [2, 0, 0, 0, 3, 0]
    broadcast = puzzles.broadcast(6, generator=generator(1))
    assert broadcast.cell.tolist() == [[7, 1], [4, 11], [9, 0], [8, 8], [6, 7], [6, 1]]
    assert broadcast.colour.tolist() == [3, 1, 3, 0, 0, 1]
    majority = puzzles.majority_colour(6, generator=generator(1))
    assert majority.cells[0, :5].tolist() == [[1, 1], [3, 3], [1, 6], [3, 4], [5, 2]]
    assert majority.colour.tolist() == [1, 0, 1, 1, 0, 1]
    assert majority.count.tolist() == [7, 7, 7, 7, 8, 9]


@pytest.mark.parametrize("draw", ALL, ids=names(ALL))
def test_the_global_generator_is_left_alone(draw):
    before = torch.get_rng_state()
    draw(3, generator=generator())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("draw", ALL, ids=names(ALL))
def test_the_result_lies_on_the_device_of_the_generator(draw):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    puzzle = draw(8, generator=torch.Generator("cuda").manual_seed(0))
    for field in dataclasses.fields(puzzle):
        assert getattr(puzzle, field.name).device.type == "cuda"


def test_a_picture_lies_in_the_unit_range_and_shows_zero_as_grey_and_red_as_red():
    puzzle = puzzles.same_colour(3, noise=3.0, generator=generator())
    shown = puzzles.picture(puzzle.images)
    assert shown.min() == 0
    assert shown.max() == 1
    red = torch.tensor(puzzles.COLOURS[0]).view(1, 3, 1, 1)
    assert torch.allclose(puzzles.picture(red).flatten(), torch.tensor([0.8, 0.2, 0.2]))
    assert torch.equal(puzzles.picture(torch.zeros(1, 3, 2, 2)), torch.full((1, 3, 2, 2), 0.5))


COMMON = [({"n": 0}, "n=0"), ({"cells": 1}, "cells=1"), ({"cell": 0}, "cell=0"), ({"noise": -0.1}, "noise=-0.1")]
SAME_COLOUR = [
    ({"noise": float("nan")}, "noise=nan"),
    ({"distance": (0, 3)}, r"distance=\(0, 3\)"),
    ({"distance": (4, 3)}, r"distance=\(4, 3\)"),
    ({"distance": (3, 8)}, r"distance=\(3, 8\).*<= 7 for cells=8"),
]
DOMINO = [
    ({"distance": (0, 1)}, r"distance=\(0, 1\): expected 1 <="),
    ({"distance": (3, 2)}, r"distance=\(3, 2\)"),
    ({"distance": (1, 8)}, r"distance=\(1, 8\).*<= 7 for cells=8"),
]
BROADCAST = [
    ({"colours": 1}, "colours=1: expected 2 to 4"),
    ({"colours": 5}, "colours=5: expected 2 to 4"),
    ({"distance": (-1, 3)}, r"distance=\(-1, 3\): expected 0 <="),
    ({"distance": (4, 3)}, r"distance=\(4, 3\)"),
    ({"distance": (3, 12)}, r"distance=\(3, 12\).*<= 11 for cells=12"),
]
MAJORITY_COLOUR = [
    ({"border": -1}, "border=-1: expected 0 to 3"),
    ({"border": 4}, "border=4: expected 0 to 3 for cells=8"),
    ({"squares": 0}, "squares=0: expected 1 to 36"),
    ({"squares": 37}, "squares=37: expected 1 to 36 for cells=8, border=1"),
    ({"stride": 0}, "stride=0"),
    ({"stride": 3}, "stride=3: expected a divisor of cell=4"),
    ({"majority": (6, 9)}, r"majority=\(6, 9\): expected 7 <= .* for squares=13"),
    ({"majority": (9, 7)}, r"majority=\(9, 7\)"),
    ({"majority": (7, 14)}, r"majority=\(7, 14\).*<= 13 for squares=13"),
    ({"squares": 12, "majority": (6, 7)}, r"majority=\(6, 7\): expected 7 <= .* for squares=12"),
]


@pytest.mark.parametrize(
    ("draw", "arguments", "named"),
    [
        pytest.param(draw, arguments, named, id=f"{draw.__name__}-{named}")
        for draw, own in zip(ALL, (SAME_COLOUR, DOMINO, BROADCAST, MAJORITY_COLOUR), strict=True)
        for arguments, named in COMMON + own
    ],
)
def test_bad_input_is_refused_by_name(draw, arguments, named):
    with pytest.raises(ValueError, match=named):
        draw(**({"n": 2, "generator": generator()} | arguments))


@pytest.mark.parametrize(
    ("draw", "labels"),
    [
        (puzzles.domino, {"direction": (), "distance": (), "cells": (2, 2)}),
        (puzzles.broadcast, {"colour": (), "labels": (6, 6), "distance": (6, 6), "cell": (2,)}),
        (puzzles.majority_colour, {"colour": (), "count": (), "labels": (12, 12), "cells": (13, 2)}),
    ],
    ids=names(NEW),
)
def test_shapes_and_types_of_the_other_puzzles_follow_the_grid(draw, labels):
    puzzle = draw(7, cells=6, cell=4, generator=generator())
    first, *others = (field.name for field in dataclasses.fields(puzzle))
    assert first == "images"
    assert set(others) == set(labels)
    assert puzzle.images.shape == (7, 3, 24, 24)
    assert puzzle.images.dtype == torch.float32
    for name, shape in labels.items():
        assert getattr(puzzle, name).shape == (7, *shape)
        assert getattr(puzzle, name).dtype == torch.int64


@pytest.mark.parametrize("draw", NEW, ids=names(NEW))
def test_the_noise_of_an_image_is_scaled_and_changes_nothing_else(draw):
    clean, little, much = (draw(60, noise=noise, generator=generator()) for noise in (0.0, 0.5, 1.0))
    for field in dataclasses.fields(clean)[1:]:
        assert torch.equal(getattr(clean, field.name), getattr(much, field.name))
    grain = much.images - clean.images
    assert torch.allclose(little.images - clean.images, grain / 2, atol=1e-6)
    assert abs(grain.mean()) < 4 / math.sqrt(grain.numel())
    assert abs(grain.std() - 1) < 4 / math.sqrt(2 * grain.numel())


# --- A second reading of the images: slow, pixel by pixel, and blind to everything but the noise-free images ----------

PALETTE = {(1.5, -1.5, -1.5): "red", (-1.5, 1.5, -1.5): "green", (-1.5, -1.5, 1.5): "blue", (1.5, 1.5, -1.5): "yellow"}
NAMES = ("red", "green", "blue", "yellow")


def read(image: Tensor, cell: int) -> dict[tuple[int, int], str]:
    """The name of the colour at each place that has one; each square of `cell` pixels must have one value."""
    seen = defaultdict(set)
    for y, x in itertools.product(range(image.shape[1]), range(image.shape[2])):
        seen[y // cell, x // cell].add(tuple(image[:, y, x].tolist()))
    assert all(len(values) == 1 for values in seen.values())
    pixels = {place: values.pop() for place, values in seen.items()}
    return {place: PALETTE[pixel] for place, pixel in pixels.items() if pixel != (0, 0, 0)}


@pytest.mark.parametrize(
    "knobs", [{}, {"distance": (1, 4), "cells": 5, "cell": 2}, {"cells": 2, "cell": 1}], ids=["default", "far", "2x2"]
)
def test_the_direction_of_a_domino_can_be_read_off_its_image(knobs):
    puzzle = puzzles.domino(150, noise=0.0, generator=generator(), **knobs)
    words = ("up", "right", "down", "left")
    for image, cells, direction, distance in zip(
        puzzle.images, puzzle.cells.tolist(), puzzle.direction.tolist(), puzzle.distance.tolist(), strict=True
    ):
        colours = read(image, knobs.get("cell", 4))
        assert sorted(colours.values()) == ["green", "red"]
        assert set(colours) == set(map(tuple, cells))
        (red,) = [place for place, colour in colours.items() if colour == "red"]
        (green,) = [place for place, colour in colours.items() if colour == "green"]
        if red[0] == green[0]:
            expected, length = ("right" if green[1] > red[1] else "left"), abs(green[1] - red[1])
        else:
            assert red[1] == green[1]
            expected, length = ("down" if green[0] > red[0] else "up"), abs(green[0] - red[0])
        assert (words[direction], distance) == (expected, length)


@pytest.mark.parametrize(
    "knobs", [{}, {"distance": (2, 3), "cells": 5, "cell": 2, "colours": 3}], ids=["default", "asked at a distance"]
)
def test_the_labels_of_a_broadcast_can_be_read_off_its_image(knobs):
    puzzle = puzzles.broadcast(60, noise=0.0, generator=generator(), **knobs)
    lowest, highest = knobs.get("distance", (0, 100))
    for image, cell, colour, labels, distance in zip(
        puzzle.images, puzzle.cell.tolist(), puzzle.colour.tolist(), puzzle.labels, puzzle.distance, strict=True
    ):
        ((place, name),) = read(image, knobs.get("cell", 4)).items()
        assert (list(place), name) == (cell, NAMES[colour])
        for row, column in itertools.product(range(len(labels)), repeat=2):
            length = max(abs(row - place[0]), abs(column - place[1]))
            asked = lowest <= length <= highest
            assert distance[row, column] == length
            assert labels[row, column] == (NAMES.index(name) if asked else puzzles.IGNORED)


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"cells": 5, "cell": 3, "border": 0, "stride": 1, "squares": 6, "majority": (4, 6)},
        {"cells": 6, "cell": 2, "border": 2, "stride": 2, "squares": 3, "majority": (3, 3)},
    ],
    ids=["default", "no border", "all of one colour"],
)
def test_the_labels_of_majority_colour_can_be_read_off_its_image(knobs):
    puzzle = puzzles.majority_colour(40, noise=0.0, generator=generator(), **knobs)
    cell, stride, squares = knobs.get("cell", 4), knobs.get("stride", 2), knobs.get("squares", 13)
    for image, cells, labels, majority, number in zip(
        puzzle.images, puzzle.cells.tolist(), puzzle.labels, puzzle.colour.tolist(), puzzle.count.tolist(), strict=True
    ):
        colours = read(image, cell)
        count = Counter(colours.values())
        assert len(colours) == count["red"] + count["green"] == squares
        winner = "red" if count["red"] > count["green"] else "green"
        assert (NAMES[majority], number) == (winner, count[winner])
        assert set(colours) == set(map(tuple, cells))
        assert [colours[row, column] == winner for row, column in cells] == [k < number for k in range(squares)]
        for row, column in itertools.product(range(len(labels)), repeat=2):
            colour = colours.get((row * stride // cell, column * stride // cell))
            assert labels[row, column] == (puzzles.IGNORED if colour is None else int(colour == winner))


# --- Domino: balance, and what a part of the image tells -------------------------------------------------------------


def dominoes(cells: int) -> list[tuple[tuple[int, int], tuple[int, int], int]]:
    """All pairs of neighbouring places, red and green, with their direction."""
    steps = [(-1, 0), (0, 1), (1, 0), (0, -1)]
    inside = set(itertools.product(range(cells), repeat=2))
    pairs = [((r, c), (r + dy, c + dx), k) for r, c in sorted(inside) for k, (dy, dx) in enumerate(steps)]
    return [pair for pair in pairs if pair[1] in inside]


def best_guess(pairs: Iterable[tuple[Hashable, int]]) -> float:
    """How often a guess of the label (second) is right at best, from the feature (first), all pairs equally likely."""
    table = defaultdict(Counter)
    for feature, label in pairs:
        table[feature][label] += 1
    return sum(max(row.values()) for row in table.values()) / sum(row.total() for row in table.values())


@pytest.fixture(scope="module")
def many_dominoes() -> puzzles.Domino:
    return puzzles.domino(40_000, cell=1, generator=generator())


@pytest.fixture(scope="module")
def red_first(many_dominoes) -> Tensor:
    """Whether the first cell is the red one, by the pixels."""
    at = many_dominoes.cells[:, 0]
    return many_dominoes.images[torch.arange(len(at)), 0, at[:, 0], at[:, 1]] > 0


@pytest.mark.parametrize("distance", [(1, 1), (1, 7), (5, 7)])
def test_the_four_directions_are_equally_frequent(distance):
    n = 20_000
    puzzle = puzzles.domino(n, cell=1, distance=distance, generator=generator())
    for direction in range(4):
        assert near((puzzle.direction == direction).double().mean(), 1 / 4, n)


def test_every_domino_is_equally_likely():
    n, cells = 48_000, 4
    puzzle = puzzles.domino(n, cells=cells, cell=1, generator=generator())
    counts = Counter(zip(map(str, puzzle.cells.tolist()), puzzle.direction.tolist(), strict=True))
    kinds = len(dominoes(cells)) * 2  # either cell comes first
    assert len(counts) == kinds == 96
    chi_squared = sum((count - n / kinds) ** 2 / (n / kinds) for count in counts.values())
    assert chi_squared < 150  # 95 degrees of freedom: mean 95, deviation 14


def test_the_colour_of_one_cell_does_not_tell_the_direction(many_dominoes, red_first):
    assert near(red_first.double().mean(), 1 / 2, 40_000)
    accuracy, n = held_out_accuracy(red_first.long(), many_dominoes.direction)
    assert near(accuracy, 1 / 4, n)


def test_the_mean_of_the_pixels_does_not_tell_the_direction(many_dominoes):
    clean = puzzles.domino(500, noise=0.0, generator=generator())
    assert torch.allclose(clean.images.mean(dim=(2, 3)), torch.tensor([0.0, 0.0, -3.0]) / 64, atol=1e-6)
    for mean in many_dominoes.images.mean(dim=(2, 3)).T.contiguous():
        tenth = torch.bucketize(mean, mean.quantile(torch.linspace(0.1, 0.9, 9)))
        accuracy, n = held_out_accuracy(tenth, many_dominoes.direction)
        assert near(accuracy, 1 / 4, n)


@pytest.mark.parametrize("order", ["first", "red", "green"])
def test_the_place_of_one_cell_tells_the_direction_no_better_than_the_border_must(many_dominoes, red_first, order):
    red = torch.where(red_first[:, None], many_dominoes.cells[:, 0], many_dominoes.cells[:, 1])
    green = many_dominoes.cells.sum(dim=1) - red
    place = {"first": many_dominoes.cells[:, 0], "red": red, "green": green}[order]
    exact = {
        "first": best_guess([(place, k) for red, green, k in dominoes(8) for place in (red, green)]),
        "red": best_guess([(red, k) for red, _, k in dominoes(8)]),
        "green": best_guess([(green, k) for _, green, k in dominoes(8)]),
    }[order]
    assert exact == pytest.approx(31 / 112 if order == "first" else 2 / 7)
    accuracy, n = held_out_accuracy(8 * place[:, 0] + place[:, 1], many_dominoes.direction)
    assert accuracy < exact + 4 * math.sqrt(exact * (1 - exact) / n)
    inner = ((place > 0) & (place < 7)).all(dim=1)
    accuracy, n = held_out_accuracy((8 * place[:, 0] + place[:, 1])[inner], many_dominoes.direction[inner])
    assert near(accuracy, 1 / 4, n)


def test_no_single_cell_of_the_grid_tells_the_direction_better_than_the_border_must(many_dominoes):
    bright = many_dominoes.images[:, :2] > 0.75
    seen = bright[:, 0].long() + 2 * bright[:, 1].long()
    for row, column in itertools.product(range(8), repeat=2):
        here = [(1 if red == (row, column) else 2 if green == (row, column) else 0, k) for red, green, k in dominoes(8)]
        exact = best_guess(here)
        assert exact < 0.26
        accuracy, n = held_out_accuracy(seen[:, row, column], many_dominoes.direction)
        assert accuracy < exact + 4 * math.sqrt(exact * (1 - exact) / n)


def test_both_places_without_colours_leave_two_directions_open(many_dominoes):
    low, high = many_dominoes.cells.amin(dim=1), many_dominoes.cells.amax(dim=1)
    upright = (low[:, 1] == high[:, 1]).long()
    for feature in (upright, 128 * low[:, 0] + 16 * low[:, 1] + upright):
        accuracy, n = held_out_accuracy(feature, many_dominoes.direction)
        assert near(accuracy, 1 / 2, n)


def test_a_range_of_distances_spreads_the_domino_in_its_line_and_fills_the_range():
    puzzle = puzzles.domino(2000, distance=(3, 6), cell=1, generator=generator())
    assert set(puzzle.distance.tolist()) == {3, 4, 5, 6}
    offset = (puzzle.cells[:, 0] - puzzle.cells[:, 1]).abs()
    assert torch.equal(offset.amin(dim=1), torch.zeros(2000, dtype=torch.int64))
    assert torch.equal(offset.amax(dim=1), puzzle.distance)
    for length, share in zip((3, 4, 5, 6), (5 / 14, 4 / 14, 3 / 14, 2 / 14), strict=True):
        assert near((puzzle.distance == length).double().mean(), share, 2000)


# --- Broadcast -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("colours", [2, 3, 4])
def test_colours_to_broadcast_are_equally_frequent_everywhere(colours):
    n = 20_000
    puzzle = puzzles.broadcast(n, cells=3, cell=1, colours=colours, generator=generator())
    assert near((puzzle.cell == torch.tensor([0, 2])).all(dim=1).double().mean(), 1 / 9, n)
    place = 3 * puzzle.cell[:, 0] + puzzle.cell[:, 1]
    for colour in range(colours):
        assert near((puzzle.colour == colour).double().mean(), 1 / colours, n)
    counts = torch.bincount(place * colours + puzzle.colour, minlength=9 * colours)
    chi_squared = ((counts - n / len(counts)) ** 2 / (n / len(counts))).sum()
    assert chi_squared < len(counts) + 4 * math.sqrt(2 * len(counts))


def test_a_range_of_distances_asks_only_there_and_never_nothing():
    n, cells = 8000, 5
    puzzle = puzzles.broadcast(n, cells=cells, cell=1, distance=(3, 3), generator=generator())
    asked = puzzle.labels != puzzles.IGNORED
    assert asked.flatten(1).any(dim=1).all()
    assert torch.equal(asked, puzzle.distance == 3)
    counts = torch.bincount(cells * puzzle.cell[:, 0] + puzzle.cell[:, 1], minlength=cells**2)
    middle = cells**2 // 2  # the only place with no cell three away
    assert counts[middle] == 0
    assert all(near(count / n, 1 / 24, n) for place, count in enumerate(counts.tolist()) if place != middle)


# --- Majority colour -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many_majorities() -> puzzles.MajorityColour:
    return puzzles.majority_colour(12_000, cell=1, stride=1, generator=generator())


def test_majorities_and_their_sizes_are_equally_frequent(many_majorities):
    assert near(many_majorities.colour.double().mean(), 1 / 2, 12_000)
    for size in (7, 8, 9):
        assert near((many_majorities.count == size).double().mean(), 1 / 3, 12_000)
        sized = many_majorities.colour[many_majorities.count == size]
        assert near(sized.double().mean(), 1 / 2, len(sized))


def test_squares_fill_the_inner_grid_evenly_and_spare_its_border(many_majorities):
    filled = (many_majorities.labels != puzzles.IGNORED).double().mean(dim=0)
    assert all(near(share, 13 / 36, 12_000) for share in filled[1:-1, 1:-1].flatten().tolist())
    assert filled.sum().item() == pytest.approx(13)
    assert filled[1:-1, 1:-1].sum().item() == pytest.approx(13)


def test_neither_its_colour_nor_its_place_tells_whether_a_square_is_of_the_majority(many_majorities):
    labels, at_all = many_majorities.labels[:, 1:-1, 1:-1], 8 / 13
    image, row, column = (labels != puzzles.IGNORED).nonzero().unbind(dim=1)
    label = labels[image, row, column]
    green = (many_majorities.images[image, 1, row + 1, column + 1] > 0).long()
    for feature in (green, 6 * row + column):
        for value in feature.unique():
            of_value = feature == value
            independent = len(image[of_value].unique())  # squares of one colour in one image have one label
            assert near(label[of_value].double().mean(), at_all, independent)


def test_each_knob_of_majority_colour_changes_what_it_names():
    puzzle = puzzles.majority_colour(
        300, cells=9, cell=6, border=2, squares=20, majority=(11, 20), stride=3, generator=generator()
    )
    assert puzzle.images.shape == (300, 3, 54, 54)
    assert puzzle.labels.shape == (300, 18, 18)
    assert puzzle.cells.shape == (300, 20, 2)
    assert set(puzzle.cells.flatten().tolist()) == {2, 3, 4, 5, 6}
    assert set(puzzle.count.tolist()) == set(range(11, 21))
    assert ((puzzle.labels == 1).flatten(1).sum(dim=1) == 4 * puzzle.count).all()
    assert ((puzzle.labels == 0).flatten(1).sum(dim=1) == 4 * (20 - puzzle.count)).all()


@pytest.mark.parametrize(
    "puzzle",
    [
        puzzles.broadcast(5, cells=6, distance=(2, 3), generator=generator()),
        puzzles.majority_colour(5, generator=generator()),
    ],
    ids=["broadcast", "majority_colour"],
)
def test_cross_entropy_leaves_out_what_is_not_asked_without_being_told(puzzle):
    logits = torch.randn(*puzzle.labels.shape, 4, generator=generator())
    asked = puzzle.labels >= 0
    assert 0 < asked.sum() < asked.numel()
    by_hand = -logits.log_softmax(dim=-1)[asked].gather(1, puzzle.labels[asked][:, None]).mean()
    assert torch.allclose(torch.nn.functional.cross_entropy(logits.movedim(-1, 1), puzzle.labels), by_hand)
