"""Owner, thief and test share no image: sets of indices that prove it, and a look at the pixels.

A thief who asks about the owner's training images, or a test on images that anyone was trained on, flatters the mark
(arXiv 2002.11088 keeps 6,000 images for the owner, 6,000 for the thief and 100 for the test).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["Split", "refuse_shared", "split"]


@dataclass(frozen=True)
class Split:
    """Which images are whose, as indices: no two sets share one.

    Args:
        owner: trains what hides and reads the mark.
        thief: the questions of the thief.
        calibration: on these the owner sets thresholds.
        test: on these all is measured.

    Raises:
        ValueError: if two sets share an index.
    """

    owner: Int[Tensor, " i"]
    thief: Int[Tensor, " j"]
    calibration: Int[Tensor, " k"]
    test: Int[Tensor, " l"]

    def __post_init__(self) -> None:
        seen: dict[int, str] = {}
        for name in ("owner", "thief", "calibration", "test"):
            for index in getattr(self, name).tolist():
                if index in seen:
                    raise ValueError(f"{name}: expected images that no other set has, got {index}, of {seen[index]}")
                seen[index] = name


def split(n: int, seed: int, *, owner: int, thief: int, calibration: int, test: int) -> Split:
    """Deal n images to four sets of given sizes that share none, in an order that follows from the seed.

    Raises:
        ValueError: if a set is to have none, or all together are to have more than there are.
    """
    sizes = {"owner": owner, "thief": thief, "calibration": calibration, "test": test}
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name}: expected 1 image or more, got {size}")
    total = sum(sizes.values())
    if total > n:
        wanted = " + ".join(f"{name} {size}" for name, size in sizes.items())
        raise ValueError(f"n: expected {total} images or more ({wanted}), got {n}")
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:total]
    return Split(*order.split(list(sizes.values())))


def refuse_shared(**sets: Float[Tensor, "_ 3 _ _"]) -> None:
    """Refuse sets of images (N, 3, H, W), by name, of which two hold the same picture: equal in 8 bits a channel.

    Raises:
        ValueError: it says which image of which set is which of another.
    """
    seen: dict[bytes, tuple[str, int]] = {}
    for name, images in sets.items():
        for i, pixels in enumerate((images.clamp(0, 1) * 255).round().to("cpu", torch.uint8)):
            key = hashlib.sha256(str(tuple(pixels.shape)).encode() + pixels.numpy().tobytes()).digest()
            other, place = seen.setdefault(key, (name, i))
            if other != name:
                raise ValueError(f"{name}: expected images that no other set has, image {i} is {place} of {other}")
