"""A Mobile-Former for images of 32 to 96 pixels, with a tenth of the blocks' widths (arXiv 2108.05895)."""

from __future__ import annotations

from visionlab.backbones.mobile_former import MobileFormer
from visionlab.backbones.mobile_former_mobile import Down, Lite, Regular

__all__ = ["nano_network"]


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
