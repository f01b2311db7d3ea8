"""What all tests share: shapes of annotated functions are checked, and torch uses one thread unless told otherwise."""

from __future__ import annotations

import os

import jaxtyping

# The hook must be in place before the first import of the package.
hook = jaxtyping.install_import_hook("visionlab", "beartype.beartype")

import pytest  # noqa: E402
import torch  # noqa: E402

if "OMP_NUM_THREADS" not in os.environ:
    torch.set_num_threads(1)


@pytest.fixture
def rng() -> torch.Generator:
    """A generator with a fixed seed."""
    return torch.Generator().manual_seed(0)
