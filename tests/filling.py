"""Weights and inputs by rule, so that two implementations can be compared without exchanging files.

The rule: an entry of a state dict is drawn from a generator seeded by the CRC-32 of its name. Matrices and kernels are
normal with variance 1 / fan-in; vectors are 0.1 times normal, plus 1 if the name ends in ``weight``; running variances
are 1 plus half the absolute normal; batch counters are 0.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

GOLDENS = Path(__file__).parent / "goldens"


def entry(name: str, shape: tuple[int, ...]) -> Tensor:
    """Return the float64 values of one entry."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.float64)
    drawn = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("running_var"):
        drawn = 1.0 + np.abs(drawn) / 2
    elif len(shape) > 1:
        drawn = drawn * np.sqrt(1.0 / max(int(np.prod(shape[1:])), 1))
    else:
        drawn = 0.1 * drawn + float(name.endswith("weight"))
    return torch.from_numpy(np.asarray(drawn))


def images(batch: int, size: int, channels: int = 3) -> Tensor:
    """Return the float64 input (batch, channels, size, size)."""
    return torch.from_numpy(
        np.random.RandomState(100_000 * batch + size).standard_normal((batch, channels, size, size))
    )


def golden(name: str) -> dict[str, Any]:
    """Read a golden file."""
    return json.loads((GOLDENS / f"{name}.json").read_text())


def published_state(content: dict[str, Any]) -> dict[str, Tensor]:
    """Return the filled state dict of a golden, in the published names and layout."""
    return {name: entry(name, tuple(shape)) for name, shape in content["state_dict"].items()}


def distance(got: Tensor, expected: dict[str, Any]) -> float:
    """Return the relative error of a tensor against its summary: of its first values or its norm, the larger."""
    assert list(got.shape) == expected["shape"], f"shape {list(got.shape)}, expected {expected['shape']}"
    flat = got.detach().double().flatten()
    head = torch.tensor(expected["head"], dtype=torch.float64)
    scale = max(head.abs().max().item(), 1e-12)
    first = (flat[: len(head)] - head).abs().max().item() / scale
    norm = abs(flat.norm().item() - expected["l2"]) / max(expected["l2"], 1e-12)
    return max(first, norm)


def filled(network: Any) -> Any:
    """Give a network weights and statistics of the rule, which unlike fresh ones all matter."""
    network.load_state_dict({key: entry(key, tuple(old.shape)) for key, old in network.state_dict().items()})
    return network


def difference(expected: Tensor, found: Tensor) -> float:
    """The largest, relative to the largest number expected."""
    return ((expected - found).abs().max() / expected.abs().max()).item()
