"""Commands on networks of timm, ours and its own: ``visionlab bench`` and ``visionlab export``."""

from __future__ import annotations

import json
import re
import tempfile
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from visionlab.show.progress import bar

if TYPE_CHECKING:
    from torch import Tensor, nn


__all__ = ["bench", "export"]

MOST_THREADS = 1024
"""Far more than any machine has cores; the thread library ends the process where it gets no memory for all of them."""


def bench(
    names: tyro.conf.Positional[tuple[str, ...]],
    size: int | None = None,
    batches: tuple[int, ...] = (1, 8),
    threads: tuple[int, ...] = (1, 2),
    repeats: int = 15,
    device: Literal["cpu", "cuda"] = "cpu",
    out: Path | None = None,
    picture: Path | None = None,
) -> None:
    """Measure networks of timm on this machine: parameters, multiply-adds, latency, memory; float32, untrained.

    Beside each network stands its fast form, if it has one, and both in onnxruntime, if that is installed.

    Args:
        names: as in timm, for instance mobilenetv3_small_100 micronet_m0 mobile_former_26m.
        size: side of the images in pixels; each network's own by default.
        batches: images at once.
        threads: of the CPU; a GPU is measured with one.
        repeats: turns of each network at each setting.
        device: cpu or cuda; onnxruntime is measured on the CPU only.
        out: NAME.json, for all that was measured.
        picture: NAME.png, multiply-adds against latency.
    """
    import torch

    from visionlab.experiments.contestants import contestants_of, known
    from visionlab.measure.latency import machine, peak_memory, take_turns
    from visionlab.programs import ONNX, missing
    from visionlab.show.latency import latency_picture, latency_table
    from visionlab.train.checkpoint import write_whole

    if out is not None:
        _check_file("out", out, ".json")
    if picture is not None:
        _check_file("picture", picture, ".png")
    if not all(1 <= number <= MOST_THREADS for number in threads):
        got = ", ".join(map(str, threads))
        raise ValueError(f"threads: expected whole numbers from 1 to {MOST_THREADS}, got {got}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: expected cpu, as PyTorch finds no GPU here; got cuda")
    names = tuple(dict.fromkeys(map(known, names)))
    if not names:
        raise ValueError("names: expected the names of networks in timm, got none")
    lacking = "" if device == "cuda" else missing(*ONNX)
    threads = (1,) if device == "cuda" else threads
    contestants = [
        each for name in names for each in contestants_of(name, size, device, onnx=device == "cpu" and not lacking)
    ]
    timings = take_turns(
        contestants, batches=batches, threads=threads, repeats=repeats, device=device, hook=bar("turns", unit="round")
    )
    hook, memory = bar("memory", unit="network"), []
    for done, each in enumerate(contestants, 1):
        memory.append([peak_memory(each, batch, device) for batch in batches])
        hook(done, len(contestants))
    rows = [
        {"network": each.network, "form": each.form, "size": each.shape[1], "parameters": each.parameters,
         "multiply_adds": each.multiply_adds, "memory_mib": dict(zip(map(str, batches), grown, strict=True)),
         "timings": [asdict(t) for t in timings if (t.network, t.form) == (each.network, each.form)]}
        for each, grown in zip(contestants, memory, strict=True)
    ]  # fmt: skip
    measured = {"machine": machine(device), "repeats": repeats, "rows": rows}
    print(latency_table(measured))
    if lacking:
        print(f"not measured in onnxruntime, as {lacking} is not installed: pip install 'visionlab[onnx]'")
    if out is not None:
        print(f"written to {write_whole(out, lambda file: file.write(json.dumps(measured, indent=1).encode()))}")
    if picture is not None:
        print(f"written to {write_whole(picture, lambda file: file.write(latency_picture(measured).png()))}")


def export(
    name: tyro.conf.Positional[str],
    checkpoint: Path,
    out: Path,
    size: int | None = None,
    classes: int | None = None,
    folded: bool = False,
) -> None:
    """Write a network of timm as a file that runs without its code, checked against the network beforehand.

    It takes any number of normalised images of one size.

    Args:
        name: as in timm, for instance micronet_m0.
        checkpoint: the file of weights; nothing in it is run.
        out: NAME.onnx, or NAME.pt2 for PyTorch.
        size: side of the images in pixels; the network's own by default.
        classes: that the checkpoint tells apart; those of the network's published weights by default.
        folded: write the fast form, of networks that have one.
    """
    from torch.export import Dim

    from visionlab.experiments.contestants import fast_form, known, shape_of
    from visionlab.programs import FORMS, LIMIT, ONNX, checked, needs, program_file, traced
    from visionlab.train.checkpoint import write_whole

    _check_file("out", out, *FORMS)
    form, name = FORMS[out.suffix], known(name)
    if form == "onnx":
        needs(*ONNX)
    plain = _trained(name, checkpoint, size, classes)
    network = fast_form(plain) if folded else plain
    if network is None:
        raise ValueError(f"folded: {name} has no fast form; MicroNets, Mobile-Formers and MobileNets have one")
    cases = _cases(plain, shape_of(plain, size))
    found: dict[str, float] = {}

    def write(file: Any) -> None:
        """Into a file without a name: it gets its own once the program was found right."""
        program = traced(network, cases["noise, three images"], {0: Dim.DYNAMIC})
        content = program_file(program, form, answers="scores")
        found.update(checked(plain, content, form, cases))
        file.write(content)

    write_whole(out, write)
    print("\n".join(f"{case:32s} differs by {value:.1e} of the largest answer" for case, value in found.items()))
    shape = ", ".join(map(str, shape_of(plain, size)))
    print(f"written to {out}, as none differs by more than {LIMIT:g}: it takes images (any number, {shape})")
    print(f"normalised from [0, 1] by {_normalisation(plain)}")


# --- Parts ------------------------------------------------------------------------------------------------------------


def _check_file(argument: str, path: Path, *suffixes: str) -> None:
    """Refuse a name under which no file can be written, before any work; nothing is made and nothing is left.

    Raises:
        ValueError: if it ends in something else, or is a folder.
        OSError: if no file can be made in its folder, or in the nearest one that there is.
    """
    if path.suffix not in suffixes:
        raise ValueError(f"{argument}: expected a name that ends in {' or '.join(suffixes)}, got {path}")
    try:
        if path.is_dir():
            raise ValueError(f"{argument}: expected the name of a file, {path} is a folder")
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{path.name}.", suffix=".part"):
            pass
    except OSError as error:
        raise OSError(
            f"{argument}: cannot write {path}: {error.strerror}; choose a folder that can be written"
        ) from error


def _trained(name: str, checkpoint: Path, size: int | None, classes: int | None) -> nn.Module:
    import timm

    from visionlab.experiments.contestants import at_size

    if not checkpoint.is_file():
        raise FileNotFoundError(f"checkpoint: there is no file {checkpoint}")
    if classes is not None and classes < 1:
        raise ValueError(f"classes: expected a whole number >= 1, got {classes}")
    network = timm.create_model(name, num_classes=classes)
    _load(network, name, checkpoint)
    for key, values in network.state_dict().items():
        if not values.isfinite().all():
            raise ValueError(f"checkpoint: {checkpoint} has weights that are not finite numbers, in {key}")
    return at_size(network, size)


def _load(network: Any, name: str, checkpoint: Path) -> None:
    """Give a network the weights of a file, as timm does.

    Raises:
        ValueError: if the file holds no weights, or those of another network; the message says which.
    """
    import torch
    from safetensors import SafetensorError
    from timm.models import load_checkpoint

    from visionlab.train.checkpoint import CheckpointError, read

    try:
        if checkpoint.suffix not in (".safetensors", ".npz", ".npy"):  # timm reads those in other ways
            with torch.serialization.safe_globals([Namespace]):  # of the options that timm's own training keeps
                read(checkpoint)
        load_checkpoint(network, str(checkpoint))
    except CheckpointError as error:
        # What PyTorch adds is advice on an option of its own.
        raise ValueError(f"checkpoint: {str(error).partition('; Weights only load failed')[0]}") from error
    except (AttributeError, TypeError) as error:  # of timm, on a list for a dictionary and a number for a name
        raise ValueError(f"checkpoint: expected a dictionary of tensors by name in {checkpoint}") from error
    except (RuntimeError, KeyError, SafetensorError, ValueError) as error:
        reason = " ".join(str(error).split())
        if told := _classes_in(reason, network):
            raise ValueError(
                f"classes: expected --classes {told}, as {checkpoint} tells {told} classes apart; {name} was built for"
                f" {network.num_classes}"
            ) from error
        if reason.startswith("checkpoint: "):  # of our own networks: it says all
            raise
        raise ValueError(f"checkpoint: {checkpoint} does not fit the network {name}: {reason[:300]}") from error


def _classes_in(complaint: str, network: Any) -> int:
    """The classes of a checkpoint, if a complaint of ours or of PyTorch says that its classifier is of another size."""
    classifier = network.pretrained_cfg.get("classifier")
    if not isinstance(classifier, str):  # none, or several
        return 0
    words = r"(?: is \(|: copying a param with shape torch\.Size\(\[)"
    shape = re.search(rf"(?<![\w.]){re.escape(classifier)}\.weight{words}(\d+)", complaint)
    return int(shape[1]) if shape and int(shape[1]) != network.num_classes else 0


def _cases(network: Any, shape: tuple[int, int, int]) -> dict[str, Tensor]:
    """Normalised images (B, C, H, W) by what they are: noise, and photographs in the network's channels."""
    import torch
    import torch.nn.functional as F

    from visionlab.data.images import photograph

    cfg, generator = network.pretrained_cfg, torch.Generator().manual_seed(0)
    mean, std = (torch.tensor(cfg[key]).view(-1, 1, 1) for key in ("mean", "std"))
    channels = torch.arange(shape[0]) % 3
    photographs = [photograph(name, max(shape[1:]))[channels] for name in ("astronaut", "chelsea", "coffee")]
    pictures = F.interpolate(torch.stack(photographs), size=shape[1:])
    return {
        "noise, three images": torch.randn(3, *shape, generator=generator),
        "noise, one image": torch.randn(1, *shape, generator=generator),
        "three photographs": (pictures - mean) / std,
    }


def _normalisation(network: Any) -> str:
    mean, std = ("(" + ", ".join(f"{v:g}" for v in network.pretrained_cfg[key]) + ")" for key in ("mean", "std"))
    return f"mean {mean}, deviation {std}"
