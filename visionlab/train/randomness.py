"""Seeds: one number for a tuple of numbers, a generator of it, and a block in which the global generators follow it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["generator", "mix", "seeded"]


def mix(*numbers: int) -> int:
    """Return one well-spread 63-bit seed for a tuple of non-negative numbers, such as (seed, step, rank)."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(*numbers: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator on ``device`` seeded by `mix`."""
    return torch.Generator(device).manual_seed(mix(*numbers))


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Seed torch's CPU generator, from which weights are drawn, for the block, and restore it afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(mix(*numbers))
        yield
