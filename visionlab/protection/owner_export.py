"""A network with the owner's mark around it as one program: PyTorch's (.pt2) or ONNX, for any images that it takes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from visionlab.programs import needs, program_file, traced
from visionlab.protection.tasks import answers
from visionlab.protection.watermark import Marked, StructureMark

__all__ = ["exported", "network_from"]


def network_from(name: str) -> tuple[nn.Module, Tensor]:
    """Return an image-to-image network, and images (B, 3, H, W) that it takes.

    Args:
        name: MODULE:FACTORY, looked for in the current folder as well; or the file of an exported program, NAME.pt2.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be imported or read, or gives no network from images to images of the same size.
    """
    example = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    if name.endswith(".pt2"):
        if not Path(name).is_file():
            raise FileNotFoundError(f"network: there is no file {name}")
        try:
            # Functional: an exported `detach_` cannot be exported again.
            program = torch.export.load(name).run_decompositions({})
        except Exception as error:
            raise ValueError(f"network: {name} is no exported program: {_short(error)}") from error
        network: Any = program.module()
        example = _taken_by(network, program, example)
    else:
        network = _made(name).eval()
    try:
        answers(network.__call__, example)  # as a function: a program has no evaluation mode
    except Exception as error:
        raise ValueError(f"network: {name} does not turn images into images: {_short(error)}") from error
    return network, example


def exported(
    network: tuple[nn.Module, Tensor], mark: StructureMark, symbols: tuple[int, ...], *, gain: float, form: str
) -> tuple[bytes, str]:
    """Return the program, and in words which images it takes: any number and size, as far as the network allows.

    Args:
        network: of `network_from`.
        mark: the owner's networks; of the extractor nothing is kept.
        symbols: of the owner, one a class.
        gain: how strongly.
        form: "pt2" or "onnx".

    Raises:
        ValueError: ONNX's packages are missing, or the network cannot be exported.
    """
    module, example = network
    if form == "onnx":
        needs("onnx", "onnxscript")
    marked = Marked(module, mark, symbols, gain=gain)
    program = traced(marked, example, {0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO})
    return program_file(program, form, answers="marked"), _shape(program)


def _made(name: str) -> nn.Module:
    module, _, factory = name.partition(":")
    if not factory:
        raise ValueError(f"network: expected MODULE:FACTORY or NAME.pt2, got {name!r}")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        make: Callable[[], Any] = getattr(importlib.import_module(module), factory)
        network = make()
    except Exception as error:
        raise ValueError(f"network: {name} cannot be made: {_short(error)}") from error
    finally:
        sys.path.remove(here)
    if not isinstance(network, nn.Module):
        raise ValueError(f"network: expected {name} to return a torch.nn.Module, got {type(network).__name__}")
    return network


def _taken_by(network: Any, program: ExportedProgram, example: Tensor) -> Tensor:
    """The example, or the images that the program was made with, if it takes no others."""
    try:
        network(example)
    except Exception:
        kept = program.example_inputs
        if not kept or len(kept[0]) != 1 or not isinstance(kept[0][0], Tensor):
            raise ValueError("network: expected a program that takes images alone") from None
        return kept[0][0]
    return example


def _shape(program: ExportedProgram) -> str:
    (images,) = (node for node in program.graph.nodes if node.op == "placeholder" and node.name == "images")
    sides = zip(("any number", "3", "any height", "any width"), images.meta["val"].shape, strict=True)
    return "(" + ", ".join(str(n) if isinstance(n, int) else words for words, n in sides) + ")"


def _short(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
