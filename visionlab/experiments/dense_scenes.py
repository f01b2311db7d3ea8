"""What experiments on masks and boxes of the world share, whichever the backbone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from visionlab.data import world
from visionlab.experiments.experiment import Job, Outcome
from visionlab.heads.detection import detector, targets_of
from visionlab.measure.dense import average_precision, sure_boxes
from visionlab.train.loop import Fit, Recipe, fit, start
from visionlab.train.randomness import seeded
from visionlab.train.stream import Batch, Shuffled

__all__ = ["MEAN", "SIZE", "STD", "Dense", "box_loss", "measure_boxes", "scenes_of", "train"]

SIZE = 64
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


@dataclass(frozen=True, kw_only=True)
class Dense:
    """Scale of a dense experiment."""

    recipe: Recipe
    n: int
    test: int
    classes: tuple[str, ...] = ("sphere", "cube", "cone", "ring")
    objects: int = 3
    sizes: tuple[str, ...] = ("medium", "large")
    width: int = 64
    kept: int = 4  # test scenes whose answers are kept, to be looked at


def scenes_of(job: Job, task: str, split: str) -> tuple[Tensor, Tensor]:
    """Return images in [0, 1] and answers of a task of the world."""
    preset: Dense = job.preset
    n = preset.n if split == "train" else preset.test
    knobs = {name: getattr(preset, name) for name in ("classes", "objects", "sizes")}
    images, answers = world.dataset(task, split, n, size=SIZE, seed=job.seed, **knobs).tensors()
    return images, torch.as_tensor(answers)


def train(job: Job, network: nn.Module, images: Tensor, answers: Tensor, loss: Any) -> Fit:
    """Train on images and answers."""
    preset: Dense = job.preset
    return fit(
        network, Shuffled(TensorDataset(images, answers)), loss, preset.recipe,
        seed=job.seed, fabric=start(preset.recipe.precision, job.device), hook=job.hook, checkpoint=job.checkpoint,
    )  # fmt: skip


def box_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """The detector's own losses: class, box, and how central a place is."""
    images, boxes = batch
    parts = model(list(images), targets_of(boxes, (SIZE, SIZE)))
    return torch.stack(list(parts.values())).sum(), dict(parts)


@torch.no_grad()
def measure_boxes(job: Job, make: Callable[[str], tuple[nn.Module, float]]) -> Outcome:
    """Train a detector on a backbone that ``make`` builds, with its cost, and measure it on new scenes."""
    with seeded(job.seed), torch.enable_grad():
        backbone, cost = make(job.variant)
        network = detector(
            backbone, len(job.preset.classes), size=SIZE, width=job.preset.width,
            image_mean=MEAN, image_std=STD, score_thresh=0.05,
        )  # fmt: skip
        run = train(job, network, *scenes_of(job, "detection", "train"), box_loss)
    model = run.model.eval()
    device = next(model.parameters()).device
    images, boxes = scenes_of(job, "detection", "test")
    found = [
        {name: value.cpu() for name, value in each.items()}
        for part in images.split(50)
        for each in model(list(part.to(device)))
    ]
    metrics = {
        "AP50 (%)": 100 * average_precision(found, targets_of(boxes, (SIZE, SIZE))),
        "multiply-adds of the backbone (M)": cost,
    }
    return Outcome(metrics, run.history, arrays={"boxes": sure_boxes(found[: job.preset.kept])}, network=run.model)
