"""MicroNet's fast form against the plain network, and both against a network of three times the multiply-adds.

Run by ``make bench``. What is compared takes turns, so that a busy moment meets all; ratios of medians are printed at
the end and kept in ``micronet.json``. The rival stands beside them as timm gives it, and folded, pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import pytest
import timm
import torch

from visionlab.backbones.micronet import CONFIGURATIONS
from visionlab.backbones.micronet_inference import inference_form
from visionlab.backbones.mobilenet_inference import inference_form as mobilenet_form

Timer = Callable[[Mapping[str, Callable[[], object]], int], dict[str, float]]


@torch.inference_mode()
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("batch", "rounds"), [(1, 51), (8, 21)])
@pytest.mark.parametrize("size", CONFIGURATIONS)
def test_inference_at_224(
    size: str,
    batch: int,
    rounds: int,
    threads: int,
    in_turn: Timer,
    ratios: dict[str, float],
) -> None:
    torch.set_num_threads(threads)
    plain = timm.create_model(f"micronet_{size}").eval()
    rival = timm.create_model("mobilenetv3_small_100").eval()
    networks = {"plain": plain, "fast": inference_form(plain), "rival": rival, "folded rival": mobilenet_form(rival)}
    x = torch.randn(batch, 3, 224, 224)
    seconds = in_turn({name: partial(network, x) for name, network in networks.items()}, rounds)
    setting = f"batch {batch}, {threads} thread{'s' if threads > 1 else ''}"
    ratios[f"plain {size} / fast {size}, {setting}"] = seconds["plain"] / seconds["fast"]
    if size == "m3":
        ratios[f"plain m3 / mobilenetv3_small_100, {setting}"] = seconds["plain"] / seconds["rival"]
        ratios[f"fast m3 / folded mobilenetv3_small_100, {setting}"] = seconds["fast"] / seconds["folded rival"]


@torch.inference_mode()
@pytest.mark.parametrize("threads", [1, 2])
def test_compiled_at_224(threads: int, in_turn: Timer, ratios: dict[str, float]) -> None:
    torch.set_num_threads(threads)
    torch.compiler.reset()
    plain = timm.create_model("micronet_m3").eval()
    fast = inference_form(plain)
    networks = {"plain": plain, "fast": fast, "compiled": torch.compile(fast)}
    x = torch.randn(8, 3, 224, 224)
    seconds = in_turn({name: partial(network, x) for name, network in networks.items()}, 21)
    setting = f"batch 8, {threads} thread{'s' if threads > 1 else ''}"
    ratios[f"plain m3 / compiled fast m3, {setting}"] = seconds["plain"] / seconds["compiled"]
    ratios[f"fast m3 / compiled fast m3, {setting}"] = seconds["fast"] / seconds["compiled"]
