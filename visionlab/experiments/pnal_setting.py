"""The setting of all experiments on noisy labels of points (PNAL, arXiv 2107.14230): rooms, wrong labels, training.

Rooms to train on have wrong labels, those to test on are others, with right ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from visionlab.data import clouds as files
from visionlab.data.clouds import Cloud
from visionlab.data.world.rooms import rooms
from visionlab.experiments.experiment import Job, Outcome
from visionlab.measure.points import Segmented, segmented, selected
from visionlab.points.blocks import Blocks, Moved, cut, whole
from visionlab.points.clusters import by_look, dbscan, published_features, purity
from visionlab.points.dgcnn import DGCNN, SmallDGCNN
from visionlab.points.label_noise import asymmetric, symmetric
from visionlab.points.pnal import Cleaning, LabelMemory
from visionlab.points.spoiled import alike
from visionlab.points.training import train_points
from visionlab.train.loop import Recipe, start
from visionlab.train.randomness import generator, seeded

__all__ = [
    "BEST", "KEPT", "LEARNT", "TEST", "Case", "Setting", "blocks_of", "clouds_of", "clusters_of", "curves",
    "measure_case", "network_of", "noisy", "predicted",
]  # fmt: skip

FIRST_TEST = 10_000
"""Number of the first room that is tested on."""
COARSER = 4
"""How many clusters become one where they are coarse."""
TEST, BEST = "test accuracy (%)", "accuracy of the best epoch (%)"
"""Of the network's last weights, not their average, in each epoch; and in the epoch that only the test can tell."""
LEARNT = "wrong labels learnt (%)"
"""Of the points with a wrong label, those for which the network answers just that."""
KEPT = 4
"""Training rooms of which everything is kept for the lab, epoch by epoch."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Scale of an experiment.

    Args:
        recipe: of the network; see `training.recipe`.
        warmup: epochs before labels are corrected.
        n: rooms to train on, of the world.
        test: rooms to test on, of the world.
        points: of each block.
        side: of a block in metres, as published; None: a block is a whole room.
        network: the published one, or the small one.
        k: neighbours in the network.
        dropout: of its head.
        moved: augmentation.
        clusters: of each room, by k-means; None: the published ones, by DBSCAN.
        variants: that run by default; none for all.
    """

    recipe: Recipe
    warmup: int
    n: int = 64
    test: int = 40
    points: int = 256
    side: float | None = None
    network: Literal["small", "published"] = "small"
    k: int = 8
    dropout: float = 0.1
    moved: Moved = field(default_factory=Moved)
    clusters: int | None = 40
    variants: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is compared.

    Args:
        rate: share of the points of a room whose object has a wrong label; None: another for each room, 0.2 to 1.
        noise: "symmetric", or "asymmetric" between classes that look alike.
        loss: see `robust_losses.LOSSES`.
        clean: train on the true labels instead: the bound.
        cleaning: changes of `pnal.Cleaning`, or None: labels are not corrected.
        grouped: by what points are grouped: "fine", clusters as the setting says; "finer", twice as many; "coarse", a
            quarter of them; or "objects", the truth.
    """

    rate: float | None = 0.6
    noise: Literal["symmetric", "asymmetric"] = "symmetric"
    loss: str = "cross entropy"
    clean: bool = False
    cleaning: tuple[tuple[str, Any], ...] | None = None
    grouped: Literal["fine", "finer", "coarse", "objects"] = "fine"


def clouds_of(job: Job) -> tuple[list[Cloud], list[Cloud]]:
    """Return rooms to train on and to test on: of the world, or of a data set on disk as many as it has."""
    preset: Setting = job.preset
    if job.data != "rooms":
        points = preset.points if preset.side is None else None
        return files.load(job.data, "train", points=points), files.load(job.data, "test", points=points)
    return (
        rooms(preset.n, points=preset.points, seed=job.seed),
        rooms(preset.test, points=preset.points, seed=job.seed, first=FIRST_TEST),
    )


def clusters_of(clouds: Sequence[Cloud], count: int | None, grouped: str) -> list[Tensor]:
    """Return clusters of the points of each room."""
    if grouped == "objects":
        return [cloud.instances for cloud in clouds]
    if count is None:
        return [dbscan(published_features(cloud.xyz, cloud.rgb)) for cloud in clouds]
    count = {"fine": count, "finer": 2 * count, "coarse": -(-count // COARSER)}[grouped]
    return [by_look(cloud.xyz, cloud.rgb, count) for cloud in clouds]


def noisy(clouds: Sequence[Cloud], case: Case, seed: int) -> tuple[list[Tensor], list[float]]:
    """Return wrong labels of each room, and the realised rates; no rate is known to any method."""
    drawn, classes = generator(seed, 5), len(clouds[0].classes)
    labels, rates = [], []
    for cloud in clouds:
        rate = case.rate if case.rate is not None else 0.2 + 0.8 * torch.rand((), generator=drawn).item()
        given = (cloud.labels, cloud.instances, classes, rate, drawn)
        found = asymmetric(*given, partners=alike(cloud.classes)) if case.noise == "asymmetric" else symmetric(*given)
        labels.append(found.labels)
        rates.append(found.rate)
    return labels, rates


def blocks_of(job: Job, case: Case) -> tuple[Blocks, Blocks, Blocks, list[float]]:
    """Return blocks to train on, with given and with true labels, those to test on, and the rates of the rooms."""
    preset: Setting = job.preset
    train, test = clouds_of(job)
    make = partial(whole, points=preset.points)
    if preset.side is not None:
        make = partial(cut, points=preset.points, side=preset.side, stride=preset.side / 2)
    true = make(train, clusters=clusters_of(train, preset.clusters, case.grouped))
    if case.clean:
        return true, true, make(test), [0.0]
    labels, rates = noisy(train, case, job.seed)
    return true.relabelled(labels), true, make(test), rates


def network_of(job: Job, classes: int) -> nn.Module:
    """Return the network that is trained, as it begins."""
    preset: Setting = job.preset
    kind = {"small": SmallDGCNN, "published": DGCNN}[preset.network]
    with seeded(job.seed, 2):
        return kind(classes, k=preset.k, dropout=preset.dropout)


@torch.no_grad()
def predicted(network: nn.Module, blocks: Blocks) -> Tensor:
    """Return the class (M, n) of each point, by the network in evaluation mode."""
    network.eval()
    device = next(network.parameters()).device
    return torch.cat([network(part.to(device)).argmax(-1).cpu() for part in blocks.features.split(8)])


def measure_case(job: Job, case: Case) -> Outcome:
    """Train a network on wrong labels, and compare it, and the corrected labels, with the truth."""
    preset: Setting = job.preset
    given, true, test, rates = blocks_of(job, case)
    classes = int(max(given.labels.max(), true.labels.max(), test.labels.max())) + 1
    cleaning = None if case.cleaning is None else Cleaning(**{"warmup": preset.warmup, **dict(case.cleaning)})
    network = network_of(job, classes)

    def watch(_: int, trained: nn.Module) -> dict[str, float]:
        return {TEST: segmented(predicted(trained, test), test.labels, classes).accuracy}

    run, memory = train_points(
        network, given, classes, preset.recipe, cleaning, seed=job.seed, loss=case.loss, augment=preset.moved,
        keep=True, watch=watch, fabric=start(preset.recipe.precision, job.device), hook=job.hook,
        checkpoint=job.checkpoint,
    )  # fmt: skip
    averaged, last = (segmented(predicted(each, test), test.labels, classes) for each in (run.model, network))
    history = curves(memory, given.labels, true.labels, preset.recipe.steps)
    metrics = _of_networks(averaged, last) | {
        BEST: max(row[TEST] for row in history),
        "noise (%)": 100 * float(np.mean(rates)),
        "purity (%)": 100 * purity(true.cluster.flatten(), true.labels.flatten(), classes),
        **{name: value for name, value in history[-1].items() if name not in ("step", TEST)},
    }
    arrays = {
        "predicted": torch.stack(memory.predicted_by_epoch),
        "labels": torch.stack(memory.corrected_by_epoch),
    }
    kept = {name: part.view(len(part), *given.labels.shape)[:, :KEPT].numpy() for name, part in arrays.items()}
    return Outcome(metrics, history, arrays=kept if job.seed == 0 else {}, network=run.model.cpu().eval())


def _of_networks(averaged: Segmented, last: Segmented) -> dict[str, float]:
    return {
        "accuracy (%)": averaged.accuracy,
        "mean IoU (%)": averaged.mean_iou,
        "accuracy, last weights (%)": last.accuracy,
        "mean IoU, last weights (%)": last.mean_iou,
        **{f"IoU, class {i} (%)": value for i, value in enumerate(averaged.iou.tolist()) if not np.isnan(value)},
    }


def curves(memory: LabelMemory, given: Tensor, truth: Tensor, steps: int) -> list[dict[str, float]]:
    """Return what became of predictions and labels in each epoch, in percent of all training points."""
    given, truth = given.flatten(), truth.flatten()
    wrong = (given != truth).nonzero()[:, 0]
    rows = []
    epochs = zip(memory.rows, memory.predicted_by_epoch, memory.corrected_by_epoch, strict=True)
    for epoch, (row, guess, label) in enumerate(epochs, 1):
        force = torch.where(label >= 0, label.long(), given)
        found = selected(label.long(), given, truth)
        rows.append({
            "step": float(round(epoch * steps / len(memory.rows))),
            **row,
            "fit to given labels (%)": 100 * (guess == given).double().mean().item(),
            "fit to true labels (%)": 100 * (guess == truth).double().mean().item(),
            LEARNT: 100 * (guess == given)[wrong].double().mean().item() if len(wrong) else 0.0,
            "labels right (%)": 100 * (force == truth).double().mean().item(),
            "selected (%)": found.share,
            "selected right (%)": 0.0 if found.share == 0 else found.precision,
            "wrong labels mended (%)": 0.0 if given.equal(truth) else found.mended,
            "right labels broken (%)": found.broken,
        })  # fmt: skip
    return rows
