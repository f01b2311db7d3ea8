"""What correcting labels costs, and how long a large room takes.

Run by ``make bench``. The published loop corrects 49,152 points in 1,500 clusters in 21 s. Seconds are printed at the
end and kept in ``pnal.json``.
"""

from __future__ import annotations

import time

import pytest
import torch

from visionlab.data.clouds import Cloud
from visionlab.data.world.rooms import rooms
from visionlab.measure.cost import seconds
from visionlab.points.blocks import whole
from visionlab.points.dgcnn import DGCNN, SmallDGCNN
from visionlab.points.pnal import Cleaning, LabelMemory
from visionlab.points.segment import segment
from visionlab.points.training import recipe, train_points
from visionlab.train.loop import start


@pytest.mark.parametrize(("points", "clusters", "limit"), [(49_152, 1_500, 0.1), (1_000_000, 30_000, 2.0)])
@pytest.mark.parametrize("rule", ["majority", "first", "vote"])
def test_labels_are_corrected_at_once(
    took: dict[str, float], points: int, clusters: int, limit: float, rule: str
) -> None:
    g = torch.Generator().manual_seed(0)
    memory = LabelMemory(torch.randint(clusters, (points,), generator=g), 13)
    agreed = torch.randint(13, (points,), generator=g)
    for _ in range(4):
        other = torch.randint(13, (points,), generator=g)
        memory.record(torch.arange(points), torch.where(torch.rand(points, generator=g) < 0.1, other, agreed))
    ids, losses = torch.arange(points), torch.rand(points, generator=g)
    cleaning = Cleaning(rule=rule)  # type: ignore[arg-type]
    name = f"{rule}: {points:,} points in {clusters:,} clusters"
    took[name] = seconds(lambda: memory.correct(ids, cleaning, losses=losses, generator=g))
    assert took[name] < limit


def test_cleaning_costs_little_beside_training(took: dict[str, float]) -> None:
    clouds = rooms(16, points=1024)
    blocks = whole(clouds, 1024, clusters=[cloud.instances for cloud in clouds])
    each = {}
    for name, cleaning in (("plain", None), ("PNAL", Cleaning(warmup=0)), ("plain again", None)):
        torch.manual_seed(0)
        began = time.process_time()
        train_points(SmallDGCNN(10), blocks, 10, recipe(16, 6), cleaning, seed=0, fabric=start(device="cpu"))
        each[name] = time.process_time() - began
    for name, value in each.items():
        took[f"training, {name}"] = value


@pytest.mark.parametrize("network", ["SmallDGCNN", "DGCNN"])
def test_a_room_of_a_hundred_thousand_points_is_segmented(took: dict[str, float], network: str) -> None:
    made: dict[str, torch.nn.Module] = {"SmallDGCNN": SmallDGCNN(10), "DGCNN": DGCNN(10, k=20)}
    room: Cloud = rooms(1, points=100_000)[0]
    took[f"{network}, 100,000 points"] = seconds(lambda: segment(made[network], room), repeats=2)
