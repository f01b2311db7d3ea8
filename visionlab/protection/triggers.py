"""Triggers of backdoor attacks under one interface: images (B, 3, H, W) in [0, 1] in, triggered images out.

Every trigger returns what a file with 8 bits a channel would keep. The rivals of Poison Ink (arXiv 2108.02488) are set
up as in its published scripts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from visionlab.data.graded import to_8_bits
from visionlab.protection.poison_ink import PoisonInk
from visionlab.protection.structure import edges

__all__ = ["BadNets", "Blend", "Ink", "Sinusoid", "Trigger", "Warp", "clean"]

Trigger = Callable[[Tensor], Tensor]


def clean(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """No trigger: the images as they are."""
    return images


@dataclass(frozen=True)
class BadNets:
    """A checkerboard of black and white pixels near the lower right corner (Gu et al., arXiv 1708.06733).

    Args:
        side: pixels at 32 pixels; larger images get a larger patch.
        margin: pixels to the border at 32 pixels.
    """

    side: int = 3
    margin: int = 1

    def __call__(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Return images with the patch."""
        height, width = images.shape[-2:]
        unit = max(1, min(height, width) // 32)
        side, margin = self.side * unit, self.margin * unit
        if side + margin > min(height, width):
            raise ValueError(f"images: a patch of {side} pixels does not fit into {height} x {width}")
        along = torch.arange(side, device=images.device) // unit
        patch = ((along[:, None] + along) % 2 == 0).to(images.dtype)
        triggered = images.clone()
        bottom, right = height - margin, width - margin
        triggered[:, :, bottom - side : bottom, right - side : right] = patch
        return to_8_bits(triggered)


@dataclass(frozen=True)
class Blend:
    """A fixed picture, blended in (Chen et al., arXiv 1712.05526).

    Args:
        picture: (3, H, W) in [0, 1]; resized to the images.
        share: of the picture in the mixture.
    """

    picture: Tensor
    share: float = 0.2

    def __call__(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Return blended images."""
        picture = self.picture[None].to(images)
        if picture.shape[-2:] != images.shape[-2:]:
            picture = F.interpolate(picture, images.shape[-2:], mode="bilinear", antialias=True, align_corners=False)
        return to_8_bits((1 - self.share) * images + self.share * picture.clamp(0, 1))


@dataclass(frozen=True)
class Sinusoid:
    """Faint vertical waves over the whole image, "SIG" (Barni et al., arXiv 1902.11237).

    Args:
        amplitude: in units of the image.
        waves: across the image.
    """

    amplitude: float = 20 / 255
    waves: int = 6

    def __call__(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Return images with waves."""
        columns = torch.arange(images.shape[-1], device=images.device, dtype=images.dtype)
        wave = self.amplitude * torch.sin(2 * math.pi * self.waves * columns / images.shape[-1])
        return to_8_bits((images + wave).clamp(0, 1))


@dataclass(frozen=True)
class Warp:
    """One smooth, small displacement of all pixels, "WaNet" (Nguyen and Tran, arXiv 2102.10369).

    Args:
        grid: control points along a side.
        strength: mean displacement of a control point, in pixels at 32 pixels.
        seed: of the displacement.
    """

    grid: int = 4
    strength: float = 0.5
    seed: int = 0

    def __call__(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Return warped images."""
        height, width = images.shape[-2:]
        drawn = 2 * torch.rand(1, 2, self.grid, self.grid, generator=torch.Generator().manual_seed(self.seed)) - 1
        drawn = self.strength * drawn / drawn.abs().mean() * (2 / 32)  # of a side that is 2 long, as grid_sample has it
        moves = F.interpolate(drawn, (height, width), mode="bicubic", align_corners=True).to(images)
        identity = F.affine_grid(torch.eye(2, 3)[None], [1, 1, height, width], align_corners=True).to(images)
        places = (identity + moves.permute(0, 2, 3, 1)).clamp(-1, 1).expand(len(images), -1, -1, -1)
        return to_8_bits(F.grid_sample(images, places, padding_mode="border", align_corners=True))


@dataclass(frozen=True)
class Ink:
    """Poison Ink: what `PoisonInk.hide` gives, on each image's own edges.

    With networks whose structure is a `structure.FixedPattern` it is the plain invisible watermark that the paper
    compares with: the same hiding, at the same place in every image.

    Args:
        networks: trained by `poison_ink.train_ink`.
        ink: colour, 0 to 255 a channel.
        gain: how strongly; see `PoisonInk.hide`.
        threshold: of the edges; by default the networks' own structure is inked.
    """

    networks: PoisonInk
    ink: tuple[int, int, int] = (80, 160, 80)
    gain: float = 1.25
    threshold: float | None = None

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Return inked images."""
        if len(images) == 0:
            return images
        ink = images.new_tensor(self.ink) / 255
        networks = self.networks.eval()

        def hide(part: Tensor) -> Tensor:
            mask = None if self.threshold is None else edges(part, self.threshold)
            return networks.hide(part, ink.expand(len(part), 3), mask=mask, gain=self.gain)

        return torch.cat([hide(part) for part in images.split(512)])
