"""Images that the tests of this folder share."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from visionlab.data.images import load
from visionlab.protection.tasks import pairs


@pytest.fixture(scope="session")
def tiles() -> Tensor:
    """Sixty satellite tiles (60, 3, 32, 32)."""
    return load("eurosat_mini", "train", size=32).tensors()[0][::40]


@pytest.fixture(scope="session")
def rain(tiles: Tensor) -> Tensor:
    """The same tiles in the rain."""
    return pairs(tiles, "rain", generator=torch.Generator().manual_seed(0))[0]
