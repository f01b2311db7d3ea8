"""An owner's code as inks, and back: what the colour of a mark says (arXiv 2108.02360, reconstructed).

A structure has one or more classes (edges are one, k regions are k), and each class is painted in one ink. So a message
is a number to the base of how many inks there are, one digit, or symbol, for each class:

=========  ===========================================================  ========  ==============
code       inks                                                         symbols   bits a class
=========  ===========================================================  ========  ==============
`Levels`   each channel one of 40, 80, 120, 160, 200 (of 255)           125       6.97
`Hues`     saturated ones that differ in hue alone                      8         3
=========  ===========================================================  ========  ==============

Levels ask for exact colours, which large networks draw. Small ones draw the right hue long before the right colour, and
a network that imitates marked images pales it: at small scale only hues decode.

>>> symbols = encode("101101", Hues(), classes=2)
>>> symbols
(5, 5)
>>> f"{decode(symbols, Hues()):06b}"
'101101'
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from visionlab.protection.structure import HUES, INK_LEVELS, nearest_ink

__all__ = ["Code", "Hues", "Levels", "capacity", "decode", "encode"]

NOTHING = -1
"""In the place of a symbol: none was read."""


@dataclass(frozen=True)
class Levels:
    """Inks with one of five levels in each channel, in the order of a reflected Gray code.

    Each symbol differs from the next by one level in one channel, so that blue read one level off is a number one off.
    Five of the inks are grey: `hiding.ColourHider`, which hides hue alone, can hide none of those, and tells no two
    inks of one hue apart.

    Args:
        tolerance: how far, of 255, each channel may lie from its level (card and published code of Poison Ink: 10; half
            the distance of two levels is 20).
    """

    tolerance: float = 10.0

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < 20:
            raise ValueError(f"tolerance: expected more than 0 and less than 20 of 255, got {self.tolerance}")

    @property
    def size(self) -> int:
        """125 symbols."""
        return len(INK_LEVELS) ** 3

    def inks(self, symbols: Int[Tensor, "*n"]) -> Float[Tensor, "*n 3"]:
        """Return the inks in [0, 1].

        Raises:
            ValueError: if there is no such symbol.
        """
        _check_symbols(symbols, self.size)
        palette = torch.tensor([[INK_LEVELS[i] for i in _gray(s)] for s in range(self.size)], device=symbols.device)
        return (palette / 255)[symbols]

    def read(self, colours: Float[Tensor, "*n 3"]) -> Int[Tensor, "*n"]:
        """Return the symbols, -1 where a channel is further than the tolerance from all levels."""
        levels = colours.new_tensor(INK_LEVELS) / 255
        distance, nearest = (colours[..., None] - levels).abs().min(-1)
        symbol_of = torch.empty((len(INK_LEVELS),) * 3, dtype=torch.long)
        for symbol in range(self.size):
            symbol_of[_gray(symbol)] = symbol
        red, green, blue = nearest.unbind(-1)
        found = symbol_of.to(colours.device)[red, green, blue]
        # One step of rounding is not a failure: 50 / 255 lies within 10 / 255 of 40 / 255.
        return torch.where((distance <= self.tolerance / 255 + 1e-6).all(-1), found, NOTHING)


@dataclass(frozen=True)
class Hues:
    """Inks told apart by hue alone.

    Args:
        palette: the inks, 0 to 255 a channel; none grey.
        least: how far from white a colour must be, as a share of the way to its ink, to be read at all. Less than the
            half of `structure.nearest_ink`: what a thief's network draws is pale, and `verification` has a threshold.
    """

    palette: tuple[tuple[int, int, int], ...] = HUES
    least: float = 0.1

    @property
    def size(self) -> int:
        """Eight symbols, unless the palette is another."""
        return len(self.palette)

    def inks(self, symbols: Int[Tensor, "*n"]) -> Float[Tensor, "*n 3"]:
        """Return the inks in [0, 1].

        Raises:
            ValueError: if there is no such symbol.
        """
        _check_symbols(symbols, self.size)
        return (torch.tensor(self.palette, device=symbols.device) / 255)[symbols]

    def read(self, colours: Float[Tensor, "*n 3"]) -> Int[Tensor, "*n"]:
        """Return the symbols, -1 where a colour is white, or nearly so."""
        return nearest_ink(colours.reshape(-1, 3), self.palette, least=self.least).view(colours.shape[:-1])


Code = Levels | Hues


def capacity(code: Code, classes: int) -> float:
    """How many bits a mark with so many classes of structure carries.

    Raises:
        ValueError: if there is no class.
    """
    if classes < 1:
        raise ValueError(f"classes: expected 1 or more, got {classes}")
    return classes * math.log2(code.size)


def encode(message: int | str | bytes, code: Code, *, classes: int = 1) -> tuple[int, ...]:
    """The symbols, one for each class, that stand for a message.

    Args:
        message: a number from 0 on, a string of 0 and 1, or bytes; those two are numbers with the first bit highest.
        code: of the inks.
        classes: of the structure.

    Raises:
        ValueError: the message is no number from 0 on and no such string, or the mark cannot carry all messages of its
            length.
    """
    bits = capacity(code, classes)
    number, length = _number(message)
    if length is not None and length > bits:
        raise ValueError(f"message: {length} bits, but {classes} x {code.size} symbols carry {bits:.2f} bits")
    if number >= code.size**classes:
        raise ValueError(f"message: expected less than {code.size**classes}, of {bits:.2f} bits; got {number}")
    digits = []
    for _ in range(classes):
        number, digit = divmod(number, code.size)
        digits.append(digit)
    return tuple(reversed(digits))


def decode(symbols: Sequence[int], code: Code) -> int | None:
    """The number that symbols stand for, or None if one of them was not read.

    A message that was a string or bytes comes back with ``f"{number:0{length}b}"`` or ``number.to_bytes(length)``.

    Raises:
        ValueError: if there is none, or no such symbol.
    """
    if not symbols:
        raise ValueError("symbols: expected one for each class, got none")
    if NOTHING in symbols:
        return None
    number = 0
    for symbol in symbols:
        if not 0 <= symbol < code.size:
            raise ValueError(f"symbols: expected 0 to {code.size - 1}, or -1, got {symbol}")
        number = number * code.size + symbol
    return number


def _number(message: int | str | bytes) -> tuple[int, int | None]:
    """Return the number, and how many bits a message of its length may need."""
    if isinstance(message, bytes):
        if not message:
            raise ValueError("message: expected a byte or more, got none")
        return int.from_bytes(message), 8 * len(message)
    if isinstance(message, str):
        if not message or set(message) - set("01"):
            raise ValueError(f"message: expected a string of 0 and 1, got {message!r}")
        return int(message, 2), len(message)
    if message < 0:
        raise ValueError(f"message: expected a number from 0 on, got {message}")
    return message, None


def _gray(symbol: int) -> tuple[int, int, int]:
    """Levels of red, green, blue of a symbol: the digits run back and forth, so that one step changes one of them."""
    base = len(INK_LEVELS)
    red, green, blue = symbol // base**2, symbol // base % base, symbol % base
    if red % 2:
        green = base - 1 - green
    if (symbol // base) % 2:
        blue = base - 1 - blue
    return red, green, blue


def _check_symbols(symbols: Tensor, size: int) -> None:
    if symbols.numel() and not (symbols.min() >= 0 and symbols.max() < size):
        raise ValueError(f"symbols: expected 0 to {size - 1}, got {symbols.min()} to {symbols.max()}")
