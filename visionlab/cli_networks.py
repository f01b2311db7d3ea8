"""Commands on networks of timm, ours and its own: ``visionlab bench`` and ``visionlab export``."""

from __future__ import annotations

import importlib.util
import json
import pickle
from dataclasses import asdict
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from visionlab.show.progress import bar

if TYPE_CHECKING:
    from torch import Tensor, nn

    from visionlab.measure.latency import Contestant

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

    from visionlab.measure.latency import machine, peak_memory, take_turns
    from visionlab.show.latency import latency_picture, latency_table
    from visionlab.train.checkpoint import write_whole

    for argument, path, suffix in (("out", out, ".json"), ("picture", picture, ".png")):
        if path is not None and path.suffix != suffix:
            raise ValueError(f"{argument}: expected a name that ends in {suffix}, got {path}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: expected cpu, as PyTorch finds no GPU here; got cuda")
    names = tuple(dict.fromkeys(map(_known, names)))
    if not names:
        raise ValueError("names: expected the names of networks in timm, got none")
    missing = "" if device == "cuda" else _missing_onnx()
    threads = (1,) if device == "cuda" else threads
    contestants = [
        each for name in names for each in _contestants(name, size, device, onnx=device == "cpu" and not missing)
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
    if missing:
        print(f"not measured in onnxruntime, as {missing} is not installed: pip install 'visionlab[onnx]'")
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

    from visionlab.programs import FORMS, LIMIT, checked, needs, program_file, traced
    from visionlab.train.checkpoint import write_whole

    if out.suffix not in FORMS:
        raise ValueError(f"out: expected a name that ends in .pt2 or .onnx, got {out}")
    form, name = FORMS[out.suffix], _known(name)
    if form == "onnx":
        needs("onnx", "onnxscript", "onnxruntime")
    plain = _trained(name, checkpoint, size, classes)
    network = _fast_form(plain) if folded else plain
    if network is None:
        raise ValueError(f"folded: {name} has no fast form; the networks of MicroNet have one")
    cases = _cases(plain, _shape(plain, size))
    found: dict[str, float] = {}

    def write(file: Any) -> None:
        """Into a file without a name: it gets its own once the program was found right."""
        program = traced(network, cases["noise, three images"], {0: Dim.DYNAMIC})
        content = program_file(program, form, answers="scores")
        found.update(checked(plain, content, form, cases))
        file.write(content)

    write_whole(out, write)
    print("\n".join(f"{case:32s} differs by {value:.1e} of the largest answer" for case, value in found.items()))
    shape = ", ".join(map(str, _shape(plain, size)))
    print(f"written to {out}, as none differs by more than {LIMIT:g}: it takes images (any number, {shape})")
    print(f"normalised from [0, 1] by {_normalisation(plain)}")


# --- Parts ------------------------------------------------------------------------------------------------------------


def _known(name: str) -> str:
    import timm

    import visionlab  # noqa: F401  registers its networks

    if not timm.is_model(name):
        near = get_close_matches(name, timm.list_models(), n=3, cutoff=0.3)
        raise ValueError(f"name: timm has no network {name!r}; near it are {', '.join(near) or 'none'}")
    return name


def _missing_onnx() -> str:
    """The first package that is missing to measure in onnxruntime, or nothing."""
    wanted = ("onnxruntime", "onnx", "onnxscript")
    return next((package for package in wanted if importlib.util.find_spec(package) is None), "")


def _contestants(name: str, size: int | None, device: str, *, onnx: bool) -> list[Contestant]:
    """The network and its fast form, in PyTorch and as programs of ONNX."""
    import torch
    from torch.export import Dim

    from visionlab.measure.cost import multiply_adds, parameters
    from visionlab.measure.latency import Contestant
    from visionlab.programs import OnnxSession, program_file, traced

    plain = _untrained(name, size)
    shape, found = _shape(plain, size), []
    images = torch.zeros(2, *shape)
    for form, network in (("PyTorch", plain), ("folded", _fast_form(plain))):
        if network is None:
            continue
        try:
            about = (shape, parameters(plain), multiply_adds(network, images[:1]))
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(
                f"size: {name} does not take images of {shape[1]} x {shape[2]} pixels: {reason}"
            ) from error
        make: Any = partial(_untrained, name, size, folded=form == "folded", device=device)
        found.append(Contestant(name, form, *about, make))
        if onnx:
            content = program_file(traced(network, images, {0: Dim.DYNAMIC}), "onnx", answers="scores")
            made = "onnxruntime" if network is plain else "folded, onnxruntime"
            found.append(Contestant(name, made, *about, partial(OnnxSession, content)))
    return found


def _untrained(name: str, size: int | None, *, folded: bool = False, device: str = "cpu") -> nn.Module:
    import timm
    import torch

    import visionlab  # noqa: F401  registers its networks

    torch.manual_seed(0)
    network = _at(timm.create_model(name), size)
    if folded:
        fast = _fast_form(network)
        assert fast is not None
        network = fast
    return network.to(device)


def _trained(name: str, checkpoint: Path, size: int | None, classes: int | None) -> nn.Module:
    import timm
    from safetensors import SafetensorError

    if not checkpoint.is_file():
        raise FileNotFoundError(f"checkpoint: there is no file {checkpoint}")
    if classes is not None and classes < 1:
        raise ValueError(f"classes: expected a whole number >= 1, got {classes}")
    try:
        network = timm.create_model(name, num_classes=classes, checkpoint_path=str(checkpoint))
    except (RuntimeError, KeyError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"checkpoint: {checkpoint} does not fit the network {name}: {reason}") from error
    return _at(network, size)


def _at(network: nn.Module, size: int | None) -> nn.Module:
    """The network for images of another side, in evaluation mode; those with positions of their own are told."""
    if size is not None and size < 1:
        raise ValueError(f"size: expected a whole number of pixels >= 1, got {size}")
    adapt: Any = getattr(network, "set_input_size", None)
    if size is not None and adapt is not None:
        adapt(img_size=(size, size))
    return network.eval()


def _fast_form(network: nn.Module) -> nn.Module | None:
    """What computes the same faster, for networks that have such a form."""
    from visionlab.backbones import micronet_inference, mobile_former_inference
    from visionlab.backbones.micronet import MicroNet
    from visionlab.backbones.mobile_former import MobileFormer

    if isinstance(network, MicroNet):
        return micronet_inference.inference_form(network)
    return mobile_former_inference.inference_form(network) if isinstance(network, MobileFormer) else None


def _shape(network: Any, size: int | None) -> tuple[int, int, int]:
    channels, height, width = network.pretrained_cfg["input_size"]
    return channels, size or height, size or width


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
