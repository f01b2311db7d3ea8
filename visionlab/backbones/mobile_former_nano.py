"""A Mobile-Former for images of 32 to 96 pixels, with a tenth of the blocks' widths (arXiv 2108.05895)."""

from __future__ import annotations

from torch import Tensor, nn

from visionlab.backbones.micronet_rivals import SE_REDUCTION, SqueezeExcite
from visionlab.backbones.micronet_shiftmax import coefficient_width
from visionlab.backbones.mobile_former import MobileFormer
from visionlab.backbones.mobile_former_mobile import ConvNorm, Down, Lite, Regular, StaticReLU

__all__ = ["Excite", "excited", "nano_network"]


def nano_network(
    *,
    num_classes: int = 10,
    tokens: tuple[int, int] = (3, 32),
    slopes: str = "token",
    channels: tuple[int, int, int, int, int] = (8, 12, 16, 32, 64),
) -> MobileFormer:
    """Build a small network: stem, a lite bottleneck, and three times a down-sampling and a regular block.

    Former and bridges cost a fifth of its multiply-adds; with the paper's six tokens of width 192 they would cost
    several times its Mobile.

    Args:
        num_classes: outputs of the classifier.
        tokens: M and d; M = 0, with static slopes, leaves the Mobile alone.
        slopes: as of `MobileFormer`.
        channels: of the stem and the four stages; the last map has 1/32 of the image's sides.
    """
    stem, first, *rest = channels
    stages = ((Lite(2, first, 2),), *((Down(4, out, 3), Regular(3 * out, out)) for out in rest))
    return MobileFormer(
        stages, stem=stem, tokens=tokens, slopes=slopes, head_ratio=4, head_width=128, num_classes=num_classes
    )


class Hardswish(nn.Hardswish):
    """h-swish in the place of a dynamic ReLU: it hears no token."""

    def forward(self, x: Tensor, *_: object) -> Tensor:
        """Return the activated map."""
        return super().forward(x)


class Excite(SqueezeExcite):
    """Squeeze-and-excite in the place of a dynamic ReLU: it hears no token."""

    def forward(self, x: Tensor, *_: object) -> Tensor:
        """Return the activated map."""
        return super().forward(x)


def excited(network: MobileFormer) -> MobileFormer:
    """Give a Mobile alone the activations of MobileNetV3: h-swish, squeezed and excited behind depthwise convolutions.

    Args:
        network: with static slopes; it is changed.
    """
    for block in list(network.modules()):
        for name, conv in list(block.named_children()):
            act = name.replace("conv", "act")
            if not isinstance(conv, ConvNorm) or not isinstance(getattr(block, act, None), StaticReLU):
                continue
            channels = conv.conv.out_channels
            hidden = coefficient_width(channels, SE_REDUCTION)
            depthwise = conv.conv.groups > 1
            setattr(block, act, Excite(channels, hidden=hidden, act=nn.Hardswish()) if depthwise else Hardswish())
    return network
