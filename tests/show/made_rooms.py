"""A run of PNAL that nobody trained: rooms with wrong labels, and predictions that get better epoch by epoch."""

import numpy as np
import torch

from visionlab.data.world.rooms import ROOM_CLASSES, rooms
from visionlab.points.clusters import kmeans
from visionlab.points.label_noise import symmetric
from visionlab.show.timeline import Timeline


def made_timeline(count: int = 2, points: int = 512, epochs: int = 10, **rule: float) -> Timeline:
    """Objects are learnt one after the other, and a few hardly at all; half of the mistakes are the given label."""
    draw, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    clouds = rooms(count, points=points, seed=5)
    classes = len(ROOM_CLASSES)
    truth, objects = (np.stack([getattr(c, name).numpy() for c in clouds]) for name in ("labels", "instances"))
    noise = [symmetric(c.labels, c.instances, classes, 0.5, generator).labels for c in clouds]
    given = np.stack([each.numpy() for each in noise])
    hard = draw.uniform(-0.3, 0.6, objects.max() + 1)[objects]
    predicted = np.empty((epochs, *truth.shape), np.int8)
    for epoch in range(epochs):
        mistake = np.where(draw.uniform(size=truth.shape) < 0.5, given, draw.integers(0, classes, truth.shape))
        right = draw.uniform(size=truth.shape) < np.clip(0.4 + 0.9 * epoch / epochs - hard, 0.05, 0.97)
        predicted[epoch] = np.where(right, truth, mistake)
    run = Timeline(
        xyz=np.stack([c.xyz.numpy() for c in clouds]),
        rgb=np.stack([c.rgb.numpy() for c in clouds]),
        given=given,
        truth=truth,
        cluster=np.stack([kmeans(torch.cat([c.xyz, 3 * c.rgb], 1), 30).numpy() for c in clouds]),
        predicted=predicted,
        in_force=np.full_like(predicted, -1),
        classes=ROOM_CLASSES,
        warmup=4,
        slots=4,
        **rule,
    )
    return run.replayed(gamma=run.gamma)
