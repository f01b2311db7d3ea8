"""The published networks of CSWin, counted: parameters and multiply-adds beside those of the paper (tables 2 and 3)."""

from __future__ import annotations

from functools import cache

import timm
import torch

from visionlab.measure.cost import multiply_adds, parameters

__all__ = ["PUBLISHED", "network_costs"]

PUBLISHED = {
    "cswin_tiny_224": (4.3, 82.7),
    "cswin_small_224": (6.9, 83.6),
    "cswin_base_224": (15.0, 84.2),
    "cswin_base_384": (47.0, 85.4),
    "cswin_large_224": (31.5, 86.5),
    "cswin_large_384": (96.8, 87.5),
}
"""Multiply-adds in G and ImageNet-1K top-1 in percent, from the paper; the large networks after ImageNet-22K."""


@cache
def network_costs() -> tuple[tuple[str, int, float, float, float], ...]:
    """Count each network: (name, parameters, G multiply-adds, the paper's G, the paper's top-1 in percent)."""
    rows = []
    for name, (published, accuracy) in PUBLISHED.items():
        # Shapes decide the counts, so the networks are built without memory.
        with torch.device("meta"):
            network = timm.create_model(name)
            image = torch.empty(1, *network.pretrained_cfg["input_size"])
        count = round(multiply_adds(network, image) / 1e9, 4)
        rows.append((name, parameters(network), count, published, accuracy))
    return tuple(rows)
