"""Networks that a thief trains on what another network answers: small ones, for 32 pixels and about.

A thief's network can only copy a mark at fixed places if it *knows where it is*. These do, by zeros beyond the border:
everywhere in an image of 32 pixels, some zeros lie within reach. A network that pads by reflection treats all places
alike, and loses such a mark for a reason that has nothing to do with the thief's skill.

========================  ====================================  ==========  =========================
network                   sees the border by                    parameters  multiply-adds at 32 px
========================  ====================================  ==========  =========================
`SurrogateUNet`           a bottleneck of 4 x 4                 214,860     19 million
`SurrogateResidual`       dilations 2, 4, 8, 1 at 16 x 16       78,444      20 million
`SurrogatePlain`          dilations 1, 2, 4, 8, 4, 2, 1, same   69,132      17 million
========================  ====================================  ==========  =========================

All work on blocks of 2 x 2 pixels, and add what they make to the image. The published families (a plain network,
residual ones of 9 and 16 blocks, a U-Net; arXiv 2103.04980 and 2108.02360) are the same kinds at 256 pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from visionlab.protection.tasks import check_images

__all__ = ["SURROGATES", "SurrogatePlain", "SurrogateResidual", "SurrogateUNet"]


class _Surrogate(nn.Module):
    """Image a to a + f(a), where f works on blocks of 2 x 2 pixels and starts near zero.

    Args:
        body: (B, 4 (3 + more), H/2, W/2) to (B, width, H/2, W/2).
        width: channels that the body gives.
        multiple: of this many pixels the sides have to be for the body; other images are extended for it.
        more: channels that f is told beside the image.
    """

    def __init__(self, body: nn.Module, width: int, multiple: int, more: int = 0) -> None:
        super().__init__()
        self.body = body
        self.out = nn.Conv2d(width, 12, 1)
        self.multiple, self.more = multiple, more
        nn.init.normal_(self.out.weight, std=0.01)
        self.out.bias.data.zero_()  # type: ignore[union-attr]

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 3 h w"]:
        """Return images (B, 3, H, W) of images in [0, 1] with sides of 8 pixels or more; nothing clips them.

        Args:
            images: (B, 3 + more, H, W).

        Raises:
            ValueError: if the images are none, of other channels, or smaller.
        """
        check_images("images", images[:, : images.shape[1] - self.more] if images.ndim == 4 else images)
        height, width = images.shape[-2:]
        padded = F.pad(images, (0, -width % self.multiple, 0, -height % self.multiple), mode="replicate")
        change = self.out(self.body(2 * F.pixel_unshuffle(padded, 2) - 1))
        return images[:, :3] + F.pixel_shuffle(change, 2)[..., :height, :width]


class SurrogateUNet(_Surrogate):
    """A U-Net of levels at a half, a fourth and an eighth of the sides: 215, 334, 480 thousand parameters.

    Args:
        width: channels of the first level, a multiple of 8; half as many more at each level below. The small-scale
            study has 32, 40 and 48.
        levels: 3 for 32 pixels; one more for each doubling keeps the bottleneck at 4 x 4.
        more: channels that it is told beside the image: an owner's own surrogate is told the ink of each image, so that
            one stands for surrogates of all inks.
    """

    def __init__(self, width: int = 32, *, levels: int = 3, more: int = 0) -> None:
        _check_width(width, 8)
        if levels < 1:
            raise ValueError(f"levels: expected 1 or more, got {levels}")
        widths = tuple(width * (2 + i) // 2 for i in range(levels))
        super().__init__(_Levels(4 * (3 + more), widths), width, 2**levels, more)


class SurrogateResidual(_Surrogate):
    """Residual blocks, one for each dilation, 79 thousand parameters.

    Args:
        width: channels, a multiple of 4.
        dilations: of the blocks. The reach is twice their sum, in blocks of 2 x 2 pixels: 60 pixels.
    """

    def __init__(self, width: int = 32, *, dilations: tuple[int, ...] = (2, 4, 8, 1)) -> None:
        _check_width(width, 4)
        stem = nn.Sequential(*_convolution(12, width))
        super().__init__(nn.Sequential(stem, *(_Residual(width, d) for d in dilations)), width, 2)


class SurrogatePlain(_Surrogate):
    """Convolutions in a row, one for each dilation, with neither skips nor levels between them, 69 thousand parameters.

    Args:
        width: channels, a multiple of 4.
        dilations: of the convolutions. The reach is their sum, in blocks of 2 x 2 pixels: 44 pixels.
    """

    def __init__(self, width: int = 32, *, dilations: tuple[int, ...] = (1, 2, 4, 8, 4, 2, 1)) -> None:
        _check_width(width, 4)
        layers = _convolution(12, width)
        for dilation in dilations:
            layers += _convolution(width, width, dilation)
        super().__init__(nn.Sequential(*layers), width, 2)


class _Levels(nn.Module):
    def __init__(self, inputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.down = nn.ModuleList(_double(i, o) for i, o in zip((inputs, *widths), widths, strict=False))
        pairs = zip(widths[1:], widths, strict=False)
        self.up = nn.ModuleList(_double(below + here, here) for below, here in pairs)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for i, block in enumerate(self.down):
            x = block(x if i == 0 else F.avg_pool2d(x, 2))
            skips.append(x)
        for skip, block in zip(skips[-2::-1], self.up[::-1], strict=True):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = block(torch.cat([x, skip], 1))
        return x


class _Residual(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        *layers, _ = [*_convolution(width, width, dilation), *_convolution(width, width, dilation)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.layers(x)).relu()


def _double(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(*_convolution(inputs, width), *_convolution(width, width))


def _convolution(inputs: int, width: int, dilation: int = 1) -> list[nn.Module]:
    # Zeros beyond the border tell where the border is: see the head of this file.
    convolution = nn.Conv2d(inputs, width, 3, padding=dilation, dilation=dilation, padding_mode="zeros")
    return [convolution, nn.GroupNorm(4, width), nn.ReLU(inplace=True)]


def _check_width(width: int, multiple: int) -> None:
    if width < multiple or width % multiple:
        raise ValueError(f"width: expected a multiple of {multiple}, got {width}")


SURROGATES: dict[str, Callable[[], nn.Module]] = {
    "U-Net": SurrogateUNet,
    "residual": SurrogateResidual,
    "plain": SurrogatePlain,
}
"""The architectures of the lab, at their usual width."""
