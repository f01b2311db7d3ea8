"""Corrected labels for one's own rooms, by PNAL (arXiv 2107.14230), and a list of the objects whose labels to look at.

`clean_labels` trains a network on the rooms and their own labels, `doubtful` sorts the objects. Neither needs to know
how many labels are wrong.

Where few labels are wrong, PNAL alone breaks more of them than it mends: a network that is right about four points of
five cannot better labels of which six of seven are right, and once it learns from what it corrected, it no longer
doubts that. So labels are corrected in the last few epochs only, by a longer memory, and those of a cluster change only
if nearly all that is remembered of its points speaks against them.
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
from visionlab.points.clusters import by_look, dbscan, published_features
from visionlab.points.dgcnn import DGCNN, SmallDGCNN
from visionlab.points.pnal import Cleaning, LabelMemory
from visionlab.points.segment import segment
from visionlab.points.training import recipe, train_points
from visionlab.train.loop import Hook, start
from visionlab.train.randomness import seeded

__all__ = ["PRESETS", "Cleaned", "Doubt", "Preset", "check_clouds", "clean_labels", "clusters_of", "digest", "doubtful"]

ALONE = 0.2
"""Share of points without a neighbour in their cluster from which on a scan counts as too sparse for DBSCAN."""
TOGETHER, MOST_CLUSTERS = 16, 1024
"""Points in a cluster of k-means, on average, and how many clusters a cloud has at most."""
CORRECTING, REMEMBERED, AGREED = 4, 16, 0.5
"""Epochs at the end in which labels are corrected; predictions kept of a point; share of them that makes it trusted."""
AGAINST = 0.8
"""Share of the predictions on a cluster's points that has to differ from their labels for these to change."""
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
        batch: blocks of a step.
        learning_rate: of all steps.
    """

    network: Callable[[int], nn.Module]
    neighbours: int
    points: int
    epochs: int
    batch: int
    learning_rate: float


PRESETS = {
    "quick": Preset(
        network=lambda classes: SmallDGCNN(classes, dropout=0.2), neighbours=12, points=1024, epochs=64, batch=2,
        learning_rate=2e-3,
    ),
    "full": Preset(
        network=lambda classes: DGCNN(classes, k=20), neighbours=20, points=4096, epochs=40, batch=8,
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
        doubt: (N,) share of the last predictions on the points of a cluster that differ from their given labels.
        probabilities: (N, K) of the classes, by the network of averaged weights.
    """

    cloud: Cloud
    labels: Int[Tensor, " n"]
    doubt: Float[Tensor, " n"]
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
        score: how doubtful: the mean of `Cleaned.doubt` over its points; 0 for an object without a label.
        given_probability: mean probability of the given class; 0 where there is none.
        proposed_probability: the same of the proposed class.
    """

    cloud: int
    instance: int
    given: int
    proposed: int
    points: int
    changed: float
    score: float
    given_probability: float
    proposed_probability: float


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

    The label of a point is what the copies of its cluster, in all blocks, were corrected to, most of them. A cluster
    keeps what was given if it was never corrected, or if less than `AGAINST` of what the network said of its points in
    the last epochs differs from that. Points without a label get that of their cluster in any case.

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
    last = min(CORRECTING, max(epochs // 4, 1))
    cleaning = Cleaning(warmup=epochs - last, slots=min(REMEMBERED, epochs - last), share=AGREED)
    run, memory = train_points(
        network, blocks, classes, made, cleaning, seed=seed, fabric=fabric, hook=hook, checkpoint=checkpoint,
        augment=Moved(turn=(0.0, 0.0, 15.0), mirror=0.5, tint=0.04),
    )  # fmt: skip
    found = zip(clouds, *_by_cluster(clouds, clusters, blocks, memory.to(torch.device("cpu")), classes), strict=True)
    return [
        Cleaned(cloud, labels, doubt, segment(run.model, cloud, points=points, side=side, seed=seed))
        for cloud, labels, doubt in found
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
        found = by_look(cloud.xyz, cloud.rgb, wanted, seed=seed)
    return found.unique(return_inverse=True)[1]


def doubtful(cleaned: Sequence[Cleaned]) -> list[Doubt]:
    """All objects, the most doubtful first by `Doubt.score`; at the end those without a label, the surest first."""
    found = []
    for place, each in enumerate(cleaned):
        cloud, classes = each.cloud, each.probabilities.shape[1]
        pairs = torch.stack([cloud.instances, cloud.labels], 1)
        objects, member, sizes = pairs.unique(dim=0, return_inverse=True, return_counts=True)
        mean = torch.zeros(len(objects), classes).index_add_(0, member, each.probabilities) / sizes[:, None]
        changed, score = (
            torch.zeros(len(objects)).index_add_(0, member, values) / sizes
            for values in ((each.labels != cloud.labels).float(), each.doubt)
        )
        own = _picked(mean, objects[:, 1])
        is_given = objects[:, 1:] == torch.arange(classes)
        others = mean.masked_fill(is_given, -1.0)
        for i, (instance, given) in enumerate(objects.tolist()):
            best = int(others[i].argmax())
            found.append(Doubt(
                cloud=place, instance=instance, given=given, proposed=best, points=int(sizes[i]),
                changed=float(changed[i]), score=float(score[i]), given_probability=float(own[i]),
                proposed_probability=float(mean[i, best]),
            ))  # fmt: skip
    return sorted(
        found,
        key=lambda doubt: (
            doubt.given == UNLABELLED, -doubt.score, -doubt.proposed_probability, doubt.cloud, doubt.instance
        ),
    )  # fmt: skip


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


def _by_cluster(
    clouds: Sequence[Cloud], clusters: Sequence[Tensor], blocks: Blocks, memory: LabelMemory, classes: int
) -> tuple[list[Tensor], list[Tensor]]:
    """Label and doubt (N,) of each point of each cloud, from what is remembered of the points in blocks."""
    counts = [int(cluster.max()) + 1 for cluster in clusters]
    ids, given, history = blocks.cluster.flatten(), blocks.labels.flatten(), memory.history.long()
    corrected = memory.corrected.long()
    known = corrected >= 0
    rows = ids[known] * classes + corrected[known]
    votes = torch.bincount(rows, minlength=sum(counts) * classes).view(-1, classes)
    winners = torch.where(votes.amax(1) > 0, votes.argmax(1), UNLABELLED).split(counts)
    said = ((history >= 0) & (given != UNLABELLED)[:, None]).float()
    against = (said * (history != given[:, None])).sum(1)
    doubts = torch.bincount(ids, against, sum(counts)) / torch.bincount(ids, said.sum(1), sum(counts)).clamp(min=1)
    labels, doubt = [], []
    for cloud, cluster, new, own in zip(clouds, clusters, winners, doubts.split(counts), strict=True):
        bare = cloud.labels == UNLABELLED
        doubt.append(own[cluster].masked_fill(bare, 0.0))
        taken = (new[cluster] >= 0) & (bare | (own[cluster] >= AGAINST))
        labels.append(torch.where(taken, new[cluster], cloud.labels))
    return labels, doubt


def _picked(probabilities: Tensor, labels: Tensor) -> Tensor:
    """The probability (N,) of one class for each point, 0 where that is -1."""
    found = probabilities.gather(1, labels.clamp(min=0)[:, None])[:, 0]
    return torch.where(labels >= 0, found, 0.0)
