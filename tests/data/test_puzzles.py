from __future__ import annotations

import dataclasses
import itertools
from collections import Counter

import pytest
import torch

from visionlab.data import puzzles


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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
    red, green = (torch.tensor(colour) for colour in puzzles.COLOURS)
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


def test_a_seed_gives_the_same_puzzles_and_another_seed_others():
    first, again, other = (puzzles.same_colour(5, generator=generator(seed)) for seed in (3, 3, 4))
    for field in dataclasses.fields(first):
        assert torch.equal(getattr(first, field.name), getattr(again, field.name))
    assert not torch.equal(first.images, other.images)


def test_version_one_of_the_puzzle_has_not_moved():
    assert puzzles.VERSION == 1
    puzzle = puzzles.same_colour(4, generator=generator())
    assert puzzle.cells.tolist() == [[[0, 5], [6, 5]], [[2, 3], [4, 2]], [[0, 4], [0, 0]], [[0, 4], [5, 3]]]
    assert puzzle.same.tolist() == [0, 0, 0, 1]


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    puzzles.same_colour(3, generator=generator())
    assert torch.equal(before, torch.get_rng_state())


def test_the_result_lies_on_the_device_of_the_generator():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    puzzle = puzzles.same_colour(8, generator=torch.Generator("cuda").manual_seed(0))
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


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"n": 0}, "n=0"),
        ({"n": 2, "cells": 1}, "cells=1"),
        ({"n": 2, "cell": 0}, "cell=0"),
        ({"n": 2, "noise": -0.1}, "noise=-0.1"),
        ({"n": 2, "noise": float("nan")}, "noise=nan"),
        ({"n": 2, "distance": (0, 3)}, r"distance=\(0, 3\)"),
        ({"n": 2, "distance": (4, 3)}, r"distance=\(4, 3\)"),
        ({"n": 2, "distance": (3, 8)}, r"distance=\(3, 8\).*<= 7 for cells=8"),
    ],
)
def test_bad_input_is_refused_by_name(arguments, named):
    with pytest.raises(ValueError, match=named):
        puzzles.same_colour(generator=generator(), **arguments)
