"""What may happen to an image between hiding and reading: the interference layer of Poison Ink (arXiv 2108.02488).

Networks that hide and read are trained through it, so that what they hide outlives it. Its twin, the augmentation layer
of structure-consistent watermarks (arXiv 2108.02360), is the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from visionlab.data.graded import jpeg

__all__ = ["NONE", "Interference", "through_jpeg"]


@dataclass(frozen=True, kw_only=True)
class Interference:
    """What happens between hiding and reading in training, drawn anew for each image.

    Args:
        rotation: degrees at most.
        scale: least and largest; where the image shrinks, black comes in.
        shift: share of the side at most.
        flip: probability of a mirror image.
        jpeg: share of a batch that is written as JPEG; its gradient passes as if it had not been.
        quality: of those, least and largest.
    """

    rotation: float = 15.0
    scale: tuple[float, float] = (0.75, 1.15)
    shift: float = 0.1
    flip: float = 0.5
    jpeg: float = 0.0
    quality: tuple[int, int] = (50, 95)

    def draw(self, n: int, side: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return angle (N,), scale (N,), shift (N, 2) in pixels, mirrored (N,) and JPEG quality (N,), 0 for none."""

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return low + (high - low) * torch.rand(n, *shape, generator=generator, device=generator.device)

        lowest, highest = self.quality
        quality = torch.randint(lowest, highest + 1, (n,), generator=generator, device=generator.device)
        return (
            uniform(-self.rotation, self.rotation),
            uniform(*self.scale),
            uniform(-self.shift * side, self.shift * side, 2),
            uniform(0.0, 1.0) < self.flip,
            torch.where(uniform(0.0, 1.0) < self.jpeg, quality, torch.zeros_like(quality)),
        )


NONE = Interference(rotation=0.0, scale=(1.0, 1.0), shift=0.0, flip=0.0)
"""No interference at all: the ablation."""


def through_jpeg(images: Tensor, quality: Tensor) -> Tensor:
    """Write images of a quality above 0 as JPEG; the gradient passes as if that had not been."""
    chosen = quality > 0
    if not chosen.any():
        return images
    kept = images.detach().clone()
    kept[chosen] = jpeg(images[chosen], quality[chosen].tolist())
    return images + (kept - images).detach()
