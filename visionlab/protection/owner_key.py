"""What an owner keeps to prove a theft: the networks of a mark, the message, and what clean pictures look like.

A key is one file, and private: whoever has the extractor can follow its gradient until the mark is gone (arXiv
2405.09863, 2502.20924). What is given away is a `watermark.Marked`, which has no extractor.

The evidence of clean answers lies in the key, image by image, not only the threshold that came of it: clean answers of
another kind can be added when a suspect is there, and `calibrate` then weighs all kinds.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from visionlab.protection.hiding import ColourHider
from visionlab.protection.owner_code import Code, Hues, Levels, decode, encode
from visionlab.protection.regions import edge_map, regions
from visionlab.protection.verification import Calibration, Evidence, calibrate
from visionlab.protection.watermark import StructureMark
from visionlab.train.checkpoint import CheckpointError, write_whole

__all__ = ["STRUCTURES", "OwnerKey", "small_mark"]

FORMAT, VERSION = "visionlab owner key", 1
STRUCTURES: dict[str, tuple[Any, int, float]] = {
    "edges": (edge_map, 1, 0.12),
    "regions": (partial(regions, k=2), 2, 0.05),
}
"""Rule, classes, and the embedder's usual amplitude: regions fill the image, so that each place gets less."""
CODES: dict[str, Code] = {"hues": Hues(), "levels": Levels()}


def small_mark(structure: str = "edges", *, amplitude: float | None = None, code: str = "hues") -> StructureMark:
    """Build the networks of a key, untrained: `hiding.ColourHider` and `hiding.Reader`.

    Args:
        structure: one of `STRUCTURES`.
        amplitude: of the embedder, by default the structure's usual one.
        code: "hues" or "levels".

    Raises:
        ValueError: if structure or code are unknown.
    """
    for name, value, known in (("structure", structure, STRUCTURES), ("code", code, CODES)):
        if value not in known:
            raise ValueError(f"{name}: expected one of {', '.join(known)}, got {value!r}")
    rule, classes, usual = STRUCTURES[structure]
    hider = ColourHider(amplitude=usual if amplitude is None else amplitude)
    return StructureMark(hider, structure=rule, classes=classes, code=CODES[code])


@dataclass(frozen=True, eq=False)
class OwnerKey:
    """The owner's secret.

    Args:
        mark: of `small_mark`, trained, in evaluation mode.
        message: as it was given, of 0 and 1.
        clean: evidence of clean answers against the message, by kind.
        rate: wanted false-positive rate of one image.
        least: the threshold is no lower, see `verification.calibrate`.
        about: how it came about, as JSON can hold it.

    Raises:
        ValueError: if the mark cannot carry the message, is of another kind than `small_mark` builds, or the clean
            answers are too few for the rate.
    """

    mark: StructureMark
    message: str
    clean: Mapping[str, Evidence]
    rate: float = 0.05
    least: float = 0.0
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.mark.eval()
        _kind(self.mark)
        assert self.symbols is not None
        assert self.calibration is not None

    @cached_property
    def symbols(self) -> tuple[int, ...]:
        """Symbols of the message, one a class."""
        return encode(self.message, self.mark.code, classes=self.mark.classes)

    @cached_property
    def calibration(self) -> Calibration:
        """Threshold and false-positive rate, of the worst kind of clean answers."""
        return calibrate(*self.clean.values(), rate=self.rate, least=self.least)

    @property
    def fingerprint(self) -> str:
        """The first 12 hexadecimal digits of the SHA-256 of the key's file."""
        return hashlib.sha256(self._bytes()).hexdigest()[:12]

    def spoken(self, symbols: tuple[int, ...]) -> str:
        """Decoded symbols as a message of the length of the owner's, or words that none was read."""
        number = decode(symbols, self.mark.code)
        return "none" if number is None else f"{number:0{len(self.message)}b}"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the key, whole or not at all, readable by its owner alone.

        Raises:
            OSError: if it cannot be written.
        """

        def write(file: IO[bytes]) -> None:
            if hasattr(os, "fchmod"):  # not on Windows
                os.fchmod(file.fileno(), 0o600)
            file.write(self._bytes())

        return write_whole(path, write)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> OwnerKey:
        """Read a key; nothing in the file is run, and only networks of known kinds are built.

        Raises:
            FileNotFoundError: if there is no such file.
            CheckpointError: if it is no key, not whole, of another version, or its weights do not fit; it says which.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"key: there is no file {path}")
        head, tensors = _read(path)
        try:
            mark = small_mark(head["structure"], amplitude=float(head["amplitude"]), code=head["code"])
            mark.load_state_dict({k.removeprefix("mark."): v for k, v in tensors.items() if k.startswith("mark.")})
            clean = {name: _unpacked(tensors[f"clean.{i}"]) for i, name in enumerate(head["clean"])}
            return cls(mark, head["message"], clean, float(head["rate"]), float(head["least"]), head["about"])
        except (KeyError, TypeError, AttributeError, RuntimeError, ValueError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise CheckpointError(f"{path} holds a key whose parts do not fit each other: {reason}") from error

    def _bytes(self) -> bytes:
        structure, code = _kind(self.mark)
        head = {
            "format": FORMAT, "version": VERSION, "structure": structure, "classes": self.mark.classes, "code": code,
            "amplitude": self.mark.embedder.amplitude, "message": self.message, "symbols": self.symbols,
            "clean": list(self.clean), "rate": self.rate, "least": self.least, "calibration": vars(self.calibration),
            "about": dict(self.about),
        }  # fmt: skip
        tensors = {f"mark.{name}": value for name, value in self.mark.state_dict().items()}
        tensors |= {f"clean.{i}": _packed(each) for i, each in enumerate(self.clean.values())}
        return to_bytes({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, {"key": json.dumps(head)})


def _kind(mark: StructureMark) -> tuple[str, str]:
    """Names of structure and code of a mark."""

    def rule(function: Any) -> tuple[Any, Any]:
        return (function.func, function.keywords) if isinstance(function, partial) else (function, {})

    for structure, (known, classes, _) in STRUCTURES.items():
        for code, inks in CODES.items():
            if (rule(mark.structure), mark.classes, mark.code) == (rule(known), classes, inks):
                shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (mark, small_mark(structure))]
                if isinstance(mark.embedder, ColourHider) and shapes[0] == shapes[1]:
                    return structure, code
    raise ValueError("mark: expected networks, structure and code as small_mark builds them, got others")


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    blob = path.read_bytes()  # not mapped: who writes a new key over this one would pull it from under our feet
    try:
        tensors = from_bytes(blob)
        header = json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])
        head = json.loads(header.get("__metadata__", {}).get("key", "null"))
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path} is no owner's key, or not all of one ({len(blob)} bytes): {error}") from error
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise CheckpointError(f"{path} is no owner's key: expected a file that `visionlab watermark train` wrote")
    if head.get("version") != VERSION:
        raise CheckpointError(f"{path}: expected a key of version {VERSION}, got {head.get('version')!r}")
    return head, tensors


def _packed(evidence: Evidence) -> Tensor:
    """Scores, agreement and use (3, N): all that a calibration asks."""
    return torch.stack([x.float() for x in (evidence.scores, evidence.agrees, evidence.usable)])


def _unpacked(packed: Tensor) -> Evidence:
    scores, agrees, usable = packed
    return Evidence(scores, agrees > 0, usable > 0, scores[usable > 0].mean().item())
