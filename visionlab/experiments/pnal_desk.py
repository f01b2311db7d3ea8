"""What the app on noisy labels of points does with clouds: spoil labels, read files, group points, clean."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from visionlab.data.clouds import UNLABELLED, Cloud, load, save
from visionlab.points.blocks import LEAST, squares
from visionlab.points.clean import PRESETS, WHOLE, Cleaned, Doubt, check_clouds, clean_labels, doubtful
from visionlab.points.clusters import dbscan, kmeans, published_features, purity
from visionlab.points.label_noise import Noise, asymmetric, boundary, symmetric
from visionlab.train.loop import Hook

__all__ = [
    "ALIKE", "CLUSTERS", "MOST", "NOISES", "RADIUS", "Doubted", "alike", "caught", "cleaned", "corrected_files",
    "described", "doubted", "grouped", "has_objects", "member", "objects", "opened", "place_and_colour", "rows",
    "spoiled", "told", "told_of_clusters", "verdict",
]  # fmt: skip

ALIKE = (
    ("wall", "door"),
    ("chair", "sofa"),
    ("table", "shelf"),
    ("lamp", "clutter"),
    ("window", "wall"),
    ("board", "door"),
)
"""Classes that annotators take for each other, where a cloud has them."""
NOISES = ("by object", "between look-alikes", "at boundaries")
RADIUS = 0.25
"""Metres from another class within which a point lies at a boundary."""
CLUSTERS = ("k-means", "DBSCAN")
COLOUR = 6.0
"""Metres that k-means takes black and white in one channel to be apart."""
MOST = 20_000
"""Points of a file that are kept."""
UNPACKED = 400_000_000
"""Bytes that an npz file may unpack to."""
MOST_CLOUDS = 12
FOLDER = "`visionlab clean-labels FOLDER` takes any number"
LONGEST = 40.0
"""Metres that a cloud to be cleaned may span."""
MOST_ROWS = 100
"""Objects in the list of doubts."""
FEWEST = 6
"""Epochs of a quick cleaning, whatever they take."""
PASSES = 900
"""Blocks that a network sees in a quick cleaning, over all epochs: what bounds its seconds."""


# --- Wrong labels -----------------------------------------------------------------------------------------------------


def alike(classes: Sequence[str]) -> dict[int, int]:
    """Partners among classes, by the names in `ALIKE`; the first pair of a class counts."""
    found: dict[int, int] = {}
    for one, other in ALIKE:
        if one in classes and other in classes:
            a, b = classes.index(one), classes.index(other)
            if a not in found and b not in found:
                found |= {a: b, b: a}
    return found


def has_objects(cloud: Cloud) -> bool:
    """Whether a cloud has objects, or just all points of a class as one."""
    return len(torch.stack([cloud.labels, cloud.instances], 1).unique(dim=0)) > len(cloud.labels.unique())


def spoiled(cloud: Cloud, kind: str, percent: float | int, seed: int) -> Noise:
    """Give a share of the points of a cloud wrong labels.

    Args:
        cloud: with labels that count as true.
        kind: one of `NOISES`.
        percent: of the points; at boundaries, of those within `RADIUS` of another class.
        seed: of what is drawn.

    Raises:
        ValueError: if the kind is unknown, the percentage out of range, or the cloud has no objects, or no look-alikes.
    """
    if kind not in NOISES:
        raise ValueError(f"kind of noise: expected one of {', '.join(NOISES)}; got {kind!r}")
    if not 0 <= percent <= 100:
        raise ValueError(f"rate: expected 0 to 100 %; got {percent}")
    draw, classes = torch.Generator().manual_seed(seed), len(cloud.classes)
    if kind == NOISES[2]:
        return boundary(cloud.xyz, cloud.labels, RADIUS, percent / 100, draw)
    if percent and not has_objects(cloud):
        raise ValueError(f"kind of noise: {cloud.name} has no instances to mislabel; choose {NOISES[2]!r}")
    given = (cloud.labels, cloud.instances, classes, percent / 100, draw)
    if kind == NOISES[0]:
        return symmetric(*given)
    partners = alike(cloud.classes)
    if percent and not partners:
        raise ValueError(f"kind of noise: none of the classes of {cloud.name} has a known look-alike")
    return asymmetric(*given, partners=partners)


def objects(cloud: Cloud, labels: Tensor) -> list[list[str]]:
    """A row for each object: its number, true class, points, given label, and whether that is right; largest first."""
    rows = []
    pairs, member, sizes = torch.stack([cloud.instances, cloud.labels], 1).unique(
        dim=0, return_inverse=True, return_counts=True
    )
    for i in sizes.argsort(descending=True, stable=True).tolist():
        instance, true = pairs[i].tolist()
        some = labels[member == i]
        most = int(some.mode().values)
        wrong = float((some != true).double().mean())
        said = "right" if wrong == 0 else "wrong" if wrong == 1 else f"{wrong:.0%} wrong"
        rows.append([str(instance), _name(cloud, true), f"{int(sizes[i]):,}", _name(cloud, most), said])
    return rows


def told(cloud: Cloud, noise: Noise, kind: str, percent: float | int) -> str:
    """Say what noise made of a cloud."""
    wrong, known = int(noise.flipped.sum()), int((cloud.labels != UNLABELLED).sum())
    words = f"Asked for {percent:g} %. {100 * wrong / max(known, 1):.0f} % of {known:,} points have a wrong label"
    if kind == NOISES[2]:
        return f"{words}: {100 * noise.rate:.0f} % of those within {100 * RADIUS:.0f} cm of another class."
    rows = objects(cloud, noise.labels)
    bad = sum(row[-1] == "wrong" for row in rows)
    return f"{words}: {bad} of {len(rows)} objects. Only whole objects go wrong, so the rate is seldom met exactly."


def _name(cloud: Cloud, label: int) -> str:
    return cloud.classes[label] if label >= 0 else "no label"


# --- One's own clouds -------------------------------------------------------------------------------------------------


def opened(paths: Sequence[str | Path]) -> list[Cloud]:
    """Read labelled clouds, of each at most `MOST` points, drawn evenly.

    Raises:
        ValueError: a file is none that can be read, or nothing can be learned from the clouds; the message says why.
    """
    if len(paths) > MOST_CLOUDS:
        raise ValueError(f"files: {len(paths)} were given, at most {MOST_CLOUDS} are taken; {FOLDER}")
    found: list[Cloud] = []
    for path in map(Path, paths):
        try:
            _check_size(path)
            found += load(path, points=MOST)
        except (ValueError, OSError, RuntimeError, MemoryError) as error:
            raise ValueError(str(error).replace(str(path), path.name)) from error
    if len(found) > MOST_CLOUDS:
        raise ValueError(f"files: they hold {len(found)} clouds, at most {MOST_CLOUDS} are taken; {FOLDER}")
    check_clouds(found, PRESETS["quick"].neighbours)
    return found


def _check_size(path: Path) -> None:
    """Refuse an npz file that would unpack to more than there is room for."""
    if path.suffix.lower() == ".npz" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            size = sum(part.file_size for part in file.infolist())
        if size > UNPACKED:
            raise ValueError(f"{path} unpacks to {size / 1e6:,.0f} MB; at most {UNPACKED / 1e6:,.0f} are taken")


def grouped(cloud: Cloud, how: str, size: float | int, seed: int = 0) -> tuple[Int[Tensor, " n"], float]:
    """Clusters of a cloud (N,) from 0 on, and their purity by its labels in percent.

    Args:
        cloud: whose labels count as true.
        how: one of `CLUSTERS`.
        size: points in a cluster on average for k-means; a thousandth of the radius for DBSCAN.
        seed: of k-means.

    Raises:
        ValueError: if the way is unknown or the size not positive.
    """
    if how not in CLUSTERS:
        raise ValueError(f"clusters: expected one of {', '.join(CLUSTERS)}; got {how!r}")
    if not size > 0:
        raise ValueError(f"size: expected more than 0; got {size}")
    if how == CLUSTERS[0]:
        found = kmeans(place_and_colour(cloud), max(round(len(cloud) / size), 1), seed=seed)
    else:
        found = dbscan(published_features(cloud.xyz, cloud.rgb), size / 1000)
    found = found.unique(return_inverse=True)[1]
    return found, 100 * purity(found, cloud.labels, len(cloud.classes))


def described(clouds: Sequence[Cloud]) -> str:
    """Say what was read."""
    parts = []
    for cloud in clouds:
        whole_classes = "no instances, so all points of a class count as one object"
        count = f"{len(objects(cloud, cloud.labels))} objects" if has_objects(cloud) else whole_classes
        parts.append(f"{cloud.name}: {len(cloud):,} points, {count}")
    names = clouds[0].classes
    return f"{'; '.join(parts)}. Classes: {', '.join(names[:20])}{' ...' if len(names) > 20 else ''}."


def told_of_clusters(cluster: Int[Tensor, " n"], purity: float) -> str:
    """Say how large clusters are and what they are worth."""
    sizes = cluster.bincount()
    alone = 100 * int((sizes == 1).sum()) / len(cluster)
    return (
        f"{len(sizes):,} clusters of {len(cluster) / len(sizes):.1f} points on average; {alone:.0f} % of the points are"
        f" alone in theirs. Purity by the labels as they came: {purity:.1f} %. Votes cannot make more labels right."
    )


def cleaned(clouds: Sequence[Cloud], hook: Hook | None = None) -> list[Cleaned]:
    """Clean labels by `visionlab.points.clean`, in so few epochs that it takes some ten seconds.

    Raises:
        ValueError: see `check_clouds`; or a cloud is too large, or not in metres.
    """
    check_clouds(clouds, PRESETS["quick"].neighbours)
    for cloud in clouds:
        x, y = (cloud.xyz.amax(0) - cloud.xyz.amin(0))[:2].tolist()
        if max(x, y) > LONGEST:
            raise ValueError(
                f"xyz: {cloud.name} spans {x:,.0f} x {y:,.0f} m; at most {LONGEST:.0f} m are taken here, since blocks "
                "are 1 m wide. Is it in metres?"
            )
    whole_rooms = max(map(len, clouds)) <= WHOLE
    blocks = len(clouds) if whole_rooms else sum(len(squares(cloud.xyz, 1.0, 0.5, LEAST)) for cloud in clouds)
    epochs = min(max(PASSES // blocks, FEWEST), PRESETS["quick"].epochs)
    return clean_labels(clouds, epochs=epochs, hook=hook)


class Doubted(NamedTuple):
    """What a quick cleaning found.

    Attributes:
        cleaned: the clouds.
        doubts: their objects that have a label, the most doubtful first.
        rows: of the first ones, as cells.
        words: how much changed.
        files: the corrected clouds.
    """

    cleaned: list[Cleaned]
    doubts: list[Doubt]
    rows: list[list[str]]
    words: str
    files: list[str]


def doubted(
    clouds: Sequence[Cloud], kind: str, percent: float | int, seed: int, folder: Path, hook: Hook | None = None
) -> Doubted:
    """Make some labels of clouds wrong, or none, clean them, and write corrected clouds into a folder.

    Raises:
        ValueError: see `spoiled` and `cleaned`.
    """
    given = [replace(cloud, labels=spoiled(cloud, kind, percent, seed).labels) for cloud in clouds]
    found = cleaned(given, hook)
    doubts = [doubt for doubt in doubtful(found) if doubt.given != UNLABELLED]
    files = [str(path) for path in corrected_files(found, folder)]
    return Doubted(found, doubts, rows(doubts, given), verdict(clouds, given, found, doubts), files)


def caught(found: Sequence[Doubt], wrong: Sequence[Bool[Tensor, " n"]], clouds: Sequence[Cloud]) -> tuple[int, int]:
    """How many objects have mostly wrong labels, and how many of them are among as many first ones of the list."""
    bad = [
        bool(wrong[each.cloud][member(clouds[each.cloud], each)].double().mean() > 0.5) for each in found
    ]  # fmt: skip
    return sum(bad), sum(bad[: sum(bad)])


def verdict(clouds: Sequence[Cloud], given: Sequence[Cloud], found: Sequence[Cleaned], doubts: Sequence[Doubt]) -> str:
    """Say what a cleaning changed, and what that is worth where labels were made wrong.

    Args:
        clouds: with labels as they came.
        given: the same with those that were trained on.
        found: the same, cleaned.
        doubts: their objects, the most doubtful first.
    """
    start, old, new = (torch.cat([each.labels for each in some]) for some in (given, clouds, found))
    words = f"{int((new != start).sum()):,} of {len(start):,} labels changed."
    if not start.equal(old):
        bad, hits = caught(doubts, [a.labels != b.labels for a, b in zip(given, clouds, strict=True)], given)
        before, after = (100 * (labels == old).double().mean().item() for labels in (start, new))
        words += (
            f" {bad} objects had been made wrong; {hits} of the first {bad} in the list are such. Labels as they came:"
            f" {before:.1f} % before, {after:.1f} % after."
        )
    return (
        f"{words} Look before you trust: the list is worth more than the corrected labels. A click on a row shows it."
    )


def rows(found: Sequence[Doubt], clouds: Sequence[Cloud]) -> list[list[str]]:
    """The most doubtful objects as cells: rank, cloud, object, given, proposed, doubt, points."""
    return [
        [
            str(rank), clouds[each.cloud].name, str(each.instance), _name(clouds[each.cloud], each.given),
            _name(clouds[each.cloud], each.proposed), f"{100 * each.score:.0f} %", f"{each.points:,}",
        ]
        for rank, each in enumerate(found[:MOST_ROWS], 1)
    ]  # fmt: skip


def member(cloud: Cloud, doubt: Doubt) -> Bool[Tensor, " n"]:
    """Which points (N,) of its cloud belong to an object."""
    return (cloud.instances == doubt.instance) & (cloud.labels == doubt.given)


def corrected_files(found: Sequence[Cleaned], folder: Path) -> list[Path]:
    """Write corrected clouds as PLY into a new folder inside another, with given labels, doubt and confidence."""
    inner, paths = Path(tempfile.mkdtemp(dir=folder)), []
    for i, each in enumerate(found):
        stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in Path(each.cloud.name).name)[:60] or "cloud"
        paths.append(inner / f"{stem}-{i + 1}-corrected.ply")
        save(
            replace(each.cloud, labels=each.labels), paths[-1], given=each.cloud.labels, doubt=each.doubt,
            confidence=each.confidence,
        )  # fmt: skip
    return paths


def place_and_colour(cloud: Cloud) -> Float[Tensor, "n 6"]:
    """What k-means groups the points of a cloud by."""
    return torch.cat([cloud.xyz, COLOUR * cloud.rgb], 1)
