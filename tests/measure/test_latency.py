"""Latency and memory: turns are taken, what is slower or larger is found to be."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from visionlab.measure.latency import Call, Contestant, Timing, machine, peak_memory, take_turns

CALLS: list[tuple[str, int, int]] = []


def sleeper(name: str, seconds: float) -> Call:
    def call(images: Tensor) -> None:
        CALLS.append((name, len(images), torch.get_num_threads()))
        time.sleep(seconds)

    return call


def filler(mebibytes: int) -> Call:
    """What keeps a number of MiB for each image while it runs, and gives all back."""

    def call(images: Tensor) -> None:
        torch.ones(len(images), mebibytes * 2**18).sum()

    return call


def contestant(name: str, seconds: float) -> Contestant:
    return Contestant(name, "PyTorch", (3, 4, 4), 1, 1, partial(sleeper, name, seconds))


def test_all_have_the_same_number_of_turns_in_every_round() -> None:
    CALLS.clear()
    heard: list[tuple[int, int]] = []
    before = torch.get_num_threads()
    found = take_turns(
        [contestant("slow", 0.02), contestant("fast", 0.0)], batches=(1, 2), threads=(1, 2), repeats=3,
        hook=lambda done, total: heard.append((done, total)),
    )  # fmt: skip
    assert torch.get_num_threads() == before
    assert heard == [(1, 3), (2, 3), (3, 3)]
    assert len(found) == 8
    assert all(len(timing.seconds) == 3 for timing in found)
    assert {t.network: t.median > 0.015 for t in found} == {"slow": True, "fast": False}
    everyone = {(name, batch, n) for name in ("slow", "fast") for batch in (1, 2) for n in (1, 2)}
    rounds = [CALLS[i : i + 16] for i in (0, 16, 32)]
    for calls in rounds:
        assert set(calls[::2]) == everyone
        assert calls[::2] == calls[1::2], "a turn is a call that is not timed, and one that is"
    assert rounds[0] != rounds[1]


FAULTS = """
import resource, sys, torch
from visionlab.measure.latency import keep_memory
if sys.argv[1] == "kept":
    keep_memory()
def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        blocks = [torch.ones(3, 2**20) for _ in range(8)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
pages()
print(pages())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of the C library of Linux")
def test_memory_that_is_kept_is_not_fetched_page_by_page() -> None:
    # Without these the library chooses by what was freed before, which is chance.
    given_back = "glibc.malloc.mmap_threshold=131072:glibc.malloc.trim_threshold=131072"

    def faults(how: str) -> int:
        run = subprocess.run(
            [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True,
            env=os.environ | {"GLIBC_TUNABLES": given_back},
        )  # fmt: skip
        return int(run.stdout)

    assert faults("as ever") > 1000
    assert faults("kept") < 100


def test_median_and_spread() -> None:
    timing = Timing("a", "PyTorch", 1, 1, (1.0, 2.0, 3.0, 4.0, 100.0))
    assert timing.median == 3
    assert timing.spread == 1
    assert Timing("a", "PyTorch", 1, 1, (1.0,)).spread == 0


def test_no_round_begins_after_the_limit() -> None:
    found = take_turns([contestant("a", 0.05)], batches=(1,), threads=(1,), repeats=50, limit=0.3)
    assert 1 < len(found[0].seconds) < 10
    found = take_turns([contestant("a", 0.0)], batches=(1,), threads=(1,), repeats=50, limit=0.0)
    assert len(found[0].seconds) == 1, "one round there is"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"batches": (0,)}, "batches: expected whole numbers >= 1, got 0"),
        ({"threads": ()}, "threads: expected whole numbers >= 1, got none"),
        ({"repeats": -1}, "repeats: expected whole numbers >= 1, got -1"),
    ],
)
def test_settings_that_measure_nothing_are_refused(setting: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        take_turns([contestant("a", 0.0)], **setting)


def test_memory_is_that_of_the_pass() -> None:
    filled = Contestant("a", "PyTorch", (3, 4, 4), 1, 1, partial(filler, 40))
    one, three = peak_memory(filled, 1), peak_memory(filled, 3)
    assert 35 < one < 60
    assert 110 < three < 150


def test_what_libraries_load_once_is_no_memory_of_the_pass() -> None:
    network = Contestant("a", "PyTorch", (3, 4, 4), 1, 1, partial(nn.Conv2d, 3, 2, 1))
    assert peak_memory(network, 1) < 2


def test_the_machine_is_named() -> None:
    assert machine()["torch"] == torch.__version__
    assert all(machine().values())
