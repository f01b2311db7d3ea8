"""Experiments on Mobile-Former (arXiv 2108.05895): what the bridge carries, what tokens add, and what both cost."""

from __future__ import annotations

from visionlab.experiments import mobile_former_majority

__all__ = ["EXPERIMENTS", "WEIGHTS"]

WEIGHTS = (*mobile_former_majority.WEIGHTS,)

EXPERIMENTS = (mobile_former_majority.MAJORITY,)
