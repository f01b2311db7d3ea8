"""The embedder of the published spatial invisible watermark (arXiv 2002.11088; ``ZJZAC/Deep-Model-Watermarking``)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["EmbeddingUNet"]


class EmbeddingUNet(nn.Module):
    """Image and logo to marked image: the pix2pix U-Net with transposed convolutions, 41,832,067 parameters.

    It takes the place of `spatial_mark.Faint`; as nothing fixes how much it changes, give ``invisible`` a weight.

    Args:
        levels: times the map is halved: 7 for 256 pixels.
        base: channels of the outermost level; doubled inwards, to 8 times at most.

    Raises:
        ValueError: if there are fewer than 2 levels.
    """

    def __init__(self, *, levels: int = 7, base: int = 64) -> None:
        super().__init__()
        if levels < 2:
            raise ValueError(f"levels: expected 2 or more, got {levels}")
        self.stride = 2**levels
        widths = [base * min(2**i, 8) for i in range(levels)]
        block: nn.Module | None = None
        for outer, inner in zip(widths[-2::-1], widths[:0:-1], strict=True):
            block = _Level(outer, inner, block)
        assert block is not None
        self.model = nn.Sequential(
            nn.Conv2d(6, base, 4, stride=2, padding=1, bias=False),
            block,
            nn.ReLU(),
            nn.ConvTranspose2d(2 * base, 3, 4, stride=2, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, images: Float[Tensor, "b 3 h w"], pattern: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Return marked images (B, 3, H, W) in (0, 1).

        Raises:
            ValueError: if the sides are no multiples of 2 to the number of levels.
        """
        height, width = images.shape[-2:]
        if height % self.stride or width % self.stride:
            raise ValueError(f"images: expected sides that are multiples of {self.stride}, got {height} x {width}")
        return self.model(torch.cat([images, pattern], 1))


class _Level(nn.Module):
    """One halving: what went in beside what comes out of the levels below."""

    def __init__(self, outer: int, inner: int, below: nn.Module | None) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.LeakyReLU(0.2), nn.Conv2d(outer, inner, 4, stride=2, padding=1, bias=False),
        ]  # fmt: skip
        if below is not None:
            layers += [nn.BatchNorm2d(inner), below]
        inputs = inner if below is None else 2 * inner
        layers += [
            nn.ReLU(),
            nn.ConvTranspose2d(inputs, outer, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(outer),
        ]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.model(x)], 1)
