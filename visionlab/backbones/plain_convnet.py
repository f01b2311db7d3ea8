"""A plain convolutional network: the yardstick by which tasks are made, and beside which methods are shown."""

from __future__ import annotations

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["PlainConvNet"]


class PlainConvNet(nn.Module):
    """A 5x5 and three 3x3 convolutions with batch norm and ReLU, each halving the map; maximum; a linear layer.

    Args:
        num_classes: outputs.
        width: channels of the first layer; the others have two, four and six times as many.
    """

    def __init__(self, num_classes: int, width: int = 24) -> None:
        super().__init__()
        channels = [3, width, 2 * width, 4 * width, 6 * width]
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise(channels)):
            kernel = 5 if i == 0 else 3
            layers += [
                nn.Conv2d(before, after, kernel, stride=2, padding=kernel // 2, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
            ]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(channels[-1], num_classes)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k"]:
        """Logits (B, num_classes) of normalised images (B, 3, H, W)."""
        return self.head(self.features(images).amax((2, 3)))
