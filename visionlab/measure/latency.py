"""How long networks take and how much memory: they take turns, so that drift of a machine hits all alike."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor

__all__ = ["Contestant", "Timing", "keep_memory", "machine", "peak_memory", "take_turns"]

Call = Callable[[Tensor], object]
MIB = 2**20
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h


@dataclass(frozen=True)
class Contestant:
    """A network in one form.

    Args:
        network: its name.
        form: for instance "PyTorch".
        shape: (C, H, W) of an image.
        parameters: of the form.
        multiply_adds: of the form, for one image.
        make: gives what is called with images (B, C, H, W), float32; it goes to another process for `peak_memory`, so
            it has to be a function of a module, or a `functools.partial` of one.
    """

    network: str
    form: str
    shape: tuple[int, int, int]
    parameters: int
    multiply_adds: int
    make: Callable[[], Call]

    def images(self, batch: int, device: str = "cpu") -> Tensor:
        """Return images (batch, C, H, W), normal noise."""
        return torch.randn(batch, *self.shape, generator=torch.Generator().manual_seed(0)).to(device)


@dataclass(frozen=True)
class Timing:
    """Seconds of each turn of one contestant at one batch and number of threads."""

    network: str
    form: str
    batch: int
    threads: int
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Of all turns, in seconds."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half the distance of the quartiles, in seconds: half of the turns lie about so near to the median."""
        if len(self.seconds) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return (high - low) / 2


@torch.inference_mode()
def keep_memory() -> None:
    """Let this process keep the memory that it frees, from now on.

    The C library of Linux gives large blocks back to the system and then fetches them anew, page by page, or keeps
    them, by what was freed before. So the same pass takes up to half as long again in one process as in another.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_MMAP_THRESHOLD, 32 * MIB)  # the largest that it takes: maps of the networks here are smaller
        libc.mallopt(_TRIM_THRESHOLD, 1024 * MIB)


def take_turns(
    contestants: Sequence[Contestant],
    *,
    batches: Sequence[int] = (1, 8),
    threads: Sequence[int] = (1, 2),
    repeats: int = 15,
    device: str = "cpu",
    limit: float | None = None,
    hook: Callable[[int, int], object] | None = None,
) -> list[Timing]:
    """Measure a forward pass of all contestants at every batch and number of threads.

    In each of ``repeats`` rounds every contestant has one turn at each setting, in an order drawn anew: a call that is
    not timed, so that caches and threads are its own, and one that is. The process keeps its memory: `keep_memory`.

    Args:
        contestants: are all made at the start and kept.
        batches: images at once.
        threads: that PyTorch, or onnxruntime, computes with.
        repeats: rounds.
        device: "cpu" or "cuda"; the GPU is waited for.
        limit: seconds after which no further round begins; there is one at least.
        hook: told (rounds done, all).

    Raises:
        ValueError: if a number is below 1, or nothing is to be measured.
    """
    for name, values in (("batches", batches), ("threads", threads), ("repeats", (repeats,))):
        if not values or min(values) < 1:
            raise ValueError(f"{name}: expected whole numbers >= 1, got {', '.join(map(str, values)) or 'none'}")
    keep_memory()
    calls = [each.make() for each in contestants]
    settings = [(i, batch, n) for i in range(len(contestants)) for batch in batches for n in threads]
    images = {(i, batch): each.images(batch, device) for i, each in enumerate(contestants) for batch in batches}
    seconds: dict[tuple[int, int, int], list[float]] = {setting: [] for setting in settings}
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    before, order = torch.get_num_threads(), random.Random(0)
    ends = None if limit is None else time.monotonic() + limit
    try:
        for done in range(1, repeats + 1):
            for i, batch, n in order.sample(settings, len(settings)):
                torch.set_num_threads(n)
                calls[i](images[i, batch])
                wait()
                began = time.perf_counter()
                calls[i](images[i, batch])
                wait()
                seconds[i, batch, n].append(time.perf_counter() - began)
            if hook is not None:
                hook(done, repeats)
            if ends is not None and time.monotonic() >= ends:
                break
    finally:
        torch.set_num_threads(before)
    return [
        Timing(contestants[i].network, contestants[i].form, batch, n, tuple(found))
        for (i, batch, n), found in seconds.items()
    ]


def peak_memory(contestant: Contestant, batch: int, device: str = "cpu") -> float:
    """Return the memory in MiB that one forward pass adds at its peak, without the weights.

    On the CPU that is by how much the resident memory of a fresh process grows in the contestant's first pass, on
    one thread; on Linux what libraries load once does not count. On a GPU it is what PyTorch allocates there.

    Args:
        contestant: see `Contestant.make`.
        batch: images at once.
        device: "cpu" or "cuda".
    """
    if device == "cuda":
        return _allocated(contestant, batch)
    # The server imports the package once; each process forked from it is fresh, and measures one pass.
    context = get_context("forkserver")
    context.set_forkserver_preload(["visionlab.measure.latency"])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_grown, contestant, batch).result()


@torch.inference_mode()
def _grown(contestant: Contestant, batch: int) -> float:
    torch.set_num_threads(1)
    images = contestant.images(batch)
    if sys.platform == "linux":
        contestant.make()(images)  # thrown away: libraries load code, and keep it, at a first pass of any network
    call = contestant.make()
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # else the pass finds memory that was freed before, and adds none
    before = _resident(restart=True)
    call(images)
    return max(0.0, _resident() - before) / MIB


def _resident(*, restart: bool = False) -> float:
    """The peak of this process's resident memory in bytes, on Linux counted anew where that is allowed."""
    status = Path("/proc/self/status")
    if status.exists():
        if restart:
            with contextlib.suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")
        words = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:")).split()
        return float(words[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak) * (1 if sys.platform == "darwin" else 1024)


@torch.inference_mode()
def _allocated(contestant: Contestant, batch: int) -> float:
    call, images = contestant.make(), contestant.images(batch, "cuda")
    call(images)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call(images)
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / MIB


def machine(device: str = "cpu") -> dict[str, str]:
    """Return what a measurement ran on, in words: the processor, its cores, and the version of PyTorch."""
    name = torch.cuda.get_device_name() if device == "cuda" else _processor()
    return {"device": name, "cores": str(os.cpu_count()), "torch": torch.__version__}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")
