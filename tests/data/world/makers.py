"""What child processes of the tests do: they make sets, are stopped at any moment, and write down what happened."""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from visionlab.data import world
from visionlab.data.world import store
from visionlab.data.world.export import export

COLUMNS = {"images": store.Column((3, 5), "uint8"), "words": store.Column((), "S12")}
N, CHUNK = 40, 4


def fill(which: range) -> dict[str, np.ndarray]:
    """Entries that follow from their numbers."""
    numbers = np.array(which)
    images = (numbers[:, None] * 7919 + np.arange(15)) % 251
    return {
        "images": images.reshape(-1, 3, 5).astype(np.uint8),
        "words": np.array([f"entry {i}".encode() for i in which]),
    }


def make(
    root: Path, log: Path, before: Callable[[range], object] = lambda which: None, n: int = N
) -> dict[str, np.ndarray]:
    """Make the set, and write down each chunk that is filled and each that is saved."""

    def note(word: str, number: int) -> None:
        with log.open("a") as file:
            file.write(f"{word} {number}\n")

    def noted(which: range) -> dict[str, np.ndarray]:
        note("filled", which.start)
        before(which)
        return fill(which)

    return store.make(
        {"task": "toy"}, COLUMNS, n, noted, root=root, chunk=CHUNK, hook=lambda done, n: note("saved", done)
    )


def make_slowly(root: Path, log: Path, out: Path) -> None:
    """Make the set so slowly that another process meets this one, and keep what came."""
    np.savez(out, **make(root, log, lambda which: time.sleep(0.01)))


CHANGES = ("open", "write", "flush", "fsync", "replace", "rename", "mkdir", "unlink", "rmdir", "truncate", "sendfile")


def make_until_change(number: int, root: Path, log: Path, n: int) -> None:
    """Make the set until so many calls have changed something on the disk, and be killed before the next."""
    left = number

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal left
        if event == "c_call" and argument.__name__ in CHANGES and frame.f_code.co_filename != __file__:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(watch)
    make(root, log, n=n)


def die_at_every_change(folder: Path, n: int, out: Path) -> None:
    """Kill the making of a set before its first change of the disk, its second, and so on, and finish it each time."""
    for number in itertools.count():
        root, log = folder / f"{number}", folder / f"{number}.txt"
        child = os.fork()
        if child == 0:
            make_until_change(number, root, log, n)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        make(root, log, n=n)
        if status == 0:
            out.write_text(str(number))
            return


def make_up_to(limit: int, root: Path, log: Path, said: Path) -> None:
    """Make the set where a file may have ``limit`` bytes, and write down what was said of it."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        make(root, log)
    except OSError as error:
        said.write_text(str(error))


def measure_store(n: int, root: Path, out: Path) -> None:
    """Make a set of large entries, and write down by how many megabytes the peak of memory grew."""
    columns = {"images": store.Column((40_000,), "uint8")}
    with Growth(out):
        store.make(
            {"n": n}, columns, n, lambda which: {"images": np.ones((len(which), 40_000), np.uint8)}, root=root, chunk=50
        )


def measure_dataset(n: int, root: Path, out: Path) -> None:
    """The same with rendered images."""
    world.dataset("attributes", n=8, size=32, root=root)
    with Growth(out):
        world.dataset("attributes", n=n, size=32, root=root)


class Growth:
    """Writes down by how many megabytes the peak of memory grew."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def __enter__(self) -> None:
        self.before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def __exit__(self, *_: object) -> None:
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - self.before) / 1024
        self.out.write_text(str(grown))


def render(root: Path, out: Path, log: Path, **arguments: Any) -> None:
    """Make a set of the world, write down what was done when, and keep what came."""

    def hook(done: int, n: int) -> None:
        with log.open("a") as file:
            file.write(json.dumps([os.getpid(), done, n]) + "\n")

    found = world.dataset(root=root, hook=hook, **arguments)
    np.savez(out, images=found.images, targets=found.targets)


def export_up_to(limit: int, root: Path, folder: Path, said: Path, task: str, n: int, size: tuple[int, int]) -> None:
    """Write a set as files where a file may have ``limit`` bytes, and write down what was said of it."""
    found = world.dataset(task, n=n, size=size, root=root)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        export(found, folder)
    except OSError as error:
        said.write_text(str(error))
