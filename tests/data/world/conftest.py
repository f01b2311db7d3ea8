"""What the tests of the world share."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> ForkServerContext:
    """Processes that start at once, since the server they are forked from has imported torch; they may be killed."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.data.world.makers"])
    return context
