"""Counter-based random numbers: each number is a function of (scene key, name of the quantity, position).

Nothing is drawn in sequence, so a scene is the same in whatever batch, process or order it is made, and a new
quantity moves none of the old ones. The hash is the finaliser of SplitMix64 on 64-bit integers, which wrap around on
every device, and the floats keep its highest 24 bits: the numbers are the same bits everywhere.
"""

from __future__ import annotations

import zlib

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["between", "choose", "keys", "lattice", "uniform"]

GOLDEN = -7046029254386353131  # 2^64 divided by the golden ratio, as a signed number


def keys(seed: int, numbers: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """The keys of scenes of a seed, by their numbers; any two scenes of any two seeds differ."""
    start = _mix(torch.tensor(seed, dtype=torch.int64, device=numbers.device) + GOLDEN)
    return _mix(start + GOLDEN * numbers)


def uniform(key: Int[Tensor, " n"], name: str, *shape: int) -> Float[Tensor, "n ..."]:
    """Numbers in [0, 1), float32 ``(n, *shape)``: a function of the key, the name and the place in the shape."""
    count = 1
    for side in shape:
        count *= side
    stream = _mix(key + _mix(torch.tensor(zlib.crc32(name.encode()), device=key.device)))
    counters = torch.arange(count, dtype=torch.int64, device=key.device)
    return _to_unit(_mix(stream[:, None] + GOLDEN * (counters + 1))).view(len(key), *shape)


def between(key: Int[Tensor, " n"], name: str, low: float, high: float, *shape: int) -> Float[Tensor, "n ..."]:
    """Numbers from low to high, float32 ``(n, *shape)``."""
    return low + (high - low) * uniform(key, name, *shape)


def choose(key: Int[Tensor, " n"], name: str, options: tuple[int, ...], *shape: int) -> Int[Tensor, "n ..."]:
    """One of the options each, int64 ``(n, *shape)``, all equally likely."""
    place = (uniform(key, name, *shape) * len(options)).long()
    return torch.tensor(options, dtype=torch.int64, device=key.device)[place]


def lattice(key: Int[Tensor, "..."], *cells: Int[Tensor, "..."]) -> Float[Tensor, "..."]:  # noqa: UP037
    """Noise in [0, 1) that is constant on the cells of a lattice; key and cell numbers broadcast."""
    state = key
    for cell in cells:
        state = _mix(state + GOLDEN * (cell + 1))
    return _to_unit(state)


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * -4658895280553007687
    x = (x ^ _shift(x, 27)) * -7723592293110705685
    return x ^ _shift(x, 31)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Shift right and fill with zeros, as unsigned numbers do; torch's shift repeats the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _to_unit(x: Tensor) -> Tensor:
    return _shift(x, 40).to(torch.float32) * 2.0**-24
