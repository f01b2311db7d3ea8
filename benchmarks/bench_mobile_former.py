"""Mobile-Former's fast form against the network, a plain transcription of the maths, and a network of MobileNet alone.

Run by ``make bench``. What is compared takes turns, so that a busy moment meets all; ratios of medians are printed at
the end and kept in ``mobile_former.json``. The rival stands beside them as timm gives it, and folded, pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import pytest
import timm
import torch

from tests.plain_mobile_former import logits
from tests.published_mobile_former import published_entries
from visionlab.backbones.mobile_former_inference import inference_form
from visionlab.backbones.mobilenet_inference import inference_form as mobilenet_form

Timer = Callable[[Mapping[str, Callable[[], object]], int], dict[str, float]]


@torch.inference_mode()
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("batch", "rounds"), [(1, 31), (8, 11)])
def test_inference_at_224(
    batch: int,
    rounds: int,
    threads: int,
    in_turn: Timer,
    ratios: dict[str, float],
) -> None:
    torch.set_num_threads(threads)
    network = timm.create_model("mobile_former_294m").eval()
    rival = timm.create_model("mobilenetv3_large_100").eval()
    state = {name: tensor.float() for name, tensor in published_entries("294m").items()}
    networks = {
        "network": network,
        "plain": partial(logits, state, lite_stride=1, grouped=False),
        "fast": inference_form(network),
        "rival": rival,
        "folded rival": mobilenet_form(rival),
    }
    x = torch.randn(batch, 3, 224, 224)
    seconds = in_turn({name: partial(network, x) for name, network in networks.items()}, rounds)
    setting = f"batch {batch}, {threads} thread{'s' if threads > 1 else ''}"
    ratios[f"plain 294m / 294m, {setting}"] = seconds["plain"] / seconds["network"]
    ratios[f"plain 294m / fast 294m, {setting}"] = seconds["plain"] / seconds["fast"]
    ratios[f"294m / fast 294m, {setting}"] = seconds["network"] / seconds["fast"]
    ratios[f"294m / mobilenetv3_large_100, {setting}"] = seconds["network"] / seconds["rival"]
    ratios[f"fast 294m / folded mobilenetv3_large_100, {setting}"] = seconds["fast"] / seconds["folded rival"]
