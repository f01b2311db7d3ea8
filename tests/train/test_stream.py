"""Streams: the same batches for any number of processes, from any step on."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from visionlab.train.randomness import generator, mix, seeded
from visionlab.train.stream import Fresh, Shuffled, Stream

CPU = torch.device("cpu")
DATASET = TensorDataset(torch.arange(23), torch.arange(23) * 10)
STREAMS = {
    "fresh": Fresh(lambda n, rng: (torch.rand(n, generator=rng),)),
    "shuffled": Shuffled(DATASET),
}


def take(stream: Stream, count: int, start: int = 0, rank: int = 0, world: int = 1, seed: int = 5) -> list[Tensor]:
    batches = stream.batches(start, seed=seed, batch=4, rank=rank, world=world, device=CPU)
    return [batch[0] for batch in islice(batches, count)]


@pytest.mark.parametrize("kind", STREAMS)
def test_processes_share_out_the_batch_of_one_process(kind: str) -> None:
    whole = take(STREAMS[kind], 12)
    for world in (2, 4):
        parts = [take(STREAMS[kind], 12, rank=rank, world=world) for rank in range(world)]
        assert all(torch.equal(torch.cat(shares), batch) for *shares, batch in zip(*parts, whole, strict=True))


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("start", [1, 4, 5, 11])
def test_a_resumed_stream_goes_on_where_it_was(kind: str, start: int) -> None:
    whole = take(STREAMS[kind], 16)
    resumed = take(STREAMS[kind], 16 - start, start=start)
    assert all(torch.equal(a, b) for a, b in zip(whole[start:], resumed, strict=True))


@pytest.mark.parametrize("kind", STREAMS)
def test_seeds_differ(kind: str) -> None:
    assert not torch.equal(torch.cat(take(STREAMS[kind], 5, seed=1)), torch.cat(take(STREAMS[kind], 5, seed=2)))


def test_a_pass_shows_no_sample_twice_and_each_pass_has_its_own_order() -> None:
    first, second = (torch.cat(take(STREAMS["shuffled"], 5, start=start)) for start in (0, 5))
    assert len(set(first.tolist())) == len(set(second.tolist())) == 20
    assert not torch.equal(first, second)


def test_labels_stay_with_their_samples_and_workers_change_nothing() -> None:
    alone = STREAMS["shuffled"].batches(3, seed=5, batch=4, rank=0, world=1, device=CPU)
    helped = Shuffled(DATASET, workers=2).batches(3, seed=5, batch=4, rank=0, world=1, device=CPU)
    for (x, y), (x2, y2) in zip(islice(alone, 4), islice(helped, 4), strict=True):
        assert torch.equal(10 * x, y)
        assert torch.equal(x, x2)
        assert torch.equal(y, y2)


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(ValueError, match="batch: 24 samples a step, but the data set has only 23"):
        next(Shuffled(DATASET).batches(0, seed=0, batch=24, rank=0, world=1, device=CPU))


def test_seeds_are_mixed_well_and_order_matters() -> None:
    drawn = {mix(seed, step) for seed in range(30) for step in range(30)}
    assert len(drawn) == 900
    assert mix(1, 2) != mix(2, 1)
    assert torch.equal(torch.rand(3, generator=generator(1, 2)), torch.rand(3, generator=generator(1, 2)))


def test_a_seeded_block_leaves_the_outside_alone() -> None:
    before = torch.random.get_rng_state()
    with seeded(3):
        first = torch.rand(2)
    with seeded(3):
        assert torch.equal(first, torch.rand(2))
    assert torch.equal(before, torch.random.get_rng_state())
