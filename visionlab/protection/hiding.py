"""Networks that hide a pattern in an image, and find it again: small ones for 32 to 64 pixels.

All work on blocks of 2 x 2 pixels (pixel-unshuffle), which makes them four times cheaper and costs nothing here: a
pattern that is hidden over an edge is wider than a pixel. The networks of the published code are in
`visionlab.protection.hiding_published`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from visionlab.protection.structure import chroma_direction

__all__ = ["ColourHider", "Hider", "Reader"]


class Hider(nn.Module):
    """Image and pattern to the residual that hides the pattern: a U-Net of two levels, 109 thousand parameters.

    Its output starts near zero: the last layer is drawn from N(0, 0.01).

    Args:
        widths: channels of the two levels.
    """

    def __init__(self, *, widths: tuple[int, int] = (32, 64)) -> None:
        super().__init__()
        fine, coarse = widths
        self.down = _convolutions(24, fine)
        self.bottom = _convolutions(fine, coarse)
        self.up = _convolutions(coarse + fine, fine)
        self.out = nn.Conv2d(fine, 12, 1)
        nn.init.normal_(self.out.weight, std=0.01)
        self.out.bias.data.zero_()  # type: ignore[union-attr]

    def forward(self, images: Float[Tensor, "b 3 h w"], pattern: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Return the residual (B, 3, H, W), to be added to images in [0, 1] of any size from 8 pixels on."""
        both, (height, width) = _to_multiple_of_four(torch.cat([images, pattern], 1))
        fine = self.down(F.pixel_unshuffle(both - 0.5, 2) * 2)
        coarse = self.bottom(F.avg_pool2d(fine, 2))
        coarse = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
        residual = self.out(self.up(torch.cat([coarse, fine], 1)))
        return F.pixel_shuffle(residual, 2)[..., :height, :width]


class ColourHider(nn.Module):
    """Image and pattern to the inked image: where the ink is strong is learned, its colour and amount are given.

    The change is r = amplitude * G * s * u. G: the inked places, grown by a pixel and blurred. s: blur(1/2 + sigmoid(2
    n)), n the mean of the three channels of a `Hider`, divided by its root mean square over G. u: the unit chroma of
    the ink (`structure.chroma_direction`), taken from the pattern nearby, so that each place of a pattern with several
    inks gets its own. Two pixels beyond the structure nothing changes, and the mean of the channels never does. Grey
    ink has no chroma: nothing of it is hidden (`structure.nearest_ink` refuses it).

    So little freedom is on purpose (ours, after the pipeline of arXiv 2108.02360): inks that differ in hue change the
    image in different directions, and a network that imitates inked images learns a smooth change in a fixed colour,
    but not the ripples that a free residual invents. As the amount is given, no loss needs to hold it down: train with
    ``Weights(invisible=0)``. As no place gets more than three times what another gets, the ink stays on the whole
    structure: without a bound all of it ends in one bright blob, and the reader draws its colour everywhere. More
    weight on what is drawn beside the structure (``background=4``) works to the same end.

    It gives the inked image itself: use it in a `poison_ink.PoisonInk` without ``tint``.

    Args:
        widths: channels of the two levels.
        amplitude: root mean square length of the change over the inked places, in units of the image. PSNR follows:
            on EuroSAT 0.1 gives 33.7 dB, and twice as much, or twice the ``gain``, 6 dB less.
    """

    def __init__(self, *, widths: tuple[int, int] = (32, 64), amplitude: float = 0.1) -> None:
        super().__init__()
        self.strength = Hider(widths=widths)
        self.amplitude = amplitude

    def forward(self, images: Float[Tensor, "b 3 h w"], pattern: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Return images + r (B, 3, H, W), not clipped, of images in [0, 1] of any size from 8 pixels on.

        Args:
            images: that carry.
            pattern: inks on white paper, as `structure.ink_pattern` gives.
        """
        ink = chroma_direction(pattern)
        inked = ink.any(1, keepdim=True).to(pattern.dtype)
        reach = _blurred(F.max_pool2d(inked, 3, stride=1, padding=1))
        nearby = chroma_direction(_blurred(_blurred(ink)))
        strength = _blurred(0.5 + torch.sigmoid(2 * self.strength(images, pattern).mean(1, keepdim=True)))
        change = reach * strength
        given, found = (x.square().sum((1, 2, 3), keepdim=True).clamp(min=1e-12).sqrt() for x in (reach, change))
        return images + self.amplitude * given / found * change * nearby


class Reader(nn.Module):
    """Image to the pattern hidden in it, white where there is none: two residual blocks, 44 thousand parameters."""

    def __init__(self, *, width: int = 32, blocks: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(12, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(4, width), nn.ReLU(inplace=True),
                nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(4, width),
            )
            for _ in range(blocks)
        )  # fmt: skip
        self.out = nn.Conv2d(width, 12, 3, padding=1)
        self.out.bias.data.fill_(1)  # type: ignore[union-attr]  # white, the answer to an image that hides nothing

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Return the drawing (B, 3, H, W) of images in [0, 1]; its range is not clipped."""
        padded, (height, width) = _to_multiple_of_four(images)
        x = self.stem(4 * F.pixel_unshuffle(padded - 0.5, 2)).relu()
        for block in self.blocks:
            x = (x + block(x)).relu()
        return F.pixel_shuffle(self.out(x), 2)[..., :height, :width]


def _convolutions(inputs: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, width):
        layers += [
            nn.Conv2d(channels, width, 3, padding=1, padding_mode="reflect"),
            nn.GroupNorm(4, width),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def _blurred(x: Tensor) -> Tensor:
    """Mean over 3 x 3 pixels, fewer at the border."""
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def _to_multiple_of_four(images: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Repeat the last row and column until four divides the sides; return the sides from before as well."""
    height, width = images.shape[-2:]
    if min(height, width) < 8:
        raise ValueError(f"images: expected sides of 8 pixels or more, got {height} x {width}")
    if height % 4 or width % 4:
        images = F.pad(images, (0, -width % 4, 0, -height % 4), mode="replicate")
    return images, (height, width)
