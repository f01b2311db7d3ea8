"""MicroNet's fast form against the plain network, and both against a network of three times the multiply-adds.

Run by ``make bench``. What is compared takes turns, so that a busy moment meets all; ratios of medians are printed at
the end and kept in ``micronet.json``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import pytest
import timm
import torch

from visionlab.backbones.micronet import CONFIGURATIONS
from visionlab.backbones.micronet_inference import inference_form

Timer = Callable[[Mapping[str, Callable[[], object]], int], dict[str, float]]


@torch.inference_mode()
@pytest.mark.parametrize(("batch", "rounds"), [(1, 51), (8, 21)])
@pytest.mark.parametrize("size", CONFIGURATIONS)
def test_inference_at_224(size: str, batch: int, rounds: int, in_turn: Timer, ratios: dict[str, float]) -> None:
    plain = timm.create_model(f"micronet_{size}").eval()
    rival = timm.create_model("mobilenetv3_small_100").eval()
    networks = {"plain": plain, "fast": inference_form(plain), "rival": rival}
    x = torch.randn(batch, 3, 224, 224)
    seconds = in_turn({name: partial(network, x) for name, network in networks.items()}, rounds)
    ratios[f"plain {size} / fast {size}, batch {batch}"] = seconds["plain"] / seconds["fast"]
    if size == "m3":
        ratios[f"plain m3 / mobilenetv3_small_100, batch {batch}"] = seconds["plain"] / seconds["rival"]
        ratios[f"fast m3 / mobilenetv3_small_100, batch {batch}"] = seconds["fast"] / seconds["rival"]
