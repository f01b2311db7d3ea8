"""Counts that can be done by hand."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from visionlab.measure.cost import multiply_adds, parameters, seconds


def test_layers_cost_what_they_cost_by_hand() -> None:
    x = torch.zeros(1, 3, 10, 12)
    assert multiply_adds(nn.Conv2d(3, 8, 3, padding=1), x) == 10 * 12 * 8 * 3 * 9
    assert multiply_adds(nn.Conv2d(3, 3, 3, padding=1, groups=3), x) == 10 * 12 * 3 * 9
    assert multiply_adds(nn.Conv2d(3, 8, 2, stride=2), x) == 5 * 6 * 8 * 3 * 4
    assert multiply_adds(nn.Linear(12, 5), x) == 3 * 10 * 12 * 5
    assert parameters(nn.Linear(12, 5)) == 65


def test_counting_leaves_the_network_as_it_was() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).train()
    multiply_adds(network, torch.zeros(1, 2))
    assert network.training
    assert network[0].weight.grad is None


def test_time_is_the_median_after_a_warm_up() -> None:
    waits = iter([0.2, 0.01, 0.1, 0.01])
    assert 0.005 < seconds(lambda: time.sleep(next(waits)), repeats=3) < 0.08
    with pytest.raises(ValueError, match="repeats: expected a whole number >= 1, got 0"):
        seconds(lambda: None, repeats=0)
