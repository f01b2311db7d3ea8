"""The learning rate over time: linear warm-up, then half a cosine down to a floor."""

from __future__ import annotations

import math

__all__ = ["cosine_with_warmup"]


def cosine_with_warmup(step: int, *, steps: int, warmup: int, peak: float, floor: float = 0.0) -> float:
    """Return the learning rate of optimiser step ``step`` (0-based) out of ``steps``.

    It rises linearly over the first ``warmup`` steps, reaching ``peak`` with the last of them, and falls along a cosine
    to ``floor``, reached with step ``steps - 1``.

    Raises:
        ValueError: if ``step`` lies outside the run or the warm-up is as long as the run.
    """
    if not 0 <= step < steps:
        raise ValueError(f"step: expected 0 <= step < {steps}, got {step}")
    if not 0 <= warmup < steps:
        raise ValueError(f"warmup: expected 0 <= warmup < steps = {steps}, got {warmup}")
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - 1 - warmup)
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * progress))
