"""The baseline of structure consistency: one invisible logo at the same place in all that a network answers.

Zhang et al., AAAI 2020, arXiv 2002.11088 ("Model Watermarking for Image Processing Networks"); TPAMI 2021, arXiv
2103.04980; published code ``ZJZAC/Deep-Model-Watermarking``.

==================================================  ============================================================
papers                                              here
==================================================  ============================================================
logo                                                `logo`: balanced, see there
embedder H, extractor R, discriminator D            `SpatialMark`; published: `spatial_published`, `hiding_published`
L_H: basic and adversarial loss                     `spatial_training.SpatialWeights`, `spatial_loss`
L_R: watermark, clean, consistency loss             `spatial_training.spatial_loss`, `consistency`
initial stage                                       `spatial_training.train_spatial`
surrogate stage: the thief                          `surrogate.train_surrogate`
adversarial stage                                   `spatial_training.adversarial_stage`
success: correlation with the logo                  `SpatialMark.score`, centred, and `SpatialMark.bit_accuracy`
==================================================  ============================================================

Ours differs at small scale: the amount of change is given (`Faint`), so that no loss holds it down. There is no
augmentation layer, as there is none in the papers.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from visionlab.data.graded import to_8_bits
from visionlab.protection.hiding import Hider, Reader
from visionlab.protection.tasks import AT_ONCE, check_images

__all__ = ["Faint", "Printed", "SpatialMark", "logo", "rings"]

BLOCKS = 8
"""Of the logo, along a side."""


def logo(seed: int, *, blocks: int = BLOCKS) -> Float[Tensor, "1 blocks blocks"]:
    """A logo (1, blocks, blocks) of 0, ink, and 1, paper: half of the blocks are ink, at random.

    Balanced on purpose: a blank answer correlates at 0.95 and more with the mostly white logos of the published code.

    Raises:
        ValueError: if there are fewer than 2 blocks, or an odd number, along a side.
    """
    if blocks < 2 or blocks % 2:
        raise ValueError(f"blocks: expected an even number from 2 on, got {blocks}")
    order = torch.randperm(blocks**2, generator=torch.Generator().manual_seed(seed))
    return (order % 2).view(1, blocks, blocks).float()


def rings() -> Float[Tensor, "1 8 8"]:
    """A logo (1, 8, 8) of one square ring of ink, two blocks wide, half of all: the same mirrored or turned a quarter.

    A control for `logo`: what pairs lose when they are mirrored and turned is what is not symmetric.
    """
    away = (torch.arange(BLOCKS) - (BLOCKS - 1) / 2).abs()
    ring = torch.maximum(away[:, None], away)
    return 1 - ((ring > 1) & (ring < 3)).float()[None]


class Faint(nn.Module):
    """Image and logo to marked image, at a given PSNR: the residual of a `Hider` on a faint print of the logo.

    The change is r = UNet(x, t) + 0.1 (t - x), scaled in each image to the amount that the PSNR asks for. (The study
    scales by the batch, and keeps an average for later; by the image nothing needs to be kept.)

    Args:
        decibels: PSNR of the marked image, before it is clipped and rounded.
        widths: channels of the two levels.
    """

    def __init__(self, *, decibels: float = 34.0, widths: tuple[int, int] = (32, 64)) -> None:
        super().__init__()
        self.residual = Hider(widths=widths)
        self.decibels = decibels

    def forward(self, images: Float[Tensor, "b 3 h w"], pattern: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Return marked images (B, 3, H, W), not clipped, of images in [0, 1] with sides of 8 pixels or more."""
        change = self.residual(images, pattern) + 0.1 * (pattern - images)
        energy = change.square().mean((1, 2, 3), keepdim=True).clamp(min=1e-12)
        return images + 10 ** (-self.decibels / 20) * change / energy.sqrt()


class Printed(nn.Module):
    """Image and logo to marked image, with nothing learned: paper makes it lighter and ink darker, all by as much.

    A control for `Faint`, which writes ink as a fine texture of its own: what is printed has the logo's symmetries, and
    no detail.

    Args:
        decibels: PSNR of the marked image, before it is clipped and rounded.
    """

    def __init__(self, *, decibels: float = 34.0) -> None:
        super().__init__()
        self.decibels = decibels

    def forward(self, images: Float[Tensor, "b 3 h w"], pattern: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Return marked images (B, 3, H, W), not clipped, of images in [0, 1]."""
        return images + 10 ** (-self.decibels / 20) * (2 * pattern - 1)


class SpatialMark(nn.Module):
    """The owner's networks, and the logo that they hide in and read from every image.

    Args:
        pattern: (1, R, C) blocks of 0 and 1, as `logo` gives; images of any size get it resized.
        embedder: image and logo to marked image; published: `spatial_published.EmbeddingUNet`.
        extractor: image to drawing, white where there is no mark; published: `hiding_published.GuidanceExtractor` with
            dilations 2, 2, 2, 2, 4, 4, 4, 4, 1.
        discriminator: tells clean images from marked ones in training.

    Raises:
        ValueError: if the logo has another shape, or is of one kind only.
    """

    def __init__(
        self,
        pattern: Float[Tensor, "1 r c"],
        embedder: nn.Module | None = None,
        extractor: nn.Module | None = None,
        *,
        discriminator: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if pattern.ndim != 3 or len(pattern) != 1 or pattern.min() == pattern.max():
            raise ValueError(f"pattern: expected (1, R, C) of ink and paper, got shape {tuple(pattern.shape)}")
        self.pattern: Tensor
        self.register_buffer("pattern", pattern.clone())
        self.embedder = embedder if embedder is not None else Faint()
        self.extractor = extractor if extractor is not None else Reader()
        self.discriminator = discriminator

    def drawn(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Return the logo (B, 3, H, W), grey, as it should be read from marked images."""
        whole = F.interpolate(self.pattern[None].to(images), images.shape[-2:], mode="nearest")
        return whole.expand(images.shape[0], 3, -1, -1)

    def mark(self, images: Float[Tensor, "b 3 h w"], *, gain: float = 1.0) -> Float[Tensor, "b 3 h w"]:
        """Return marked images (B, 3, H, W), 8 bits a channel, of images in [0, 1].

        Raises:
            ValueError: if the images are none or no colour images.
        """
        check_images("images", images)
        change = self.embedder(images, self.drawn(images)) - images
        return to_8_bits((images + gain * change).clamp(0, 1))

    @torch.no_grad()
    def blocks(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b r c"]:
        """Return the mean (B, R, C) of what is read, over each block of the logo.

        Raises:
            ValueError: if the images are none or no colour images.
        """
        check_images("images", images)
        size = (self.pattern.shape[1], self.pattern.shape[2])
        read = [F.adaptive_avg_pool2d(self.extractor(part).mean(1), size) for part in images.split(AT_ONCE)]
        return torch.cat(read)

    def score(self, blocks: Float[Tensor, "b r c"]) -> Float[Tensor, " b"]:
        """Return the correlation (B,) of blocks, as read, with the logo, both centred: 1 at best, 0 for a blank."""
        read, wanted = blocks.flatten(1), self.pattern.flatten().to(blocks)
        read, wanted = read - read.mean(1, keepdim=True), wanted - wanted.mean()
        return read @ wanted / (read.norm(dim=1) * wanted.norm()).clamp(min=1e-6)

    def bit_accuracy(self, blocks: Float[Tensor, "b r c"]) -> Float[Tensor, " b"]:
        """Return the share (B,) of blocks on the right side of the mean of all: 0.5 is chance."""
        read = blocks.flatten(1)
        paper = read > read.mean(1, keepdim=True)
        return (paper == (self.pattern.flatten() > 0.5).to(paper.device)).float().mean(1)

    def forward(self, outputs: Float[Tensor, "b 3 h w"], inputs: Float[Tensor, "b 3 h w"]) -> dict[str, Tensor]:
        """Mark and read: the parts of `spatial_loss`.

        Args:
            outputs: b, clean answers.
            inputs: a, what was asked.
        """
        marked = self.mark(outputs)
        return self.examined(outputs, inputs, marked) | {"images": outputs, "poisoned": marked}

    def examined(self, outputs: Tensor, inputs: Tensor, suspects: Tensor) -> dict[str, Tensor]:
        """Read suspects, questions and clean answers, in one pass; the pattern is what suspects should give."""
        drawing, asked, clean = self.extractor(torch.cat([suspects, inputs, outputs])).chunk(3)
        return {"pattern": self.drawn(outputs), "drawing": drawing, "asked drawing": asked, "clean drawing": clean}
