"""Commands on networks of timm, ours and its own: ``visionlab bench`` and ``visionlab export``."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from visionlab.show.progress import bar

if TYPE_CHECKING:
    from torch import Tensor, nn


__all__ = ["bench", "export"]


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

    for argument, path, suffix in (("out", out, ".json"), ("picture", picture, ".png")):
        if path is not None and path.suffix != suffix:
            raise ValueError(f"{argument}: expected a name that ends in {suffix}, got {path}")
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

    if out.suffix not in FORMS:
        raise ValueError(f"out: expected a name that ends in .pt2 or .onnx, got {out}")
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


def _trained(name: str, checkpoint: Path, size: int | None, classes: int | None) -> nn.Module:
    import timm
    from safetensors import SafetensorError

    from visionlab.experiments.contestants import at_size

    if not checkpoint.is_file():
        raise FileNotFoundError(f"checkpoint: there is no file {checkpoint}")
    if classes is not None and classes < 1:
        raise ValueError(f"classes: expected a whole number >= 1, got {classes}")
    try:
        network = timm.create_model(name, num_classes=classes, checkpoint_path=str(checkpoint))
    except (RuntimeError, KeyError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"checkpoint: {checkpoint} does not fit the network {name}: {reason}") from error
    return at_size(network, size)


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
