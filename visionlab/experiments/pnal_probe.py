"""What lab 08 and its app look at: recorded and live runs epoch by epoch, and rooms with wrong labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from visionlab.data.world.rooms import ROOM_CLASSES
from visionlab.experiments.experiment import Job, find, recorded
from visionlab.experiments.pnal import NOISE, PNAL, REPLAYED
from visionlab.experiments.pnal_setting import KEPT, TEST, Setting, blocks_of
from visionlab.experiments.result import Result
from visionlab.points.blocks import Blocks
from visionlab.points.pnal import Cleaning

__all__ = ["by_epoch", "memorisation", "replay", "timeline_of"]


def replay(result: Result | None = None, variant: str = PNAL) -> dict[str, Any]:
    """Return the arguments of `visionlab.show.timeline.Timeline` for the first rooms of a run of "pnal/noise", seed 0.

    Args:
        result: of that experiment; by default the recorded one.
        variant: one of `pnal.REPLAYED`.

    Raises:
        ValueError: if nothing was kept of that variant.
    """
    result = recorded("pnal/noise") if result is None else result
    key = f"{variant}/0"
    if f"{key}/predicted" not in result.arrays:
        raise ValueError(f"variant: expected one of {', '.join(REPLAYED)}, run with seed 0; got {variant!r}")
    preset: Setting = find("pnal/noise").preset(result.preset)
    # Rooms, noise and clusters are drawn one room after the other: the first ones need no others.
    few = replace(preset, n=KEPT, test=1)
    given, true, _, _ = blocks_of(Job(variant, 0, few, "rooms"), NOISE[variant])
    predicted, labels = (result.arrays[f"{key}/{name}"] for name in ("predicted", "labels"))
    return timeline_of(given, true, predicted, labels, warmup=preset.warmup)


def timeline_of(
    given: Blocks, true: Blocks, predicted: np.ndarray, labels: np.ndarray, *, warmup: int
) -> dict[str, Any]:
    """Return the arguments of `visionlab.show.timeline.Timeline` for rooms of the world, each one block.

    Args:
        given: the rooms with the labels that came with them; those beyond the ones kept are left out.
        true: the same with the true ones.
        predicted: (E, R, N) of the R rooms kept, by epoch.
        labels: (E, R, N) corrected ones.
        warmup: epochs before labels are corrected.
    """
    kept = predicted.shape[1]
    return {
        "xyz": given.features[:kept, :, -3:].numpy(),
        "rgb": given.features[:kept, :, :3].numpy(),
        "given": given.labels[:kept].numpy(),
        "truth": true.labels[:kept].numpy(),
        "cluster": given.cluster[:kept].numpy(),
        "predicted": predicted,
        "in_force": labels,
        "classes": ROOM_CLASSES,
        "warmup": warmup,
        "slots": Cleaning().slots,
    }


def by_epoch(result: Result, variant: str, metric: str) -> np.ndarray:
    """Return one number an epoch (E,), the mean over seeds.

    Raises:
        KeyError: if the variant or the metric was not measured.
    """
    curves = [metrics[metric] for key, metrics in result.curves.items() if key.rpartition("/")[0] == variant]
    if not curves:
        raise KeyError(f"variant: {result.experiment} has {', '.join(result.variants)}, got {variant!r}")
    return np.mean([[value for _, value in curve] for curve in curves], axis=0)


def memorisation(result: Result, variants: Mapping[str, str]) -> dict[str, dict[str, np.ndarray]]:
    """Return what `visionlab.show.pnal.memorisation_figure` draws, for variants by the name they are shown under."""
    parts = {"given": "fit to given labels (%)", "truth": "fit to true labels (%)", "test": TEST}
    return {
        shown: {part: by_epoch(result, variant, metric) for part, metric in parts.items()}
        for shown, variant in variants.items()
    }
