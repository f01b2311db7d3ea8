"""Streams of batches that are functions of (seed, step), so that a resumed run sees what the first one would have seen.

A stream yields this process's share of each optimiser step's batch. The batch of a step is the same whatever the number
of processes: two processes take its two halves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass
from itertools import count, islice
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from visionlab.train.randomness import generator

__all__ = ["Batch", "Fresh", "Paced", "Renewed", "Shuffled", "Stream"]

Batch = tuple[Tensor, ...]


@runtime_checkable
class Stream(Protocol):
    """What the loop asks of its data."""

    def batches(
        self, start: int, *, seed: int, batch: int, rank: int, world: int, device: torch.device
    ) -> Iterator[Batch]:
        """Yield the share of process ``rank`` of ``world`` in the batch of each step from ``start`` on."""
        ...


@dataclass(frozen=True)
class Fresh:
    """Batches drawn anew at each step: ``draw(n, generator) -> batch`` with n samples on the generator's device."""

    draw: Callable[[int, torch.Generator], Batch]

    def batches(
        self, start: int, *, seed: int, batch: int, rank: int, world: int, device: torch.device
    ) -> Iterator[Batch]:
        """Draw the whole batch of each step, and yield this process's share of it."""
        for step in count(start):
            whole = self.draw(batch, generator(seed, step, device=device))
            yield tuple(tensor.chunk(world)[rank] for tensor in whole)


@dataclass(frozen=True)
class Paced:
    """Batches of another stream that also tell how far the run is, for losses whose weights change with it.

    Args:
        stream: gives the batches.
        steps: of the whole run.
    """

    stream: Stream
    steps: int

    def batches(
        self, start: int, *, seed: int, batch: int, rank: int, world: int, device: torch.device
    ) -> Iterator[Batch]:
        """Add to each batch, as its last tensor, the share of steps done, once a sample."""
        inner = self.stream.batches(start, seed=seed, batch=batch, rank=rank, world=world, device=device)
        for step, part in enumerate(inner, start):
            yield (*part, torch.full((len(part[0]),), step / self.steps))


@dataclass(frozen=True)
class Renewed:
    """Passes over data sets of one size, each in a new order and each over another one.

    Args:
        size: of every data set.
        make: gives the data set of (seed, epoch).
        workers: processes that load in the background.
    """

    size: int
    make: Callable[[int, int], Dataset]
    workers: int = 0

    def batches(
        self, start: int, *, seed: int, batch: int, rank: int, world: int, device: torch.device
    ) -> Iterator[Batch]:
        """Load this process's share of each step's samples.

        Raises:
            ValueError: if a data set has fewer samples than a batch.
        """
        steps = _steps(self.size, batch)
        for epoch in count(start // steps):
            first = max(start, epoch * steps)
            stream = Shuffled(self.make(seed, epoch), self.workers)
            passed = stream.batches(first, seed=seed, batch=batch, rank=rank, world=world, device=device)
            yield from islice(passed, (epoch + 1) * steps - first)


@dataclass(frozen=True)
class Shuffled:
    """Passes over a map-style data set, each in a new order; what does not fill a batch is left for another pass.

    Args:
        dataset: gives tuples of tensors or numbers by index, the same each time; what is random belongs in the
            ``augment`` of `visionlab.train.loop.fit`, whose numbers follow from seed and step.
        workers: processes that load in the background.
    """

    dataset: Dataset
    workers: int = 0

    def batches(
        self, start: int, *, seed: int, batch: int, rank: int, world: int, device: torch.device
    ) -> Iterator[Batch]:
        """Load this process's share of each step's samples."""
        size = len(self.dataset) if isinstance(self.dataset, Sized) else 0
        steps = _steps(size, batch)
        for epoch in count(start // steps):
            order = torch.randperm(size, generator=generator(seed, epoch)).tolist()
            first = start % steps if epoch == start // steps else 0
            wholes = [order[step * batch : (step + 1) * batch] for step in range(first, steps)]
            shares = [whole[rank * batch // world : (rank + 1) * batch // world] for whole in wholes]
            loader = DataLoader(
                self.dataset,
                batch_sampler=shares,
                num_workers=self.workers,
                pin_memory=device.type == "cuda",
                generator=generator(seed, epoch, 1),
            )
            yield from (tuple(item) for item in loader)


def _steps(size: int, batch: int) -> int:
    """Return the steps of a pass, at least one."""
    if size < batch:
        raise ValueError(f"batch: {batch} samples a step, but the data set has only {size}")
    return size // batch
