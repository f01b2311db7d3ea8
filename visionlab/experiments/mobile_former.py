"""Experiments on Mobile-Former (arXiv 2108.05895): what the bridge carries, what tokens add, and what both cost."""

from __future__ import annotations

from visionlab.experiments import mobile_former_images, mobile_former_majority
from visionlab.experiments.mobile_former_boxes import DETECTION, PYRAMID
from visionlab.experiments.mobile_former_costs import COST, TIME
from visionlab.experiments.mobile_former_imagenet import IMAGENET

__all__ = ["EXPERIMENTS", "WEIGHTS"]

WEIGHTS = (*mobile_former_images.WEIGHTS, *mobile_former_majority.WEIGHTS)

EXPERIMENTS = (
    mobile_former_majority.MAJORITY,
    mobile_former_images.TOKENS,
    mobile_former_images.WORLD,
    DETECTION,
    PYRAMID,
    COST,
    TIME,
    IMAGENET,
)
