"""Numbers drawn by counting: uniform, independent by name and place, and the same bits on every machine."""

from __future__ import annotations

import zlib

import pytest
import torch

from visionlab.data.world import counter

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15


def mixed(x: int) -> int:
    """The finaliser of SplitMix64, on whole numbers."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def key_of(seed: int, number: int) -> int:
    return mixed((mixed((seed + GOLDEN) & MASK) + GOLDEN * number) & MASK)


def signed(x: int) -> int:
    return x - 2**64 if x >= 2**63 else x


def test_the_mixer_is_that_of_splitmix64() -> None:
    """The first three numbers that SplitMix64 gives from the seed 1234567, as published with it."""
    state = 1234567 + counter.GOLDEN * torch.arange(1, 4)
    found = [x % 2**64 for x in counter._mix(state).tolist()]
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("seed", [0, 1, -1, 12345, 2**63 - 1, -(2**63)])
def test_keys_and_numbers_are_those_of_whole_number_arithmetic(seed: int) -> None:
    numbers = [0, 1, 7, 2**40, 2**62]
    keys = counter.keys(seed, torch.tensor(numbers))
    assert keys.tolist() == [signed(key_of(seed, number)) for number in numbers]
    found = counter.uniform(keys, "yaw", 2, 3).double()
    for i, number in enumerate(numbers):
        stream = mixed((key_of(seed, number) + mixed(zlib.crc32(b"yaw"))) & MASK)
        exact = [(mixed((stream + GOLDEN * (place + 1)) & MASK) >> 40) / 2**24 for place in range(6)]
        assert found[i].flatten().tolist() == exact


def test_numbers_are_pinned() -> None:
    keys = counter.keys(5, torch.tensor([0, 1]))
    assert keys.tolist() == [-6043743789310322566, -371861127037631947]
    assert (counter.uniform(keys, "radius", 2) * 2**24).tolist() == [[14916015, 14774598], [3119870, 15215732]]
    assert counter.choose(keys, "shapes", tuple(range(16)), 4).tolist() == [[0, 7, 13, 7], [15, 3, 9, 12]]
    assert (counter.lattice(keys, torch.tensor([3, -3]), torch.tensor([-1, 0])) * 2**24).tolist() == [11435496, 7635309]


def test_numbers_are_uniform() -> None:
    found = counter.uniform(counter.keys(0, torch.arange(2000)), "x", 100).double()
    assert found.min() >= 0 and found.max() < 1
    for axis in (0, 1):  # over scenes, and over places
        assert abs(found.mean() - 0.5) < 4 * (1 / 12 / found.numel()) ** 0.5
        assert (found.mean(axis) - 0.5).abs().max() < 5 * (1 / 12 / found.shape[axis]) ** 0.5
    counts = (found * 256).long().flatten().bincount(minlength=256).double()
    chi_squared = ((counts - counts.mean()).square() / counts.mean()).sum()
    assert 255 - 5 * 22.6 < chi_squared < 255 + 5 * 22.6  # 255 degrees of freedom: deviation 22.6
    low = (found * 2**24).long() % 2
    assert abs(low.double().mean() - 0.5) < 4 * 0.5 / found.numel() ** 0.5


def test_neighbours_in_seed_number_place_and_name_are_independent() -> None:
    def drawn(seed: int = 3, first: int = 0, name: str = "a", skip: int = 0) -> torch.Tensor:
        return counter.uniform(counter.keys(seed, torch.arange(first, first + 400)), name, 101)[:, skip : skip + 100]

    one = drawn()
    others = [drawn(seed=4), drawn(seed=-3), drawn(first=1), drawn(name="b"), drawn(name="aa"), drawn(skip=1)]
    for other in others:
        correlation = torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]
        assert abs(correlation) < 4 / one.numel() ** 0.5
        assert (one == other).double().mean() < 1e-4


def test_no_two_scenes_of_many_seeds_share_a_key() -> None:
    keys = torch.cat([counter.keys(seed, torch.arange(1000)) for seed in range(-200, 200)])
    assert len(keys.unique()) == len(keys)


def test_a_number_is_that_of_its_place_whatever_the_shape() -> None:
    keys = counter.keys(2, torch.arange(5))
    long = counter.uniform(keys, "n", 12)
    assert torch.equal(counter.uniform(keys, "n", 3, 4), long.view(5, 3, 4))
    assert torch.equal(counter.uniform(keys, "n", 7), long[:, :7])
    assert torch.equal(counter.uniform(keys, "n"), long[:, 0])
    assert torch.equal(counter.uniform(keys[2:3], "n", 12), long[2:3])


def test_options_are_chosen_equally_often_and_ranges_are_kept() -> None:
    keys = counter.keys(8, torch.arange(2000))
    found = counter.choose(keys, "which", (4, 9, 2), 20)
    counts = [(found == option).sum().item() for option in (4, 9, 2)]
    assert sum(counts) == found.numel()
    assert all(abs(count - found.numel() / 3) < 4 * (found.numel() * 2 / 9) ** 0.5 for count in counts)
    found = counter.between(keys, "how far", -3.0, 5.0, 20)
    assert found.min() >= -3 and found.max() <= 5
    assert abs(found.mean() - 1) < 4 * 8 / 12**0.5 / found.numel() ** 0.5


def test_lattice_noise_is_constant_on_a_cell_and_uniform_over_cells() -> None:
    key = counter.keys(9, torch.tensor([0]))
    row, column = torch.meshgrid(torch.arange(-100, 100), torch.arange(-100, 100), indexing="ij")
    noise = counter.lattice(key, row, column).double()
    assert noise.min() >= 0 and noise.max() < 1
    assert torch.equal(noise, counter.lattice(key, row.clone(), column.clone()).double())
    assert abs(noise.mean() - 0.5) < 4 * (1 / 12 / noise.numel()) ** 0.5
    for neighbour in (noise.roll(1, 0), noise.roll(1, 1), noise.T):
        assert abs(torch.corrcoef(torch.stack([noise.flatten(), neighbour.flatten()]))[0, 1]) < 0.03
