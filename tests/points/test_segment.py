from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.points.test_blocks import cloud
from visionlab.points.dgcnn import SmallDGCNN
from visionlab.points.segment import segment


class Height(nn.Module):
    """Classes by height in the block, which every grouping leaves as it is."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x[..., 8] < 1, x[..., 8] >= 1], -1).float() * 9


@pytest.mark.parametrize("side", [1.0, 0.37, None])
@pytest.mark.parametrize("n", [1, 7, 500, 1300])
def test_every_point_is_asked_about_whatever_their_number(n: int, side: float | None) -> None:
    room = cloud(n)
    found = segment(Height(), room, points=64, side=side, batch=3)
    assert found.shape == (n, 2)
    torch.testing.assert_close(found.sum(1), torch.ones(n))
    assert torch.equal(found.argmax(1), (room.xyz[:, 2] - room.xyz[:, 2].min() >= 1).long())


def test_answers_follow_the_seed_and_leave_the_network_as_it_was() -> None:
    network = SmallDGCNN(3, k=4).train()
    room = cloud(300)
    first, again = (segment(network, room, points=64, seed=1) for _ in range(2))
    assert torch.equal(first, again)
    assert network.training


def test_bad_numbers_are_named() -> None:
    with pytest.raises(ValueError, match="points, side, batch: expected more than 0"):
        segment(Height(), cloud(5), points=0)
    with pytest.raises(ValueError, match="points, side, batch"):
        segment(Height(), cloud(5), side=-1.0)
