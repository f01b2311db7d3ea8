"""Published facts of tiny networks in one table, what was counted here beside them, and who wins under a budget.

Papers do not count alike. Here stand, apart from each other: what a paper prints; convolutions, linear layers and
products of attention, as `visionlab.measure.cost` counts them; and what dynamic activations add, 4 multiply-adds an
element for the two mixes of Dynamic Shift-Max (2 for its linear form), 2 for the two slopes of Mobile-Former.
Activations without weights, norms, softmax, sums and squeeze-and-excitation's product are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from visionlab.backbones.micronet import multiply_adds_of_shift_max
from visionlab.backbones.mobile_former import CONFIGURATIONS, MobileFormer
from visionlab.experiments.mobile_former_costs import counted
from visionlab.measure.cost import multiply_adds, parameters

__all__ = [
    "CONVENTIONS",
    "FAMILIES",
    "NETWORKS",
    "Cost",
    "Mark",
    "PublishedNetwork",
    "best_within",
    "cost",
    "dialled",
    "disagreements",
    "frontier",
]

PAPER, TIMM = "paper", "timm's weights"
MICRO, FORMER, PEERS = FAMILIES = ("MicroNet", "Mobile-Former", "others")
CONVENTIONS = ("as published", "counted", "counted, with dynamic activations")
"""Which multiply-adds are meant."""


@dataclass(frozen=True)
class PublishedNetwork:
    """A network of timm or of ours, and what is known of it on ImageNet.

    Args:
        name: as in timm.
        title: as papers call it.
        family: one of `FAMILIES`.
        published: millions of multiply-adds that a paper prints, or None where we know of none.
        top1: accuracy on ImageNet in percent.
        source: where ``top1`` is from: the paper, or timm's table of results of its own weights.
        size: side of the image in pixels.
        parameters: counted.
        counted: multiply-adds of convolutions, linear layers and products of attention.
        dynamic: multiply-adds of dynamic activations.
    """

    name: str
    title: str
    family: str
    published: int | None
    top1: float
    source: str
    size: int
    parameters: int
    counted: int
    dynamic: int = 0

    def millions(self, convention: str = CONVENTIONS[0]) -> float:
        """Return millions of multiply-adds by one of `CONVENTIONS`; those counted where none are published.

        Raises:
            ValueError: if there is no such convention.
        """
        if convention not in CONVENTIONS:
            raise ValueError(f"MAdds: expected one of {', '.join(CONVENTIONS)}; got {convention!r}")
        if convention == CONVENTIONS[0] and self.published is not None:
            return float(self.published)
        return (self.counted + self.dynamic * (convention == CONVENTIONS[2])) / 1e6


NETWORKS: dict[str, PublishedNetwork] = {
    row[0]: PublishedNetwork(*row)
    for row in (
        ("micronet_m0", "MicroNet-M0", MICRO, 4, 46.6, PAPER, 224, 1_019_590, 3_448_880, 605_248),
        ("micronet_m1", "MicroNet-M1", MICRO, 6, 51.4, PAPER, 224, 1_777_587, 5_314_080, 805_952),
        ("micronet_m2", "MicroNet-M2", MICRO, 12, 59.4, PAPER, 224, 2_393_876, 10_338_128, 2_405_312),
        ("micronet_m3", "MicroNet-M3", MICRO, 21, 62.5, PAPER, 224, 2_622_960, 18_236_000, 2_571_520),
        ("mobile_former_26m", "Mobile-Former-26M", FORMER, 26, 64.0, PAPER, 224, 3_232_788, 23_550_208, 1_636_992),
        ("mobile_former_52m", "Mobile-Former-52M", FORMER, 52, 68.7, PAPER, 224, 3_469_092, 49_290_496, 1_636_992),
        ("mobile_former_96m", "Mobile-Former-96M", FORMER, 96, 72.8, PAPER, 224, 4_585_252, 92_017_040, 2_435_104),
        ("mobile_former_151m", "Mobile-Former-151M", FORMER, 151, 75.2, PAPER, 224, 7_595_828, 146_249_168, 3_601_696),
        ("mobile_former_214m", "Mobile-Former-214M", FORMER, 214, 76.7, PAPER, 224, 9_425_920, 208_374_240, 4_525_248),
        ("mobile_former_294m", "Mobile-Former-294M", FORMER, 294, 77.9, PAPER, 224, 11_422_648, 286_732_160, 5_757_696),
        ("mobile_former_508m", "Mobile-Former-508M", FORMER, 508, 79.3, PAPER, 224, 13_976_976, 498_467_680, 7_880_768),
        ("mobilenetv3_small_050", "MobileNetV3-S ×0.5", PEERS, 21, 58.0, PAPER, 224, 1_593_224, 24_188_688),
        ("mobilenetv3_small_075", "MobileNetV3-S ×0.75", PEERS, 44, 65.4, PAPER, 224, 2_041_872, 43_399_344),
        ("mobilenetv3_small_100", "MobileNetV3-S ×1.0", PEERS, 56, 67.4, PAPER, 224, 2_542_856, 56_510_400),
        ("mobilenetv3_large_075", "MobileNetV3-L ×0.75", PEERS, 155, 73.3, PAPER, 224, 3_993_528, 154_560_624),
        ("mobilenetv3_large_100", "MobileNetV3-L ×1.0", PEERS, 217, 75.2, PAPER, 224, 5_483_032, 216_589_760),
        ("tinynet_e", "TinyNet-E", PEERS, 24, 59.9, PAPER, 106, 2_042_972, 24_356_848),
        ("tinynet_d", "TinyNet-D", PEERS, 52, 67.0, PAPER, 152, 2_338_446, 51_580_656),
        ("tinynet_c", "TinyNet-C", PEERS, None, 71.21, TIMM, 184, 2_457_234, 99_536_432),
        ("tinynet_b", "TinyNet-B", PEERS, None, 74.95, TIMM, 188, 3_730_562, 200_709_360),
        ("tinynet_a", "TinyNet-A", PEERS, None, 77.67, TIMM, 192, 6_187_972, 336_867_712),
        ("lcnet_050", "PP-LCNet ×0.5", PEERS, None, 63.14, TIMM, 224, 1_880_856, 44_731_008),
        ("mnasnet_small", "MnasNet-small", PEERS, None, 66.2, TIMM, 224, 2_030_264, 68_339_184),
        ("mobilenetv2_050", "MobileNetV2 ×0.5", PEERS, None, 65.93, TIMM, 224, 1_968_680, 97_131_840),
        ("mobilenetv2_100", "MobileNetV2 ×1.0", PEERS, None, 72.0, PAPER, 224, 3_504_872, 300_774_272),
        ("ghostnet_050", "GhostNet ×0.5", PEERS, 42, 66.2, PAPER, 224, 2_587_292, 42_328_152),
        ("ghostnet_100", "GhostNet ×1.0", PEERS, 141, 73.9, PAPER, 224, 5_182_508, 141_150_512),
        ("efficientnet_b0", "EfficientNet-B0", PEERS, 390, 77.1, PAPER, 224, 5_288_548, 385_814_752),
        ("levit_128s", "LeViT-128S", PEERS, 305, 76.6, PAPER, 224, 7_777_058, 304_660_832),
        ("deit_tiny_patch16_224", "DeiT-Tiny", PEERS, None, 72.2, PAPER, 224, 5_717_416, 1_253_683_200),
    )
}  # fmt: skip
"""By name, the smallest of each family first. Where a paper's table and timm's weights differ, this is the paper's."""


# --- Counting ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """Parameters and multiply-adds of a network for one image of ``size`` pixels."""

    size: int
    parameters: int
    counted: int
    dynamic: int


def cost(network: nn.Module, size: int) -> Cost:
    """Count a network, on any device, "meta" too, where nothing is computed.

    PyTorch's counter hears of all networks that run meanwhile, in other threads as well: let none.
    """
    x = torch.zeros(1, 3, size, size, device=next(network.parameters()).device)
    plain = multiply_adds(network, x)
    if isinstance(network, MobileFormer):
        dynamic = sum(counted(network, size).values()) - plain
    else:
        dynamic = multiply_adds_of_shift_max(network, x)
    return Cost(size, parameters(network), plain, dynamic)


@cache
def dialled(size: str, tokens: int, dim: int, side: int = 224) -> tuple[int, dict[str, int]]:
    """Count a variant of Mobile-Former with ``tokens`` tokens (M) of width ``dim`` (d), without making it.

    Args:
        size: one of `visionlab.backbones.mobile_former.CONFIGURATIONS`, such as "294m".
        tokens: M; 1 or more.
        dim: d; a multiple of 4.
        side: of the image in pixels.

    Returns:
        Its parameters, and the multiply-adds of its parts, those of dynamic activations among the slopes.

    Raises:
        ValueError: if there is no such variant, or the network cannot be built so.
    """
    if size not in CONFIGURATIONS:
        raise ValueError(f"variant: expected one of {', '.join(CONFIGURATIONS)}; got {size!r}")
    if tokens < 1:
        raise ValueError(f"tokens: expected one or more, got {tokens}")
    with torch.device("meta"):
        network = MobileFormer(**(CONFIGURATIONS[size] | {"tokens": (tokens, dim)}))
    # What it computes does not matter, but PyTorch runs activations on the CPU sooner than it reckons their shapes.
    return parameters(network), counted(network.to_empty(device="cpu"), side)


# --- Who wins ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mark:
    """A network in a chart of accuracy against cost.

    Args:
        label: its name.
        cost: positive.
        top1: percent.
        family: one of `FAMILIES`.
        form: in which it was measured, "" where that does not matter.
        front: whether nothing beats it at its cost or below.
    """

    label: str
    cost: float
    top1: float
    family: str
    form: str = ""
    front: bool = False


Point = tuple[float, float]
"""What a network costs, and its accuracy."""


def best_within(points: dict[str, Point], budget: float) -> str | None:
    """Return the most accurate network that costs no more than the budget, the cheapest of equals, or None."""
    within = [name for name, (spent, _) in points.items() if spent <= budget]
    return max(within, key=lambda name: (points[name][1], -points[name][0]), default=None)


def frontier(points: dict[str, Point]) -> list[str]:
    """Return the networks that nothing beats at their cost or below, cheapest first."""
    found: list[str] = []
    for name in sorted(points, key=lambda name: (points[name][0], -points[name][1])):
        if not found or points[name][1] > points[found[-1]][1]:
            found.append(name)
    return found


def disagreements(first: dict[str, float], second: dict[str, float]) -> tuple[int, int]:
    """Count the pairs whose order by one cost is the reverse of that by another, and all pairs with an order in both.

    Args:
        first: cost of each network.
        second: another cost of the same networks.

    Raises:
        ValueError: if they are not the same networks.
    """
    if first.keys() != second.keys():
        raise ValueError(f"first, second: expected the same networks twice, got {sorted(first)} and {sorted(second)}")
    names = list(first)
    products = [(first[a] - first[b]) * (second[a] - second[b]) for i, a in enumerate(names) for b in names[i + 1 :]]
    return sum(p < 0 for p in products), sum(p != 0 for p in products)
