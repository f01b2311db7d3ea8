"""Checkpoints: written whole or not at all, read without trusting them."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Protocol, runtime_checkable

import torch

__all__ = ["CheckpointError", "Stateful", "read", "save", "write_whole"]


@runtime_checkable
class Stateful(Protocol):
    """What has a state of its own, as a network has."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state: tensors, numbers and texts, in lists and dictionaries."""
        ...

    def load_state_dict(self, state: dict[str, Any], /) -> object:
        """Take a state back."""
        ...


class CheckpointError(ValueError):
    """A checkpoint file that cannot be used; the message names the file and says why."""


def write_whole(path: str | os.PathLike[str], write: Callable[[IO[bytes]], object]) -> Path:
    """Write a file through a temporary one beside it, so that ``path`` holds either its old content or all of the new.

    Raises:
        OSError: if the folder is missing, read-only or full; nothing is left behind.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = temporary.open("xb")
    except OSError as error:
        raise OSError(
            error.errno, f"cannot write {path}: {error.strerror}; choose a folder that can be written"
        ) from error
    try:
        with file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno:
            raise OSError(error.errno, f"cannot write {path}: {error.strerror}") from error
        if isinstance(error, (OSError, RuntimeError)):  # torch's own writer says no more than that the file is short
            raise OSError(f"cannot write {path}: {error}; is the disk full?") from error
        raise
    return path


def save(path: str | os.PathLike[str], state: dict[str, Any]) -> Path:
    """Save tensors, numbers and strings, nested in dicts and lists, atomically."""
    return write_whole(path, lambda file: torch.save(state, file))


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint on the CPU; only tensors and plain values are accepted, no code is ever run.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file is truncated, of another format, or holds anything but tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path: no checkpoint at {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path} is not a readable checkpoint ({path.stat().st_size} bytes): expected a whole file of tensors"
            f" and plain values; {reason}"
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: expected a dict of tensors, got {type(state).__name__}")
    return state
