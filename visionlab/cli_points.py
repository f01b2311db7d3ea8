"""The command on labels of point clouds: ``visionlab clean-labels``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import platformdirs
import tyro

from visionlab.show.progress import bar

if TYPE_CHECKING:
    from visionlab.data.clouds import Cloud
    from visionlab.points.clean import Cleaned, Doubt

__all__ = ["clean_labels"]

COLUMNS = (
    "rank", "cloud", "instance", "given", "proposed", "score", "given_probability", "proposed_probability",
    "changed", "points",
)  # fmt: skip


def clean_labels(
    folder: tyro.conf.Positional[str],
    out: Path,
    split: Literal["train", "val", "test"] | None = None,
    preset: Literal["quick", "full"] = "quick",
    epochs: int | None = None,
    points: int | None = None,
    top: int = 40,
    seed: int = 0,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
) -> None:
    """Find wrong labels in your own labelled point clouds: a list of the most doubtful objects, and corrected clouds.

    A network learns from the clouds and their labels, and doubts some of them (PNAL, arXiv 2107.14230). It breaks some
    that were right: look before you trust. A training that was stopped goes on when the same command is started again.
    Under torchrun it uses several GPUs.

    Args:
        folder: of .ply, .pcd or .npz files with labels, or laid out like S3DIS or ScanNetV2; or s3dis, scannet.
        out: a new folder, for the corrected clouds (.ply, with given, doubt, confidence and given_probability of each
            point), review.html, review.csv and summary.json.
        split: which, if the folder has splits; all by default.
        preset: quick is a small network for a CPU, full the published one for a GPU.
        epochs: passes over the clouds, instead of the preset's.
        points: of each cloud that are kept at most, drawn evenly; all by default.
        top: doubtful objects that review.html shows.
        seed: of all that is drawn.
        device: to train on.
    """
    from visionlab.data.clouds import load, save
    from visionlab.data.pictures import new_folder
    from visionlab.points.clean import PRESETS, check_clouds, digest, doubtful
    from visionlab.points.clean import clean_labels as clean
    from visionlab.show.points_report import points_report
    from visionlab.train.loop import start

    if out.exists():
        raise ValueError(f"out: expected a new folder, {out} is there already")
    if top < 0:
        raise ValueError(f"top: expected 0 or more, got {top}")
    clouds = load(folder, split, points=points)
    check_clouds(clouds, PRESETS[preset].neighbours)
    fabric = start(device=device)
    first = fabric.is_global_zero
    if first:
        print(_found(clouds), flush=True)
    about = {"preset": preset, "epochs": PRESETS[preset].epochs if epochs is None else epochs, "seed": seed}
    key = digest(clouds, **about, processes=fabric.world_size)
    kept = platformdirs.user_cache_path("visionlab") / "labels" / f"{key}.pt"
    cleaned = clean(
        clouds, preset=preset, epochs=epochs, seed=seed, fabric=fabric, hook=bar("training"), checkpoint=kept
    )
    if not first:
        return
    doubts = doubtful(cleaned)
    summary = {"folder": folder, **_summary(cleaned, doubts), "split": split or "all", **about}
    with new_folder(out) as part:
        for name, each in zip(_names(clouds), cleaned, strict=True):
            save(
                replace(each.cloud, labels=each.labels), part / name, given=each.cloud.labels, doubt=each.doubt,
                confidence=each.confidence, given_probability=each.given_probability,
            )  # fmt: skip
        (part / "review.csv").write_text(_table(clouds, doubts), encoding="utf-8")
        (part / "review.html").write_text(points_report(summary, cleaned, doubts[:top]), encoding="utf-8")
        (part / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(f"{summary['verdict']}\nwritten to {out}: begin with review.html; the training is kept in {kept}")


# --- Parts ------------------------------------------------------------------------------------------------------------


def _found(clouds: Sequence[Cloud]) -> str:
    """What was found, in a line, and who has no label."""
    import torch

    objects = sum(len(torch.stack([each.instances, each.labels], 1).unique(dim=0)) for each in clouds)
    points, bare = sum(map(len, clouds)), sum(int((each.labels < 0).sum()) for each in clouds)
    classes = clouds[0].classes
    words = f"{len(clouds)} clouds, {points:,} points, {objects:,} objects, {len(classes)} classes: "
    words += ", ".join(classes[:12]) + (" ..." if len(classes) > 12 else "")
    return words + (f"; {bare:,} points have no label" if bare else "")


def _summary(cleaned: Sequence[Cleaned], doubts: Sequence[Doubt]) -> dict[str, Any]:
    """Plain values: how many labels changed, from what to what, and the verdict in words."""
    import torch

    from visionlab.data.clouds import UNLABELLED, class_name

    classes = cleaned[0].cloud.classes
    given = torch.cat([each.cloud.labels for each in cleaned])
    labels = torch.cat([each.labels for each in cleaned])
    labelled = given != UNLABELLED
    changed = (given != labels) & labelled
    pairs, counts = torch.stack([given, labels], 1)[given != labels].unique(dim=0, return_counts=True)
    rows = [
        (class_name(classes, a), class_name(classes, b), n)
        for (a, b), n in zip(pairs.tolist(), counts.tolist(), strict=True)
    ]
    n, of = int(changed.sum()), int(labelled.sum())
    doubted = sum(doubt.proposed_probability > doubt.given_probability for doubt in doubts if doubt.given >= 0)
    objects = sum(doubt.given >= 0 for doubt in doubts)
    return {
        "verdict": f"{n:,} of {of:,} labels changed ({n / of:.1%}); the network takes {doubted:,} of {objects:,}"
        " objects for another class. Look before you trust.",
        "clouds": len(cleaned),
        "points": len(given),
        "classes": list(classes),
        "objects with a label": objects,
        "objects taken for another class": doubted,
        "labels changed": n,
        "points that got their first label": int(((given != labels) & ~labelled).sum()),
        "changes": sorted(rows, key=lambda row: -row[2]),
    }


def _names(clouds: Sequence[Cloud]) -> list[str]:
    """A file for each cloud, in the folders that its name has; no two alike, none outside."""
    found: list[str] = []
    for cloud in clouds:
        parts = [part for part in PurePosixPath(cloud.name).parts if part not in ("/", "..")] or ["cloud"]
        name, again = "/".join(parts), 2
        while f"{name}.ply".lower() in map(str.lower, found):
            name, again = f"{'/'.join(parts)}-{again}", again + 1
        found.append(f"{name}.ply")
    return found


def _table(clouds: Sequence[Cloud], doubts: Sequence[Doubt]) -> str:
    """All objects as CSV, the most doubtful first; a probability of what nobody gave is empty."""
    from visionlab.data.clouds import class_name

    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for rank, doubt in enumerate(doubts, 1):
        classes = clouds[doubt.cloud].classes
        own = f"{doubt.given_probability:.4f}" if doubt.given >= 0 else ""
        rows.writerow([
            rank, clouds[doubt.cloud].name, doubt.instance, class_name(classes, doubt.given),
            class_name(classes, doubt.proposed), f"{doubt.score:.4f}", own, f"{doubt.proposed_probability:.4f}",
            f"{doubt.changed:.4f}", doubt.points,
        ])  # fmt: skip
    return text.getvalue()
