"""CSWin against a timm network of its cost, a plain form of its attention, and this machine's own matrix product.

Run by ``make bench``: every figure is a ratio of medians of one run, printed at the end and kept in ``cswin.json``.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

from tests.plain_cswin import plain
from visionlab.backbones.cswin import CSWinTransformer
from visionlab.measure.cost import multiply_adds

MEDIANS: dict[str, float] = {}
WORK: dict[str, float] = {}
LAB = {"img_size": 64, "dim": 16, "depths": (1, 1, 2, 1), "heads": (2, 4, 8, 8), "stripe_widths": (1, 2, 2, 2)}


def measure(benchmark: Callable[..., object], name: str, call: Callable[[], object], rounds: int = 7) -> None:
    benchmark.pedantic(call, rounds=rounds, warmup_rounds=2)
    MEDIANS[name] = statistics.median(benchmark.stats.stats.data)


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


NETWORKS = {
    "cswin_tiny": lambda: timm.create_model("cswin_tiny_224"),
    "plain cswin_tiny": lambda: plain(timm.create_model("cswin_tiny_224")),
    "swin_tiny": lambda: timm.create_model("swin_tiny_patch4_window7_224"),
}


def test_matrix_product(benchmark: Callable[..., object]) -> None:
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    measure(benchmark, "matmul", lambda: a @ b)
    WORK["matmul"] = 2048**3


@pytest.mark.parametrize("name", NETWORKS)
def test_inference_at_224(benchmark: Callable[..., object], name: str) -> None:
    network, x = NETWORKS[name](), torch.randn(8, 3, 224, 224)
    measure(benchmark, f"{name}, inference", infer(network, x), rounds=3)
    WORK[f"{name}, inference"] = 8 * multiply_adds(network, x[:1])


@pytest.mark.parametrize("name", NETWORKS)
def test_training_step_at_224(benchmark: Callable[..., object], name: str) -> None:
    measure(benchmark, f"{name}, step", step(NETWORKS[name](), torch.randn(4, 3, 224, 224)), rounds=3)


@pytest.mark.parametrize("batch", [1, 64])
@pytest.mark.parametrize("form", ["lab", "plain lab"])
def test_lab_size(benchmark: Callable[..., object], form: str, batch: int) -> None:
    network = CSWinTransformer(**LAB)
    network = plain(network) if form == "plain lab" else network
    measure(benchmark, f"{form}, batch {batch}", infer(network, torch.randn(batch, 3, 64, 64)), rounds=15)


@pytest.fixture(scope="module", autouse=True)
def report() -> Iterator[None]:
    yield
    ratios = {}
    for task in ("inference", "step"):
        for rival in ("plain cswin_tiny", "swin_tiny"):
            ratios[f"{rival} / cswin_tiny, {task}"] = MEDIANS[f"{rival}, {task}"] / MEDIANS[f"cswin_tiny, {task}"]
    peak = WORK["matmul"] / MEDIANS["matmul"]
    for name in ("cswin_tiny", "swin_tiny"):
        ratios[f"{name}, share of the matmul rate"] = WORK[f"{name}, inference"] / MEDIANS[f"{name}, inference"] / peak
    for batch in (1, 64):
        ratios[f"plain / lab size, batch {batch}"] = (
            MEDIANS[f"plain lab, batch {batch}"] / MEDIANS[f"lab, batch {batch}"]
        )
    lines = {name: round(value, 2) for name, value in ratios.items()}
    print("\n" + "\n".join(f"{value:6.2f}  {name}" for name, value in lines.items()))
    content = {"threads": torch.get_num_threads(), "torch": torch.__version__, "ratios": lines}
    (Path(__file__).parent / "cswin.json").write_text(json.dumps(content, indent=1) + "\n")
