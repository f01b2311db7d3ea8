"""Lab 01: what its predictions reveal is what the library computes, and its own functions are right."""

from __future__ import annotations

import pytest
import torch

from visionlab.backbones.micronet_factorized import MicroFactorizedPointwise, wiring
from visionlab.backbones.micronet_shiftmax import DynamicShiftMax
from visionlab.exercises import micronet
from visionlab.exercises.exercise import check


def test_the_revealed_groups_are_the_computed_ones() -> None:
    answer, words = micronet.REVEALED["groups"]
    for groups in (1, 2, 4, 8, 16, 32, 64):
        assert bool((wiring(128, 64, groups).paths == 1).all()) == (groups == int(answer))
    sixteen, four = (wiring(128, 64, groups).paths for groups in (16, 4))
    assert "hears 4 of 16 groups" in words
    assert int((sixteen[0] > 0).sum()) == 4 * 128 // 16
    assert "every input by four paths" in words
    assert set(four.flatten().tolist()) == {4}


@pytest.mark.parametrize("hidden", [1, 2, 4, 9, 12, 16, 36, 72, 144])
def test_exactly_one_path_is_a_question_of_squares(hidden: int) -> None:
    fitting = [g for g in range(1, hidden + 1) if hidden % g == 0]
    right = [g for g in fitting if bool((wiring(2 * hidden, hidden, g).paths == 1).all())]
    assert micronet.one_path_groups(hidden) == (right[0] if right else -1)


def test_paths_are_those_of_the_layer() -> None:
    layer = MicroFactorizedPointwise(24, reduction=2, groups=3)
    with torch.no_grad():
        layer.squeeze.weight.fill_(1)
        layer.expand.weight.fill_(1)
    assert torch.equal(layer.matrix().long(), micronet.paths(24, 12, 3))


def test_shift_max_is_that_of_the_activation() -> None:
    layer, x = DynamicShiftMax(12, 3, hidden=4), torch.randn(2, 12, 3, 2)
    with torch.no_grad():
        assert torch.equal(micronet.shift_max(x, layer.coefficients(x), 3), layer(x))


def test_a_shift_along_the_groups_alone_is_named_for_what_it_is() -> None:
    exercise = micronet.SHIFT_MAX
    namespace: dict[str, object] = {}
    exec(exercise.hints[2].replace("(-1, -1), (1, 2)", "-1, 1"), namespace)
    assert "roll by one inside the group, too" in check(exercise, [namespace["shift_max"]]).message  # type: ignore[list-item]
