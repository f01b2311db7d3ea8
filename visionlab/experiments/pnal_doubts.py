"""Labels in doubt in a few clouds of one's own, found while somebody waits, by `visionlab.points.clean`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

from visionlab.data.clouds import UNLABELLED, Cloud, class_name, save
from visionlab.experiments.pnal_desk import FOLDER
from visionlab.points.blocks import LEAST, squares
from visionlab.points.clean import PRESETS, WHOLE, Cleaned, Doubt, check_clouds, clean_labels, doubtful
from visionlab.points.spoiled import objects_of, spoiled
from visionlab.train.loop import Hook

__all__ = ["Doubted", "caught", "cleaned", "corrected_files", "doubted", "looked_at", "member", "rows", "verdict"]

LONGEST = 40.0
"""Metres that a cloud to be cleaned may span."""
MOST_ROWS = 100
"""Objects in the list of doubts."""
FEWEST = 6
"""Epochs of a quick cleaning, whatever they take."""
MOST_BLOCKS = 300
PASSES = 900
"""Blocks that a network sees in a quick cleaning, over all epochs: what bounds its seconds."""


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
    clouds: Sequence[Cloud], kind: str, percent: float | int, seed: int, folder: Path | str, hook: Hook | None = None
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


def cleaned(clouds: Sequence[Cloud], hook: Hook | None = None) -> list[Cleaned]:
    """Clean labels by `visionlab.points.clean`, in so few epochs that it takes some ten seconds.

    Raises:
        ValueError: see `check_clouds`; or a cloud is too large, or not in metres, or all of them are too many.
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
    if blocks > MOST_BLOCKS:
        raise ValueError(f"clouds: they make {blocks} blocks, at most {MOST_BLOCKS} are taken here; {FOLDER}")
    epochs = min(max(PASSES // blocks, FEWEST), PRESETS["quick"].epochs)
    return clean_labels(clouds, epochs=epochs, hook=hook)


def looked_at(found: Doubted, rank: int) -> tuple[Cloud, Bool[Tensor, " n"], str]:
    """The cloud of an object of the list, ranks count from 1, which of its points it has, and words."""
    doubt = found.doubts[rank - 1]
    cloud = found.cleaned[doubt.cloud].cloud
    given, proposed = (class_name(cloud.classes, label) for label in (doubt.given, doubt.proposed))
    return cloud, member(cloud, doubt), f"object {doubt.instance}: given {given}, the network says {proposed}"


def member(cloud: Cloud, doubt: Doubt) -> Bool[Tensor, " n"]:
    """Which points (N,) of its cloud belong to an object."""
    return (cloud.instances == doubt.instance) & (cloud.labels == doubt.given)


def rows(found: Sequence[Doubt], clouds: Sequence[Cloud]) -> list[list[str]]:
    """The most doubtful objects as cells: rank, cloud, object, given, proposed, doubt, points."""
    return [
        [
            str(rank), clouds[each.cloud].name, str(each.instance), class_name(clouds[each.cloud].classes, each.given),
            class_name(clouds[each.cloud].classes, each.proposed), f"{100 * each.score:.0f} %", f"{each.points:,}",
        ]
        for rank, each in enumerate(found[:MOST_ROWS], 1)
    ]  # fmt: skip


def caught(found: Sequence[Doubt], wrong: Sequence[Bool[Tensor, " n"]], clouds: Sequence[Cloud]) -> tuple[int, int]:
    """How many objects have mostly wrong labels, and how many of them are among as many first ones of the list."""
    bad = set()
    for place, (cloud, flipped) in enumerate(zip(clouds, wrong, strict=True)):
        pairs, member, sizes = objects_of(cloud)
        mostly = 2 * member[flipped].bincount(minlength=len(sizes)) > sizes
        bad |= {(place, *pair) for pair in pairs[mostly].tolist()}
    first = [(each.cloud, each.instance, each.given) for each in found[: len(bad)]]
    return len(bad), len(bad.intersection(first))


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


def corrected_files(found: Sequence[Cleaned], folder: Path | str) -> list[Path]:
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
