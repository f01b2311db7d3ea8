"""What a network costs: parameters, multiply-adds, seconds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["multiply_adds", "parameters", "seconds"]


def parameters(model: nn.Module) -> int:
    """Count the trainable and frozen parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def multiply_adds(model: nn.Module, *inputs: Tensor) -> int:
    """Count the multiply-adds of one forward pass: matrix products and convolutions, as papers count them.

    Softmax, normalisation, activation and sums are not counted.
    """
    training = model.training
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(*inputs)
    model.train(training)
    return counter.get_total_flops() // 2


def seconds(call: Callable[[], object], *, repeats: int = 5) -> float:
    """Return the median time of a call in seconds, after one call to warm up; waits for the GPU where one is used."""
    if repeats < 1:
        raise ValueError(f"repeats: expected a whole number >= 1, got {repeats}")
    synchronise = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    call()
    times = []
    for _ in range(repeats):
        synchronise()
        began = time.perf_counter()
        call()
        synchronise()
        times.append(time.perf_counter() - began)
    return statistics.median(times)
