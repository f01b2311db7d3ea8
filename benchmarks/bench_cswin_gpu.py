"""CSWin on a GPU in bfloat16, against a plain form of its attention: time and memory of inference and training steps.

Run by ``make bench`` where there is a GPU. The two forms take turns, so that a busy moment meets both; ratios of
medians are printed and kept in ``cswin_gpu.json``.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

from tests.plain_cswin import plain

BATCH, ROUNDS = 256, 7


def inference(network: nn.Module, x: Tensor) -> None:
    with torch.inference_mode():
        network.eval()(x)


def step(network: nn.Module, x: Tensor) -> None:
    network.train().zero_grad(set_to_none=True)
    network(x).square().mean().backward()


def measured(call: Callable[[nn.Module, Tensor], None], network: nn.Module, x: Tensor) -> tuple[float, float]:
    """Seconds of a call, and the most memory it held beside what lay there before, in GiB."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    network.zero_grad(set_to_none=True)
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    start.record()
    with torch.autocast("cuda", torch.bfloat16):
        call(network, x)
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1000, (torch.cuda.max_memory_allocated() - before) / 2**30


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_bfloat16_at_224() -> None:
    torch.manual_seed(0)
    x = torch.randn(BATCH, 3, 224, 224, device="cuda")
    ours = timm.create_model("cswin_tiny_224").cuda()
    theirs = plain(timm.create_model("cswin_tiny_224")).cuda()
    swin = timm.create_model("swin_tiny_patch4_window7_224").cuda()
    networks = {"cswin_tiny": ours, "plain cswin_tiny": theirs, "swin_tiny": swin}
    ratios = {}
    for call in (inference, step):
        seen: dict[str, list[tuple[float, float]]] = {name: [] for name in networks}
        for i in range(ROUNDS + 3):
            for name, network in networks.items():
                found = measured(call, network, x)
                if i >= 3:
                    seen[name].append(found)
        seconds = {name: statistics.median(s for s, _ in values) for name, values in seen.items()}
        memory = {name: max(m for _, m in values) for name, values in seen.items()}
        for name in networks:
            print(f"{call.__name__}, {name}: {BATCH / seconds[name]:.0f} images/s, {memory[name]:.2f} GiB")
        for rival in ("plain cswin_tiny", "swin_tiny"):
            ratios[f"{rival} / cswin_tiny, {call.__name__}"] = seconds[rival] / seconds["cswin_tiny"]
            ratios[f"memory, cswin_tiny / {rival}, {call.__name__}"] = memory["cswin_tiny"] / memory[rival]
    lines = {name: round(value, 2) for name, value in ratios.items()}
    print("\n".join(f"{value:6.2f}  {name}" for name, value in lines.items()))
    about = {"device": torch.cuda.get_device_name(), "batch": BATCH, "torch": torch.__version__, "ratios": lines}
    (Path(__file__).parent / "cswin_gpu.json").write_text(json.dumps(about, indent=1) + "\n")
