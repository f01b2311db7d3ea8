"""Streams: the same batches for any number of processes, from any step on."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from visionlab.train.randomness import generator, mix, seeded
from visionlab.train.stream import Fresh, Paced, Renewed, Shuffled, Stream

CPU = torch.device("cpu")
DATASET = TensorDataset(torch.arange(23), torch.arange(23) * 10)
PASSES = Shuffled(DATASET)
STREAMS = {
    "fresh": Fresh(lambda n, rng: (torch.rand(n, generator=rng),)),
    "shuffled": PASSES,
    "renewed": Renewed(23, lambda seed, epoch: TensorDataset(torch.arange(23), 100 * epoch + torch.arange(23) + seed)),
    "paced": Paced(PASSES, steps=16),
}


def take(
    stream: Stream, count: int, start: int = 0, rank: int = 0, world: int = 1, seed: int = 5, batch: int = 4
) -> list[Tensor]:
    batches = stream.batches(start, seed=seed, batch=batch, rank=rank, world=world, device=CPU)
    return [parts[0] for parts in islice(batches, count)]


@pytest.mark.parametrize("kind", STREAMS)
def test_processes_share_out_the_batch_of_one_process(kind: str) -> None:
    whole = take(STREAMS[kind], 12, batch=12)
    for world in (2, 3, 4, 12):
        parts = [take(STREAMS[kind], 12, rank=rank, world=world, batch=12) for rank in range(world)]
        assert all(torch.equal(torch.cat(shares), batch) for *shares, batch in zip(*parts, whole, strict=True))


@pytest.mark.parametrize("kind", STREAMS)
def test_a_stream_resumed_at_any_step_goes_on_where_it_was(kind: str) -> None:
    whole = take(STREAMS[kind], 16)
    for start in range(16):
        resumed = take(STREAMS[kind], 16 - start, start=start)
        assert all(torch.equal(a, b) for a, b in zip(whole[start:], resumed, strict=True)), start


@pytest.mark.parametrize("kind", STREAMS)
def test_seeds_and_steps_differ(kind: str) -> None:
    first = take(STREAMS[kind], 5, seed=1)
    assert not torch.equal(torch.cat(first), torch.cat(take(STREAMS[kind], 5, seed=2)))
    assert len({tuple(batch.tolist()) for batch in first}) == 5


@pytest.mark.parametrize("batch", [4, 6, 24])
def test_each_pass_is_a_permutation_in_an_order_of_its_own(batch: int) -> None:
    stream, steps = Shuffled(TensorDataset(torch.arange(24))), 24 // batch
    passes = [torch.cat(take(stream, steps, start=i * steps, batch=batch)).tolist() for i in range(4)]
    assert all(sorted(order) == list(range(24)) for order in passes)
    assert len({tuple(order) for order in passes}) == 4


def test_what_does_not_fill_a_batch_is_left_for_another_pass() -> None:
    passes = [torch.cat(take(STREAMS["shuffled"], 5, start=5 * i)).tolist() for i in range(6)]
    assert all(len(set(order)) == 20 for order in passes)
    assert {number for order in passes for number in order} == set(range(23))


def test_labels_stay_with_their_samples_and_workers_change_nothing() -> None:
    # From step 3 on, so that the second pass, with loaders of its own, is reached.
    options = {"seed": 5, "batch": 4, "rank": 1, "world": 2, "device": CPU}
    alone, helped = (Shuffled(DATASET, workers=workers).batches(3, **options) for workers in (0, 2))
    for (x, y), (x2, y2) in zip(islice(alone, 5), islice(helped, 5), strict=True):
        assert torch.equal(10 * x, y)
        assert torch.equal(x, x2)
        assert torch.equal(y, y2)


@pytest.mark.parametrize("kind", ["shuffled", "renewed"])
def test_a_batch_larger_than_the_data_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="batch: 24 samples a step, but the data set has only 23"):
        take(STREAMS[kind], 1, batch=24)


def test_seeds_are_mixed_well_and_order_matters() -> None:
    drawn = {mix(seed, step) for seed in range(30) for step in range(30)}
    assert len(drawn) == 900
    assert all(0 <= number < 2**63 for number in drawn)
    assert len({number >> 53 for number in drawn}) > 500, "the high bits differ as well"
    assert mix(1, 2) != mix(2, 1)
    assert torch.equal(torch.rand(3, generator=generator(1, 2)), torch.rand(3, generator=generator(1, 2)))


def test_a_seeded_block_leaves_the_outside_alone() -> None:
    before = torch.random.get_rng_state()
    with seeded(3):
        first = torch.rand(2)
    with seeded(3):
        assert torch.equal(first, torch.rand(2))
    with seeded(4):
        assert not torch.equal(first, torch.rand(2))
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_paced_stream_tells_how_far_the_run_is() -> None:
    batches = Paced(Shuffled(DATASET), steps=8).batches(2, seed=0, batch=4, rank=0, world=1, device=CPU)
    told = [batch[-1] for batch in islice(batches, 3)]
    assert [part.tolist() for part in told] == [[2 / 8] * 4, [3 / 8] * 4, [4 / 8] * 4]
