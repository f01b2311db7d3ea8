"""CSWin against a timm network of its cost, a plain form of its attention, and this machine's own matrix product.

Run by ``make bench``. What is compared takes turns, so that a busy moment meets all; ratios of medians are printed at
the end and kept in ``cswin.json``.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

from tests.plain_cswin import plain
from visionlab.backbones.cswin import CSWinTransformer
from visionlab.measure.cost import multiply_adds

RATIOS: dict[str, float] = {}
LAB = {"img_size": 64, "dim": 16, "depths": (1, 1, 2, 1), "heads": (2, 4, 8, 8), "stripe_widths": (1, 2, 2, 2)}


def in_turn(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each call, over rounds in which each is called once."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(rounds + 1):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if i:
                seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(each) for name, each in seconds.items()}


def infer(network: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    network.eval()

    def call() -> Tensor:
        with torch.inference_mode():
            return network(x)

    return call


def step(network: nn.Module, x: Tensor) -> Callable[[], None]:
    network.train()

    def call() -> None:
        network.zero_grad(set_to_none=True)
        network(x).square().mean().backward()

    return call


def networks() -> dict[str, nn.Module]:
    return {
        "cswin_tiny": timm.create_model("cswin_tiny_224"),
        "plain cswin_tiny": plain(timm.create_model("cswin_tiny_224")),
        "swin_tiny": timm.create_model("swin_tiny_patch4_window7_224"),
    }


def test_inference_at_224() -> None:
    x, (a, b) = torch.randn(8, 3, 224, 224), torch.randn(2, 2048, 2048)
    found = networks()
    seconds = in_turn({name: infer(net, x) for name, net in found.items()} | {"matmul": lambda: a @ b}, rounds=7)
    peak = 2048**3 / seconds["matmul"]
    for rival in ("plain cswin_tiny", "swin_tiny"):
        RATIOS[f"{rival} / cswin_tiny, inference"] = seconds[rival] / seconds["cswin_tiny"]
    for name in ("cswin_tiny", "swin_tiny"):
        rate = 8 * multiply_adds(found[name], x[:1]) / seconds[name]
        RATIOS[f"{name}, share of the matmul rate"] = rate / peak


def test_training_step_at_224() -> None:
    x = torch.randn(4, 3, 224, 224)
    seconds = in_turn({name: step(net, x) for name, net in networks().items()}, rounds=5)
    for rival in ("plain cswin_tiny", "swin_tiny"):
        RATIOS[f"{rival} / cswin_tiny, step"] = seconds[rival] / seconds["cswin_tiny"]


@pytest.mark.parametrize(("batch", "rounds"), [(1, 201), (64, 31)])
def test_lab_size(batch: int, rounds: int) -> None:
    x = torch.randn(batch, 3, 64, 64)
    ours, theirs = CSWinTransformer(**LAB), plain(CSWinTransformer(**LAB))
    seconds = in_turn({"ours": infer(ours, x), "plain": infer(theirs, x)}, rounds)
    RATIOS[f"plain / lab size, batch {batch}"] = seconds["plain"] / seconds["ours"]


@pytest.fixture(scope="module", autouse=True)
def report() -> Iterator[None]:
    yield
    lines = {name: round(value, 2) for name, value in RATIOS.items()}
    print("\n" + "\n".join(f"{value:6.2f}  {name}" for name, value in lines.items()))
    content = {"threads": torch.get_num_threads(), "torch": torch.__version__, "ratios": lines}
    (Path(__file__).parent / "cswin.json").write_text(json.dumps(content, indent=1) + "\n")
