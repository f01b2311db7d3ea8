"""Small trained weights that ship with the package, so that labs and apps start at once; each has a card.

A card says how the weights came about: experiment, preset, data, seed, commit, metrics, licence; and the file's digest.
`visionlab weights train NAME` makes them anew (`visionlab.experiments.ship`).
"""

from __future__ import annotations

import hashlib
import importlib
import json
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import nn

from visionlab.predictor import Predictor
from visionlab.train.checkpoint import CheckpointError, write_whole

__all__ = ["Card", "card", "folder", "load", "names", "write"]


@dataclass(frozen=True, kw_only=True)
class Card:
    """How weights came about, and what network they belong to.

    Args:
        name: of the weights, and of their two files.
        network: "module:class", or a function that builds it.
        kwargs: of the network.
        classes: a name for each output.
        size: side of its images in pixels.
        mean: of each channel, subtracted.
        std: of each channel, divided by.
        experiment: that trained them.
        preset: of the experiment.
        variant: of the experiment.
        data: they were trained on.
        seed: of the run.
        licence: of the weights, following their data.
        commit: of the code that trained them.
        metrics: of the run, on held-out data, before the weights were stored in half precision.
        sha256: of the file.
    """

    name: str
    network: str
    kwargs: dict[str, Any]
    classes: tuple[str, ...]
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    experiment: str
    preset: str
    variant: str
    data: str
    seed: int
    licence: str
    commit: str = ""
    metrics: dict[str, float] | None = None
    sha256: str = ""

    def build(self) -> nn.Module:
        """Build the network, untrained."""
        module, _, cls = self.network.partition(":")
        # JSON knows no tuples: a list in a card was one.
        kwargs = {key: tuple(value) if isinstance(value, list) else value for key, value in self.kwargs.items()}
        return getattr(importlib.import_module(module), cls)(**kwargs)


def folder() -> Path:
    """Return where the weights lie in the package."""
    return Path(str(resources.files("visionlab") / "weights"))


def names() -> list[str]:
    """Return the names of all weights that ship."""
    return sorted(path.stem for path in folder().glob("*.json"))


def card(name: str, where: Path | None = None) -> Card:
    """Return the card of weights by name, from the package or another folder.

    Raises:
        ValueError: if there are none of that name, or the card cannot be read.
    """
    path = (where or folder()) / f"{name}.json"
    if not path.is_file():
        near = get_close_matches(name, names(), n=1)
        raise ValueError(f"weights: no {name!r}; " + (f"did you mean {near[0]!r}?" if near else f"there are {names()}"))
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        listed = {key: tuple(content[key]) for key in ("classes", "mean", "std")}
        return Card(**(content | listed))
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"weights: the card {path} cannot be read: {error}") from error


def load(name: str, where: Path | None = None) -> Predictor:
    """Return trained weights as a predictor.

    Raises:
        ValueError: if there are none of that name.
        CheckpointError: if the file is missing, or is not the one of the card.
    """
    found = card(name, where)
    path = (where or folder()) / f"{name}.safetensors"
    blob = path.read_bytes() if path.is_file() else b""
    digest = hashlib.sha256(blob).hexdigest()
    if digest != found.sha256:
        raise CheckpointError(
            f"{path} is not the file of its card: {len(blob)} bytes with digest {digest[:12]}…, expected"
            f" {found.sha256[:12]}…"
        )
    model = found.build()
    model.load_state_dict({key: tensor.float() for key, tensor in from_bytes(blob).items()})
    return Predictor(model.eval(), found.classes, found.size, found.mean, found.std)


def write(new: Card, model: nn.Module, where: Path | None = None) -> Card:
    """Write weights in half precision with their card, which gets the digest; returns the card."""
    state = {k: v.detach().cpu().to(torch.float16).contiguous() for k, v in model.state_dict().items()}
    blob = to_bytes(state)
    done = Card(**(asdict(new) | {"sha256": hashlib.sha256(blob).hexdigest()}))
    where = where or folder()
    write_whole(where / f"{new.name}.safetensors", lambda file: file.write(blob))
    text = json.dumps(asdict(done), indent=1) + "\n"
    write_whole(where / f"{new.name}.json", lambda file: file.write(text.encode()))
    return done
