"""Networks of timm, ours and its own, made ready to be measured: as written, in a fast form, as programs of ONNX."""

from __future__ import annotations

from difflib import get_close_matches
from functools import partial
from typing import Any

import timm
import torch
from torch import nn
from torch.export import Dim

import visionlab  # noqa: F401  registers its networks
from visionlab.backbones import micronet_inference, mobile_former_inference, mobilenet_inference
from visionlab.backbones.micronet import MicroNet
from visionlab.backbones.mobile_former import MobileFormer
from visionlab.measure.cost import multiply_adds, parameters
from visionlab.measure.latency import Contestant
from visionlab.programs import OnnxSession, program_file, traced
from visionlab.train.randomness import seeded

__all__ = ["at_size", "contestants_of", "fast_form", "known", "shape_of", "untrained"]


def known(name: str) -> str:
    """Return the name of a network.

    Raises:
        ValueError: if timm has none of that name; the message says what is near.
    """
    if not timm.is_model(name):
        near = get_close_matches(name, timm.list_models(), n=3, cutoff=0.3)
        raise ValueError(f"name: timm has no network {name!r}; near it are {', '.join(near) or 'none'}")
    return name


def contestants_of(
    name: str, size: int | None = None, device: str = "cpu", *, onnx: bool, folded: bool = True
) -> list[Contestant]:
    """Return the network and its fast form where it has one, in PyTorch and as programs of ONNX.

    Args:
        name: as in timm.
        size: side of the images in pixels; the network's own by default.
        device: "cpu" or "cuda".
        onnx: whether to write the programs as well, which takes seconds.
        folded: whether the fast form takes part.

    Raises:
        ValueError: if the network does not take images of that size, or cannot be exported.
    """
    plain = untrained(name, size)
    shape, found = shape_of(plain, size), []
    images = torch.zeros(2, *shape)
    for form, network in (("PyTorch", plain), ("folded", fast_form(plain) if folded else None)):
        if network is None:
            continue
        try:
            about = (shape, parameters(plain), multiply_adds(network, images[:1]))
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(
                f"size: {name} does not take images of {shape[1]} x {shape[2]} pixels: {reason}"
            ) from error
        make: Any = partial(untrained, name, size, folded=form == "folded", device=device)
        found.append(Contestant(name, form, *about, make))
        if onnx:
            content = program_file(traced(network, images, {0: Dim.DYNAMIC}), "onnx", answers="scores")
            made = "onnxruntime" if network is plain else "folded, onnxruntime"
            found.append(Contestant(name, made, *about, partial(OnnxSession, content)))
    return found


def untrained(name: str, size: int | None = None, *, folded: bool = False, device: str = "cpu") -> nn.Module:
    """Build a network, or its fast form, in evaluation mode, with the weights of seed 0.

    Raises:
        ValueError: if it has no fast form.
    """
    with seeded(0):
        network = at_size(timm.create_model(name), size)
    fast = fast_form(network) if folded else network
    if fast is None:
        raise ValueError(f"folded: {name} has no fast form")
    return fast.to(device)


def at_size(network: nn.Module, size: int | None) -> nn.Module:
    """Return the network for images of another side, in evaluation mode; those with positions of their own are told.

    Raises:
        ValueError: if the side is not 1 or more.
    """
    if size is not None and size < 1:
        raise ValueError(f"size: expected a whole number of pixels >= 1, got {size}")
    adapt: Any = getattr(network, "set_input_size", None)
    if size is not None and adapt is not None:
        adapt(img_size=(size, size))
    return network.eval()


def fast_form(network: nn.Module) -> nn.Module | None:
    """Return what computes the same faster, for MicroNets, Mobile-Formers, and MobileNets and their kin in timm."""
    if isinstance(network, MicroNet):
        return micronet_inference.inference_form(network)
    if isinstance(network, MobileFormer):
        return mobile_former_inference.inference_form(network)
    return mobilenet_inference.inference_form(network) if isinstance(network, mobilenet_inference.FOLDABLE) else None


def shape_of(network: Any, size: int | None) -> tuple[int, int, int]:
    """Return the shape (C, H, W) of the images that a network takes."""
    channels, height, width = network.pretrained_cfg["input_size"]
    return channels, size or height, size or width
