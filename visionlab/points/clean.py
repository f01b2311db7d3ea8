"""Corrected labels for one's own rooms, by PNAL (arXiv 2107.14230), and a list of the objects whose labels to look at.

`clean_labels` trains a network on the rooms and their own labels, `doubtful` sorts the objects. Neither needs to know
how many labels are wrong. What the network is wrong about, it breaks: see `visionlab clean-labels`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from lightning_fabric import Fabric
from torch import Tensor, nn

from visionlab.data.clouds import UNLABELLED, Cloud
from visionlab.points.blocks import Blocks, Moved, cut, whole
from visionlab.points.clusters import dbscan, kmeans, published_features
from visionlab.points.dgcnn import DGCNN, SmallDGCNN
from visionlab.points.pnal import Cleaning
from visionlab.points.segment import segment
from visionlab.points.training import recipe, train_points
from visionlab.train.loop import Hook, start
from visionlab.train.randomness import seeded

__all__ = ["PRESETS", "Cleaned", "Doubt", "Preset", "check_clouds", "clean_labels", "clusters_of", "digest", "doubtful"]

ALONE = 0.2
"""Share of points without a neighbour in their cluster from which on a scan counts as too sparse for DBSCAN."""
TOGETHER, MOST_CLUSTERS = 16, 1024
"""Points in a cluster of k-means, on average, and how many clusters a cloud has at most."""
COLOUR = 6.0
"""Metres that k-means takes black and white in one channel to be apart."""
WHOLE = 4096
"""Clouds of at most so many points are blocks as they are."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """How `clean_labels` trains.

    Args:
        network: from a number of classes.
        neighbours: k of the network, the fewest points that a cloud may have.
        points: of a block, at most.
        epochs: passes over the blocks.
        warmup: share of them in which nothing is corrected.
        batch: blocks of a step.
        learning_rate: of all steps.
    """

    network: Callable[[int], nn.Module]
    neighbours: int
    points: int
    epochs: int
    warmup: float
    batch: int
    learning_rate: float


PRESETS = {
    "quick": Preset(
        network=lambda classes: SmallDGCNN(classes, dropout=0.1), neighbours=12, points=1024, epochs=96, warmup=0.5,
        batch=2, learning_rate=2e-3,
    ),
    "full": Preset(
        network=lambda classes: DGCNN(classes, k=20), neighbours=20, points=4096, epochs=60, warmup=0.5, batch=8,
        learning_rate=1e-3,
    ),
}  # fmt: skip
"""quick is for a CPU, full is the published network."""


@dataclass(frozen=True, eq=False)
class Cleaned:
    """What was found out about one cloud.

    Args:
        cloud: as it was given.
        labels: (N,) corrected; the given ones where nothing was corrected.
        probabilities: (N, K) of the classes, by the network of averaged weights.
    """

    cloud: Cloud
    labels: Int[Tensor, " n"]
    probabilities: Float[Tensor, "n k"]

    @property
    def confidence(self) -> Float[Tensor, " n"]:
        """The probability (N,) of the corrected label, 0 where there is none."""
        return _picked(self.probabilities, self.labels)

    @property
    def given_probability(self) -> Float[Tensor, " n"]:
        """The probability (N,) of the given label, 0 where there is none."""
        return _picked(self.probabilities, self.cloud.labels)


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """One object, which is all points of one instance that were given one class.

    Args:
        cloud: its place in the list.
        instance: its number there.
        given: its class, -1 where nobody gave one.
        proposed: the other class that is the likeliest, by the mean over its points.
        points: how many.
        changed: share of them whose label changed.
        given_probability: mean probability of the given class; 0 where there is none.
        proposed_probability: the same of the proposed class.
    """

    cloud: int
    instance: int
    given: int
    proposed: int
    points: int
    changed: float
    given_probability: float
    proposed_probability: float

    @property
    def score(self) -> float:
        """How doubtful: one minus the mean probability of the given class; 0 for an object without a label."""
        return 0.0 if self.given == UNLABELLED else 1 - self.given_probability


def clean_labels(
    clouds: Sequence[Cloud],
    *,
    preset: Literal["quick", "full"] = "quick",
    epochs: int | None = None,
    seed: int = 0,
    fabric: Fabric | None = None,
    hook: Hook | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> list[Cleaned]:
    """Train a network on clouds and their labels, some of which are wrong, and return corrected ones for every point.

    The label of a point is what the copies of its cluster, in all blocks, were corrected to, most of them; a cluster
    that was never corrected keeps what was given. Points without a label get one in the same way.

    Args:
        clouds: with the same classes.
        preset: see `PRESETS`.
        epochs: instead of the preset's.
        seed: of the network and of all that is drawn.
        fabric: of `visionlab.train.loop.start`; under several processes each gets the same result.
        hook: of the training loop.
        checkpoint: file to resume from, written after each epoch.

    Raises:
        ValueError: see `check_clouds`; or if there are fewer than two epochs, or fewer blocks than processes.
    """
    chosen = PRESETS[preset]
    check_clouds(clouds, chosen.neighbours)
    epochs = chosen.epochs if epochs is None else epochs
    if epochs < 2:
        raise ValueError(f"epochs: expected 2 or more, one to warm up and one to correct, got {epochs}")
    fabric = fabric or start()
    classes, largest = len(clouds[0].classes), max(map(len, clouds))
    clusters = [clusters_of(cloud, seed=seed) for cloud in clouds]
    side, points = (None if largest <= WHOLE else 1.0), min(largest, chosen.points)
    blocks = (whole if side is None else cut)(clouds, points, clusters=clusters, seed=seed)
    batch = _batch(len(blocks), chosen.batch, fabric.world_size)
    with seeded(seed):
        network = chosen.network(classes)
    made = recipe(len(blocks), epochs, batch=batch, learning_rate=chosen.learning_rate)
    warmup = min(max(round(chosen.warmup * epochs), 1), epochs - 1)
    run, memory = train_points(
        network, blocks, classes, made, Cleaning(warmup=warmup), seed=seed, fabric=fabric, hook=hook,
        checkpoint=checkpoint, augment=Moved(turn=(0.0, 0.0, 15.0), mirror=0.5, tint=0.03),
    )  # fmt: skip
    labels = _voted(clouds, clusters, blocks, memory.corrected.cpu().long(), classes)
    return [
        Cleaned(cloud, own, segment(run.model, cloud, points=points, side=side, seed=seed))
        for cloud, own in zip(clouds, labels, strict=True)
    ]


def check_clouds(clouds: Sequence[Cloud], neighbours: int) -> None:
    """Refuse clouds that nothing can be learned from.

    Raises:
        ValueError: if there are none, their classes differ, the labels are of fewer than two classes, or a cloud has
            fewer points than neighbours are looked at.
    """
    if not clouds:
        raise ValueError("clouds: expected at least one, got none")
    first = clouds[0]
    for cloud in clouds:
        if cloud.classes != first.classes:
            raise ValueError(
                f"clouds: expected the same classes in all, {first.name} has {', '.join(first.classes)}, "
                f"{cloud.name} has {', '.join(cloud.classes)}"
            )
        if len(cloud) < neighbours:
            raise ValueError(f"clouds: expected {neighbours} points or more in each, {cloud.name} has {len(cloud)}")
    labels = torch.cat([cloud.labels.unique() for cloud in clouds]).unique()
    found = [first.classes[i] for i in labels.tolist() if i != UNLABELLED]
    if len(found) < 2:
        raise ValueError(f"clouds: expected labels of two classes or more, got {', '.join(found) or 'none'}")
    if len(first.classes) > 127:
        raise ValueError(f"clouds: expected at most 127 classes, got {len(first.classes)}")


def clusters_of(cloud: Cloud, *, seed: int = 0) -> Int[Tensor, " n"]:
    """The cluster (N,) of each point, from 0, without gaps: the published ones, or those of k-means in sparse scans."""
    found = dbscan(published_features(cloud.xyz, cloud.rgb))
    sizes = found.bincount()
    if int((sizes == 1).sum()) > ALONE * len(cloud):
        wanted = min(max(len(cloud) // TOGETHER, 1), MOST_CLUSTERS)
        found = kmeans(torch.cat([cloud.xyz, COLOUR * cloud.rgb], 1), wanted, seed=seed)
    return found.unique(return_inverse=True)[1]


def doubtful(cleaned: Sequence[Cleaned]) -> list[Doubt]:
    """All objects, the most doubtful first by `Doubt.score`; at the end those without a label, the surest first."""
    found = []
    for place, each in enumerate(cleaned):
        cloud, classes = each.cloud, each.probabilities.shape[1]
        pairs = torch.stack([cloud.instances, cloud.labels], 1)
        objects, member, sizes = pairs.unique(dim=0, return_inverse=True, return_counts=True)
        mean = torch.zeros(len(objects), classes).index_add_(0, member, each.probabilities) / sizes[:, None]
        changed = torch.zeros(len(objects)).index_add_(0, member, (each.labels != cloud.labels).float()) / sizes
        own = _picked(mean, objects[:, 1])
        is_given = objects[:, 1:] == torch.arange(classes)
        others = mean.masked_fill(is_given, -1.0)
        for i, (instance, given) in enumerate(objects.tolist()):
            best = int(others[i].argmax())
            found.append(Doubt(
                cloud=place, instance=instance, given=given, proposed=best, points=int(sizes[i]),
                changed=float(changed[i]), given_probability=float(own[i]), proposed_probability=float(mean[i, best]),
            ))  # fmt: skip
    return sorted(found, key=lambda doubt: (-doubt.score, -doubt.proposed_probability, doubt.cloud, doubt.instance))


def digest(clouds: Sequence[Cloud], **options: str | int) -> str:
    """A name for the content of clouds and for options; the same points, labels, classes and names have the same."""
    found = hashlib.sha256(repr(sorted(options.items())).encode())
    for cloud in clouds:
        found.update(repr((cloud.name, cloud.classes, len(cloud))).encode())
        for values in (cloud.xyz, cloud.rgb, cloud.labels, cloud.instances):
            found.update(values.contiguous().numpy().tobytes())
    return found.hexdigest()


def _batch(blocks: int, wanted: int, processes: int) -> int:
    """Blocks of a step: as many as wanted, a multiple of the processes, no more than there are."""
    if blocks < processes:
        raise ValueError(f"clouds: {blocks} blocks do not split over {processes} processes; start fewer")
    return min(max(wanted // processes, 1), blocks // processes) * processes


def _voted(
    clouds: Sequence[Cloud], clusters: Sequence[Tensor], blocks: Blocks, corrected: Tensor, classes: int
) -> list[Tensor]:
    """The label (N,) of each point of each cloud, from those of the points in blocks, -1 where there is none yet."""
    counts = [int(cluster.max()) + 1 for cluster in clusters]
    known = corrected >= 0
    rows = blocks.cluster.flatten()[known] * classes + corrected[known]
    votes = torch.bincount(rows, minlength=sum(counts) * classes).view(-1, classes)
    winners = torch.where(votes.amax(1) > 0, votes.argmax(1), UNLABELLED).split(counts)
    found = [own[cluster] for own, cluster in zip(winners, clusters, strict=True)]
    return [torch.where(each >= 0, each, cloud.labels) for each, cloud in zip(found, clouds, strict=True)]


def _picked(probabilities: Tensor, labels: Tensor) -> Tensor:
    """The probability (N,) of one class for each point, 0 where that is -1."""
    found = probabilities.gather(1, labels.clamp(min=0)[:, None])[:, 0]
    return torch.where(labels >= 0, found, 0.0)
