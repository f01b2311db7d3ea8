"""Image structure as a carrier: edges, and the ink that fills them (Poison Ink, arXiv 2108.02488; its twin 2108.02360).

Edges move with the image, so what is written on them does, too: `ink_pattern(edges(T(x)), ink)` is nearly
``T(ink_pattern(edges(x), ink))`` for a flip, rotation or crop T. A mark at fixed places has no such property.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

__all__ = [
    "HUES",
    "INK_LEVELS",
    "LOWEST",
    "QUANTILE",
    "THRESHOLD",
    "FixedPattern",
    "adaptive_threshold",
    "chroma_direction",
    "edges",
    "ink_pattern",
    "luminance",
    "nearest_ink",
    "random_inks",
    "sobel_magnitude",
]  # fmt: skip

THRESHOLD = 28 / 255
"""Least magnitude of an edge in the published code."""
QUANTILE, LOWEST = 0.85, 2 / 255
"""Smooth images: the strongest 15 % of the pixels are edges, but nothing below the lowest magnitude."""
INK_LEVELS = (40, 80, 120, 160, 200)
"""Levels of a channel that an ink is made of, of 255: 125 inks."""
HUES = (
    (204, 41, 41), (204, 163, 41), (122, 204, 41), (41, 204, 82),
    (41, 204, 204), (41, 82, 204), (122, 41, 204), (204, 41, 163),
)  # fmt: skip
"""Eight inks told apart by hue alone: HSV (k / 8, 0.8, 0.8), of 255; ours. Red, amber, green, sea green, and so on."""
GREY = 1e-3
"""Colours whose chroma is shorter count as grey; one step of 255 in one channel is three times as long."""


def luminance(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Grey values (B, 1, H, W) of RGB images in the same range (ITU-R 601 weights)."""
    weights = images.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True)


def sobel_magnitude(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Strength (B, 1, H, W) of the edges of images in [0, 1], in the units of the published threshold.

    Grey values g filtered with [1, 2, 1] / 4 along and [1, 0, -1] / 2 across, g repeated beyond the border:
    sqrt((g_x^2 + g_y^2) / 2). This is half of what scikit-image's ``filters.sobel`` gives, which does not divide by 2.
    """
    smooth, slope = images.new_tensor([1.0, 2.0, 1.0]) / 4, images.new_tensor([1.0, 0.0, -1.0]) / 2
    kernel = torch.outer(slope, smooth)
    grey = F.pad(luminance(images), (1, 1, 1, 1), mode="replicate")
    gradients = F.conv2d(grey, torch.stack([kernel, kernel.T])[:, None])
    return (gradients.square().sum(1, keepdim=True) / 2).sqrt()


def adaptive_threshold(
    magnitude: Float[Tensor, "b 1 h w"], *, quantile: float = QUANTILE, lowest: float = LOWEST
) -> Float[Tensor, "b 1 1 1"]:
    """The least edge magnitude of each image: that of the published code, or less where an image is smooth.

    min(28/255, max(lowest, the image's own quantile)): on satellite tiles the published threshold alone leaves four of
    five images with hardly an edge.
    """
    own = magnitude.flatten(1).quantile(quantile, dim=1)
    return own.clamp(lowest, THRESHOLD).view(-1, 1, 1, 1)


def edges(
    images: Float[Tensor, "b 3 h w"],
    threshold: float | None = None,
    *,
    outside: Float[Tensor, "b 1 h w"] | None = None,
) -> Float[Tensor, "b 1 h w"]:
    """The structure (B, 1, H, W) of images in [0, 1]: 1 on an edge, 0 elsewhere; no thinning, no closing of gaps.

    Args:
        images: a flat one has no edges, and can carry no ink.
        threshold: least magnitude in units of the images; by default each image's `adaptive_threshold`.
        outside: 1 where there is no image, as in the corners of a turned one: no edge is there, and none counts.
    """
    if len(images) == 0:
        return images[:, :1]
    magnitude = sobel_magnitude(images)
    if outside is not None:
        magnitude = magnitude * (1 - outside)
    least = adaptive_threshold(magnitude) if threshold is None else threshold
    return (magnitude > least).to(images.dtype)


@dataclass(frozen=True)
class FixedPattern:
    """The opposite of structure: the same mask at the same place in every image, as plain watermarks have it.

    Args:
        pattern: (1, H, W) of 0 and 1; images of other sizes get it resized.
    """

    pattern: Tensor

    def __call__(
        self, images: Float[Tensor, "b 3 h w"], outside: Float[Tensor, "b 1 h w"] | None = None
    ) -> Float[Tensor, "b 1 h w"]:
        """Return the mask (B, 1, H, W)."""
        mask = F.interpolate(self.pattern[None].to(images), images.shape[-2:], mode="nearest")
        mask = mask.expand(len(images), -1, -1, -1)
        return mask if outside is None else mask * (1 - outside)


def ink_pattern(mask: Float[Tensor, "b 1 h w"], ink: Float[Tensor, "b 3"]) -> Float[Tensor, "b 3 h w"]:
    """The trigger pattern t = m c + (1 - m) (B, 3, H, W): structure m in ink c on white paper."""
    return mask * ink[:, :, None, None] + (1 - mask)


def random_inks(
    n: int, inks: Sequence[tuple[int, int, int]] | None = None, *, generator: torch.Generator
) -> Float[Tensor, "n 3"]:
    """Inks (N, 3) in [0, 1], drawn from a list (0 to 255), or with each channel one of `INK_LEVELS`."""
    device = generator.device
    if inks is None:
        levels = torch.tensor(INK_LEVELS, device=device) / 255
        return levels[torch.randint(len(levels), (n, 3), generator=generator, device=device)]
    palette = torch.tensor(inks, device=device) / 255
    if len(palette) == 1:
        return palette.expand(n, 3)
    return palette[torch.randint(len(palette), (n,), generator=generator, device=device)]


def chroma_direction(colours: Float[Tensor, "b 3 *places"]) -> Float[Tensor, "b 3 *places"]:
    """The hue of RGB colours as a direction: u = (c - mean c) / |c - mean c|, and 0 where they are grey or white.

    Its three components sum to 0, so what is added along it changes the hue and not the mean of the channels.
    """
    chroma = colours - colours.mean(1, keepdim=True)
    length = chroma.norm(dim=1, keepdim=True)
    return torch.where(length > GREY, chroma / length.clamp(min=GREY), 0)


def nearest_ink(
    colours: Float[Tensor, "b 3"], inks: Sequence[tuple[int, int, int]] = HUES, *, least: float = 0.5
) -> Int[Tensor, " b"]:
    """Which ink (B,) each colour that was read is nearest to in hue, -1 for none; any brightness, any saturation.

    A reader draws the right hue long before it draws the right colour, so only the angle between the chromas counts
    (arXiv 2108.02360 decodes colours; by hue is ours). White is no ink, and so is what
    `visionlab.protection.poison_ink.colour_found` gives for an image with less than 1 % of structure: white.

    Args:
        colours: RGB; white is 1, and values beyond [0, 1] are fine, as drawings have them.
        inks: 0 to 255 a channel.
        least: how far from white a colour must be, as a share of the way to its ink; from 0.5 on it is nearer to it.

    Raises:
        ValueError: an ink is grey, which has no hue.
    """
    palette = colours.new_tensor(inks) / 255
    hues = chroma_direction(palette)
    for ink, hue in zip(inks, hues, strict=True):
        if not hue.any():
            raise ValueError(f"inks: {tuple(ink)} is grey, it has no hue")
    likeness, nearest = (chroma_direction(colours) @ hues.T).max(1)
    way = 1 - palette[nearest]
    share = ((1 - colours) * way).sum(1) / way.square().sum(1)
    return torch.where((likeness > 0) & (share > least), nearest, -1)
