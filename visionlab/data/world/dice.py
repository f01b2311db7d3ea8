"""Numbers for things that are drawn one after another, as the furniture of a room is: a long list by the counter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from jaxtyping import Int
from torch import Tensor

from visionlab.data.world import counter

__all__ = ["Dice"]

T = TypeVar("T")


class Dice:
    """Plain numbers that follow from a key and a name, and from how many were drawn before of the same dice."""

    def __init__(self, key: Int[Tensor, " 1"], name: str) -> None:
        self._numbers = self._draw(key, name)

    @staticmethod
    def _draw(key: Int[Tensor, " 1"], name: str) -> Iterator[float]:
        page = 0
        while True:
            yield from counter.uniform(key, f"{name} {page}", 512)[0].tolist()
            page += 1

    def unit(self) -> float:
        """A number in [0, 1)."""
        return next(self._numbers)

    def between(self, low: float, high: float) -> float:
        """A number from low to high."""
        return low + (high - low) * next(self._numbers)

    def whole(self, low: int, high: int) -> int:
        """A whole number from low to high, both among them."""
        return low + int((high - low + 1) * next(self._numbers))

    def chance(self, share: float) -> bool:
        """True in that share of the cases."""
        return next(self._numbers) < share

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, all equally likely."""
        return options[int(len(options) * next(self._numbers))]
