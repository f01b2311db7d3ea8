"""MicroNet's fast form against the plain network, and both against a network of three times the multiply-adds.

Run by ``make bench``. What is compared takes turns, so that a busy moment meets all; ratios of medians are printed at
the end and kept in ``micronet.json``.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from visionlab.backbones.micronet import CONFIGURATIONS
from visionlab.backbones.micronet_inference import inference_form

RATIOS: dict[str, float] = {}


def in_turn(networks: dict[str, nn.Module], x: torch.Tensor, rounds: int) -> dict[str, float]:
    """Median seconds of a forward pass of each network, over rounds in which each runs once."""
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    with torch.inference_mode():
        for i in range(rounds + 1):
            for name, network in networks.items():
                began = time.perf_counter()
                network(x)
                if i:
                    seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(each) for name, each in seconds.items()}


@pytest.mark.parametrize(("batch", "rounds"), [(1, 51), (8, 21)])
@pytest.mark.parametrize("size", CONFIGURATIONS)
def test_inference_at_224(size: str, batch: int, rounds: int) -> None:
    plain = timm.create_model(f"micronet_{size}").eval()
    rival = timm.create_model("mobilenetv3_small_100").eval()
    networks = {"plain": plain, "fast": inference_form(plain), "rival": rival}
    seconds = in_turn(networks, torch.randn(batch, 3, 224, 224), rounds)
    RATIOS[f"plain {size} / fast {size}, batch {batch}"] = seconds["plain"] / seconds["fast"]
    if size == "m3":
        RATIOS[f"plain m3 / mobilenetv3_small_100, batch {batch}"] = seconds["plain"] / seconds["rival"]
        RATIOS[f"fast m3 / mobilenetv3_small_100, batch {batch}"] = seconds["fast"] / seconds["rival"]


@pytest.fixture(scope="module", autouse=True)
def report() -> Iterator[None]:
    yield
    lines = {name: round(value, 2) for name, value in RATIOS.items()}
    print("\n" + "\n".join(f"{value:6.2f}  {name}" for name, value in lines.items()))
    content = {"threads": torch.get_num_threads(), "torch": torch.__version__, "ratios": lines}
    (Path(__file__).parent / "micronet.json").write_text(json.dumps(content, indent=1) + "\n")
