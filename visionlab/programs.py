"""A network as one file that runs without its code: a program of PyTorch (.pt2) or of ONNX; and how the two are run."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

__all__ = ["FORMS", "LIMIT", "ONNX", "OnnxSession", "checked", "missing", "needs", "opened", "program_file", "traced"]

FORMS = {".pt2": "pt2", ".onnx": "onnx"}
"""Endings of files, and the forms of programs in them."""
LIMIT = 1e-4
"""The largest difference of a program from its network, relative to the network's largest answer."""


ONNX = ("onnxruntime", "onnx", "onnxscript")
"""Packages that write and run ONNX."""


def missing(*packages: str) -> str:
    """Return the first package that is not installed, or nothing."""
    return next((package for package in packages if importlib.util.find_spec(package) is None), "")


def needs(*packages: str) -> None:
    """Say which package is missing.

    Raises:
        ValueError: if one of them is not installed; the message says how to install it.
    """
    if package := missing(*packages):
        raise ValueError(f"out: a file of ONNX needs {package}: pip install 'visionlab[onnx]'")


def traced(network: nn.Module, example: Tensor, free: Mapping[int, Any]) -> ExportedProgram:
    """Return the program of a network that takes images.

    Args:
        network: in evaluation mode.
        example: images (B, C, H, W) that it takes; B is 2 or more where the number of images is free.
        free: axes of the images that are free, each with `Dim.AUTO` (if the network allows) or `Dim.DYNAMIC` (must be).

    Raises:
        ValueError: if the network cannot be exported.
    """
    try:
        with torch.no_grad():
            program = torch.export.export(network, (example,), dynamic_shapes=(dict(free),))
    except Exception as error:
        raise ValueError(f"network: it cannot be exported: {_short(error)}") from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # names of files and lines of the owner's machine
    return program


def program_file(program: ExportedProgram, form: str, *, answers: str) -> bytes:
    """Return the content of a program's file.

    Args:
        program: of `traced`, that takes images alone.
        form: "pt2" or "onnx"; the latter calls its input "images".
        answers: what the output is called in ONNX.

    Raises:
        ValueError: ONNX's packages are missing, or ONNX cannot say what the network does.
    """
    if form == "pt2":
        buffer = io.BytesIO()
        torch.export.save(program, buffer)
        return buffer.getvalue()
    needs("onnx", "onnxscript")
    try:
        written = torch.onnx.export(program, dynamo=True, verbose=False, input_names=["images"], output_names=[answers])
        assert written is not None
        return written.model_proto.SerializeToString()
    except Exception as error:
        raise ValueError(f"network: it cannot be written as ONNX: {_short(error)}") from error


class OnnxSession:
    """A program of ONNX in onnxruntime on the CPU, called like the network; it uses as many threads as PyTorch may.

    Args:
        content: of the file.

    Raises:
        ValueError: onnxruntime is missing.
    """

    def __init__(self, content: bytes) -> None:
        needs("onnxruntime")
        self.content = content
        self.sessions: dict[int, Any] = {}
        self._session()

    def __call__(self, images: Tensor) -> Tensor:
        """Return the first output for images (B, C, H, W)."""
        session = self._session()
        return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0])

    def _session(self) -> Any:
        import onnxruntime

        threads = torch.get_num_threads()
        if threads not in self.sessions:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            options.log_severity_level = 3  # errors
            options.add_session_config_entry("session.force_spinning_stop", "1")  # its threads wait for no next call
            self.sessions[threads] = onnxruntime.InferenceSession(
                self.content, options, providers=["CPUExecutionProvider"]
            )
        return self.sessions[threads]


def opened(content: bytes, form: str) -> Callable[[Tensor], Tensor]:
    """Return what a file's content computes, read as its user reads it.

    Raises:
        ValueError: onnxruntime is missing, which runs the form "onnx".
    """
    return OnnxSession(content) if form == "onnx" else torch.export.load(io.BytesIO(content)).module()


@torch.no_grad()
def checked(network: nn.Module, content: bytes, form: str, cases: Mapping[str, Tensor]) -> dict[str, float]:
    """Return how far a file's content is from its network, for each case, relative to the network's largest answer.

    Args:
        network: in evaluation mode.
        content: of `program_file`.
        form: "pt2" or "onnx".
        cases: images (B, C, H, W), by what they are.

    Raises:
        ValueError: if it does not run, or is further away than `LIMIT` in any case.
    """
    program, found = opened(content, form), {}
    for name, images in cases.items():
        wanted = network(images)
        try:
            got = program(images)
        except Exception as error:
            raise ValueError(f"network: its {form} program does not run on {name}: {_short(error)}") from error
        if got.shape != wanted.shape:
            raise ValueError(f"network: its {form} program answers {tuple(got.shape)} on {name}, not {wanted.shape}")
        scale = max(wanted.abs().max().item(), torch.finfo(wanted.dtype).tiny)
        found[name] = (got - wanted).abs().max().item() / scale
        if not found[name] <= LIMIT:
            raise ValueError(
                f"network: its {form} program differs by {found[name]:.1e} of the largest answer on {name}, expected"
                f" {LIMIT:g} at most"
            )
    return found


def _short(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
