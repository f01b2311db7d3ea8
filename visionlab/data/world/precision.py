"""Float32 whatever the caller's settings: a scene is the same bits inside a program of mixed precision."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

__all__ = ["in_float32"]

P = ParamSpec("P")
R = TypeVar("R")


def in_float32(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function without automatic mixed precision, and with float32 as torch's default."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
                return function(*args, **kwargs)
        finally:
            torch.set_default_dtype(before)

    return run
