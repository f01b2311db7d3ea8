"""What the app on noisy labels of points does with clouds: read files, group points, and say what there is."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

from jaxtyping import Int
from torch import Tensor

from visionlab.data.clouds import UNLABELLED, Cloud, class_name, load
from visionlab.points.clean import PRESETS, check_clouds
from visionlab.points.clusters import by_look, dbscan, published_features, purity
from visionlab.points.label_noise import Noise
from visionlab.points.spoiled import NOISES, RADIUS, has_objects, objects_of

__all__ = [
    "CLUSTERS",
    "MOST",
    "chosen",
    "described",
    "grouped",
    "menu",
    "objects",
    "opened",
    "told",
    "told_of_clusters",
]

CLUSTERS = ("k-means", "DBSCAN")
MOST = 20_000
"""Points of a file that are kept."""
UNPACKED = 400_000_000
"""Bytes that a file may unpack to."""
MOST_CLOUDS = 12
FOLDER = "`visionlab clean-labels FOLDER` takes any number"


# --- Wrong labels -----------------------------------------------------------------------------------------------------


def objects(cloud: Cloud, labels: Tensor) -> list[list[str]]:
    """A row for each object: its number, true class, points, given label, and whether that is right; largest first."""
    rows = []
    pairs, member, sizes = objects_of(cloud)
    for i in sizes.argsort(descending=True, stable=True).tolist():
        instance, true = pairs[i].tolist()
        some = labels[member == i]
        most = int(some.mode().values)
        wrong = float((some != true).double().mean())
        said = "right" if wrong == 0 else "wrong" if wrong == 1 else f"{wrong:.0%} wrong"
        names = [class_name(cloud.classes, label) for label in (true, most)]
        rows.append([str(instance), names[0], f"{int(sizes[i]):,}", names[1], said])
    return rows


def told(cloud: Cloud, noise: Noise, kind: str, percent: float | int) -> str:
    """Say what noise made of a cloud."""
    wrong, known = int(noise.flipped.sum()), int((cloud.labels != UNLABELLED).sum())
    x, y, z = (cloud.xyz.amax(0) - cloud.xyz.amin(0)).tolist()
    words = (
        f"{x:.1f} x {y:.1f} x {z:.1f} m. Asked for {percent:g} %: {100 * wrong / max(known, 1):.0f} % of {known:,}"
        " points have a wrong label"
    )
    if kind == NOISES[2]:
        return f"{words}; {100 * noise.rate:.0f} % of those within {100 * RADIUS:.0f} cm of another class."
    _, member, sizes = objects_of(cloud)
    bad = int((member[noise.flipped].bincount(minlength=len(sizes)) == sizes).sum())
    return f"{words}, {bad} of {len(sizes)} objects. Only whole objects go wrong, so the rate is seldom met exactly."


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
    """Refuse a small file that would unpack to more than there is room for, or says that it would."""
    if path.suffix.lower() == ".npz" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            size = sum(part.file_size for part in file.infolist())
        if size > UNPACKED:
            raise ValueError(f"{path} unpacks to {size / 1e6:,.0f} MB; at most {UNPACKED / 1e6:,.0f} are taken")
    if path.suffix.lower() == ".pcd":
        with path.open("rb") as file:
            promised = re.search(rb"POINTS\s+(\d+)", file.read(2**14))
        if promised and int(promised[1]) > UNPACKED // 16:
            raise ValueError(f"{path} promises {int(promised[1]):,} points; at most {UNPACKED // 16:,} are taken")


def menu(clouds: Sequence[Cloud]) -> list[str]:
    """Names of clouds to choose from, all different."""
    return [f"{i}. {cloud.name}" for i, cloud in enumerate(clouds, 1)]


def chosen(clouds: Sequence[Cloud], name: str | None) -> Cloud:
    """The cloud of a name in the menu.

    Raises:
        ValueError: if there is none.
    """
    names = menu(clouds)
    if name not in names:
        raise ValueError(f"cloud: expected one of {', '.join(names) or 'none, open a file first'}; got {name!r}")
    return clouds[names.index(name)]


def grouped(cloud: Cloud, how: str, size: float | int) -> tuple[Int[Tensor, " n"], float]:
    """Clusters of a cloud (N,) from 0 on, and their purity by its labels in percent.

    Args:
        cloud: whose labels count as true.
        how: one of `CLUSTERS`.
        size: points in a cluster on average for k-means; a thousandth of the radius for DBSCAN.

    Raises:
        ValueError: if the way is unknown or the size not positive.
    """
    if how not in CLUSTERS:
        raise ValueError(f"clusters: expected one of {', '.join(CLUSTERS)}; got {how!r}")
    if not size > 0:
        raise ValueError(f"size: expected more than 0; got {size}")
    if how == CLUSTERS[0]:
        found = by_look(cloud.xyz, cloud.rgb, max(round(len(cloud) / size), 1))
    else:
        found = dbscan(published_features(cloud.xyz, cloud.rgb), size / 1000)
    found = found.unique(return_inverse=True)[1]
    return found, 100 * purity(found, cloud.labels, len(cloud.classes))


def described(clouds: Sequence[Cloud]) -> str:
    """Say what was read."""
    parts = []
    for cloud in clouds:
        whole_classes = "no instances, so all points of a class count as one object"
        count = f"{len(objects_of(cloud)[0])} objects" if has_objects(cloud) else whole_classes
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
