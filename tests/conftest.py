"""What all tests share: shapes of annotated functions are checked, and torch uses one thread unless told otherwise."""

from __future__ import annotations

import os
from collections.abc import Iterator

import jaxtyping

# The hook must be in place before the first import of the package.
hook = jaxtyping.install_import_hook("visionlab", "beartype.beartype")

import pytest  # noqa: E402
import torch  # noqa: E402

if "OMP_NUM_THREADS" not in os.environ:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="module")
def threads_stay_as_they_are() -> Iterator[None]:
    """Threads are everybody's: one more of them, and all later tests of two processes on two cores take far longer."""
    before = torch.get_num_threads()
    yield
    left = torch.get_num_threads()
    torch.set_num_threads(before)
    assert left == before


@pytest.fixture
def rng() -> torch.Generator:
    """A generator with a fixed seed."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def as_users_run_it() -> Iterator[None]:
    """Without the checks of shapes, so that the package's own words about bad input are what comes."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
