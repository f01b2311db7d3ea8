"""Labelled point clouds: rooms and scenes, one `Cloud` each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["UNLABELLED", "Cloud"]

UNLABELLED = -1
"""Class of points that nobody has labelled."""


@dataclass(frozen=True, eq=False)
class Cloud:
    """The points of one room or scene.

    Args:
        xyz: (N, 3) in metres, z up.
        rgb: (N, 3) in [0, 1].
        labels: (N,) classes, `UNLABELLED` where there is none.
        instances: (N,) objects, numbered from 0; points of one object have one number.
        classes: their names.
        name: of the room.

    Raises:
        ValueError: if there are no points, a number is not finite, colours or labels are out of range, or shapes do not
            fit each other; the message names what.
    """

    xyz: Float[Tensor, "n 3"]
    rgb: Float[Tensor, "n 3"]
    labels: Int[Tensor, " n"]
    instances: Int[Tensor, " n"]
    classes: tuple[str, ...]
    name: str = "cloud"

    def __post_init__(self) -> None:
        n = len(self.xyz)
        if n == 0:
            raise ValueError(f"xyz: {self.name} has no points")
        for key, shape in {"xyz": (n, 3), "rgb": (n, 3), "labels": (n,), "instances": (n,)}.items():
            values: Tensor = getattr(self, key)
            if tuple(values.shape) != shape:
                raise ValueError(f"{key}: {self.name}: expected shape {shape}, got {tuple(values.shape)}")
            if values.is_floating_point() and not torch.isfinite(values).all():
                bad = int((~torch.isfinite(values)).any(1).sum())
                raise ValueError(f"{key}: {self.name}: {bad} of {n} points have numbers that are not finite")
        if self.rgb.min() < 0 or self.rgb.max() > 1:
            raise ValueError(f"rgb: {self.name}: expected 0 to 1, got {self.rgb.min():.3g} to {self.rgb.max():.3g}")
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < UNLABELLED or high >= len(self.classes):
            least, most = UNLABELLED, len(self.classes) - 1
            raise ValueError(f"labels: {self.name}: expected {least} to {most}, got {low} to {high}")

    def __len__(self) -> int:
        return len(self.xyz)
