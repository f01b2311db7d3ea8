"""CSWin against a timm network of its cost, a plain form of its attention, and this machine's own matrix product.

Run by ``make bench``. What is compared takes turns, so that a busy moment meets all; ratios of medians are printed at
the end and kept in ``cswin.json``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import timm
import torch
from torch import Tensor, nn

from tests.plain_cswin import plain
from visionlab.backbones.cswin import CSWinTransformer
from visionlab.measure.cost import multiply_adds

Timer = Callable[[Mapping[str, Callable[[], object]], int], dict[str, float]]
LAB = {"img_size": 64, "dim": 16, "depths": (1, 1, 2, 1), "heads": (2, 4, 8, 8), "stripe_widths": (1, 2, 2, 2)}


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


def test_inference_at_224(in_turn: Timer, ratios: dict[str, float]) -> None:
    x, (a, b) = torch.randn(8, 3, 224, 224), torch.randn(2, 2048, 2048)
    found = networks()
    seconds = in_turn({name: infer(net, x) for name, net in found.items()} | {"matmul": lambda: a @ b}, 7)
    peak = 2048**3 / seconds["matmul"]
    for rival in ("plain cswin_tiny", "swin_tiny"):
        ratios[f"{rival} / cswin_tiny, inference"] = seconds[rival] / seconds["cswin_tiny"]
    for name in ("cswin_tiny", "swin_tiny"):
        rate = 8 * multiply_adds(found[name], x[:1]) / seconds[name]
        ratios[f"{name}, share of the matmul rate"] = rate / peak


def test_training_step_at_224(in_turn: Timer, ratios: dict[str, float]) -> None:
    x = torch.randn(4, 3, 224, 224)
    seconds = in_turn({name: step(net, x) for name, net in networks().items()}, 5)
    for rival in ("plain cswin_tiny", "swin_tiny"):
        ratios[f"{rival} / cswin_tiny, step"] = seconds[rival] / seconds["cswin_tiny"]


@pytest.mark.parametrize(("batch", "rounds"), [(1, 201), (64, 31)])
def test_lab_size(batch: int, rounds: int, in_turn: Timer, ratios: dict[str, float]) -> None:
    x = torch.randn(batch, 3, 64, 64)
    ours, theirs = CSWinTransformer(**LAB), plain(CSWinTransformer(**LAB))
    seconds = in_turn({"ours": infer(ours, x), "plain": infer(theirs, x)}, rounds)
    ratios[f"plain / lab size, batch {batch}"] = seconds["plain"] / seconds["ours"]
