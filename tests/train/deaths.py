"""What child processes of the tests do until something stops them."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path
from typing import Any, NoReturn

import torch

from tests.train import toy
from visionlab.train.checkpoint import save


def save_up_to(limit: int, path: Path, said: Path) -> None:
    """Save four megabytes where a file may have ``limit`` bytes, and write down what was said of it."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        save(path, {"x": torch.ones(1_000_000)})
    except OSError as error:
        said.write_text(str(error))


def die(*_: object) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def die_while_saving(moment: str, after: int, **options: Any) -> None:
    """Train until the first save after step ``after``, and be killed in the middle of it."""

    def arm(step: int, _steps: int, _values: dict[str, float]) -> None:
        if step != after:
            return
        if moment == "half is written":
            # The kernel kills a process that writes past this limit, unless the signal is ignored, as Python does.
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
        elif moment == "all is written, nothing is in place":
            os.fsync = die

    toy.run(hook=arm, **options)
